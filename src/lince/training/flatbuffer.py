"""Edits of a quantised LiteRT flatbuffer for which its converter has no switch: uint8 pixels in, any batch size."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from lince.errors import QuantizationError
from lince.training.model import PIXEL_SCALE


def finish(flatbuffer: bytes) -> bytes:
    """Gives an int8 network its public face: `pixels` u8[N,H,W,3] in, `logits` i8[N,K] out.

    Args:
        flatbuffer: an int8 network with one int8 input of scale 1/128 and zero point 0 and batch size 1.

    Returns:
        The network behind one requantising operation, pixel − 128, which rounds nothing.

    Raises:
        QuantizationError: when the input is not quantised as the normalisation promises.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    graph = model.subgraphs[0]
    _accept_uint8(model, graph)
    _accept_any_batch(model, graph)
    graph.tensors[graph.inputs[0]].name = b"pixels"
    graph.tensors[graph.outputs[0]].name = b"logits"
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _accept_uint8(model: Any, graph: Any) -> None:
    """Puts a QUANTIZE operation (uint8, zero point 128 → int8, zero point 0) before everything else."""
    inner = graph.inputs[0]
    tensor = graph.tensors[inner]
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    if tensor.type != schema.TensorType.INT8 or not np.isclose(scale, PIXEL_SCALE, rtol=1e-4) or zero_point != 0:
        raise QuantizationError(
            f"The quantised input has scale {scale:.6g} and zero point {zero_point}. Expected 1/128 and 0, "
            "which the range 0..255 gives: set it before quantising."
        )
    pixels = schema.TensorT()
    pixels.name, pixels.type, pixels.buffer = b"pixels", schema.TensorType.UINT8, 0
    pixels.shape, pixels.shapeSignature = tensor.shape, tensor.shapeSignature
    pixels.quantization = schema.QuantizationParametersT()
    pixels.quantization.scale, pixels.quantization.zeroPoint = [scale], [128]
    graph.tensors.append(pixels)
    outer = len(graph.tensors) - 1

    requantize = schema.OperatorT()
    requantize.opcodeIndex = _opcode(model, schema.BuiltinOperator.QUANTIZE)
    requantize.inputs, requantize.outputs = [outer], [inner]
    requantize.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    requantize.builtinOptions = schema.QuantizeOptionsT()
    graph.operators.insert(0, requantize)
    graph.inputs = [outer]
    for signature in model.signatureDefs or []:
        signature.inputs[0].tensorIndex, signature.inputs[0].name = outer, b"pixels"
        signature.outputs[0].name = b"logits"


def _opcode(model: Any, builtin: int) -> int:
    """The index of an operation in the model's table, added when it is not there."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 2  # the version that requantises between uint8 and int8
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _accept_any_batch(model: Any, graph: Any) -> None:
    """Marks the batch axis as free, and lets RESHAPE infer it (-1) instead of saying 1."""
    constants = {index for index, tensor in enumerate(graph.tensors) if model.buffers[tensor.buffer].data is not None}
    for index, tensor in enumerate(graph.tensors):
        if index not in constants and tensor.shape is not None and len(tensor.shape) > 1:
            tensor.shapeSignature = [-1, *tensor.shape[1:]]
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.RESHAPE:
            buffer = model.buffers[graph.tensors[operator.inputs[1]].buffer]
            shape = np.frombuffer(bytes(buffer.data), np.int32).copy()
            shape[0] = -1
            buffer.data = np.frombuffer(shape.tobytes(), np.uint8)
            if operator.builtinOptions is not None:
                operator.builtinOptions.newShape = shape.tolist()


def float_operations(flatbuffer: bytes) -> list[str]:
    """Convolutions and dense operations whose input or weights are not int8: `["CONV_2D #3", …]`; empty is good."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    heavy = {
        schema.BuiltinOperator.CONV_2D: "CONV_2D",
        schema.BuiltinOperator.DEPTHWISE_CONV_2D: "DEPTHWISE_CONV_2D",
        schema.BuiltinOperator.FULLY_CONNECTED: "FULLY_CONNECTED",
    }
    found = []
    for graph in model.subgraphs:
        for position, operator in enumerate(graph.operators):
            name = heavy.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            types = [graph.tensors[index].type for index in [*operator.inputs[:2], *operator.outputs]]
            if name and any(type_ != schema.TensorType.INT8 for type_ in types):
                found.append(f"{name} #{position}")
    return found
