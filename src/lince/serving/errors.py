"""Every error that a request can end with, and its status: the server's one error table."""

import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lince.errors import ImageError, LinceError
from lince.serving import request_record
from lince.serving.schemas import ErrorAnswer, Failure

STATUS = {
    # the image
    "empty_image": 400,
    "corrupt_image": 400,
    "unsupported_format": 415,
    "image_too_large": 413,
    "image_too_complex": 413,
    "decode_timeout": 413,
    # the request
    "malformed_form": 400,
    "malformed_json": 400,
    "wrong_field": 400,
    "no_image": 400,
    "invalid_tensor": 400,
    "malformed_encoding": 400,
    "incomplete_body": 400,
    "malformed_request": 400,
    "unknown_host": 400,
    "unauthorized": 401,
    "cross_site": 403,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "receive_timeout": 408,
    "model_refused": 409,
    "not_explainable": 409,
    "body_too_large": 413,
    "too_many_parts": 413,
    "unsupported_media_type": 415,
    "invalid_parameter": 422,
    "rate_limited": 429,
    "headers_too_large": 431,
    "client_closed_request": 499,
    # the server
    "internal_error": 500,
    "overloaded": 503,
    "not_ready": 503,
    "stalled": 503,
    "deadline_exceeded": 503,
    "shutting_down": 503,
    "metrics_unavailable": 503,
    "explanation_timeout": 503,
    "feedback_unavailable": 503,
    "feedback_full": 507,
}

ANYWHERE = ("malformed_request", "unknown_host", "receive_timeout", "headers_too_large", "overloaded", "shutting_down")
"""Codes of errors that a request can end with before it reaches its route."""

GUARDED = ("unauthorized", "rate_limited")
"""Further ones of all routes but those about health."""

OTHER_PROTOCOLS = ("/v1", "/v2")
"""Prefixes of addresses that are not of the native protocol."""

STOPPING = "The server is stopping. Try again in a second."
RETRY_AFTER_S = 1  # a full queue empties in a fraction of a second
_BY_STATUS = {404: "not_found", 405: "method_not_allowed"}

_log = logging.getLogger(__name__)


class RequestError(LinceError):
    """A request that cannot be answered.

    Attributes:
        code: a key of `STATUS`.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


def error_response(code: str, message: str, *, path: str = "", headers: dict[str, str] | None = None) -> Response:
    """The answer for an error of the table.

    Args:
        code: a key of `STATUS`.
        message: for people.
        path: of the request; see `error_body`.
        headers: further ones.
    """
    status = STATUS[code]
    extra = {"retry-after": str(RETRY_AFTER_S)} if status == 503 else {}
    return _ErrorResponse(code, error_body(code, message, path), status, extra | (headers or {}))


class _ErrorResponse(Response):
    """An error, whose code is noted when it is sent: for metrics."""

    media_type = "application/json"

    def __init__(self, code: str, content: bytes, status: int, headers: dict[str, str]):
        super().__init__(content, status, headers)
        self._code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_record.current().code = self._code
        await super().__call__(scope, receive, send)


def error_body(code: str, message: str, path: str = "") -> bytes:
    """`{"error": {"code": …, "message": …}}`; for the path of another protocol `{"error": message}`."""
    if protocol_of(path):
        return msgspec.json.encode({"error": message})
    return msgspec.json.encode(ErrorAnswer(Failure(code, message)))


def protocol_of(path: str) -> str:
    """The prefix of the protocol of others that a path is of, or nothing. Their clients expect errors to be text."""
    return next((prefix for prefix in OTHER_PROTOCOLS if path == prefix or path.startswith(f"{prefix}/")), "")


def error_bytes(code: str, message: str, *, close: bool, path: str = "", retry_after_s: int = RETRY_AFTER_S) -> bytes:
    """A whole HTTP/1.1 answer but for its date: status, headers and the error.

    Args:
        code, message, path: as for `error_response`.
        close: whether to announce that the connection closes.
        retry_after_s: seconds for `Retry-After`, which answers of status 503 carry.
    """
    status = STATUS[code]
    body = error_body(code, message, path)
    lines = [
        b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode()),
        b"content-type: application/json\r\nx-content-type-options: nosniff\r\n",
        b"retry-after: %d\r\n" % retry_after_s if status == 503 else b"",
        b"connection: close\r\n" if close else b"",
        b"content-length: %d\r\n\r\n" % len(body),
        body,
    ]
    return b"".join(lines)


def openapi_responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Errors of the table as FastAPI takes them for a route's `responses`: each status with the codes it can have."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        others = f"{found[STATUS[code]]['description']}, " if STATUS[code] in found else ""
        found[STATUS[code]] = {"model": ErrorAnswer, "description": f"{others}`{code}`"}
    return found


async def _answer_error(request: Request, error: RequestError | ImageError) -> Response:
    return error_response(error.code, str(error), path=request.scope["path"])


async def _answer_disconnect(_: Request, __: ClientDisconnect) -> Response:
    """Nobody is left to read it; the status is counted."""
    return error_response("incomplete_body", "The connection closed before the whole body had arrived.")


async def _answer_http_error(request: Request, error: HTTPException) -> Response:
    """404 and 405, which the router raises."""
    code = _BY_STATUS.get(error.status_code)
    if code is None:  # nothing of ours raises another one
        _log.error("Unexpected status %d", error.status_code, exc_info=error)
        return _bug(request)
    path = request.scope["path"][:200]
    message = {
        "not_found": f"There is nothing at {path!r}. Expected /, /predict, /explain, /feedback, /model, /livez, "
        "/readyz, /metrics, /docs, or an address of another protocol: see docs/http-api.md.",
        "method_not_allowed": f"{request.method} is not answered at {path!r}. See the Allow header, or /docs.",
    }[code]
    return error_response(code, message, path=request.scope["path"], headers=dict(error.headers or {}))


async def _answer_bug(request: Request, _: Exception) -> Response:
    """Starlette sends this answer around our middleware, which therefore cannot add the request's id."""
    return _bug(request, headers={request_record.ID_HEADER.decode(): request_record.current().id})


def _bug(request: Request, headers: dict[str, str] | None = None) -> Response:
    """Ours: logged with its traceback by the server, and nothing of it told."""
    message = "The server failed on this request. Its log says why."
    return error_response("internal_error", message, path=request.scope["path"], headers=headers)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    RequestError: _answer_error,
    ImageError: _answer_error,
    ClientDisconnect: _answer_disconnect,
    HTTPException: _answer_http_error,
    Exception: _answer_bug,
}
"""The app's exception handlers: every exception has an answer in our shape."""
