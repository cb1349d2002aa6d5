"""The network of a model file as rows of a table, and as stages of a drawing."""

import math
from dataclasses import dataclass
from itertools import groupby

from lince.model_file.network import graph

CONVOLUTION, DEPTHWISE, DENSE, ADDITION, MAX_POOL, AVERAGE = 3, 4, 9, 0, 17, 40  # LiteRT's numbers
_CONVERSIONS = frozenset({6, 22, 114})  # DEQUANTIZE, RESHAPE, QUANTIZE: they compute nothing


@dataclass(frozen=True)
class Layer:
    """An operation of a network.

    Attributes:
        name: of the layer.
        operation: LiteRT's number, such as `CONVOLUTION`.
        kernel: height and width of a convolution's filters; None for other operations.
        shape: of its result without the batch: height, width and channels, or channels alone.
        weights: number of its weights and biases.
        multiplications: for one image; 0 for an operation without weights.
    """

    name: str
    operation: int
    kernel: tuple[int, int] | None
    shape: tuple[int, ...]
    weights: int
    multiplications: int


@dataclass(frozen=True)
class Stage:
    """Layers that follow each other at one resolution.

    Attributes:
        shape: of the last result.
        parts: how many layers, with which operation and kernel.
        height, width: of its box in the drawing, 0 to 1, on logarithmic scales of resolution and channels.
    """

    shape: tuple[int, ...]
    parts: tuple[tuple[int, int, tuple[int, int] | None], ...]
    height: float
    width: float


def layers(flatbuffer: bytes) -> tuple[Layer, ...]:
    """The operations in the order in which they run, without conversions. Raises ModelFileError for a damaged file."""
    network = graph.read(flatbuffer)
    return tuple(_layer(network, one) for one in network.operators if one.code not in _CONVERSIONS)


def stages(network: tuple[Layer, ...]) -> tuple[Stage, ...]:
    """The layers, grouped by resolution; each layer after the last resolution is a stage of its own."""
    places = ((layer.shape[:2] if len(layer.shape) > 1 else place) for place, layer in enumerate(network))
    groups = [
        [layer for layer, _ in pairs]
        for _, pairs in groupby(zip(network, places, strict=True), key=lambda pair: pair[1])
    ]
    side = max(max(layer.shape[0] for layer in network if len(layer.shape) > 1), 2)
    channels = max(2, *(layer.shape[-1] for layer in network))
    return tuple(
        Stage(
            shape=group[-1].shape,
            parts=_parts(group),
            height=_scaled(group[-1].shape[0] if len(group[-1].shape) > 1 else 1, side),
            width=_scaled(group[-1].shape[-1], channels),
        )
        for group in groups
    )


def _layer(network: graph.Graph, operator: graph.Operator) -> Layer:
    result = network.tensors[operator.outputs[0]]
    constants = [network.tensors[index] for index in operator.inputs[1:] if index >= 0]
    weighted = [one for one in constants if one.data is not None] if operator.code in _WEIGHTED else []
    shape = result.shape[1:]
    kernel = weighted[0].shape[1:3] if weighted and operator.code != DENSE else None
    each = math.prod(weighted[0].shape) if weighted else 0
    return Layer(
        name=result.name,
        operation=operator.code,
        kernel=(kernel[0], kernel[1]) if kernel else None,
        shape=shape,
        weights=sum(math.prod(one.shape) for one in weighted),
        multiplications=each * math.prod(shape[:-1]),
    )


_WEIGHTED = frozenset({CONVOLUTION, DEPTHWISE, DENSE})


def _parts(group: list[Layer]) -> tuple[tuple[int, int, tuple[int, int] | None], ...]:
    counts: dict[tuple[int, tuple[int, int] | None], int] = {}
    for layer in group:
        counts[layer.operation, layer.kernel] = counts.get((layer.operation, layer.kernel), 0) + 1
    return tuple((count, operation, kernel) for (operation, kernel), count in counts.items())


def _scaled(value: int, largest: int) -> float:
    return math.log2(1 + value) / math.log2(1 + largest)
