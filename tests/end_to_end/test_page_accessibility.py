"""The page for everybody: axe-core finds nothing, keys reach all, it fits, and it is small."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from server_process import ServerProcess, running_server

from browser_page import OpenPage

WIDTHS = (320, 768, 1280)


@pytest.fixture(scope="module")
def taking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with everything on: corrections, and several models."""
    database = tmp_path_factory.mktemp("feedback") / "feedback.db"
    with running_server(feedback=f"sqlite:///{database}", model='["cifar10", "cifar10-tiny"]') as server:
        yield server


def states(page: Page, folder: Path) -> Iterator[str]:
    """The page in each of its states, and their names."""
    expect(page.locator("#knows")).not_to_be_empty()
    yield "before"
    (folder / "notes.txt").write_text("no picture")
    page.set_input_files("#file", folder / "notes.txt")
    expect(page.locator("#error")).to_be_visible()
    yield "an error"
    page.evaluate("document.getElementById('key-form').hidden = false")
    yield "a key is asked for"
    page.evaluate("document.getElementById('key-form').hidden = true")
    page.set_input_files("#file", "src/lince/serving/page/frog.png")
    expect(page.locator("#verdict")).to_be_visible()
    page.locator("#all-bars").click()
    page.locator("#explain").click()
    expect(page.locator("#heat")).to_be_visible(timeout=30_000)
    yield "an answer, and why"
    page.locator("#right").select_option("cat")
    page.locator("#correction button").click()
    expect(page.locator("#take-back")).to_be_visible()
    yield "a correction"
    page.locator("#take-back").click()
    page.locator("#camera").click()
    expect(page.locator("#rate")).not_to_be_empty()
    yield "the camera"
    page.locator("#model-tab").click()
    page.locator("summary").click()
    yield "the model"


@pytest.mark.parametrize("locale", ["en-US", "pt-BR"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: OpenPage, taking: ServerProcess, tmp_path: Path, locale: str, scheme: str):
    """By the rules of WCAG 2.2 AA and by axe's own best practices, in every state."""
    page = open_page(taking.url, locale=locale, color_scheme=scheme)
    found = {}
    for state in states(page, tmp_path):
        result = Axe().run(
            page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
        )
        assert len(result.response["passes"]) > 10
        if result.violations_count:
            found[state] = [
                (one["id"], [node["html"] for node in one["nodes"]]) for one in result.response["violations"]
            ]
    assert {} == found


def test_axe_can_find_something(page: Page):
    """A picture without a text."""
    page.evaluate("document.querySelector('main').append(new Image())")
    assert "image-alt" in [one["id"] for one in Axe().run(page).response["violations"]]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("locale", ["en-US", "pt-BR"])
def test_nothing_sticks_out(open_page: OpenPage, taking: ServerProcess, tmp_path: Path, width: int, locale: str):
    """In every state, from a small phone to a wide screen."""
    page = open_page(taking.url, locale=locale, viewport={"width": width, "height": 800})
    found = {state: page.evaluate("document.documentElement.scrollWidth") for state in states(page, tmp_path)}
    assert dict.fromkeys(found, width) == found


def test_keys_reach_everything(open_page: OpenPage, taking: ServerProcess, tmp_path: Path):
    """The Tab key comes to each control that can be seen, and shows where it is."""
    page = open_page(taking.url)
    page.set_input_files("#file", ["src/lince/serving/page/frog.png", "src/lince/serving/page/ship.png"])
    expect(page.locator("#correction")).to_be_visible()
    controls = page.locator("button:visible, select:visible, a:visible, input[type=file]").count()
    page.locator("h1").click()
    reached, ringless = set(), []
    for number in range(controls - 1):  # all but the tab that is not chosen
        page.keyboard.press("Tab")
        name = page.evaluate("(document.activeElement.dataset.stop ??= crypto.randomUUID())")
        reached.add(name)
        ring = page.evaluate(
            "getComputedStyle(document.activeElement.id === 'file' ? document.getElementById('drop')"
            " : document.activeElement).outlineStyle"
        )
        ringless += [] if ring == "solid" else [number]
    assert (controls - 1, []) == (len(reached), ringless)


def test_the_page_is_small_and_asks_this_server_alone(open_page: OpenPage, taking: ServerProcess):
    """Less than 100 KB with its sample pictures, and no other address."""
    page = open_page("about:blank")
    responses = []
    page.on("response", lambda response: responses.append(response))
    page.goto(taking.url)
    expect(page.locator("#knows")).not_to_be_empty()
    page.wait_for_load_state("networkidle")
    assert [] == [one.url for one in responses if not one.url.startswith(taking.url)]
    assert len(responses) > 8
    assert sum(len(one.body()) for one in responses) < 100_000


@pytest.mark.parametrize(("motion", "expected"), [("reduce", "0s"), ("no-preference", "0.2s")])
def test_motion_is_reduced_on_request(open_page: OpenPage, motion: str, expected: str):
    """Bars move only for those who did not say that they want none."""
    page = open_page(reduced_motion=motion)
    page.locator("[data-sample=ship]").click()
    duration = page.locator("#bars .fill").first.evaluate("bar => getComputedStyle(bar).transitionDuration")
    assert expected == duration
