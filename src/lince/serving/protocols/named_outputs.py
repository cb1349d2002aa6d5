"""What the protocols of others share: the model that an address names, its inputs and outputs by name."""

import reprlib
from typing import Any

import msgspec
import numpy as np
from fastapi import Request
from starlette.responses import Response

from lince.inference.classifier import Classifier
from lince.serving import request_record
from lince.serving.errors import RequestError
from lince.serving.models import ServedModel
from lince.serving.service import Ready
from lince.types import Prediction

PIXELS, IMAGE = "pixels", "image"
"""The inputs, of which a request has one: u8[N,H,W,3] as the network takes them, or encoded files."""
LABEL = "label"

MAX_NUMBERS = 400_000
"""Of a request in JSON: two images of 224 × 224, or 130 of 32 × 32. While they are read, nothing else is."""

_MAX_SHOWN = 100  # characters
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _MAX_SHOWN


def outputs_of(classifier: Classifier) -> dict[str, tuple[str, bool]]:
    """The outputs of a model by name: datatype, and whether there is a value for each class."""
    sets = {"prediction_set": ("BOOL", True)} if classifier.manifest.calibration.set_threshold is not None else {}
    return {
        LABEL: ("BYTES", False),
        "probabilities": ("FP32", True),
        "logits": ("FP32", True),
        **sets,
        "abstain": ("BOOL", False),
    }


def values_of(prediction: Prediction) -> dict[str, np.ndarray]:
    """The outputs by name, but for `LABEL`: [N] or [N,K]. Without sets there is no `prediction_set`."""
    sets = {} if prediction.sets is None else {"prediction_set": prediction.sets}
    return {
        "probabilities": prediction.probabilities,
        "logits": prediction.logits,
        **sets,
        "abstain": prediction.abstain,
    }


def model_of(request: Request, ready: Ready) -> ServedModel:
    """The model that the address names.

    Raises:
        RequestError: there is none of that name and version.
    """
    served = ready.models.find(request.path_params["name"], request.path_params.get("version"))
    request_record.current().model = served.name.name
    return served


def invalid(message: str) -> RequestError:
    """The error of a request that does not keep to its protocol."""
    return RequestError("invalid_tensor", message)


def shown(text: object) -> str:
    """What a client has sent, in a message: texts in quotes, and no more than a line."""
    return _SHORT.repr(text)[:_MAX_SHOWN]


def json_response(content: dict[str, Any], *, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")
