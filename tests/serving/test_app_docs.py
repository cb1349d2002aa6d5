"""`docs/http-api.md` says what the code does."""

import json
import re
from pathlib import Path

from lince.serving.app import create_app
from lince.serving.errors import STATUS, protocol_of
from lince.serving.middleware import ROUTES
from lince.serving.settings import ServeSettings, shipped_model

PAGE = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text()


def test_every_error_is_documented():
    """The table of errors is the server's own."""
    documented = {code: int(status) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)}
    assert documented == STATUS


def test_every_setting_is_documented_with_its_default():
    """The table of settings is the class's own."""
    documented = dict(re.findall(r"^\| `LINCE_(\w+)` \| `?([^|`]+)`? \|", PAGE, re.MULTILINE))
    settings = ServeSettings().model_dump(mode="json") | {"model": "cifar10"}
    defaults = {
        name.upper(): value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()
    }
    assert {name: value.strip() for name, value in documented.items()} == defaults


def test_every_route_is_documented():
    """The tables of addresses list them all, and no more."""
    documented = re.findall(r"^\| `(?:GET|POST|DELETE) (/[^`]*)`(?:, `(/[^`]*)`)? \|", PAGE, re.MULTILINE)
    paths = {path for row in documented for path in row if path}
    assert {path for path in paths if not protocol_of(path)} == ROUTES
    served = {route.path for route in create_app(shipped_model(), ServeSettings()).routes}
    without_versions = {path.replace("{name}", "NAME") for path in served if "{version}" not in path}
    assert set(filter(protocol_of, paths)) == set(filter(protocol_of, without_versions))
