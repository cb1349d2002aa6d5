"""The page's live camera, in a real browser with a camera that shows a moving drawing."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser_page import OpenPage

# Keeps the camera's stream, and counts the requests for answers that are under way.
WATCH = """
const open = MediaDevices.prototype.getUserMedia;
MediaDevices.prototype.getUserMedia = async function (wanted) {
  return (window.stream = await open.call(this, wanted));
};
const send = window.fetch;
Object.assign(window, { underWay: 0, most: 0, answered: 0 });
window.fetch = async (path, options) => {
  if (!String(path).startsWith("predict")) return send(path, options);
  window.most = Math.max(window.most, ++window.underWay);
  try {
    return await send(path, options);
  } finally {
    window.underWay--;
    window.answered++;
  }
};
"""
STATE = "stream.getTracks().map((track) => track.readyState)"


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    page = open_page()
    page.add_init_script(WATCH)
    page.reload()
    expect(page.locator("#knows")).not_to_be_empty()
    return page


def start(page: Page) -> None:
    page.get_by_role("button", name="Start camera").click()
    expect(page.locator("#verdict")).to_be_visible()


def test_frames_are_answered_one_at_a_time(page: Page):
    """One request is under way, so the next frame is the latest; the page shows a rate, and what the network sees."""
    start(page)
    while page.evaluate("answered") <= 20:
        page.wait_for_timeout(50)
    assert 1 == page.evaluate("most")
    expect(page.locator("#rate")).to_contain_text("pictures a second")
    expect(page.locator("#video")).to_be_visible()
    expect(page.locator("#seen")).to_be_visible()
    expect(page.locator("#intro")).to_be_hidden()
    expect(page.locator("#answer")).to_have_attribute("aria-live", "off")


def test_stop_releases_the_camera_and_keeps_the_last_frame(page: Page):
    """As a picture of the visit, which can be explained."""
    start(page)
    page.get_by_role("button", name="Stop camera").click()
    assert ["ended"] == page.evaluate(STATE)
    expect(page.locator("#preview")).to_be_visible()
    expect(page.locator("#video")).to_be_hidden()
    expect(page.get_by_role("button", name="Why?")).to_be_visible()
    expect(page.locator("#answer")).to_have_attribute("aria-live", "polite")
    answered = page.evaluate("answered")
    page.wait_for_timeout(300)
    assert page.evaluate("answered") - answered <= 1  # the last frame's own answer


def test_the_camera_starts_again(page: Page):
    """After a stop."""
    for _ in range(2):
        start(page)
        expect(page.locator("#rate")).not_to_be_empty()
        page.get_by_role("button", name="Stop camera").click()
    expect(page.locator(".thumbnail")).to_have_count(2)


def test_a_hidden_tab_has_no_camera(page: Page):
    """It is released, and the page says so when it is looked at again."""
    start(page)
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true}),document.dispatchEvent(new Event('visibilitychange'))"
    )
    assert ["ended"] == page.evaluate(STATE)
    expect(page.locator("#camera-note")).to_contain_text("switched off because this tab was hidden")
    expect(page.locator("#invitation")).to_be_visible()
    expect(page.locator("#intro")).to_be_visible()


def test_another_picture_ends_the_camera(page: Page, picture: Path):
    """It takes the camera's place."""
    start(page)
    page.set_input_files("#file", picture)
    expect(page.locator("#preview")).to_be_visible()
    assert ["ended"] == page.evaluate(STATE)
    expect(page.get_by_role("button", name="Start camera")).to_be_visible()


@pytest.mark.parametrize(
    ("error", "words"),
    [("NotAllowedError", "does not let the page use the camera"), ("NotFoundError", "No camera could be started")],
)
def test_no_camera_is_explained(page: Page, error: str, words: str):
    """Whether the visitor refused it, or there is none."""
    page.evaluate(
        "name => { MediaDevices.prototype.getUserMedia = async () => { throw new DOMException('', name); }; }", error
    )
    page.get_by_role("button", name="Start camera").click()
    expect(page.locator("#camera-note")).to_contain_text(words)
    expect(page.get_by_role("button", name="Start camera")).to_be_enabled()


def test_a_busy_server_slows_the_camera_down(page: Page):
    """It waits as long as the server says, and goes on by itself."""
    start(page)
    full = json.dumps({"error": {"code": "overloaded", "message": "256 requests are waiting already."}})
    options = {"status": 503, "headers": {"retry-after": "1"}, "body": full, "content_type": "application/json"}
    page.route("**/predict?*", lambda route: route.fulfill(**options))
    expect(page.get_by_role("alert")).to_contain_text("The server is busy.")
    page.unroute("**/predict?*")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#video")).to_be_visible()
