"""Edits of a LiteRT flatbuffer for which its converter has no switch: uint8 pixels in, any batch size, nothing idle."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from lince.errors import QuantizationError
from lince.networks.family import PIXEL_SCALE
from lince.quantization import flatbuffer_writer
from lince.quantization.export import kind_of

_WEIGHTY = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"})
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})


def finish(flatbuffer: bytes) -> bytes:
    """Gives a network its public face, `pixels` u8[N,H,W,3] in and `logits` out, and takes off what nothing reads.

    Args:
        flatbuffer: a network of batch size 1 with one input: int8 of scale 1/128 and zero point 0, or float.

    Returns:
        The network behind one operation that rounds nothing: pixel − 128 to int8, or (pixel − 128) / 128 to float.

    Raises:
        QuantizationError: when the input is not quantised as the normalisation promises.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    graph = model.subgraphs[0]
    _accept_uint8(model, graph)
    _accept_any_batch(model, graph)
    graph.tensors[graph.inputs[0]].name = b"pixels"
    graph.tensors[graph.outputs[0]].name = b"logits"
    return flatbuffer_writer.pack(model)


def float_operations(flatbuffer: bytes) -> list[str]:
    """Names of the operations that read or write floating point, conversions to and from it apart; empty is good."""
    found = []
    for model, graph, operator in _operators(flatbuffer):
        touched = (graph.tensors[index] for index in [*operator.inputs, *operator.outputs] if index >= 0)
        floating = any(tensor.type == schema.TensorType.FLOAT32 for tensor in touched)
        if floating and kind_of(model, operator) not in _CONVERSIONS:
            found.append(_name(graph, operator))
    return found


def float_weights(flatbuffer: bytes) -> list[str]:
    """Names of the convolutions and dense operations whose weights are not int8; empty is good."""
    return [
        _name(graph, operator)
        for model, graph, operator in _operators(flatbuffer)
        if kind_of(model, operator) in _WEIGHTY and graph.tensors[operator.inputs[1]].type != schema.TensorType.INT8
    ]


def _operators(flatbuffer: bytes) -> Iterator[tuple[Any, Any, Any]]:
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    for graph in model.subgraphs:
        for operator in graph.operators:
            yield model, graph, operator


def _name(graph: Any, operator: Any) -> str:
    return graph.tensors[operator.outputs[0]].name.decode()


def _accept_uint8(model: Any, graph: Any) -> None:
    """Puts an operation before everything else that turns uint8 pixels into what the network reads."""
    inner = graph.inputs[0]
    tensor = graph.tensors[inner]
    tensor.name = b"input"
    if tensor.type == schema.TensorType.FLOAT32:
        builtin, options = schema.BuiltinOperator.DEQUANTIZE, "DequantizeOptions"
    else:
        _require_exact(tensor)
        builtin, options = schema.BuiltinOperator.QUANTIZE, "QuantizeOptions"
    pixels = schema.TensorT()
    pixels.type, pixels.buffer = schema.TensorType.UINT8, 0
    pixels.shape, pixels.shapeSignature = tensor.shape, tensor.shapeSignature
    pixels.quantization = schema.QuantizationParametersT()
    pixels.quantization.scale, pixels.quantization.zeroPoint = [PIXEL_SCALE], [128]
    graph.tensors.append(pixels)
    outer = len(graph.tensors) - 1

    conversion = schema.OperatorT()
    conversion.opcodeIndex = _opcode(model, builtin)
    conversion.inputs, conversion.outputs = [outer], [inner]
    conversion.builtinOptionsType = getattr(schema.BuiltinOptions, options)
    conversion.builtinOptions = getattr(schema, f"{options}T")()
    graph.operators.insert(0, conversion)
    graph.inputs = [outer]
    for signature in model.signatureDefs or []:
        signature.inputs[0].tensorIndex, signature.inputs[0].name = outer, b"pixels"
        signature.outputs[0].name = b"logits"


def _require_exact(tensor: Any) -> None:
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    if tensor.type != schema.TensorType.INT8 or not np.isclose(scale, PIXEL_SCALE, rtol=1e-4) or zero_point != 0:
        raise QuantizationError(
            f"The quantised input has scale {scale:.6g} and zero point {zero_point}. Expected 1/128 and 0, "
            "which the range 0..255 gives: set it before quantising."
        )


def _opcode(model: Any, builtin: int) -> int:
    """The index of an operation in the model's table, added when it is not there."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 2  # the versions that requantise between uint8 and int8, and that dequantise int8
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _accept_any_batch(model: Any, graph: Any) -> None:
    """Marks the batch axis as free, and lets RESHAPE infer it (-1) instead of saying 1."""
    constants = {index for index, tensor in enumerate(graph.tensors) if model.buffers[tensor.buffer].data is not None}
    for index, tensor in enumerate(graph.tensors):
        if index not in constants and tensor.shape is not None and len(tensor.shape) > 1:
            tensor.shapeSignature = [-1, *tensor.shape[1:]]
    for operator in graph.operators:
        if kind_of(model, operator) == "RESHAPE":
            buffer = model.buffers[graph.tensors[operator.inputs[1]].buffer]
            shape = np.frombuffer(bytes(buffer.data), np.int32).copy()
            shape[0] = -1
            buffer.data = np.frombuffer(shape.tobytes(), np.uint8)
            if operator.builtinOptions is not None:
                operator.builtinOptions.newShape = shape.tolist()
