"""Pictures of a visit and their answers, in a real browser."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from browser_page import answer_with, describe
from lince import images
from lince.types import ImageSpec

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.mark.parametrize("sample", ["ship", "frog"])
def test_samples_are_answered(page: Page, sample: str):
    """The drawn pictures get their names from the model that ships, and the focus does not get lost."""
    page.locator(f"[data-sample={sample}]").click()
    expect(page.locator("#label")).to_have_text(sample)
    expect(page.locator("#intro")).to_be_hidden()
    expect(page.get_by_role("button", name="Choose other pictures")).to_be_focused()


def test_the_page_says_what_it_knows_and_where_pictures_go(page: Page):
    """Before a picture is chosen: classes, samples, formats, and the server by its name."""
    expect(page.locator("#known li")).to_have_text(CIFAR10)
    expect(page.locator("#all-known")).to_be_hidden()
    expect(page.locator("#formats")).to_have_text("JPEG, PNG, WEBP, BMP, GIF, TIFF, AVIF, up to 10 MB")
    host = page.evaluate("location.host")
    expect(page.locator("#privacy")).to_have_text(f"Pictures go to this server ({host}) only, and are not kept.")


def test_several_pictures_have_a_strip(page: Page, picture: Path, tmp_path: Path):
    """The first is shown; each can be seen again, a damaged one too, without asking again."""
    (tmp_path / "broken.png").write_bytes(picture.read_bytes()[:60])
    Image.new("RGB", (32, 32), "white").save(tmp_path / "white.png")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/predict" in request.url else None)
    page.set_input_files("#file", [picture, tmp_path / "broken.png", tmp_path / "white.png"])
    thumbnails = page.locator(".thumbnail")
    expect(thumbnails).to_have_count(3)
    expect(thumbnails.nth(1)).to_have_accessible_name("Picture 2: no answer")
    expect(thumbnails.nth(0)).to_have_attribute("aria-current", "true")
    expect(page.locator("#verdict")).to_be_visible()
    first = page.locator("#bars .name").all_text_contents()
    thumbnails.nth(1).click()
    expect(page.get_by_role("alert")).to_contain_text("damaged")
    expect(page.locator("#verdict")).to_be_hidden()
    thumbnails.nth(0).click()
    expect(page.get_by_role("alert")).to_be_hidden()
    assert first == page.locator("#bars .name").all_text_contents()
    expect(thumbnails.nth(0)).to_be_focused()
    assert 3 == len(asked)


def test_a_visit_holds_thirty_pictures(page: Page, picture: Path):
    """The oldest go, so that memory is bounded."""
    page.set_input_files("#file", [picture] * 29)
    expect(page.locator(".thumbnail")).to_have_count(29)
    page.set_input_files("#file", [picture] * 3)
    expect(page.locator(".thumbnail")).to_have_count(30)


def test_a_thousand_classes_are_shown_on_request(page: Page, picture: Path):
    """The first ones at once, all behind a button, among the classes and among the bars."""
    classes = [f"class {number}" for number in range(1000)]
    describe(page, classes=classes)
    assert classes[:20] == page.locator("#known li").all_text_contents()
    page.get_by_role("button", name="Show all 1,000").click()
    expect(page.locator("#known li")).to_have_count(1000)
    answer_with(page, classes, set_=classes[:300])
    page.set_input_files("#file", picture)
    expect(page.locator("#bars li")).to_have_count(5)
    expect(page.locator("#legend")).to_contain_text("class 4 and 295 more: one of these is right")
    page.get_by_role("button", name="Show all 1,000").click()
    expect(page.locator("#bars li")).to_have_count(1000)
    page.get_by_role("button", name="Show the first 5").click()
    expect(page.locator("#bars li")).to_have_count(5)


def test_long_names_are_whole(page: Page, picture: Path):
    """They break into lines, on a phone too."""
    classes = ["North American river otter with a very long name " + "x" * 60, "cat"]
    describe(page, classes=classes)
    page.set_viewport_size({"width": 320, "height": 640})
    answer_with(page, classes)
    page.set_input_files("#file", picture)
    expect(page.locator("#label")).to_have_text(classes[0])
    assert 320 == page.evaluate("document.documentElement.scrollWidth")
    cut = "nodes => nodes.filter(node => node.scrollWidth > node.clientWidth + 1).length"
    assert 0 == page.locator("#label, #bars .name, .chips li").evaluate_all(cut)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["cat"], "cat alone: this is right for 95\u00a0% of pictures like those it was trained on."),
        (["cat", "dog"], "cat or dog: one of these is right for 95\u00a0% of pictures like those it was trained on."),
        (["cat", "dog", "frog"], "cat, dog or frog: one of these is right"),
        (CIFAR10, "The model cannot narrow it down: any of its classes may be right."),
        (None, "No set of classes is named: 2,300 validation images are too few to promise 95\u00a0%."),
    ],
)
def test_the_set_is_told_in_words(page: Page, picture: Path, members: list[str] | None, words: str):
    """By its size, and by what the calibration promises."""
    answer_with(page, CIFAR10, set_=members)
    page.set_input_files("#file", picture)
    expect(page.locator("#legend")).to_contain_text(words)


def test_a_model_that_abstains_is_not_sure(page: Page, picture: Path):
    """The best guess comes after that, and no set is promised."""
    answer_with(page, CIFAR10, abstain=True)
    page.set_input_files("#file", picture)
    expect(page.locator("#label")).to_have_text("Not sure")
    expect(page.locator("#explanation")).to_contain_text("Its best guess is airplane: 90\u00a0%.")
    expect(page.locator("#legend")).to_be_hidden()


@pytest.mark.parametrize("rule", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(96, 48), (48, 96)])
def test_what_the_network_sees(page: Page, tmp_path: Path, rule: str, shape: tuple[int, int]):
    """The canvas beside the picture has the pixels of the service's own decoding, to a few grey levels."""
    described = page.evaluate("async () => (await fetch('model')).json()")
    describe(page, image=described["image"] | {"resize": rule})
    rows, columns = np.mgrid[: shape[1], : shape[0]]
    pixels = np.stack([rows * 255 // shape[1], columns * 255 // shape[0], rows * 0 + 90], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "slope.png")
    page.set_input_files("#file", tmp_path / "slope.png")
    expect(page.locator("#seen-caption")).to_have_text("What the network sees: 32 × 32 pixels")
    drawn = page.locator("#pixels").evaluate("one => [...one.getContext('2d').getImageData(0, 0, 32, 32).data]")
    found = np.array(drawn).reshape(32, 32, 4)[..., :3]
    expected = images.decode((tmp_path / "slope.png").read_bytes(), ImageSpec(32, 32, rule)).astype(int)
    assert np.abs(found - expected).mean() < 2


def test_why_draws_a_heat_map(page: Page):
    """On its button, over the picture and in words; the button takes it away again."""
    page.locator("[data-sample=frog]").click()
    with page.expect_response("**/explain") as asked:
        page.get_by_role("button", name="Why?").click()
    heat = page.get_by_role("img", name="Heat map over the picture: what supports frog")
    expect(heat).to_be_visible()
    explained = asked.value.json()
    share = round(100 * explained["explained"]["probability"])
    expect(page.locator("#reason")).to_contain_text(f"instead of {share}\u00a0%.")
    pixels = np.array(Image.open(io.BytesIO(page.locator("#drop").screenshot())).convert("RGB")).astype(int)
    assert (pixels[..., 0] - pixels[..., 2] > 60).any()  # orange over grey
    boxes = [page.locator(one).bounding_box() for one in ("#heat", "#preview")]
    assert boxes[0] == pytest.approx(boxes[1], abs=1)
    page.get_by_role("button", name="Why?").click()
    expect(heat).to_be_hidden()
    expect(page.locator("#reason")).to_be_empty()


def test_a_busy_server_is_asked_again(page: Page, picture: Path):
    """What the page says holds until the button is pressed; then the pictures that wait are answered."""
    full = json.dumps({"error": {"code": "overloaded", "message": "256 requests are waiting already."}})

    def refuse(route: Route) -> None:
        route.fulfill(status=503, headers={"retry-after": "2"}, body=full, content_type="application/json")

    page.route("**/predict?*", refuse)
    page.set_input_files("#file", [picture, picture])
    expect(page.get_by_role("alert")).to_contain_text("The server is busy. Try again in 2 s.")
    expect(page.locator("#waiting")).to_be_hidden()
    page.unroute("**/predict?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#verdict")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator(".thumbnail").nth(1)).not_to_have_accessible_name("Picture 2: Looking …")


def test_a_server_that_comes_back_is_found(page: Page, picture: Path):
    """The page was opened while the server did not answer."""
    page.route("**/model", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached. Is it still running?")
    page.unroute("**/model")
    page.set_input_files("#file", picture)
    expect(page.locator("#verdict")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_file_that_the_browser_cannot_show_is_answered(page: Page, picture: Path, tmp_path: Path):
    """Such as TIFF: the service reads it."""
    Image.open(picture).save(tmp_path / "noise.tiff")
    page.set_input_files("#file", tmp_path / "noise.tiff")
    expect(page.locator("#unseen")).to_be_visible()
    expect(page.locator("#verdict")).to_be_visible()
    expect(page.locator("#seen")).to_be_hidden()
    page.set_input_files("#file", picture)
    expect(page.locator(".thumbnail").nth(0)).to_have_text("?")


def test_a_key_may_be_pasted(page: Page):
    """Text that goes into a field is no picture."""
    page.evaluate("document.getElementById('key-form').hidden = false")
    page.locator("#key").dispatch_event("paste", {"bubbles": True})
    expect(page.get_by_role("alert")).to_be_hidden()
