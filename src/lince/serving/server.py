"""The service as a process: `serve(settings)` listens, answers, and stops without dropping a request."""

import logging
import os
import socket
import tempfile
import warnings

import uvicorn
from fastapi import FastAPI

from lince.errors import ModelFileError, ServiceError
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.serving import listener as listening
from lince.serving import metrics
from lince.serving.app import create_app
from lince.serving.http_connection import BoundedConnection
from lince.serving.settings import ServeSettings
from lince.serving.shutdown import StoppableServer
from lince.serving.workers import Link, Supervisor
from lince.system import memory, quiet, streams

_log = logging.getLogger(__name__)


def serve(settings: ServeSettings) -> None:
    """Serves until SIGINT or SIGTERM; requests in flight are answered first.

    Raises:
        ServiceError: the address cannot be listened on, or no worker could start.
        ModelFileError: the model file is not valid.
    """
    _set_up_process(settings)
    for sentence in ServeSettings.misspelt(os.environ):
        _log.warning("%s", sentence)
    with listening.listen(settings) as listener:
        if settings.workers == 1:
            config = _config(create_app(_load(settings), settings), settings)
            server = StoppableServer(config, shutdown_s=settings.shutdown_s, on_ready=lambda: _announce(listener))
            server.run(sockets=[listener])
        else:
            _supervise(settings, listener)


def work(link: Link, listener: socket.socket, version: str) -> None:
    """One worker process, whose settings are in the environment that `serve` wrote.

    Args:
        link: to the supervisor.
        listener: shared by all workers.
        version: of the model that all of them serve.
    """
    settings = ServeSettings.read()
    _set_up_process(settings)
    try:
        metrics.share(slot=link.slot)
        classifier = _load(settings)
        _require_version(classifier, version, settings)
        config = _config(create_app(classifier, settings), settings)
        server = StoppableServer(config, shutdown_s=settings.shutdown_s, on_ready=link.say_ready, supervised=True)
        server.run(sockets=[listener])
    except (ModelFileError, ServiceError, OSError) as error:
        link.say_failed(str(error))


def _supervise(settings: ServeSettings, listener: socket.socket) -> None:
    # Read here as well: one clear error, rather than one from each worker.
    version = artifact.read(settings.model, sha256=settings.sha256).manifest.version
    with _metrics_folder() as folder:
        os.environ[metrics.FOLDER_VARIABLE] = folder
        settings.export()
        supervisor = Supervisor(work, (listener, version), count=settings.workers, shutdown_s=settings.shutdown_s)
        _announce(listener, f", {settings.workers} workers")
        supervisor.run()
        listening.turn_away(listener)


def _metrics_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="lince-metrics-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ServiceError(
            f"Several workers count their requests in a temporary folder, which cannot be made ({error.strerror}). "
            "Set TMPDIR to a folder that can be written, such as an emptyDir volume, or use 1 worker."
        ) from error


def _load(settings: ServeSettings) -> Classifier:
    with quiet.captured_stderr():
        return Classifier.load(settings.model, sha256=settings.sha256)


def _require_version(classifier: Classifier, version: str, settings: ServeSettings) -> None:
    """Refuses a model that the other workers do not serve: the same request would have two answers."""
    if (found := classifier.manifest.version) != version:
        raise ServiceError(
            f"Model file {str(settings.model)!r} was replaced: it is version {found}, and the other workers serve "
            f"{version}. Put the old file back, or restart the service to serve the new one."
        )


def _set_up_process(settings: ServeSettings) -> None:
    streams.prepare()
    _configure_logging(access=settings.access_log)
    memory.return_freed()


def _config(app: FastAPI, settings: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedConnection,
        ws="none",
        lifespan="on",
        proxy_headers=False,  # a client's address is not used
        server_header=False,
        access_log=settings.access_log,
        backlog=listening.BACKLOG,
        log_config=None,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.shutdown_s,
    )


def _announce(listener: socket.socket, remark: str = "") -> None:
    _log.info("Serving on %s%s. Ctrl-C stops.", listening.address(listener), remark)


def _configure_logging(*, access: bool) -> None:
    """Logs our messages and uvicorn's to stderr, without the libraries' warnings about clients' malformed input."""
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
