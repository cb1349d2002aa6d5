"""What every request passes on its way in and out: the Host header, headers for browsers, the counting."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lince.serving.errors import error_response
from lince.serving.metrics import Metrics

PAGE_FILES = "/page"
ROUTES = frozenset({"/", "/predict", "/model", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_ALWAYS = [(b"x-content-type-options", b"nosniff")]
# The page loads its own files only, shows pictures that the visitor chose (blob:) and cannot be framed.
_DOCUMENT = [
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


class Gate:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, metrics: Metrics):
        self._app = app
        self._hosts = hosts
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500  # 500 when the app raises before it answers

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_extra_headers(message["headers"])]
            await send(message)

        try:
            app = self._refusal(scope) or self._app
            await app(scope, receive, send_with_headers)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            seconds = time.perf_counter() - start
            self._metrics.count_request(path=_route(scope["path"]), method=method, status=status, seconds=seconds)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """Against DNS rebinding: a web site that gives its name our loopback address could read what we answer."""
        if self._hosts is None:
            return None
        received = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        name, _, port = received.lower().rpartition(":")
        if not port.isdecimal():
            name = received.lower()
        if not received or name in self._hosts:  # every browser sends one; without it there is no browser to protect
            return None
        message = f"Received Host {received[:100]!r}. Expected one of {', '.join(sorted(self._hosts))}; "
        return error_response(
            "unknown_host", message + "whoever runs this server can add names in LINCE_ALLOWED_HOSTS."
        )


def _extra_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    is_document = any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers)
    return _ALWAYS + _DOCUMENT if is_document else _ALWAYS


def _route(path: str) -> str:
    if path in ROUTES:
        return path
    return PAGE_FILES if path.startswith(PAGE_FILES + "/") else "other"
