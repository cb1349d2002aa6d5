"""The page's files, and the headers that keep a browser on the safe side."""

import re
from pathlib import Path

import pytest
from app_client import AppClient

import lince.serving
from lince.language import LANGUAGES, Language, catalogue
from lince.serving.errors import protocol_of
from lince.serving.middleware import ROUTES

PAGE = Path(lince.serving.__file__).parent / "page"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_documents_are_locked_down(client: AppClient, path: str):
    """Own files only, no frames, no guessing of types, no referrer."""
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_no_site_may_read_answers(client: AppClient):
    """There is no CORS: other origins get no permission."""
    response = client.get("/model", headers={"Origin": "http://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("document", ["index.html", "docs.html"])
def test_documents_load_only_files_that_are_there(client: AppClient, document: str):
    """No address outside, nothing inline that the policy would block, and every file is served."""
    text = (PAGE / document).read_text()
    links = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert {client.get(f"/{link.removeprefix('./').removeprefix('/')}").status_code for link in links} == {200}
    assert not re.findall(r"https?://|<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)", text)


def test_scripts_insert_text_only():
    """Labels and messages cannot become markup."""
    scripts = list(PAGE.glob("*.js"))
    assert len(scripts) >= 3
    assert not [
        script.name
        for script in scripts
        if re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval", script.read_text())
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_those_of_the_page(client: AppClient, language: Language):
    """Those of its catalogue whose keys the page can use, and no others, such as the report's."""
    response = client.get(f"/page/texts/{language}.json")
    assert "no-cache" == response.headers["cache-control"]
    texts = catalogue(language)
    assert {key: texts[key] for key in texts if key.startswith(("page.", "class."))} == response.json()
    assert 404 == client.get("/page/texts/xx.json").status_code


def test_texts_that_the_page_names_are_there_and_none_is_left_over():
    """Keys in its document and scripts; those that scripts put together begin with what they name."""
    sources = "".join(path.read_text(encoding="utf-8") for path in PAGE.iterdir() if path.suffix in (".html", ".js"))
    named = set(re.findall(r"""["'`]((?:page|class)\.[\w.]+)["'`]""", sources))
    begun = tuple(re.findall(r"`(page\.[\w.]+\.)\$\{", sources))
    texts = {key for key in catalogue("en") if key.startswith("page.")}
    plural = {key.removesuffix(".one") for key in texts if f"{key.removesuffix('.one')}.other" in texts}
    shown = texts - {f"{key}.{count}" for key in plural for count in ("one", "other")} | plural
    assert set() == {key for key in named if key.startswith("page.")} - shown
    assert set() == {key for key in shown - named if not key.startswith(begun)}


def test_an_update_shows_at_once(client: AppClient):
    """Browsers ask again before they use their copy, and get a 304."""
    first = client.get("/page/page.js")
    assert first.headers["cache-control"] == "no-cache"
    assert client.get("/page/page.js", headers={"If-None-Match": first.headers["etag"]}).status_code == 304


def test_every_route_is_known_to_the_metrics(client: AppClient):
    """A new route must be added to the set that metrics count by name."""
    paths = {route.path for route in client.app.routes if not route.path.startswith("/page")}
    assert {path for path in paths if not protocol_of(path)} == ROUTES
    assert set(client.get("/openapi.json").json()["paths"]) <= ROUTES


def test_ranges_change_no_answer(client: AppClient):
    """Small files are sent whole, whatever part a client asks for; no other error than ours is answered."""
    for asked in ("bytes=0-1", "bytes=99999999-", "bytes=5-1", "chars=1-2", "bytes=-"):
        response = client.get("/", headers={"Range": asked})
        assert (200, client.get("/").content) == (response.status_code, response.content), asked
