"""Edits of a LiteRT flatbuffer for which its converter has no option: uint8 input, any batch size, a smaller file.

And a second output, the features from which `lince.familiarity` measures how far a picture is from training images.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from lince.errors import QuantizationError
from lince.model_file.network import MOST_FEATURES
from lince.networks.family import PIXEL_SCALE
from lince.quantization import flatbuffer_writer
from lince.quantization.export import kind_of

_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})


def finish(flatbuffer: bytes) -> bytes:
    """Makes the network take `pixels` u8[N,H,W,3] and return `logits`, and removes what inference never reads.

    Args:
        flatbuffer: a network of batch size 1 with one input: int8 of scale 1/128 and zero point 0, or float.

    Returns:
        The network with an exact operation in front: pixel − 128 to int8, or (pixel − 128) / 128 to float.

    Raises:
        QuantizationError: the scale and zero point of the input are not those of the normalisation.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    graph = model.subgraphs[0]
    _accept_uint8(model, graph)
    _accept_any_batch(model, graph)
    graph.tensors[graph.inputs[0]].name = b"pixels"
    graph.tensors[graph.outputs[0]].name = b"logits"
    return flatbuffer_writer.pack(model)


def add_features(flatbuffer: bytes) -> bytes:
    """Makes an intermediate result the second output, so that one run of the network gives both.

    It is the narrowest result (fewest channels) of the lowest resolution but one, and of these the last. At the lowest
    resolution a network tells its classes apart, and ignores what does not matter for that. At higher ones, features
    are of texture alone: with them, more noisy or blurred pictures of the classes are withheld. Of two networks, one
    each of `pooled` and `resnet`, only this resolution rejected most of every kind of foreign picture.

    Args:
        flatbuffer: a finished network; one that has features is returned as it is.

    Returns:
        The network with the output `features` [N,h,w,D]; without a change when no result has height and width, or D
        would exceed `MOST_FEATURES`.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    graph = model.subgraphs[0]
    features = _features(model)
    if features is None:
        return flatbuffer
    graph.outputs = [graph.outputs[0], features]
    for signature in model.signatureDefs or []:
        end = schema.TensorMapT()
        end.name, end.tensorIndex = b"features", features
        signature.outputs = [signature.outputs[0], end]
    return flatbuffer_writer.pack(model)


def features_name(flatbuffer: bytes) -> str | None:
    """The Keras layer whose output `add_features` made the second output; None for a network without one."""
    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer)).subgraphs[0]
    names = [graph.tensors[index].name.decode() for index in graph.outputs[1:]]
    return names[0] if names else None


def float_operations(flatbuffer: bytes) -> list[str]:
    """Names of the operations that read or write floating point; conversions to and from it are not listed."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    graph = model.subgraphs[0]
    found = []
    for operator in graph.operators:
        tensors = [graph.tensors[index] for index in [*operator.inputs, *operator.outputs] if index >= 0]
        is_float = any(tensor.type == schema.TensorType.FLOAT32 for tensor in tensors)
        if is_float and kind_of(model, operator) not in _CONVERSIONS:
            found.append(graph.tensors[operator.outputs[0]].name.decode())
    return found


def _features(model: Any) -> int | None:
    """The index of the tensor to return as features: a layer's result, and not a conversion of it."""
    graph = model.subgraphs[0]
    results = [one.outputs[0] for one in graph.operators if kind_of(model, one) not in _CONVERSIONS]
    shapes = {index: tuple(graph.tensors[index].shape) for index in results}
    areas = {index: shape[1] * shape[2] for index, shape in shapes.items() if len(shape) == 4 and shape[1:3] != (1, 1)}
    if not areas:
        return None
    area = sorted(set(areas.values()))[:2][-1]
    candidates = [index for index in areas if areas[index] == area]
    narrowest = min(shapes[index][3] for index in candidates)
    return [index for index in candidates if shapes[index][3] == narrowest][-1] if narrowest <= MOST_FEATURES else None


def _accept_uint8(model: Any, graph: Any) -> None:
    """Puts an operation in front that turns uint8 pixels into the type of the network's input."""
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
            f"The quantized input has scale {scale:.6g} and zero point {zero_point}. Expected 1/128 and 0: give the "
            "input the range that pixels 0..255 have after normalisation."
        )


def _opcode(model: Any, builtin: int) -> int:
    """The index of an operation in the model's table; the operation is added when it is missing."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 2  # the first version that converts between uint8 and int8, and that dequantizes int8
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _accept_any_batch(model: Any, graph: Any) -> None:
    """Marks the batch axis as variable, and makes RESHAPE infer it (-1 instead of 1)."""
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
