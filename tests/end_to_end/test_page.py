"""The page in a real browser, against the real server."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect
from server_process import ServerProcess, running_server

from lince.serving.api_keys import new_key


def test_chosen_picture_is_answered(page: Page, picture: Path):
    """Picture, label, the best five classes and then all with their shares, and what the set promises."""
    page.set_input_files("#file", picture)
    expect(page.locator("#verdict")).to_be_visible()
    expect(page.locator("#preview")).to_be_visible()
    answer = page.evaluate(
        "async (bytes) => (await (await fetch('predict?top=10', {method: 'POST', body: new Uint8Array(bytes),"
        " headers: {'Content-Type': 'image/png'}})).json()).predictions[0]",
        list(picture.read_bytes()),
    )
    names = [entry["label"] for entry in answer["top"]]
    assert page.locator("#bars .name").all_text_contents() == names[:5]
    page.get_by_role("button", name="Show all 10").click()
    assert page.locator("#bars .name").all_text_contents() == names
    assert page.locator("#bars .member .name").all_text_contents() == (
        [] if answer["abstain"] else answer["prediction_set"]
    )
    assert page.locator("#label").text_content() == ("Not sure" if answer["abstain"] else answer["label"])
    widths = [box["width"] for box in (fill.bounding_box() for fill in page.locator("#bars .fill").all())]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(64, 32), (32, 64)])
def test_margins_that_the_model_does_not_see_are_dimmed(page: Page, tmp_path: Path, resize: str, shape: tuple):
    """Half of a black picture twice as long as wide, where the model cuts out the centre square; none otherwise."""

    def describe(route):
        described = route.fetch().json()
        route.fulfill(json=described | {"image": described["image"] | {"resize": resize}})

    page.route("**/model", describe)
    page.reload()
    Image.new("RGB", shape).save(tmp_path / "black.png")
    page.set_input_files("#file", tmp_path / "black.png")
    expect(page.locator("#verdict")).to_be_visible()
    shown = np.asarray(Image.open(io.BytesIO(page.locator("#preview").screenshot())).convert("L"))
    height, width = shown.shape
    assert width / height == pytest.approx(shape[0] / shape[1], rel=0.02)
    middle = shown[height // 2] if width > height else shown[:, width // 2]
    seen = np.flatnonzero(middle == 0)
    expected = (0.25, 0.75) if resize == "crop" else (0, 1)
    assert expected == pytest.approx((seen[0] / len(middle), (seen[-1] + 1) / len(middle)), abs=0.02)


def test_set_promises_nothing_of_other_pictures(page: Page, picture: Path):
    """The coverage that was measured holds for pictures like the model's own."""
    page.set_input_files("#file", picture)
    expect(page.locator("#legend")).to_contain_text("95\u00a0% of pictures like those it was trained on.")


def test_too_few_images_name_no_set_and_nothing_is_certain(page: Page, picture: Path):
    """Null for a set: no bar is marked, and the reason is said. A probability that float32 rounds to 1 is not 100 %."""
    top = [{"label": "cat", "index": 3, "probability": 1}, {"label": "dog", "index": 5, "probability": 0}]
    answer = {**top[0], "top": top, "abstain": False, "prediction_set": None}
    page.route("**/predict?*", lambda route: route.fulfill(json={"predictions": [answer]}))
    page.set_input_files("#file", picture)
    expect(page.locator("#explanation")).to_have_text("> 99.9\u00a0% sure.")
    assert page.locator("#bars .share").all_text_contents() == ["> 99.9\u00a0%", "< 0.1\u00a0%"]
    assert page.locator("#bars .member").count() == 0
    expect(page.locator("#legend")).to_contain_text("No set of classes is named: 2,300 validation images are too few")


def test_what_is_no_picture_is_explained(page: Page, picture: Path, tmp_path: Path):
    """The server's words, in an alert; the next good picture takes its place."""
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("#file", tmp_path / "notes.txt")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Received 10 bytes that are not an image")
    page.set_input_files("#file", picture)
    expect(alert).to_be_hidden()
    expect(page.locator("#verdict")).to_be_visible()


def test_too_large_a_file_is_not_even_sent(page: Page, tmp_path: Path):
    """The limit is the server's own, from /model."""
    (tmp_path / "large.png").write_bytes(bytes(11 * 2**20))
    page.set_input_files("#file", tmp_path / "large.png")
    expect(page.get_by_role("alert")).to_contain_text("At most 10,485,760")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_dropped_and_pasted_pictures_are_answered(page: Page, picture: Path, event: str):
    """Both ways lead where choosing does."""
    page.evaluate(
        """([bytes, kind]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "noise.png", {type: "image/png"}));
            const options = {bubbles: true, cancelable: true};
            document.body.dispatchEvent(kind === "drop"
                ? new DragEvent("drop", {...options, dataTransfer: transfer})
                : new ClipboardEvent("paste", {...options, clipboardData: transfer}));
        }""",
        [list(picture.read_bytes()), event],
    )
    expect(page.locator("#verdict")).to_be_visible()
    assert page.locator("#bars li").count() == 5


def test_keyboard_reaches_the_chooser(page: Page):
    """The Tab key comes to it after the languages and the tabs, and Enter opens it."""
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    page.reload()  # Playwright starts to watch for choosers without waiting until it does: this waits
    expect(page.locator("#knows")).not_to_be_empty()
    for _ in range(4):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.keyboard.press("Enter")
    for _ in range(200):
        if choosers:
            break
        page.wait_for_timeout(50)
    assert len(choosers) == 1


def test_page_fits_a_phone(page: Page, picture: Path):
    """Nothing sticks out sideways, before and after the answer."""
    page.set_viewport_size({"width": 320, "height": 640})
    page.set_input_files("#file", picture)
    expect(page.locator("#verdict")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_labels_are_text(page: Page, picture: Path):
    """A class named like markup is shown as it is spelt."""
    label = "<img src=x onerror=alert(1)>"
    answer = {"label": label, "index": 0, "probability": 1, "abstain": False, "prediction_set": [label]}
    answer["top"] = [{"label": label, "index": 0, "probability": 1}]
    page.route("**/predict?*", lambda route: route.fulfill(json={"predictions": [answer]}))
    page.set_input_files("#file", picture)
    expect(page.locator("#label")).to_have_text(label)
    assert page.locator("[onerror]").count() == 0


def test_stopped_server_is_named(page: Page, picture: Path):
    """A request that reaches nobody says so."""
    page.route("**/predict?*", lambda route: route.abort())
    page.set_input_files("#file", picture)
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")


def test_reference_lists_the_api(page: Page, server: ServerProcess):
    """/docs draws itself from /openapi.json, without anything from elsewhere."""
    page.goto(f"{server.url}/docs")
    headings = page.locator("#operations h2")
    expect(headings).to_have_text(
        [
            "POST /predict",
            "POST /explain",
            "POST /feedback",
            "DELETE /feedback/{id}",
            "GET /model",
            "GET /livez",
            "GET /readyz",
            "GET /metrics",
        ]
    )


@pytest.fixture
def guarded(browser: Browser, tmp_path: Path) -> Iterator[tuple[Page, str]]:
    """The page of a server with a key, and the key."""
    key, line = new_key("visitor", "predict")
    (tmp_path / "keys.txt").write_text(line)
    with running_server(api_keys=tmp_path / "keys.txt") as server:
        page = browser.new_page(locale="en-US")
        page.goto(server.url)
        yield page, key
        page.close()


def give_key(page: Page, key: str) -> None:
    page.get_by_label("API key of this server").fill(key)
    page.get_by_role("button", name="Use it").click()


def test_the_page_asks_for_a_key(guarded: tuple[Page, str], picture: Path):
    """It is sent from then on, stays for the tab alone, and a wrong one is asked for again."""
    page, key = guarded
    expect(page.get_by_role("alert")).to_contain_text("This server needs an API key.")
    page.set_input_files("#file", picture)
    for attempt in ("wrong", key):
        give_key(page, attempt)
    expect(page.locator("#verdict")).to_be_visible()
    expect(page.locator("#key-form")).to_be_hidden()
    assert key == page.evaluate("sessionStorage.getItem('lince-api-key')")
    page.reload()
    expect(page.locator("#knows")).to_have_text("This model knows 10 classes:")


def test_a_late_refusal_changes_nothing(guarded: tuple[Page, str], picture: Path):
    """The key is given before the server has refused the picture: the answer stays on the page."""
    page, key = guarded
    expect(page.get_by_label("API key of this server")).to_be_visible()
    held: list[Route] = []
    page.route("**/model", lambda route: held.append(route) if len(held) < 2 else route.continue_())
    page.set_input_files("#file", picture)
    give_key(page, "wrong")
    while len(held) < 2:
        page.wait_for_timeout(10)
    page.evaluate("document.getElementById('key-form').hidden = false")
    give_key(page, key)
    expect(page.locator("#verdict")).to_be_visible()
    for route in held:
        route.fulfill(status=401, json={})
    page.wait_for_timeout(100)
    expect(page.locator("#verdict")).to_be_visible()
    expect(page.locator("#key-form")).to_be_hidden()


def test_the_answer_is_seen_on_a_narrow_screen(page: Page, picture: Path):
    """It stands below the picture, and the heat map above the button: each is brought into view."""
    page.set_viewport_size({"width": 360, "height": 640})
    page.set_input_files("#file", picture)
    expect(page.locator("#label")).to_be_in_viewport()
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#heat")).to_be_in_viewport()
