"""What is known of the request under way: its id, its model, its error, and when each stage of it ended.

The middleware makes a record for each request, and the task of the request finds it by `current`. Times are of
`time.perf_counter`, in seconds.
"""

import itertools
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

ID_HEADER = b"x-request-id"
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(slots=True)
class RequestRecord:
    """One request.

    Attributes:
        id: as the answer and the log name it.
        began_s: when its headers had arrived.
        model: the name of the model that it asks; empty for none.
        code: of the error that it ends with, a key of `errors.STATUS`; empty for none.
        queued_s: when its images stood in the queue.
        decode_s, infer_s: how long its images were decoded, and answered by the network.
        answered_s: when all of its images were answered; 0 for a request that did not come so far.
    """

    id: str = ""
    began_s: float = field(default_factory=time.perf_counter)
    model: str = ""
    code: str = ""
    queued_s: float = 0.0
    decode_s: float = 0.0
    infer_s: float = 0.0
    answered_s: float = 0.0


_current: ContextVar[RequestRecord] = ContextVar("request")


def begin(record: RequestRecord) -> None:
    """Makes it the record of the request that the current task answers."""
    _current.set(record)


def current() -> RequestRecord:
    """The record of the request that the current task answers; a new one outside of the middleware."""
    return _current.get(None) or RequestRecord()


def ids() -> Iterator[str]:
    """Ids for requests that bring none: random for a process, then a number."""
    prefix = secrets.token_hex(6)
    return (f"{prefix}-{number}" for number in itertools.count(1))


def id_of(headers: Iterable[tuple[bytes, bytes]], made: Iterator[str]) -> str:
    """The id of a request: its client's, if it has 1 to 128 letters, digits, dots, hyphens and underscores.

    Args:
        headers: of the request, with names in small letters.
        made: of `ids`, for a request without such an id.
    """
    sent = next((value for name, value in headers if name == ID_HEADER), b"").decode("latin-1")
    return sent if _ID.fullmatch(sent) else next(made)
