"""From the exported float network to a flatbuffer in int8: pixels in, logits out."""

import re
from collections.abc import Collection
from dataclasses import replace

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.recipe_manager import RecipeManager

from lince.errors import QuantizationError
from lince.model_file.manifest import Arithmetic
from lince.quantization import flatbuffer
from lince.quantization.activation_ranges import Ranges
from lince.quantization.export import FloatNetwork, kind_of
from lince.system import quiet

_INT8 = Arithmetic()

# The dimension of a kernel that counts its filters; the largest weight and half of the largest bias, as integers.
_FILTER_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
_MOST_WEIGHT, _MOST_BIAS = 127, 2.0**30


def quantize(network: FloatNetwork, ranges: Ranges, arithmetic: Arithmetic = _INT8) -> bytes:
    """Quantizes weights (per channel) and activations to int8, and keeps the given layers in float.

    Args:
        network: exported.
        ranges: of its activations.
        arithmetic: the layers to keep in float.

    Returns:
        Flatbuffer: `pixels` u8[N,H,W,3] → `logits`, i8[N,K] when everything is int8, otherwise f32[N,K], and the
        `features` of `flatbuffer.add_features`.

    Raises:
        QuantizationError: another operation is left in float, or the input range is not 0..255.
    """
    network, kept = with_fitting_biases(network, ranges), _with_followers(network, arithmetic.float_layers)
    manager = RecipeManager()
    manager.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, 8, 8)
    if kept:
        _keep_float(manager, TFLOperationName.OUTPUT)
        _keep_float(manager, TFLOperationName.ALL_SUPPORTED, names=kept)
    finished = flatbuffer.finish(_run(network, ranges, manager))
    left = [name for name in flatbuffer.float_operations(finished) if name not in kept]
    if left:
        raise QuantizationError(
            f"{len(left)} operations are left in float: {', '.join(left)}. Expected "
            f"{', '.join(arithmetic.float_layers) or 'none'}: ai-edge-quantizer does not support them, so build the "
            "network from others."
        )
    return flatbuffer.add_features(finished)


def quantize_one_layer(network: FloatNetwork, ranges: Ranges, layer: str) -> bytes:
    """The network with only one layer in int8, its input and output included; `exported_network` runs it.

    Args:
        network: with biases that fit; see `with_fitting_biases`.
        ranges: of its activations.
        layer: its name.
    """
    manager = RecipeManager()
    manager.add_static_config(_exactly([layer]), TFLOperationName.ALL_SUPPORTED, 8, 8)
    _keep_float(manager, TFLOperationName.INPUT)
    _keep_float(manager, TFLOperationName.OUTPUT)
    return _run(network, ranges, manager)


def with_fitting_biases(network: FloatNetwork, ranges: Ranges) -> FloatNetwork:
    """The network, with no bias above what 31 bits hold in units of input scale times weight scale.

    The scale of a filter's weights follows from its largest weight. A filter of a pretrained network may be almost
    zero; its bias would overflow. Its first weight is therefore raised to where the bias fits, which changes what the
    filter gives by less than 1/10,000 of the bias.
    """
    content = flatbuffer_utils.read_model_from_bytearray(bytearray(network.flatbuffer))
    graph = content.subgraphs[0]
    for operator in graph.operators:
        axis = _FILTER_AXIS.get(kind_of(content, operator))
        if axis is None or len(operator.inputs) < 3 or operator.inputs[2] < 0:
            continue
        source, kernel, bias = (graph.tensors[index] for index in operator.inputs)
        span = ranges[source.name.decode()]
        unit = float(span["max"][0] - span["min"][0]) / 255 / _MOST_WEIGHT  # of the bias, at a largest weight of 1
        biases = np.frombuffer(bytes(content.buffers[bias.buffer].data), np.float32)
        weights = np.frombuffer(bytes(content.buffers[kernel.buffer].data), np.float32).reshape(kernel.shape).copy()
        filters = np.moveaxis(weights, axis, -1)
        first = filters[(0,) * (filters.ndim - 1)]  # of each filter; a view
        least = np.abs(biases) / (_MOST_BIAS * unit)
        np.copyto(first, least, where=np.abs(filters).max(axis=tuple(range(filters.ndim - 1))) < least)
        content.buffers[kernel.buffer].data = np.frombuffer(weights.tobytes(), np.uint8)
    return replace(network, flatbuffer=bytes(flatbuffer_utils.convert_object_to_bytearray(content)))


def without_quantization(network: FloatNetwork) -> bytes:
    """The float network with the same input and output: `pixels` u8[N,H,W,3] → `logits` f32[N,K]."""
    return flatbuffer.finish(network.flatbuffer)


def _with_followers(network: FloatNetwork, layers: Collection[str]) -> set[str]:
    """Float layers, and the operations after them that only pass values on: requantizing there would undo the gain."""
    kept = set(layers)
    for operation in network.operations:
        if not operation.is_layer and operation.reads and kept.issuperset(operation.reads):
            kept.add(operation.name)
    return kept


def _keep_float(manager: RecipeManager, operation: TFLOperationName, *, names: Collection[str] = ()) -> None:
    """Adds a rule after the others: of the rules that match an operation, the quantizer follows the last one."""
    pattern = _exactly(names) if names else ".*"
    manager.add_quantization_config(pattern, operation, algorithm_key=AlgorithmName.NO_QUANTIZE)


def _exactly(names: Collection[str]) -> str:
    """A pattern for these names: the quantizer searches it in an operation's outputs, each followed by a semicolon."""
    return "^(" + "|".join(map(re.escape, sorted(names))) + ");$"


def _run(network: FloatNetwork, ranges: Ranges, manager: RecipeManager) -> bytes:
    with quiet.captured_output():
        engine = quantizer.Quantizer(network.flatbuffer, manager.get_quantization_recipe())
        return bytes(engine.quantize(ranges, enable_progress_report=False).quantized_model)
