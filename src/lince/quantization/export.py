"""The trained network as a LiteRT flatbuffer in float, whose operations have the names of the Keras layers."""

import re
import tempfile
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from lince.networks.models import LOGITS, normalised_to_logits
from lince.system import quiet

INPUT = "pixels"

# Operations whose results int8 can change. The others only pass values on.
_LAYERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "ADD", "SUB", "MUL"})


@dataclass(frozen=True)
class Operation:
    """One operation of the graph.

    Attributes:
        name: unique; also the name of the tensor that it writes.
        kind: LiteRT's name of its kind, such as `CONV_2D`.
        weights: number of weights, without biases.
        reads: names of the operations whose results it reads.
    """

    name: str
    kind: str
    weights: int
    reads: tuple[str, ...]

    @property
    def is_layer(self) -> bool:
        """Whether int8 can change its result."""
        return self.kind in _LAYERS


@dataclass(frozen=True)
class FloatNetwork:
    """The exported network.

    Attributes:
        flatbuffer: normalised pixels f32[1,H,W,3] → logits f32[1,K].
        operations: in the order in which they run.
    """

    flatbuffer: bytes
    operations: tuple[Operation, ...]

    @property
    def layers(self) -> tuple[Operation, ...]:
        """The operations whose results int8 can change."""
        return tuple(operation for operation in self.operations if operation.is_layer)


def export(model: keras.Model) -> FloatNetwork:
    """Exports the part of a model between its normalisation and its softmax.

    Args:
        model: built by `models.build`, float32.
    """
    with quiet.captured_output(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.tflite"
        signature = [keras.InputSpec(shape=(1, *model.input_shape[1:]), dtype="float32", name=INPUT)]
        normalised_to_logits(model).export(path, format="litert", verbose=False, input_signature=signature)
        content = flatbuffer_utils.read_model_from_bytearray(bytearray(path.read_bytes()))
    _name_tensors(content, {layer.name for layer in model.layers})
    graph = content.subgraphs[0]
    writers: dict[int, str] = {}
    operations = []
    for operator in graph.operators:
        [output] = operator.outputs
        name = graph.tensors[output].name.decode()
        reads = tuple(writers[index] for index in operator.inputs if index in writers)
        operations.append(Operation(name, kind_of(content, operator), _weights(content, operator), reads))
        writers[output] = name
    return FloatNetwork(bytes(flatbuffer_utils.convert_object_to_bytearray(content)), tuple(operations))


def kind_of(content: Any, operator: Any) -> str:
    """LiteRT's name of an operator of a parsed flatbuffer, such as `CONV_2D`."""
    return str(flatbuffer_utils.opcode_to_name(content, operator.opcodeIndex))


def _name_tensors(content: Any, layer_names: Set[str]) -> None:
    """Gives every tensor a short, unique name: the quantizer identifies tensors and operations by name."""
    graph = content.subgraphs[0]
    taken: set[str] = {INPUT, LOGITS}
    for position, operator in enumerate(graph.operators):
        tensor = graph.tensors[operator.outputs[0]]
        if operator.outputs[0] in graph.outputs:
            tensor.name = LOGITS.encode()
            continue
        found = _layer_name(tensor.name.decode(), layer_names)
        name = found or f"{kind_of(content, operator).lower()}_{position}"
        while name in taken:  # several operations of one layer
            name += "+"
        taken.add(name)
        tensor.name = name.encode()
    written = {index for operator in graph.operators for index in operator.outputs}
    for index, tensor in enumerate(graph.tensors):
        if index not in written:
            tensor.name = INPUT.encode() if index in graph.inputs else f"constant_{index}".encode()


def _layer_name(tensor_name: str, layer_names: Set[str]) -> str | None:
    """The Keras layer of a tensor, for example `conv2d` for `net_1/re_lu_1/Relu;net_1/conv2d_1/convolution`.

    Fused operations are listed from the last to the first. The scope of a layer is its name and a number.
    """
    for scope in reversed(tensor_name.split(";")):
        for part in reversed(scope.split("/")):
            for candidate in (re.sub(r"_\d+$", "", part), part):
                if candidate in layer_names:
                    return candidate
    return None


def _weights(content: Any, operator: Any) -> int:
    """The number of weights: constants of at least two dimensions are kernels, others are biases."""
    tensors = (content.subgraphs[0].tensors[index] for index in operator.inputs if index >= 0)
    kernels = [
        tensor.buffer for tensor in tensors if len(tensor.shape) > 1 and tensor.type == schema.TensorType.FLOAT32
    ]
    return sum(len(data) // 4 for data in (content.buffers[buffer].data for buffer in kernels) if data is not None)
