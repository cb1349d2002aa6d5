"""API keys: who may ask, and who may swap models.

A key is random and has 256 bits. The file holds its SHA-256, one line a key:

    NAME ROLE SHA256HEX       ROLE is predict or admin; empty lines, and lines that begin with #, are ignored

A fast hash is right for such keys: nobody can try 2^256 of them. Slow hashes protect passwords, which can be guessed.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from lince.errors import ServiceError
from lince.serving.reloaded_file import ReloadedFile
from lince.system.files import read_bounded, reason_of
from lince.text import NAME

Role = Literal["predict", "admin"]

_LINE = re.compile(rf"({NAME.pattern})\s+(predict|admin)\s+([0-9A-Fa-f]{{64}})")
_MAX_BYTES = 2**16  # 700 keys: comparing with all of them takes 0.1 ms


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key: `digest` is its SHA-256, 32 bytes."""

    name: str
    role: Role
    digest: bytes


def new_key(name: str, role: Role) -> tuple[str, str]:
    """Makes a random key.

    Args:
        name: matches `lince.text.NAME`.
        role: what the key may do.

    Returns:
        The key, and its line for the file.
    """
    key = f"lince_{secrets.token_urlsafe(32)}"
    return key, f"{name} {role} {_digest(key).hex()}"


class ApiKeys:
    """The keys of a file, which is read again when it changes."""

    def __init__(self, path: Path):
        """Reads the file.

        Raises:
            ServiceError: it cannot be read, or a line of it is not valid.
        """
        self._keys = ReloadedFile(lambda: tuple(_read(path)), path)

    def find(self, key: str) -> ApiKey | None:
        """The entry of a key. The time that this takes does not depend on which one it is, or how much of it fits."""
        digest, found = _digest(key), None
        for one in self._keys.value:
            if hmac.compare_digest(one.digest, digest):
                found = one
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _read(path: Path) -> Iterator[ApiKey]:
    try:
        lines = read_bounded(path, _MAX_BYTES).decode().splitlines()
    except OSError as error:
        raise ServiceError(
            f"The file of API keys {str(path)!r} cannot be read ({reason_of(error)}). Expected a file with lines that "
            "lince key NAME prints."
        ) from error
    except UnicodeDecodeError as error:
        raise ServiceError(f"The file of API keys {str(path)!r} is not text in UTF-8.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        if (found := _LINE.fullmatch(line.strip())) is None:  # the line is not shown: it may hold a key
            raise ServiceError(
                f"Line {number} of the file of API keys {str(path)!r} is not valid. Expected NAME ROLE SHA256HEX, as "
                "lince key NAME prints it."
            )
        name, role, digest = found.groups()
        yield ApiKey(name, cast(Role, role), bytes.fromhex(digest))
