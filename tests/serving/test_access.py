"""Who may send which request: keys, their roles, and what is open to all."""

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from app_client import RAW, AppClient, MakeClient, Png

from lince.errors import ServiceError
from lince.serving import access, reloaded_file
from lince.serving.api_keys import new_key

KEY, LINE = new_key("cats", "predict")
ADMIN_KEY, ADMIN_LINE = new_key("operator", "admin")
ADMIN = ("POST", "/v2/repository/index")
OPEN = ["/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/", "/docs", "/openapi.json", "/page/page.js"]
GUARDED = [
    ("POST", "/predict"),
    ("GET", "/model"),
    ("GET", "/metrics"),
    ("HEAD", "/model"),
    ("OPTIONS", "/predict"),
    ("GET", "/v2"),
    ("POST", "/v2/models/cifar10/infer"),
    ("POST", "/v1/models/cifar10:predict"),
    ("GET", "/nowhere"),
    ("GET", "/pages"),
    ("GET", "/livez/"),
    ADMIN,
]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def code(response: httpx.Response) -> str:
    return response.json()["error"]["code"]


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(f"{LINE}\n{ADMIN_LINE}\n")
    return path


@pytest.fixture
def guarded(make_client: MakeClient, keys_file: Path) -> Iterator[AppClient]:
    return make_client(api_keys=keys_file)


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer(""), {"Authorization": f"Basic {KEY}"}])
def test_without_a_key_nothing_is_answered(guarded: AppClient, method: str, path: str, headers: dict):
    """Unknown addresses neither; the header says how to authenticate."""
    answer = guarded.request(method, path, headers=headers)
    assert (401, "Bearer") == (answer.status_code, answer.headers["www-authenticate"])


@pytest.mark.parametrize("path", OPEN)
def test_health_and_the_page_are_open(guarded: AppClient, path: str):
    """Probes of a cluster have no key, and the page asks for one."""
    assert 200 == guarded.get(path).status_code


def test_errors_have_the_shape_of_their_protocol(guarded: AppClient):
    """A code on native routes, text below /v1 and /v2."""
    assert "unauthorized" == code(guarded.get("/model"))
    assert "Authorization: Bearer KEY" in guarded.get("/v2").json()["error"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_a_key_is_answered(guarded: AppClient, png: Png, scheme: str):
    """The name of the scheme has no case (RFC 9110, section 11.1)."""
    headers = RAW | {"Authorization": f"{scheme} {KEY}"}
    assert 200 == guarded.post("/predict", content=png(), headers=headers).status_code


def test_the_api_description_names_the_key(make_client: MakeClient, guarded: AppClient):
    """Generated clients know then what to send, and that probes need none; without keys nothing is named."""
    described = guarded.get("/openapi.json").json()
    assert described["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert described["security"] == [{"key": []}]
    assert {
        path for path, one in described["paths"].items() if one.get("get", {}).get("security") == []
    } == access.HEALTH
    assert "security" not in make_client().get("/openapi.json").json()


def test_admin_routes_need_an_admin_key(guarded: AppClient):
    """An admin may ask for predictions as well."""
    refused = guarded.request(*ADMIN, headers=bearer(KEY))
    assert (403, True) == (refused.status_code, "'cats'" in refused.json()["error"])
    assert 200 == guarded.request(*ADMIN, headers=bearer(ADMIN_KEY)).status_code
    assert 200 == guarded.get("/model", headers=bearer(ADMIN_KEY)).status_code


def test_without_a_file_of_keys_admin_routes_are_closed(client: AppClient):
    """All others are open; the sentence says how to start the service."""
    refused = client.request(*ADMIN, headers=bearer(ADMIN_KEY))
    assert (403, True) == (refused.status_code, "--api-keys" in refused.json()["error"])
    assert 200 == client.get("/model").status_code


def test_the_body_is_not_read_before_the_key(guarded: AppClient):
    """Not a byte of it: nobody without a key takes memory."""
    read = []

    def body() -> Iterator[bytes]:
        read.append(1)
        yield b"x"

    refused = guarded.post("/predict", content=body(), headers=RAW)
    assert (401, []) == (refused.status_code, read)


def test_a_key_comes_and_goes_without_a_restart(
    guarded: AppClient, keys_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A file that is not valid changes nothing, and the log says so without a key."""
    monkeypatch.setattr(reloaded_file, "LOOK_S", 0.0)
    assert 200 == guarded.get("/model", headers=bearer(KEY)).status_code
    keys_file.write_text(f"{LINE}\n{KEY}\n")
    with caplog.at_level(logging.INFO):
        assert 200 == guarded.get("/model", headers=bearer(KEY)).status_code
        assert "The old content stays in use. Line 2" in caplog.text
        keys_file.write_text(ADMIN_LINE)
        assert 401 == guarded.get("/model", headers=bearer(KEY)).status_code
    assert KEY not in caplog.text


def test_keys_are_in_no_answer_and_no_number(guarded: AppClient):
    """Right or wrong, with any status; metrics count by status alone."""
    for key in (KEY, "wrong-key"):
        for method, path in GUARDED:
            assert key not in guarded.request(method, path, headers=bearer(key)).text
    numbers = guarded.get("/metrics", headers=bearer(KEY)).text
    assert 'status="401"' in numbers
    assert not [key for key in (KEY, "wrong-key") if key in numbers]


def test_other_sites_may_send_keys_where_they_are_named(make_client: MakeClient, keys_file: Path):
    """The preflight needs no key and allows the header; the page can read that its key is missing."""
    site = make_client(api_keys=keys_file, allowed_origins=["https://cats.example"])
    origin = {"Origin": "https://cats.example"}
    preflight = site.request("OPTIONS", "/predict", headers=origin | {"Access-Control-Request-Method": "POST"})
    assert (204, True) == (
        preflight.status_code,
        "authorization" in preflight.headers["access-control-allow-headers"],
    )
    refused = site.post("/predict", headers=origin)
    assert (401, origin["Origin"]) == (refused.status_code, refused.headers["access-control-allow-origin"])


def test_a_file_of_keys_that_is_not_valid_stops_the_start(make_client: MakeClient, keys_file: Path):
    """Nothing is served without the keys that were asked for."""
    keys_file.write_text("cats\n")
    with pytest.raises(ServiceError, match="Line 1"):
        make_client(api_keys=keys_file)


def test_requests_of_one_address_are_limited(make_client: MakeClient):
    """Two seconds' worth; then 429 and when to come back. Health checks go on."""
    client = make_client(rate_limit=0.5)
    assert 200 == client.get("/model").status_code
    refused = client.get("/model")
    assert (429, "rate_limited") == (refused.status_code, code(refused))
    assert refused.headers["retry-after"] in ("1", "2")
    assert "more than 0.5 requests a second from this address" in refused.json()["error"]["message"]
    assert {200} == {client.get(path).status_code for path in OPEN[:4] for _ in range(3)}
    assert "Try again in" in client.get("/v2").json()["error"]


def test_requests_with_one_key_are_limited(make_client: MakeClient, keys_file: Path, monkeypatch: pytest.MonkeyPatch):
    """From whatever addresses they come; another key has its own limit."""
    client = make_client(rate_limit=0.5, api_keys=keys_file)
    addresses = iter(range(100))
    monkeypatch.setattr(access, "client_name", lambda _: str(next(addresses)))
    assert 200 == client.get("/model", headers=bearer(KEY)).status_code
    refused = client.get("/model", headers=bearer(KEY))
    assert (429, True) == (refused.status_code, "with this key" in refused.json()["error"]["message"])
    assert 200 == client.get("/model", headers=bearer(ADMIN_KEY)).status_code


def test_guesses_of_keys_are_limited(make_client: MakeClient, keys_file: Path):
    """A wrong key counts for its address."""
    client = make_client(rate_limit=0.5, api_keys=keys_file)
    assert [401, 429] == [client.get("/model", headers=bearer("guess")).status_code for _ in range(2)]


def test_an_allowed_site_can_read_that_it_is_limited(make_client: MakeClient):
    """Its page gets 429 and not a failure of the network."""
    client = make_client(rate_limit=0.5, allowed_origins=["*"])
    answers = [client.get("/model", headers={"Origin": "https://cats.example"}) for _ in range(2)]
    assert [200, 429] == [answer.status_code for answer in answers]
    assert "https://cats.example" == answers[1].headers["access-control-allow-origin"]
