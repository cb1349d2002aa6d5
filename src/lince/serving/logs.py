"""What the service logs, to stderr: as text, or as JSON with one object a line.

A thread writes the lines: a log that nobody reads, or a full disk, stops no request. Lines that find too many others
waiting are lost, and counted.

Each JSON line has `time` (UTC), `level` and `message`, and one about a request has its `request_id`. A line of the
access log also has `method`, `path`, `status`, `milliseconds` and `client`. A traceback is one text in `traceback`.
"""

import json
import logging
import queue
import sys
import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing import util
from typing import Any
from urllib.parse import quote

from lince.serving import request_record
from lince.serving.request_record import RequestRecord
from lince.serving.settings import LogFormat

_LEVELS = {"lince": logging.INFO, "uvicorn.error": logging.WARNING, "asyncio": logging.WARNING}
_TEXT = "%(asctime)s %(levelname)s %(message)s"
_FIELDS = "lince_fields"  # of a log record: what a JSON line has besides
_MOST_LINES = 10_000  # that wait to be written: 3 MB
_EXIT_S = 0.2  # for the last lines, at the end of the process
_log = logging.getLogger(__name__)
_access = logging.getLogger(f"{__name__}.access")


def configure(log_format: LogFormat) -> None:
    """Logs our messages and uvicorn's to stderr, without the libraries' warnings about clients' malformed input."""
    handler = _Lines()
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT))
    for name, level in _LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    for noisy in ("python_multipart", "PIL"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="PIL")


def log_access(scope: Mapping[str, Any], record: RequestRecord, *, status: int, seconds: float) -> None:
    """Logs one request. The query is left out, and other characters than ASCII's are escaped."""
    host, port = scope.get("client") or ("-", 0)
    fields: dict[str, Any] = {
        "request_id": record.id,
        "method": scope["method"],
        "path": quote(scope["path"], safe="/:"),
        "status": status,
        "milliseconds": round(1000 * seconds, 2),
        "client": f"{host}:{port}",
    }
    _access.info(
        '%(client)s "%(method)s %(path)s" %(status)d %(milliseconds)g ms %(request_id)s',
        fields,
        extra={_FIELDS: fields},
    )


def flush(seconds: float) -> None:
    """Waits until the lines so far are written, but not for longer."""
    for handler in logging.getLogger("lince").handlers:
        if isinstance(handler, _Lines):
            handler.wait(seconds)


class _Lines(logging.Handler):
    """Writes lines to stderr in a thread. Those that find the queue full are lost."""

    def __init__(self) -> None:
        super().__init__()
        self._stream = sys.stderr
        self._lines: queue.Queue[str] = queue.Queue(_MOST_LINES)
        self._lost = 0
        threading.Thread(target=self._write, name="log", daemon=True).start()
        # Workers end without what `logging` does at the end of a process.
        util.Finalize(None, self.flush, exitpriority=0)

    def emit(self, record: logging.LogRecord) -> None:
        """Formats the record here, in the context of its request."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Called at the end of the process."""
        self.wait(_EXIT_S)

    def wait(self, seconds: float) -> None:
        """Waits until the lines so far are written, but not for longer."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, seconds)

    def _write(self) -> None:
        while True:
            lines = [self._lines.get()]
            if lost := self._take_lost():
                lines.append(self.format(_lost_lines(lost)))
            with suppress(OSError, ValueError):  # a full disk, a closed stream
                self._stream.writelines(f"{line}\n" for line in lines)
                self._stream.flush()
            self._lines.task_done()

    def _take_lost(self) -> int:
        self.acquire()  # `emit` counts with it
        lost, self._lost = self._lost, 0
        self.release()
        return lost


def _lost_lines(count: int) -> logging.LogRecord:
    """Says how many lines are lost. The queue may be full, so this line does not pass through it."""
    text = "%d lines of the log are lost: they were not written as fast as they came."
    return _log.makeRecord(_log.name, logging.WARNING, "", 0, text, (count,), None)


class JsonFormatter(logging.Formatter):
    """One JSON object a line. A line that is logged while a request is answered has the request's id."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        if request_id := request_record.current().id:
            fields["request_id"] = request_id
        fields |= getattr(record, _FIELDS, {})
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)
