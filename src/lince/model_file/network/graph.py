"""The tensors and operations of a LiteRT flatbuffer, as records, with every index and every size checked.

Slots and codes are those of LiteRT's schema (tensorflow/lite/schema/schema.fbs, version 3). Fields that Lince never
writes have no slot here, so they are refused: custom operations, variables, sparsity, buffers outside the flatbuffer,
metadata, control flow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

from lince.model_file.network.flatbuffer import OFFSET, Slots, Table, refusal, root

FLOAT32, INT32, UINT8, INT8 = 0, 2, 3, 9
_DTYPES = {FLOAT32: "<f4", INT32: "<i4", UINT8: "u1", INT8: "i1"}
# What zero points can be, by type: biases are symmetric.
_ZERO_POINTS = {UINT8: (0, 255), INT8: (-128, 127), INT32: (0, 0)}

# `best` has 42 tensors and 19 operations.
_MOST = 2**13
# 128 float channels of 1024 × 1024 pixels, the most that a recipe allows, take 512 MB.
_MAX_TENSOR_BYTES = 2**30
_MOST_SCALES = 2**16  # one a channel
_SCHEMA_VERSION = 3
_NO_SCALES, _NO_ZERO_POINTS = np.empty(0, np.float32), np.empty(0, np.int64)
_SCALES = (1e-30, 1e30)  # in double precision, products and quotients of up to four are finite and not 0

_MODEL: Slots = {
    "version": (0, "I"),
    "operator codes": (1, OFFSET),
    "subgraphs": (2, OFFSET),
    "buffers": (4, OFFSET),
    "signatures": (7, OFFSET),
}
_CODE: Slots = {"deprecated code": (0, "b"), "version": (2, "i"), "code": (3, "i")}
_GRAPH: Slots = {
    "tensors": (0, OFFSET),
    "inputs": (1, OFFSET),
    "outputs": (2, OFFSET),
    "operators": (3, OFFSET),
    "name": (4, OFFSET),
}
_TENSOR: Slots = {
    "shape": (0, OFFSET),
    "type": (1, "b"),
    "buffer": (2, "I"),
    "name": (3, OFFSET),
    "quantization": (4, OFFSET),
    "shape signature": (7, OFFSET),
    "has rank": (8, "B"),
}
_QUANTIZATION: Slots = {"scale": (2, OFFSET), "zero point": (3, OFFSET), "dimension": (6, "i")}
_BUFFER: Slots = {"data": (0, OFFSET)}
_OPERATOR: Slots = {
    "code": (0, "I"),
    "inputs": (1, OFFSET),
    "outputs": (2, OFFSET),
    "options type": (3, "B"),
    "options": (4, OFFSET),
}
_SIGNATURE: Slots = {"inputs": (0, OFFSET), "outputs": (1, OFFSET), "key": (2, OFFSET), "subgraph": (4, "I")}
_END: Slots = {"name": (0, OFFSET), "tensor": (1, "I")}


@dataclass(frozen=True)
class Tensor:
    """A tensor.

    Attributes:
        type: LiteRT's number, such as `INT8`.
        shape: one to four dimensions.
        data: the values of a constant; None for an activation.
        scales, zero_points: none, one, or one for each place along `axis`.
        axis: the first or the last; a convolution's filters are along the first, a depthwise one's along the last.
        name: that of the layer, for the result of one.
    """

    type: int
    shape: tuple[int, ...]
    data: np.ndarray | None
    scales: np.ndarray
    zero_points: np.ndarray
    axis: int
    name: str

    @property
    def bytes(self) -> int:
        """The size of its values."""
        return _size(self.type, self.shape)


@dataclass(frozen=True)
class Operator:
    """An operation.

    Attributes:
        code: LiteRT's number.
        inputs, outputs: indices of tensors; -1 for an input that is left out.
        table: its table, whose options are not read yet.
    """

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: Table


@dataclass(frozen=True)
class Graph:
    """A network.

    Attributes:
        tensors: all of them.
        operators: in the order in which they run.
        pixels, logits: indices of its input and of its first output.
        features: index of its second output, an intermediate result; None for a network without one.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    pixels: int
    logits: int
    features: int | None = None

    @property
    def outputs(self) -> frozenset[int]:
        """The indices of its outputs."""
        return frozenset({self.logits} if self.features is None else {self.logits, self.features})

    @property
    def num_features(self) -> int:
        """The channels of the second output; 0 for a network without one."""
        return 0 if self.features is None else self.tensors[self.features].shape[-1]


def read(flatbuffer: bytes) -> Graph:
    """Reads a network.

    Raises:
        ModelFileError: it points out of bounds, contradicts itself, or has something that Lince never writes.
    """
    model = root(flatbuffer, _MODEL, "the model")
    if model.number("version") != _SCHEMA_VERSION:
        raise refusal(f"it is of schema version {model.number('version')}, not {_SCHEMA_VERSION}")
    graphs = model.tables("subgraphs", _GRAPH, "subgraph", most=_MOST)
    if len(graphs) != 1:
        raise refusal(f"it has {len(graphs)} subgraphs, not one")
    [graph] = graphs
    graph.text("name")
    buffers = [_buffer(table) for table in model.tables("buffers", _BUFFER, "buffer", most=_MOST)]

    @cache  # thousands of tensors may share a buffer
    def is_finite(index: int) -> bool:
        data = buffers[index]
        return data is None or bool(np.isfinite(data.view(np.float32)).all())

    tensors = tuple(
        _tensor(table, buffers, is_finite, f"tensor {index}")
        for index, table in enumerate(graph.tables("tensors", _TENSOR, "tensor", most=_MOST))
    )
    codes = [_code(table) for table in model.tables("operator codes", _CODE, "operator code", most=_MOST)]
    operators = tuple(
        _operator(table, codes, len(tensors), f"operator {index}")
        for index, table in enumerate(graph.tables("operators", _OPERATOR, "operator", most=_MOST))
    )
    [pixels] = _ends(graph, "inputs", len(tensors), most=1)
    outputs = _ends(graph, "outputs", len(tensors), most=2)
    _check_signatures(model, pixels, outputs)
    return Graph(tensors, operators, pixels, *outputs)


def _buffer(table: Table) -> np.ndarray | None:
    data = table.numbers("data", "u1")
    return None if data is None or not len(data) else data


def _tensor(table: Table, buffers: list[np.ndarray | None], is_finite: Callable[[int], bool], what: str) -> Tensor:
    kind, shape = table.number("type"), _shape(table, what)
    if kind not in _DTYPES:
        raise refusal(f"{what} is of type {kind}")
    buffer = table.number("buffer")
    if buffer >= len(buffers):
        raise refusal(f"{what} lies in buffer {buffer:,} of {len(buffers):,}")
    size, data = _size(kind, shape), buffers[buffer]
    if size > _MAX_TENSOR_BYTES:
        raise refusal(f"{what} needs {size:,} bytes, more than {_MAX_TENSOR_BYTES:,}")
    if data is not None and len(data) != size:
        raise refusal(f"{what} needs {size:,} bytes, its buffer has {len(data):,}")
    name = table.text("name") or ""
    values = None if data is None else data.view(_DTYPES[kind]).reshape(shape)
    if kind == FLOAT32 and values is not None and not is_finite(buffer):
        raise refusal(f"{what} holds numbers that are not finite")
    return Tensor(kind, shape, values, *_quantization(table, kind, shape, what), name)


def _size(kind: int, shape: tuple[int, ...]) -> int:
    return prod(shape) * np.dtype(_DTYPES[kind]).itemsize


def _shape(table: Table, what: str) -> tuple[int, ...]:
    """One to four dimensions of 1 or more. A signature may leave the first of them open."""
    shape, signature = (table.numbers(name, "<i4") for name in ("shape", "shape signature"))
    if shape is None or not 1 <= len(shape) <= 4 or shape.min() < 1:
        raise refusal(f"{what} has no shape of one to four positive dimensions")
    dimensions = tuple(shape.tolist())
    if signature is not None and tuple(signature.tolist()) not in {dimensions, (-1, *dimensions[1:])}:
        raise refusal(f"{what} has another shape than its signature")
    return dimensions


def _quantization(table: Table, kind: int, shape: tuple[int, ...], what: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Scales, none, one, or one for each place along an axis, as many zero points, and the axis."""
    quantization = table.table("quantization", _QUANTIZATION, f"the quantization of {what}")
    if quantization is None:
        return _NO_SCALES, _NO_ZERO_POINTS, 0
    scales, zero_points = quantization.numbers("scale", "<f4"), quantization.numbers("zero point", "<i8")
    scales = _NO_SCALES if scales is None else scales
    zero_points = _NO_ZERO_POINTS if zero_points is None else zero_points
    dimension = quantization.number("dimension")
    lengths = {0, 1, shape[dimension]} if dimension in {0, len(shape) - 1} else {}
    if len(zero_points) != len(scales) or len(scales) not in lengths:
        raise refusal(f"{what} has {len(scales):,} scales and {len(zero_points):,} zero points along {dimension}")
    if len(scales) > _MOST_SCALES:
        raise refusal(f"{what} has {len(scales):,} scales, more than {_MOST_SCALES:,}")
    if not len(scales):
        return scales, zero_points, dimension
    low, high = _ZERO_POINTS.get(kind, (1, 0))
    if low > zero_points.min() or zero_points.max() > high:
        raise refusal(f"{what} has zero points that its type does not allow")
    if not (np.isfinite(scales).all() and _SCALES[0] < scales.min() and scales.max() < _SCALES[1]):
        raise refusal(f"{what} has scales that are not positive, or not of a usable size")
    return scales, zero_points, dimension


def _code(table: Table) -> int:
    """An operation's code. LiteRT takes the larger of two numbers; the older one is at most 127, and optional."""
    code, deprecated = table.number("code"), table.number("deprecated code")
    if deprecated not in {0, code} or not 1 <= table.number("version", 1) < 2**7:
        raise refusal(f"it has an operation of codes {code} and {deprecated}")
    return code


def _operator(table: Table, codes: list[int], tensors: int, what: str) -> Operator:
    index = table.number("code")
    if index >= len(codes):
        raise refusal(f"{what} has code {index:,} of {len(codes):,}")
    inputs, outputs = _indices(table, "inputs"), _indices(table, "outputs")
    if any(not -1 <= index < tensors for index in inputs) or any(not 0 <= index < tensors for index in outputs):
        raise refusal(f"{what} reads or writes a tensor that does not exist")
    return Operator(codes[index], inputs, outputs, table)


def _indices(table: Table, name: str) -> tuple[int, ...]:
    """Indices of tensors. No operation that Lince writes has more than three."""
    indices = table.numbers(name, "<i4")
    if indices is None or not 1 <= len(indices) <= 3:
        raise refusal(f"it does not have one to three {name}")
    return tuple(indices.tolist())


def _ends(graph: Table, name: str, tensors: int, *, most: int) -> tuple[int, ...]:
    indices = _indices(graph, name)
    if len(indices) > most or len(set(indices)) < len(indices) or not all(0 <= index < tensors for index in indices):
        raise refusal(f"its {name} are not {'exactly one tensor' if most == 1 else 'one or two tensors'}")
    return indices


def _check_signatures(model: Table, pixels: int, outputs: tuple[int, ...]) -> None:
    """Checks the signature, which names the network's input and outputs."""
    signatures = model.tables("signatures", _SIGNATURE, "signature", most=1)
    for signature in signatures:
        ends = [signature.tables(name, _END, f"signature's {name}", most=2) for name in ("inputs", "outputs")]
        found = [[end.number("tensor") for end in side] for side in ends]
        names = [end.text("name") for side in ends for end in side]
        if (
            found != [[pixels], [*outputs]]
            or None in names
            or not signature.text("key")
            or signature.number("subgraph")
        ):
            raise refusal("its signature does not name its own input and output")
