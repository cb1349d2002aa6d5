"""Refuses networks that LiteRT cannot read, prepare and run safely, and those that cost too much."""

from collections.abc import Iterator
from math import prod

from lince.model_file.network import graph
from lince.model_file.network.flatbuffer import Table, refusal
from lince.model_file.network.graph import FLOAT32, INT8, UINT8, Graph, Operator, Tensor
from lince.model_file.network.operations import OPERATIONS, Operation

_ACTIVATIONS = {0, 1, 3}  # none, ReLU, ReLU6
# At 1024 × 1024 pixels, the most that a recipe allows, `best` in float holds two results of 0.5 GB at a time; it has
# 6.3 million weights. XNNPACK keeps a separate copy of the weights for each operation that reads them.
_MAX_LIVE_BYTES, _MOST_WEIGHTS = 2**31, 2**28
# `best` multiplies 315,000 times a pixel. The most that is allowed takes about a second on small images.
_MOST_MULTIPLICATIONS_A_PIXEL, _FEWEST_PIXELS, _MOST_MULTIPLICATIONS = 2**24, 32**2, 2**42


MOST_FEATURES = 1024
"""Channels of the second output: their covariance takes 4 MiB then."""


def verify(flatbuffer: bytes) -> Graph:
    """Checks an untrusted network before LiteRT reads it.

    Returns:
        The network.

    Raises:
        ModelFileError: names the first rule that it breaks.
    """
    network = graph.read(flatbuffer)
    _check_ends(network)
    written, multiplications = {network.pixels}, 0
    for index, operator in enumerate(network.operators):
        multiplications += _check(operator, network, written, f"operator {index}")
        written.add(operator.outputs[0])
    if not network.outputs <= written:
        raise refusal("nothing writes its output")
    _check_cost(network, multiplications)
    return network


def _check_ends(network: Graph) -> None:
    pixels, logits = network.tensors[network.pixels], network.tensors[network.logits]
    if (pixels.type, len(pixels.shape), pixels.shape[0]) != (UINT8, 4, 1) or pixels.data is not None:
        raise refusal(f"it reads tensors of type {pixels.type} and shape {pixels.shape}, not uint8[1,H,W,3]")
    if logits.type not in {INT8, FLOAT32} or len(logits.shape) != 2:
        raise refusal(f"it returns type {logits.type} and shape {logits.shape}, not int8[1,K] or float32[1,K]")
    if network.features is None:
        return
    features = network.tensors[network.features]
    if features.type not in {INT8, FLOAT32} or len(features.shape) != 4 or features.shape[0] != 1:
        raise refusal(f"it returns features of type {features.type} and shape {features.shape}, not [1,h,w,D]")
    if features.type == INT8 and len(features.scales) != 1:
        raise refusal("it returns features that do not have one scale")
    if network.num_features > MOST_FEATURES:
        raise refusal(f"it returns {network.num_features:,} features, more than {MOST_FEATURES:,}")


def _check(operator: Operator, network: Graph, written: set[int], what: str) -> int:
    """Checks one operation, which may read the tensors in `written`; returns its number of multiplications."""
    operation = OPERATIONS.get(operator.code)
    if operation is None:
        raise refusal(f"{what} is LiteRT's number {operator.code}, which Lince never writes")
    what = f"{what} ({operation.name})"
    if len(operator.outputs) != 1 or len(operator.inputs) != len(operation.operands):
        raise refusal(f"{what} has {len(operator.inputs)} inputs and {len(operator.outputs)} outputs")
    [output] = operator.outputs
    if output in written or network.tensors[output].data is not None:
        raise refusal(f"{what} writes a constant, or a tensor that was written before")
    kinds = zip(operator.inputs, operation.operands, strict=True)
    found = [_operand(index, network, written, kind, what) for index, kind in kinds]
    operands = [operand for operand in found if operand is not None]
    return operation.rule(_options(operator, operation, what), operands, network.tensors[output], what)


def _operand(index: int, network: Graph, written: set[int], kind: str, what: str) -> Tensor | None:
    """An activation that was written, or a constant; None for an optional one that is left out."""
    if index < 0 and kind == "optional":
        return None
    tensor = network.tensors[index] if index >= 0 else None
    if tensor is None or (index not in written if kind == "activation" else tensor.data is None):
        raise refusal(f"{what} reads a tensor that has no value, or that is of the wrong kind")
    return tensor


def _options(operator: Operator, operation: Operation, what: str) -> Table:
    """The options, which must have the operation's own type."""
    found = operator.table.number("options type")
    options = operator.table.table("options", operation.slots, f"the options of {what}")
    if operation.bare and found == 0 and options is None:
        return Table.empty(operation.slots, f"the options of {what}")
    if found != operation.options or options is None:
        raise refusal(f"{what} has options of type {found}")
    if "activation" in operation.slots and options.number("activation") not in _ACTIVATIONS:
        raise refusal(f"{what} has activation {options.number('activation')}")
    return options


def _check_cost(network: Graph, multiplications: int) -> None:
    pixels = max(_FEWEST_PIXELS, prod(network.tensors[network.pixels].shape[1:3]))
    allowed = min(_MOST_MULTIPLICATIONS, _MOST_MULTIPLICATIONS_A_PIXEL * pixels)
    if multiplications > allowed:
        raise refusal(f"it multiplies {multiplications:,} times an image, more than {allowed:,}")
    read = (network.tensors[index].data for one in network.operators for index in one.inputs if index >= 0)
    weights = sum(data.size for data in read if data is not None)
    if weights > _MOST_WEIGHTS:
        raise refusal(f"its operations read {weights:,} weights, more than {_MOST_WEIGHTS:,}")
    live = max(_live_bytes(network), default=0)
    if live > _MAX_LIVE_BYTES:
        raise refusal(f"its results take {live:,} bytes at a time, more than {_MAX_LIVE_BYTES:,}")


def _live_bytes(network: Graph) -> Iterator[int]:
    """For each operation: bytes of its result, and of the earlier results that are still to be read."""
    last = {index: place for place, operator in enumerate(network.operators) for index in operator.inputs}
    live = {network.pixels: network.tensors[network.pixels].bytes}
    total = sum(live.values())
    for place, operator in enumerate(network.operators):
        [output] = operator.outputs
        live[output] = network.tensors[output].bytes
        total += live[output]
        yield total
        for index in {output, *operator.inputs} & live.keys():
            if last.get(index, place) <= place and index not in network.outputs:
                total -= live.pop(index)
