"""What the routes share: settings, metrics, memory for request bodies, and the models once they are ready."""

from dataclasses import dataclass

from fastapi import Request

from lince.serving.errors import RequestError
from lince.serving.feedback_queue import FeedbackQueue
from lince.serving.inference_queue import Inference, IsGone
from lince.serving.metrics import Metrics
from lince.serving.model_folder import ModelFolder
from lince.serving.models import Models
from lince.serving.request_body import Buffer
from lince.serving.settings import ServeSettings

IS_GONE = "lince.is_gone"
"""Key of a scope's `state`: a function that tells whether the client has gone, set by `http_connection.py`."""


@dataclass(frozen=True)
class Ready:
    """What answers, while the service runs.

    Attributes:
        inference: the queue in front of all models.
        models: by name.
        folder: from which they come; None when they were named one by one.
        feedback: where corrections go; None when none are taken.
    """

    inference: Inference
    models: Models
    folder: ModelFolder | None
    feedback: FeedbackQueue | None


@dataclass
class Service:
    """Lives as long as the app, as `app.state.service`; `ready` is None before models are loaded and after a stop."""

    settings: ServeSettings
    metrics: Metrics
    buffer: Buffer
    ready: Ready | None = None

    def require_ready(self) -> Ready:
        """The models and their queue. Raises RequestError before they are loaded, and after a stop."""
        if self.ready is None:
            raise RequestError("not_ready", "The models are not loaded. Ask /readyz again in a second.")
        return self.ready


def is_gone(request: Request) -> IsGone:
    """Whether the client has closed its connection, as far as the server tells us: ours does."""
    found: IsGone = request.scope.get("state", {}).get(IS_GONE, _here)
    return found


def _here() -> bool:
    return False


def service_of(request: Request) -> Service:
    """The service that a request was sent to.

    A call, not `fastapi.Depends`: that adds 28 µs to a request of 74 (two shared cores, n = 3).
    """
    service: Service = request.app.state.service
    return service
