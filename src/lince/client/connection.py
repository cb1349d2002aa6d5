"""The client's I/O: requests to an untrusted server by httpx, limited in bytes and in time, and repeated."""

import asyncio
import random
import re
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx

from lince.client.answers import NoAnswerError, Reply, foreign, shown
from lince.client.request import Request
from lince.client.retries import Retries
from lince.errors import LinceError, ServiceError


class Connection:
    """Open connections to one service. `await aclose()` closes them."""

    def __init__(self, url: str, *, api_key: str | None, timeout_s: float, retries: int):
        """Connects at the first request.

        Args:
            url, api_key, timeout_s, retries: see `AsyncClient`.

        Raises:
            ServiceError: the address is not that of a server. LinceError: another argument is not valid.
        """
        if not 0 < timeout_s < float("inf") or retries < 0:
            expected = "Expected seconds above 0, and 0 retries or more."
            raise LinceError(f"Received timeout_s={timeout_s!r} and retries={retries!r}. {expected}")
        self.url = url
        self._base = _base(url)
        self._timeout_s = timeout_s
        self._retries = Retries(retries)
        self._http = httpx.AsyncClient(
            # No encoding: a small compressed answer can be a large one.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"} | _authorization(api_key),
            verify=_certificates(self._base),
            trust_env=False,  # no proxy and no password that the environment names
            timeout=None,  # those of httpx begin anew with each byte: `ask` bounds the whole
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # none is kept
        )

    async def ask(self, request: Request, *, repeat: bool = True) -> Reply:
        """Makes a request, again where `Retries` says so and `repeat` allows it.

        Returns:
            The last answer, whatever its status.

        Raises:
            NoAnswerError: there is no whole answer in time.
            ServiceError: it has more bytes than the limit.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout_s
        attempt = 0
        while True:
            found = await self._attempt(request, end)
            reply = found if isinstance(found, Reply) else None
            pause_s = self._retries.pause_s(attempt, reply, left_s=end - loop.time(), jitter=random.random())
            if pause_s is not None and repeat:
                await asyncio.sleep(pause_s)
                attempt += 1
            elif isinstance(found, Reply):
                return found
            else:
                raise self._no_answer(_reason(found)) from found

    async def _attempt(self, request: Request, end: float) -> Reply | Exception:
        try:
            async with asyncio.timeout_at(end):
                return await self._exchange(request)
        except TimeoutError as error:
            raise self._no_answer(f"timed out: no whole answer in {self._timeout_s:g} s") from error
        except (httpx.HTTPError, OSError) as error:
            return error

    async def _exchange(self, request: Request) -> Reply:
        headers = {"Content-Type": request.content_type} if request.content_type else {}
        url = self._base + request.path
        async with self._http.stream(request.method, url, content=request.content, headers=headers) as response:
            content = bytearray()
            async for piece in response.aiter_raw():
                content += piece
                if len(content) > request.limit_bytes:
                    reason = f"status {response.status_code}, more than {request.limit_bytes:,} bytes"
                    raise foreign(self.url, request.path.partition("?")[0], reason)
            return Reply(response.status_code, bytes(content), response.headers.get("Retry-After"))

    def _no_answer(self, reason: str) -> NoAnswerError:
        expected = "Expected a running server: start `lince serve`, or correct the address."
        return NoAnswerError(f"No answer from {self.url} ({shown(reason)}). {expected}")

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._http.aclose()


def _base(url: str) -> str:
    """The address without a slash at its end. Raises ServiceError where it is not the address of a server."""
    try:
        address = urlsplit(url)
        if "@" in address.netloc:  # httpx would send it, and errors would show it
            raise ServiceError("Received an address with a user name or a password. Expected none: use `api_key`.")
        host = (address.hostname or "").encode("idna")
        if address.scheme in ("http", "https") and host and address.port != 0 and not address.query + address.fragment:
            return str(httpx.URL(url)).rstrip("/")
    except (ValueError, httpx.InvalidURL):  # a port that is no number, half an IPv6 address, a host not valid in DNS
        pass
    raise ServiceError(f"Received {url!r}. Expected the address of a server, such as 'http://127.0.0.1:8000'.")


def _certificates(base: str) -> ssl.SSLContext | bool:
    """Those of the system, and of SSL_CERT_FILE. Reading them takes 20 ms, for which plain HTTP has no use."""
    return base.startswith("https:") and ssl.create_default_context()


def _authorization(api_key: str | None) -> dict[str, str]:
    if api_key is None:
        return {}
    if not re.fullmatch(r"[!-~]+", api_key):
        raise LinceError("Received an API key with spaces, line ends or other characters than ASCII, or an empty one.")
    return {"Authorization": f"Bearer {api_key}"}


def _reason(error: BaseException | None) -> str:
    """The innermost words: errors of httpx wrap the system's, and those of several addresses are a group."""
    words = type(error).__name__
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        words = str(error) or words
        error = error.__cause__ or error.__context__
    return words
