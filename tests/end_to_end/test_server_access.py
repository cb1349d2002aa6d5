"""API keys of a real server, with one worker and with two: nobody without a key, and changes without a restart."""

import http.client
import json
import os
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from hostile_requests import black_png
from server_process import COMMAND, ServerProcess, running_server

from lince.serving.api_keys import new_key

KEY, LINE = new_key("cats", "predict")
NEW_KEY, NEW_LINE = new_key("dogs", "predict")
PICTURE = black_png(32, 32)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(LINE)
    path.chmod(0o640)
    return path


def ask(server: ServerProcess, key: str | None = None) -> int:
    """The status, on a new connection."""
    headers = {"Content-Type": "image/png"} | ({"Authorization": f"Bearer {key}"} if key else {})
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request("POST", "/predict", PICTURE, headers)
        response = connection.getresponse()
        response.read()
        return response.status


@pytest.mark.parametrize("workers", [1, 2])
def test_keys_change_without_a_restart(keys_file: Path, workers: int):
    """In every worker; no key reaches the log."""
    with running_server(api_keys=keys_file, workers=workers, access_log=True) as server:
        assert [401, 401, 200] == [ask(server), ask(server, NEW_KEY), ask(server, KEY)]
        keys_file.with_name("new").write_text(NEW_LINE)
        os.replace(keys_file.with_name("new"), keys_file)
        end = time.monotonic() + 20
        while {ask(server, NEW_KEY) for _ in range(8)} != {200}:
            assert time.monotonic() < end
        assert {401} == {ask(server, KEY) for _ in range(8)}
        log = server.log.read_text()
        assert "was read again" in log
        assert not [one for one in (KEY, NEW_KEY, LINE.split()[2]) if one in log]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_of_keys_that_is_not_valid_is_a_failed_start(tmp_path: Path, workers: int):
    """Exit code 3 and one sentence."""
    command = [*COMMAND, "--port", "0", "--workers", str(workers), "--api-keys", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    [line] = done.stderr.splitlines()
    assert "The file of API keys" in line


def test_a_file_that_everybody_can_read_is_told(keys_file: Path):
    """Once, in one sentence that says what to do."""
    keys_file.chmod(0o644)
    with running_server(api_keys=keys_file, workers=2) as server:
        assert server.log.read_text().count(f"can read or change {str(keys_file)!r}. Run chmod o= on it.") == 1


def test_a_body_of_who_has_no_key_takes_no_memory(keys_file: Path):
    """The answer comes before the body has been sent."""
    with (
        running_server(api_keys=keys_file) as server,
        closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection,
    ):
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", str(10_000_000))
        connection.endheaders(b"the first bytes")
        response = connection.getresponse()
        assert (401, "unauthorized") == (response.status, json.load(response)["error"]["code"])


def forwarded(server: ServerProcess, value: str) -> int:
    """The status of `/model` for a request of a proxy, which is this process."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request("GET", "/model", headers={"X-Forwarded-For": value})
        return connection.getresponse().status


def test_a_trusted_proxy_names_the_client():
    """The last entry that is not trusted, for the log and the limit. What a client wrote before it does not count."""
    proxies = json.dumps(["127.0.0.1", "10.0.0.0/8"])
    with running_server(trusted_proxies=proxies, rate_limit=0.1, access_log=True) as server:
        assert [200, 429] == [forwarded(server, f"9.9.9.{fake}, 192.0.2.7, 10.1.2.3") for fake in range(2)]
        assert 200 == forwarded(server, "192.0.2.8, 10.1.2.3")
        assert "192.0.2.7:0" in server.log.read_text()


def test_the_header_of_others_is_ignored():
    """A client cannot take another address by itself."""
    with running_server(trusted_proxies='["10.0.0.0/8"]', rate_limit=0.1, access_log=True) as server:
        assert [200, 429] == [forwarded(server, f"192.0.2.{number}") for number in range(2)]
        assert "192.0.2." not in server.log.read_text()


def test_a_file_of_settings_holds_for_every_worker(keys_file: Path, tmp_path: Path):
    """The number of workers, and what they demand."""
    config = tmp_path / "lince.toml"
    config.write_text(f"workers = 2\napi_keys = {json.dumps(str(keys_file))}\n")
    with running_server(config=config) as server:
        assert "2 workers" in server.log.read_text()
        assert {401} == {ask(server) for _ in range(8)}
        assert 200 == ask(server, KEY)
