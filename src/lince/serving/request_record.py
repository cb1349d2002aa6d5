"""What is known of the request under way: its id, its model, its error, and when each stage of it ended.

The middleware makes a record for each request, and the task of the request finds it by `current`. Times are of
`time.perf_counter`, in seconds.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass, field


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
