"""Settings: from options, then `LINCE_…`, then defaults."""

import json
import os
from pathlib import Path

import pytest

from lince.errors import ModelFileError, ServiceError
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


@pytest.mark.parametrize("place", ["argument", "environment", "file"])
def test_models_are_named_alike_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str):
    """By a name that ships, a run folder or a path, wherever the setting comes from."""
    run, file = tmp_path / "run", tmp_path / "a.tflite"
    run.mkdir()
    (run / "model.tflite").touch()
    names = ["cifar10-tiny", str(run), str(file)]
    if place == "environment":
        monkeypatch.setenv("LINCE_MODEL", json.dumps(names))
    (tmp_path / "lince.toml").write_text(f"model = {json.dumps(names)}\n" if place == "file" else "")
    settings = ServeSettings.read(file=tmp_path / "lince.toml", model=names if place == "argument" else None)
    assert settings.model_files == (artifact.shipped_models()["cifar10-tiny"], run / "model.tflite", file)


def test_a_folder_without_a_model_is_named():
    """One sentence, when the service starts."""
    with pytest.raises(ModelFileError, match=r"holds no model\.tflite"):
        _ = ServeSettings(model=["."]).model_files


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


class TestFile:
    """Settings in TOML."""

    def test_the_environment_and_options_go_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """A file goes before the default alone; `LINCE_CONFIG` names it as well."""
        path = tmp_path / "lince.toml"
        path.write_text('port = 1\nhost = "a.example"\nworkers = 2\nmodel = ["a", "b"]\nallowed_hosts = ["x"]\n')
        monkeypatch.setenv("LINCE_HOST", "b.example")
        monkeypatch.setenv("lince_workers", "4")
        settings = ServeSettings.read(file=path, port=3)
        assert (3, "b.example", 4) == (settings.port, settings.host, settings.workers)
        assert ((Path("a"), Path("b")), {"x"}) == (settings.model, settings.allowed_hosts)
        monkeypatch.setenv("LINCE_CONFIG", str(path))
        assert settings == ServeSettings.read(port=3)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("prot = 1", r"no setting 'prot', which stands in '.*lince.toml'\. Did you mean 'port'\?"),
            ("[server]\nport = 1", r"no setting 'server'"),
            (
                "port = 70000",
                r"received '70000'\. Expected a whole number from 0 to 65535\. Correct it in '.*toml'",
            ),
            ("port = ", r"lince.toml' is not TOML: Invalid value .*Expected lines such as port = 8000"),
            ("port = 1\nport = 2", "is not TOML"),
            ("#" * 20_000, "more than 16,384 bytes"),
            (b"\xff", "is not TOML"),
        ],
    )
    def test_what_is_not_valid_is_named(self, tmp_path: Path, text: str | bytes, words: str):
        """With the file."""
        path = tmp_path / "lince.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ServiceError, match=words):
            ServeSettings.read(file=path)

    def test_a_value_that_the_file_did_not_give_is_not_looked_for_there(self, tmp_path: Path):
        """The option goes first, so it is the one to correct."""
        path = tmp_path / "lince.toml"
        path.write_text("port = 1")
        with pytest.raises(ServiceError, match="Correct the option or LINCE_PORT"):
            ServeSettings.read(file=path, port=70000)

    def test_what_is_printed_can_be_read(self, tmp_path: Path):
        """Every setting, with characters that TOML escapes."""
        path = tmp_path / "lince.toml"
        for settings in (
            ServeSettings(),
            ServeSettings(
                model=['a "b"\\\t\x7fé.tflite', "😀"],
                sha256=None,
                allowed_origins=["https://b.example", "https://a.example"],
                trusted_proxies=["10.0.0.0/8", "::1"],
                rate_limit=1e-7,
                access_log=True,
                tls_cert="a",
                tls_key="b",
            ),
        ):
            path.write_text(settings.to_toml(), encoding="utf-8")
            assert settings == ServeSettings.read(file=path)
            assert settings.to_toml() == ServeSettings.read(file=path).to_toml()
        assert all(name in settings.to_toml() for name in ServeSettings.model_fields)

    def test_workers_do_not_read_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """A worker that starts later has the settings of the first ones."""
        path = tmp_path / "lince.toml"
        path.write_text("port = 1")
        for name in ServeSettings.model_fields:
            monkeypatch.setenv(f"LINCE_{name.upper()}", "")
            monkeypatch.delenv(f"LINCE_{name.upper()}")
        monkeypatch.setenv("LINCE_CONFIG", str(path))
        settings = ServeSettings.read()
        settings.export()
        path.write_text('port = 2\nsha256 = "damaged"')
        assert settings == ServeSettings.read()


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
