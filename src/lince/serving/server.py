"""The service as a process: `serve(settings)` listens, answers, and stops without dropping a request."""

import logging
import os
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from lince.errors import ModelFileError, ServiceError
from lince.model_file import artifact
from lince.serving import listener as listening
from lince.serving import logs, metrics
from lince.serving.access import Access
from lince.serving.app import create_app
from lince.serving.http_connection import BoundedConnection
from lince.serving.model_folder import ModelFolder
from lince.serving.models import Models, load
from lince.serving.settings import ServeSettings
from lince.serving.shutdown import StoppableServer
from lince.serving.tls import certificate
from lince.serving.workers import Link, Supervisor
from lince.system import garbage, memory, streams
from lince.text import listed

_OTHERS = 0o007  # rights of those who are neither owner nor in the group
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
    _warn_of_readable_secrets(settings)
    with listening.listen(settings) as listener:
        if settings.workers == 1:
            models = _load(settings)
            names = (models if isinstance(models, Models) else models.models).names
            server = StoppableServer(
                _config(create_app(models, settings), settings),
                settings,
                certificate(settings),
                on_ready=lambda: _announce(names, listener, settings),
            )
            server.run(sockets=[listener])
        else:
            _supervise(settings, listener)


def work(link: Link, listener: socket.socket, versions: frozenset[str] | None) -> None:
    """One worker process, whose settings are in the environment that `serve` wrote.

    Args:
        link: to the supervisor.
        listener: shared by all workers.
        versions: of the models that all of them serve; None for a folder, whose files may change.
    """
    with garbage.paused():
        settings = ServeSettings.read()
        _set_up_process(settings)
        try:
            metrics.share(slot=link.slot)
            models = _load(settings)
            if versions is not None and isinstance(models, Models):
                _require_versions(models, versions)
            config = _config(create_app(models, settings), settings)
            server = StoppableServer(config, settings, certificate(settings), on_ready=link.say_ready, supervised=True)
            server.run(sockets=[listener])
        except (ModelFileError, ServiceError, OSError) as error:
            link.say_failed(str(error))


def _supervise(settings: ServeSettings, listener: socket.socket) -> None:
    # Read here as well: one clear error, rather than one from each worker.
    Access(settings)
    certificate(settings)
    manifests = [artifact.read(path, sha256=settings.sha256).manifest for path in settings.model_files]
    versions = None if settings.models is not None else frozenset(manifest.version for manifest in manifests)
    with _metrics_folder() as folder:
        os.environ[metrics.FOLDER_VARIABLE] = folder
        settings.export()
        supervisor = Supervisor(work, (listener, versions), count=settings.workers, shutdown_s=settings.shutdown_s)
        names = [manifest.name for manifest in manifests] or [f"the models of {str(settings.models)!r}"]
        _announce(names, listener, settings, f", {settings.workers} workers")
        supervisor.run()
        listening.turn_away(listener, tls=settings.tls_cert is not None)


def _warn_of_readable_secrets(settings: ServeSettings) -> None:
    for path in (settings.api_keys, settings.tls_key):
        with suppress(OSError):  # whoever reads the file says what is wrong
            if path is not None and os.name == "posix" and os.stat(path).st_mode & _OTHERS:
                _log.warning("Every user of this machine can read or change %r. Run chmod o= on it.", str(path))


def _metrics_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="lince-metrics-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ServiceError(
            f"Several workers count their requests in a temporary folder, which cannot be made ({error.strerror}). "
            "Set TMPDIR to a folder that can be written, such as an emptyDir volume, or use 1 worker."
        ) from error


def _load(settings: ServeSettings) -> Models | ModelFolder:
    if settings.models is not None:
        return ModelFolder(settings.models, settings)
    return load(settings.model_files, settings)


def _require_versions(models: Models, versions: frozenset[str]) -> None:
    """Refuses a model that the other workers do not serve: the same request would have two answers."""
    for name in models.names:
        if (found := models.find(name).name.version) not in versions:
            raise ServiceError(
                f"The file of model {name!r} was replaced: it is version {found}, and the other workers serve "
                f"{listed(sorted(versions))}. Put the old file back, or restart the service to serve the new one."
            )


def _set_up_process(settings: ServeSettings) -> None:
    streams.prepare()
    logs.configure(settings.log_format)
    memory.return_freed()


def _config(app: FastAPI, settings: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedConnection,
        ws="none",
        lifespan="on",
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(proxy) for proxy in settings.trusted_proxies],
        server_header=False,
        access_log=False,  # `middleware.py` logs requests, with their ids and without their queries
        backlog=listening.BACKLOG,
        log_config=None,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.shutdown_s,
    )


def _announce(names: Sequence[str], listener: socket.socket, settings: ServeSettings, remark: str = "") -> None:
    address = listening.address(listener, tls=settings.tls_cert is not None)
    _log.info("Serving %s on %s%s. Ctrl-C stops.", ", ".join(names), address, remark)
