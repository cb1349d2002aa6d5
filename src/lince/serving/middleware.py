"""ASGI middleware around the whole app: allowed hosts and origins, keys, HEAD, browsers' headers, ids, counting."""

import asyncio
import time

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lince.serving import request_record
from lince.serving.access import Access
from lince.serving.errors import STATUS, error_response, protocol_of
from lince.serving.logs import log_access
from lince.serving.metrics import Metrics
from lince.serving.request_record import RequestRecord
from lince.serving.settings import ServeSettings

PAGE_FILES = "/page"
ROUTES = frozenset(
    {
        *("/", "/predict", "/explain", "/feedback", "/feedback/{id}", "/model", "/livez", "/readyz", "/metrics"),
        *("/docs", "/openapi.json"),
    }
)
_OF_PREDICTIONS = {"/v1": "/v1/predict", "/v2": "/v2/infer"}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_RANGES = frozenset({b"range", b"if-range"})
_READING = frozenset({"GET", "HEAD"})

REFUSED = "lince.refused"
"""Key of a scope's `state`: the code of the error that `http_connection.py` has answered in the app's place."""
OVERLOADED = "lince.overloaded"
"""Key of a scope's `state`, set when a request for predictions was answered with 503, for `http_connection.py`."""
CLOSED = "lince.closed"
"""Key of a scope's `state`, set when the client has closed its sending half. Few of those still read."""

_ALWAYS = [(b"x-content-type-options", b"nosniff")]
# The page loads only its own files, shows pictures that the visitor chose (blob:) and cannot be framed.
_DOCUMENT = [
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_PREFLIGHT = {
    "access-control-allow-methods": "GET, HEAD, POST, DELETE",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "600",
}


class Gate:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, *, settings: ServeSettings, metrics: Metrics, access: Access):
        self._app = app
        self._settings = settings
        self._hosts = settings.hosts
        self._metrics = metrics
        self._access = access
        self._ids = request_record.ids()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})  # optional in ASGI; uvicorn provides it
        record, status = RequestRecord(request_record.id_of(scope["headers"], self._ids)), 0
        request_record.begin(record)
        is_head = scope["method"] == "HEAD"
        extra = [(request_record.ID_HEADER, record.id.encode()), *self._cross_origin_headers(scope)]

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *_with_head_allowed(status, message["headers"]),
                    *_extra_headers(message["headers"]),
                    *extra,
                ]
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        try:
            # The page's files are small: ranges of them are not served (RFC 9110, section 14.2).
            scope["headers"] = [header for header in scope["headers"] if header[0] not in _RANGES]
            refusal = self._refuse_host(scope) or self._answer_other_site(scope) or self._access.refuse(scope)
            app = refusal or self._app
            # HEAD is answered as GET is, without the body.
            await app({**scope, "method": "GET"} if is_head else scope, receive, send_with_headers)
        except asyncio.CancelledError:  # by uvicorn, at the end of a stop's grace period
            if not status:
                message = "The server stops, and this request took too long. Try again in a second."
                await error_response("shutting_down", message, path=scope["path"])(scope, receive, send_with_headers)
        finally:
            self._count(scope, record, status)

    def _count(self, scope: Scope, record: RequestRecord, status: int) -> None:
        ended_s, state = time.perf_counter(), scope["state"]
        if status == 503 and asks_for_predictions(scope["path"]):
            state[OVERLOADED] = True
        code = state.get(REFUSED) or record.code
        if not status:
            code = code or "internal_error"  # the app raised before it answered
        if not status or REFUSED in state:
            status = STATUS[code]
        self._metrics.count_request(
            path=route_of(scope["path"]),
            method=scope["method"] if scope["method"] in _METHODS else "other",
            status=status,
            model=record.model,
            code=code,
            seconds=ended_s - record.began_s,
        )
        if record.answered_s:
            self._metrics.count_stages(record, ended_s)
        if self._settings.access_log:
            log_access(scope, record, status=status, seconds=ended_s - record.began_s)

    def _refuse_host(self, scope: Scope) -> ASGIApp | None:
        """Refuses unknown hosts, against DNS rebinding: a site whose name has our address could read answers."""
        if self._hosts is None:
            return None
        received = _header(scope, b"host")
        name, _, port = received.lower().rpartition(":")
        if not port.isdecimal():
            name = received.lower()
        if not received or name in self._hosts:  # every browser sends the header; other clients need no protection
            return None
        message = f"Received Host {received[:100]!r}. Expected one of {', '.join(sorted(self._hosts))}. "
        message += "The server's operator can add names in LINCE_ALLOWED_HOSTS."
        return error_response("unknown_host", message, path=scope["path"])

    def _answer_other_site(self, scope: Scope) -> ASGIApp | None:
        """Refuses requests of other sites' pages, which could make visitors' browsers keep this machine busy.

        Browsers mark such requests as `cross-site`; other clients send no mark. `same-site` passes: it is another port
        of this machine, or another name of the same owner, and either could send requests without a browser.
        """
        if scope["method"] in _READING:
            return None
        if self._settings.allowed_origins and self._settings.allows_origin(_header(scope, b"origin")):
            is_preflight = scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method")
            return Response(status_code=204, headers=_PREFLIGHT) if is_preflight else None
        if not any(name == b"sec-fetch-site" and b"cross-site" in value.lower() for name, value in scope["headers"]):
            return None
        origin = _header(scope, b"origin")[:100] or "none"
        message = f"Received a request from a page of another site (Origin: {origin}). Expected a page of this server. "
        message += "The server's operator can add sites in LINCE_ALLOWED_ORIGINS."
        return error_response("cross_site", message, path=scope["path"])

    def _cross_origin_headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Headers by which a browser lets a page of an allowed origin read the answer."""
        if not self._settings.allowed_origins:
            return []
        origin = _header(scope, b"origin")
        allow = [(b"access-control-allow-origin", origin.encode("latin-1"))]
        return [(b"vary", b"Origin"), *(allow if origin and self._settings.allows_origin(origin) else [])]


def asks_for_predictions(path: str) -> bool:
    """Whether a POST to a path asks for predictions, for which there is a queue."""
    return path in ("/predict", "/explain") or (protocol_of(path) != "" and path.endswith(("/infer", ":predict")))


def _header(scope: Scope, name: bytes) -> str:
    return next((value for key, value in scope["headers"] if key == name), b"").decode("latin-1")


def _with_head_allowed(status: int, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer. A 405 that allows GET allows HEAD as well."""
    if status != 405:
        return headers
    return [(name, b"GET, HEAD" if (name, value) == (b"allow", b"GET") else value) for name, value in headers]


def _extra_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    is_document = any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers)
    return _ALWAYS + _DOCUMENT if is_document else _ALWAYS


def route_of(path: str) -> str:
    """The name under which requests of a path are counted: one of a fixed set."""
    if path in ROUTES:
        return path
    if path.startswith("/feedback/"):
        return "/feedback/{id}"
    if protocol := protocol_of(path):
        return _OF_PREDICTIONS[protocol] if asks_for_predictions(path) else protocol
    return PAGE_FILES if path.startswith(PAGE_FILES + "/") else "other"
