"""Static int8: a trained Keras model and training images in, a LiteRT flatbuffer out."""

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import calibrator, quantizer
from ai_edge_quantizer import recipe as quantizer_recipes
from jaxtyping import UInt8

from lince import native
from lince.errors import QuantizationError
from lince.training import flatbuffer
from lince.training.model import PIXEL_OFFSET, PIXEL_SCALE, normalised_to_logits

# Of the calibration images, those whose values must fit; the tail of the others is clipped for the sake of finer steps.
_COVERED = 0.99


def quantize(model: keras.Model, calibration_images: UInt8[np.ndarray, "n h w 3"]) -> bytes:
    """Quantises weights (per channel) and activations (from their observed ranges) to int8.

    Args:
        model: built by `model.build`, float32.
        calibration_images: u8[N,H,W,3], of the training split only.

    Returns:
        Flatbuffer: `pixels` u8[N,H,W,3] → `logits` i8[N,K], every convolution and dense operation in int8.

    Raises:
        QuantizationError: when an operation is left in float, or the input range is not 0..255.
    """
    with tempfile.TemporaryDirectory() as folder, _silenced():
        path = Path(folder) / "float.tflite"
        signature = [keras.InputSpec(shape=(1, *model.input_shape[1:]), dtype="float32", name="pixels")]
        normalised_to_logits(model).export(path, format="litert", verbose=False, input_signature=signature)
        engine = quantizer.Quantizer(path.read_bytes(), quantizer_recipes.static_wi8_ai8())
        ranges = _ranges(path, calibration_images)
        # The observed ranges are those of the images; the input's is known exactly: 0..255.
        ranges[_input_name(path)].update(
            min=_normalised(np.zeros((1, 1, 1, 1))), max=_normalised(np.full((1, 1, 1, 1), 255))
        )
        quantised = flatbuffer.finish(bytes(engine.quantize(ranges, enable_progress_report=False).quantized_model))
    left = flatbuffer.float_operations(quantised)
    if left:
        message = f"{len(left)} operations are left in float: {', '.join(left)}. Expected every convolution in int8."
        raise QuantizationError(message)
    return quantised


def _ranges(float_model: Path, images: np.ndarray) -> dict[str, Any]:
    """What each activation spans, by tensor name: the range that holds all of its values for 99 % of the images.

    The quantiser's own `calibrate` keeps a moving average (weight 0.05), in which the last sixty images are all that
    counts. Of the ranges tried (docs/experiments.md, 2026-11-22) this one changed the fewest answers.
    """
    mode = calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    observer = calibrator.CalibrationInterpreter(str(float_model), mode, _collect)
    [(signature, ends)] = observer.get_signature_list().items()
    observe = observer.get_signature_runner(signature)
    for image in images:
        observe(**{ends["inputs"][0]: _normalised(image[None])})
    return {
        name: {
            "min": np.quantile(extremes["min"], 1 - _COVERED, keepdims=True).astype(np.float32),
            "max": np.quantile(extremes["max"], _COVERED, keepdims=True).astype(np.float32),
        }
        for name, extremes in observer.get_calibration_results().items()
    }


def _collect(seen: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keeps the smallest and largest value of every image, one after the other."""
    return {end: np.concatenate([seen[end].ravel(), new[end].ravel()]) for end in new} if seen else new


def _input_name(float_model: Path) -> str:
    return Interpreter(str(float_model)).get_input_details()[0]["name"]


def _normalised(pixels: np.ndarray) -> np.ndarray:
    return (pixels * PIXEL_SCALE + PIXEL_OFFSET).astype(np.float32)


@contextlib.contextmanager
def _silenced():
    """Exporter and quantiser print progress of their own; results belong on stdout, ours alone."""
    out, err = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with native.hushed(), out, err:
        yield
