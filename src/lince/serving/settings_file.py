"""The service's settings as a TOML file: the names of `ServeSettings`, without tables."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lince.errors import ServiceError
from lince.system.files import read_bounded, reason_of

_MAX_BYTES = 2**14  # one long dotted key takes tomllib 0.6 s


def read(path: Path) -> dict[str, Any]:
    """Reads a file of settings. Names and values are not checked.

    Raises:
        ServiceError: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(read_bounded(path, _MAX_BYTES).decode())
    except OSError as error:
        raise ServiceError(f"The file of settings {str(path)!r} cannot be read ({reason_of(error)}).") from error
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not TOML, numbers of 5,000 digits
        raise ServiceError(
            f"The file of settings {str(path)!r} is not TOML: {str(error)[:200]}. Expected lines such as port = 8000 "
            "or host = '0.0.0.0', each name once."
        ) from error


def to_toml(settings: Mapping[str, Any]) -> str:
    """Settings as text that `read` reads. TOML has no null: settings that are None stand in comments."""
    return "\n".join(
        f"# {name} is not set" if value is None else f"{name} = {_value(value)}" for name, value in settings.items()
    )


def _value(value: Any) -> str:
    """JSON is TOML, for text, numbers, booleans and lists of these; but DEL must be escaped in TOML."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
