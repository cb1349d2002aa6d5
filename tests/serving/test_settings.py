"""Settings: from options, then `LINCE_…`, then defaults."""

import os
from pathlib import Path

import pytest

from lince.errors import ServiceError
from lince.model_file import artifact
from lince.serving.settings import ServeSettings


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch):
    """An option that is None was not given."""
    monkeypatch.setenv("LINCE_PORT", "9000")
    monkeypatch.setenv("LINCE_HOST", "0.0.0.0")
    settings = ServeSettings.read(port=9001, host=None)
    assert (settings.port, settings.host) == (9001, "0.0.0.0")


def test_the_default_is_the_model_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder of the user's with the model's name, such as that of the images, is not served instead."""
    (tmp_path / "cifar10").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "cifar10" == artifact.read(ServeSettings().model_files[0]).manifest.name


def test_workers_read_what_was_exported(monkeypatch: pytest.MonkeyPatch):
    """Every field survives the way through the environment."""
    for name in ServeSettings.model_fields:
        monkeypatch.setenv(f"LINCE_{name.upper()}", "")  # so that what export writes is undone after the test
        monkeypatch.delenv(f"LINCE_{name.upper()}")
    settings = ServeSettings(
        workers=3,
        allowed_hosts=["a.example", "b"],
        receive_timeout_s=2.5,
        access_log=True,
        api_keys="keys.txt",
        trusted_proxies=["10.0.0.0/8", "::1"],
    )
    settings.export()
    assert ServeSettings.read() == settings
    assert os.environ["LINCE_WORKERS"] == "3"
    pinned = ServeSettings(sha256="0" * 64)
    pinned.export()
    assert ServeSettings.read() == pinned


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("port", "many", "Setting 'port' received 'many'. Expected a whole number from 0 to 65535. .*LINCE_PORT"),
        ("port", "70000", "received '70000'. Expected a whole number from 0 to 65535"),
        ("sha256", "", "Expected 64 hexadecimal digits.*LINCE_SHA256"),
        ("sha256", "0" * 63, "Expected 64 hexadecimal digits"),
        ("sha256", "0" * 63 + "g", "Expected 64 hexadecimal digits"),
        ("workers", "0", "received '0'. Expected a whole number from 1 to 64"),
        ("allowed_hosts", "a.example", "LINCE_ALLOWED_HOSTS received 'a.example'. Expected a JSON list of text"),
        ("allowed_hosts", "5", "Setting 'allowed_hosts' received '5'. Expected a JSON list"),
        ("rate_limit", "-1", "received '-1'. Expected a number of at least 0"),
        ("trusted_proxies", '["proxy"]', "received 'proxy'. Expected a JSON list of addresses and networks, such as"),
        ("trusted_proxies", '["10.0.0.1/8"]', "received '10.0.0.1/8'. Expected a JSON list of addresses and networks"),
        ("trusted_proxies", "10.0.0.1", "LINCE_TRUSTED_PROXIES received '10.0.0.1'. Expected a JSON list of addresses"),
        ("access_log", "perhaps", "received 'perhaps'. Expected true or false"),
        ("decode_cpu_s", "0", "received '0'. Expected a number above 0"),
        ("decode_cpu_s", "inf", "received 'inf'. Expected a number above 0"),
        ("receive_timeout_s", "inf", "received 'inf'. Expected a number above 0"),
    ],
)
def test_bad_values_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str):
    """One sentence: which setting, what it received, what it takes."""
    monkeypatch.setenv(f"LINCE_{name.upper()}", value)
    with pytest.raises(ServiceError, match=words):
        ServeSettings.read()


def test_unknown_options_are_refused():
    """A misspelt option is an error, not ignored."""
    with pytest.raises(ServiceError, match=r"no setting 'prot'\. Did you mean 'port'\?"):
        ServeSettings.read(prot=1)


def test_misspelt_variables_are_told():
    """A variable that looks like a setting is named; those of others, and of a Kubernetes service, are not."""
    strangers = ["LINCE_PORT_80_TCP", "LINCE_SERVICE_HOST", "LINCE_SERVICE_PORT", "LINCE_CACHE", "PORT", "LINCE_PORT"]
    assert [] == list(ServeSettings.misspelt(strangers))
    [sentence] = ServeSettings.misspelt(["LINCE_MAX_PIXEL"])
    assert "LINCE_MAX_PIXEL is set, but there is no such setting. Did you mean 'LINCE_MAX_PIXELS'?" == sentence


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback_is_known(host: str, loopback: bool):
    """Only then is the Host header checked by default."""
    assert ServeSettings(host=host).loopback is loopback
    assert (ServeSettings(host=host).hosts is None) is not loopback
