"""What the service logs, to stderr: as text, or as JSON with one object a line.

Each JSON line has `time` (UTC), `level` and `message`, and one about a request has its `request_id`. A line of the
access log also has `method`, `path`, `status`, `milliseconds` and `client`. A traceback is one text in `traceback`.
"""

import json
import logging
import warnings
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from starlette.types import Scope

from lince.serving import request_record
from lince.serving.request_record import RequestRecord
from lince.serving.settings import LogFormat

_LEVELS = {"lince": logging.INFO, "uvicorn.error": logging.WARNING, "asyncio": logging.WARNING}
_TEXT = "%(asctime)s %(levelname)s %(message)s"
_FIELDS = "lince_fields"  # of a log record: what a JSON line has besides
_access = logging.getLogger(f"{__name__}.access")


def configure(log_format: LogFormat) -> None:
    """Logs our messages and uvicorn's to stderr, without the libraries' warnings about clients' malformed input."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT))
    for name, level in _LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    for noisy in ("python_multipart", "PIL"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="PIL")


def log_access(scope: Scope, record: RequestRecord, *, status: int, seconds: float) -> None:
    """Logs one request. The query is left out, and other characters than ASCII's are escaped."""
    host, port = scope.get("client") or ("-", 0)
    fields: dict[str, Any] = {
        "method": scope["method"],
        "path": quote(scope["path"], safe="/:"),
        "status": status,
        "milliseconds": round(1000 * seconds, 2),
        "client": f"{host}:{port}",
    }
    _access.info(
        '%(client)s "%(method)s %(path)s" %(status)d %(milliseconds)g ms %(request_id)s',
        fields | {"request_id": record.id},
        extra={_FIELDS: fields},
    )


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
