"""The service as a process: `serve(settings)` listens, answers, and stops without dropping a request."""

import logging
import os
import signal
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from lince import artifact, memory, native
from lince.classifier import Classifier
from lince.errors import ServiceError
from lince.serving.app import create_app
from lince.serving.connection import BoundedConnection
from lince.serving.metrics import FOLDER_VARIABLE
from lince.serving.settings import ServeSettings

_BACKLOG = 1024  # connections the kernel holds for us; it caps them at its own limit (4096 on Linux today)

_log = logging.getLogger(__name__)


def serve(settings: ServeSettings) -> None:
    """Serves until SIGINT or SIGTERM; requests in flight are answered first.

    Raises:
        ServiceError: the address cannot be listened on, or a worker failed to start.
        ModelFileError: the model file is not valid.
    """
    _set_up_process(settings)
    with _listen(settings) as listener:
        if settings.workers == 1:
            with native.hushed():
                classifier = Classifier.load(settings.model, sha256=settings.sha256)
            app = create_app(classifier, settings)
            _Server(_config(app, settings)).run(sockets=[listener])
        else:
            _supervise(settings, listener)


def create_worker_app() -> FastAPI:
    """The app of one worker process, from the environment that `serve` wrote."""
    settings = ServeSettings.read()
    _set_up_process(settings)
    return create_app(settings.model, settings)


def _set_up_process(settings: ServeSettings) -> None:
    _configure_logging(access=settings.access_log)
    memory.return_freed()


def _supervise(settings: ServeSettings, listener: socket.socket) -> None:
    artifact.read(settings.model, sha256=settings.sha256)  # a clear error here, once, rather than from every worker
    with tempfile.TemporaryDirectory(prefix="lince-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        settings.export()
        supervisor = Multiprocess(_config(f"{__name__}:{create_worker_app.__name__}", settings), [listener])
        _announce(listener, f", {settings.workers} workers")
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise ServiceError("A worker process failed to start. The log above says why.")


def _config(app: FastAPI | str, settings: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=settings.workers,
        http=BoundedConnection,
        ws="none",
        lifespan="on",
        proxy_headers=False,  # nothing here believes, or needs, a client's address
        server_header=False,
        access_log=settings.access_log,
        log_config=None,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.shutdown_s,
    )


class _Server(uvicorn.Server):
    """uvicorn's server, for which a stop that was asked for is a success."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _announce(sockets[0])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own raises the signal again once it has stopped, and the process ends as if killed."""
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _listen(settings: ServeSettings) -> socket.socket:
    """A socket on the address; whoever connects before the model is ready waits for it."""
    try:
        [family, _, _, _, address], *_ = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ServiceError(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Expected a free port of this machine: choose another with --port, or stop the program that holds it."
        ) from error


def _announce(listener: socket.socket, remark: str = "") -> None:
    host, port = listener.getsockname()[:2]
    _log.info("Serving on http://%s:%d%s. Ctrl-C stops.", f"[{host}]" if ":" in host else host, port, remark)


def _configure_logging(*, access: bool) -> None:
    """Ours and uvicorn's messages to stderr; a library's warnings about malformed input are the client's affair."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    levels = {"lince": logging.INFO, "uvicorn.error": logging.WARNING, "uvicorn.access": logging.INFO}
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    if not access:
        logging.getLogger("uvicorn.access").handlers = []
    for noisy in ("python_multipart", "PIL"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="PIL")
