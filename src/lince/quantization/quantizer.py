"""From the float network to a LiteRT flatbuffer in int8, or in what a fallback asks for: pixels in, logits out."""

import contextlib
import io
import re
from collections.abc import Collection, Iterator

import keras
import numpy as np
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.recipe_manager import RecipeManager
from jaxtyping import UInt8

from lince.errors import QuantizationError
from lince.model_file.manifest import Arithmetic, RangeMethod
from lince.quantization import flatbuffer
from lince.quantization.activation_ranges import Ranges, observe, span
from lince.quantization.export import FloatNetwork, export
from lince.system import quiet

_INT8 = Arithmetic()


def quantize(
    model: keras.Model, calibration_images: UInt8[np.ndarray, "n h w 3"], *, method: RangeMethod = "q99"
) -> bytes:
    """Quantises weights (per channel) and activations (from their observed ranges) to int8.

    Args:
        model: built by `models.build`, float32.
        calibration_images: u8[N,H,W,3], of the training split only.
        method: how observed values become ranges.

    Returns:
        Flatbuffer: `pixels` u8[N,H,W,3] → `logits` i8[N,K], every operation in int8.

    Raises:
        QuantizationError: when an operation is left in float, or the input range is not 0..255.
    """
    with silenced():
        network = export(model)
        return to_arithmetic(network, span(observe(network, calibration_images), method), _INT8)


def to_arithmetic(network: FloatNetwork, ranges: Ranges, arithmetic: Arithmetic) -> bytes:
    """Quantises an exported network.

    Args:
        network: exported.
        ranges: of its activations; `dynamic` leaves them unread.
        arithmetic: what to compute in.

    Returns:
        Flatbuffer: `pixels` u8[N,H,W,3] → `logits`, i8[N,K] of int8, f32[N,K] of any other arithmetic.

    Raises:
        QuantizationError: when more is left in float than was asked for.
    """
    kept = _with_followers(network, arithmetic.float_layers)
    finished = flatbuffer.finish(_run(network, ranges, _recipe(arithmetic, kept)))
    if arithmetic.kind == "dynamic":
        left = flatbuffer.float_weights(finished)
    else:
        left = [name for name in flatbuffer.float_operations(finished) if name not in kept]
    if left:
        raise QuantizationError(
            f"{len(left)} operations are left in float: {', '.join(left)}. Expected {_expectation(arithmetic)}: "
            "ai-edge-quantizer does not know them, so build the network from others."
        )
    return finished


def one_layer(network: FloatNetwork, ranges: Ranges, layer: str) -> bytes:
    """The network with one layer alone in int8, its input and output too; logits f32[N,K]."""
    manager = RecipeManager()
    manager.add_static_config(_exactly([layer]), TFLOperationName.ALL_SUPPORTED, 8, 8)
    _keep_float(manager, TFLOperationName.INPUT, TFLOperationName.OUTPUT)
    return flatbuffer.finish(_run(network, ranges, manager))


def in_float(network: FloatNetwork) -> bytes:
    """The network as it is, behind the same face: `pixels` u8[N,H,W,3] → `logits` f32[N,K]."""
    return flatbuffer.finish(network.flatbuffer)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Exporter and quantiser print progress of their own; results belong on stdout, ours alone."""
    out, err = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with quiet.captured_stderr(), out, err:
        yield


def _with_followers(network: FloatNetwork, layers: Collection[str]) -> set[str]:
    """Layers kept in float, and what only passes on what they give: int8 there would cost what was to be saved."""
    kept = set(layers)
    for operation in network.operations:
        if not operation.is_layer and operation.reads and kept.issuperset(operation.reads):
            kept.add(operation.name)
    return kept


def _recipe(arithmetic: Arithmetic, kept: Collection[str]) -> RecipeManager:
    """The quantiser's rules; of those that match an operation the last one holds."""
    manager = RecipeManager()
    everything = TFLOperationName.ALL_SUPPORTED
    if arithmetic.kind == "dynamic":
        manager.add_dynamic_config(".*", everything, 8)
        return manager
    manager.add_static_config(".*", everything, 16 if arithmetic.kind == "int16" else 8, 8)
    if arithmetic.kind == "int16":
        _keep_float(manager, TFLOperationName.INPUT)
    if arithmetic.kind != "int8":
        _keep_float(manager, TFLOperationName.OUTPUT)
    if kept:
        manager.add_quantization_config(_exactly(kept), everything, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return manager


def _keep_float(manager: RecipeManager, *operations: TFLOperationName) -> None:
    for operation in operations:
        manager.add_quantization_config(".*", operation, algorithm_key=AlgorithmName.NO_QUANTIZE)


def _exactly(names: Collection[str]) -> str:
    """A pattern of these names; the quantiser searches it in an operation's outputs, each closed by a semicolon."""
    return "^(" + "|".join(map(re.escape, sorted(names))) + ");$"


def _run(network: FloatNetwork, ranges: Ranges, manager: RecipeManager) -> bytes:
    engine = quantizer.Quantizer(network.flatbuffer, manager.get_quantization_recipe())
    needed = ranges if manager.need_calibration() else None
    return bytes(engine.quantize(needed, enable_progress_report=False).quantized_model)


def _expectation(arithmetic: Arithmetic) -> str:
    if arithmetic.float_layers:
        return f"none but {', '.join(arithmetic.float_layers)}"
    return "int8 weights throughout" if arithmetic.kind == "dynamic" else "none"
