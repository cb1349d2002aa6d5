"""Who may send a request, and how often: API keys and rate limits, checked before anything of the body is read."""

import math
import time

from starlette.responses import Response
from starlette.types import Scope

from lince.serving.api_keys import ApiKey, ApiKeys
from lince.serving.errors import error_response
from lince.serving.rate_limit import RateLimit, client_name
from lince.serving.settings import ServeSettings

DECIDED = "lince.decided"
"""Key of a scope's `state`: what `refuse` has found for this request before, so that it is not counted twice."""

HEALTH = frozenset({"/livez", "/readyz"})
"""Addresses that everybody may ask, at any rate."""

_HEALTH_BELOW = "/v2/health/"
# The page's own files hold no secret, and it needs them to ask for a key.
_DOCUMENTS = frozenset({"/", "/docs", "/openapi.json"})
_DOCUMENTS_BELOW = "/page/"
_ADMIN_BELOW = "/v2/repository/"
_CHALLENGE = {"www-authenticate": "Bearer"}
_SCHEME = "bearer"


class Access:
    """Decides about requests by their path, their client's address and their key."""

    def __init__(self, settings: ServeSettings):
        """Reads the keys.

        Raises:
            ServiceError: the file of keys is not valid.
        """
        self._keys = ApiKeys(settings.api_keys) if settings.api_keys is not None else None
        self._rate = settings.rate_limit
        self._by_address = RateLimit(self._rate) if self._rate else None
        self._by_key = RateLimit(self._rate) if self._rate else None

    def refuse(self, scope: Scope) -> Response | None:
        """The answer for a request that is refused; None for one that may pass."""
        path = scope["path"]
        if DECIDED in scope["state"]:
            decided: Response | None = scope["state"][DECIDED]
            return decided
        if path in HEALTH or path.startswith(_HEALTH_BELOW):
            return None
        return self._refuse_flood(scope, path) or self._refuse_stranger(scope, path)

    def _refuse_flood(self, scope: Scope, path: str) -> Response | None:
        if self._by_address is None:
            return None
        address = (scope.get("client") or ("",))[0]
        wait_s = self._by_address.wait_s(client_name(address), time.monotonic())
        return self._too_many("from this address", wait_s, path) if wait_s else None

    def _refuse_stranger(self, scope: Scope, path: str) -> Response | None:
        is_admin = path.startswith(_ADMIN_BELOW)
        if self._keys is None:
            return _forbid_without_keys(path) if is_admin else None
        if path in _DOCUMENTS or path.startswith(_DOCUMENTS_BELOW):
            return None
        key = _key_of(scope, self._keys)
        if key is None:
            message = "Expected the header 'Authorization: Bearer KEY' with a key of this server."
            return error_response("unauthorized", message, path=path, headers=_CHALLENGE)
        if is_admin and key.role != "admin":
            message = f"The key {key.name!r} may ask for predictions. This address needs a key with the role admin."
            return error_response("forbidden", message, path=path)
        wait_s = self._by_key.wait_s(key.name, time.monotonic()) if self._by_key is not None else 0
        return self._too_many("with this key", wait_s, path) if wait_s else None

    def _too_many(self, whose: str, wait_s: float, path: str) -> Response:
        seconds = str(math.ceil(wait_s))
        message = f"Received more than {self._rate:g} requests a second {whose}. Try again in {seconds} s."
        return error_response("rate_limited", message, path=path, headers={"retry-after": seconds})


def _forbid_without_keys(path: str) -> Response:
    message = "This address needs a key with the role admin, and the server has no keys. "
    message += "Start it with --api-keys FILE; lince key NAME --admin makes a key."
    return error_response("forbidden", message, path=path)


def _key_of(scope: Scope, keys: ApiKeys) -> ApiKey | None:
    received = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, key = received.decode("latin-1").partition(" ")
    return keys.find(key.strip()) if scheme.lower() == _SCHEME else None
