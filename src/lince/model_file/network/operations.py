"""The operations that Lince writes, and the rules for each of them: types, shapes, scales.

LiteRT checks many of these rules when it prepares an operation. Where it does not, a wrong operation can end the
process, for example a quotient of scales that no multiplier can express. Here the shape of every result is computed and
compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

from lince.errors import ModelFileError
from lince.model_file.network.flatbuffer import OFFSET, Slots, Table, refusal
from lince.model_file.network.graph import FLOAT32, INT8, INT32, UINT8, Tensor

# LiteRT's kernels count the elements of a patch matrix in 32 bits. XNNPACK needs a pointer for each pixel of each
# window: 9.4 million for windows of 3 × 3 on 1024 × 1024 pixels.
_MOST_PATCH_ELEMENTS, _MOST_WINDOW_PIXELS = 2**31 - 1, 2**25
_MAX_STEP = 1024  # for strides and sides of filters, as for pictures
# LiteRT shifts by up to 30 places to the left (quantization_util.cc), and asserts that additions need no such shift.
_MAX_MULTIPLIER, _MAX_SUM_MULTIPLIER = 2.0**30, 2.0**14

_CONVOLUTION: Slots = {
    "padding": (0, "b"),
    "stride width": (1, "i"),
    "stride height": (2, "i"),
    "activation": (3, "b"),
    "dilation width": (4, "i"),
    "dilation height": (5, "i"),
}
_DEPTHWISE: Slots = {
    "padding": (0, "b"),
    "stride width": (1, "i"),
    "stride height": (2, "i"),
    "depth multiplier": (3, "i"),
    "activation": (4, "b"),
    "dilation width": (5, "i"),
    "dilation height": (6, "i"),
}
_POOLING: Slots = {
    "padding": (0, "b"),
    "stride width": (1, "i"),
    "stride height": (2, "i"),
    "filter width": (3, "i"),
    "filter height": (4, "i"),
    "activation": (5, "b"),
}
_DENSE: Slots = {"activation": (0, "b"), "keep dimensions": (2, "B")}
_ADDITION: Slots = {"activation": (0, "b"), "powers of two": (1, "B")}
_RESHAPE: Slots = {"shape": (0, OFFSET)}
_MEAN: Slots = {"keep dimensions": (0, "B")}

# Types of activations, weights and biases that go together.
_WEIGHTED = {(INT8, INT8, INT32), (FLOAT32, FLOAT32, FLOAT32)}
_SAME = {(INT8, INT8), (FLOAT32, FLOAT32)}
_QUANTIZING = {(UINT8, INT8), (FLOAT32, INT8), (INT8, INT8)}
_DEQUANTIZING = {(UINT8, FLOAT32), (INT8, FLOAT32)}


def _convolve(options: Table, operands: list[Tensor], output: Tensor, what: str) -> int:
    """Filters over all channels. The kernel's axes are filter, row, column, channel."""
    windows = _convolved(options, operands, output, what, axis=0)
    return windows * prod(operands[1].shape)


def _convolve_depthwise(options: Table, operands: list[Tensor], output: Tensor, what: str) -> int:
    """A filter for each channel. The kernel's axes are 1, row, column, channel."""
    if operands[1].shape[0] != 1 or options.number("depth multiplier") != 1:
        raise _unfit(what)
    windows = _convolved(options, operands, output, what, axis=3)
    return windows * prod(operands[1].shape)


def _convolved(options: Table, operands: list[Tensor], output: Tensor, what: str, *, axis: int) -> int:
    """Checks a convolution whose filters are along an axis of the kernel, and returns the number of windows."""
    pixels, kernel, bias = operands
    if len(pixels.shape) != 4 or len(kernel.shape) != 4 or kernel.shape[3] != pixels.shape[3]:
        raise _unfit(what)
    _check_weights(pixels, kernel, bias, output, what, axis=axis)
    if (options.number("dilation height", 1), options.number("dilation width", 1)) != (1, 1):
        raise refusal(f"{what} has a dilation")
    windows = _windows(options, pixels, kernel.shape[1:3], what)
    _require_shape(output, (1, *windows, kernel.shape[axis]), what)
    elements = prod(windows) * prod(kernel.shape[1:])
    if elements > _MOST_PATCH_ELEMENTS:
        raise refusal(f"{what} reads {elements:,} numbers, more than {_MOST_PATCH_ELEMENTS:,}")
    return prod(windows)


def _pool(options: Table, operands: list[Tensor], output: Tensor, what: str) -> int:
    [pixels] = operands
    if len(pixels.shape) != 4:
        raise _unfit(what)
    _require_same_steps(pixels, output, what)
    sides = options.number("filter height"), options.number("filter width")
    _require_shape(output, (1, *_windows(options, pixels, sides, what), pixels.shape[3]), what)
    return prod(output.shape) * prod(sides)


def _windows(options: Table, pixels: Tensor, sides: tuple[int, ...], what: str) -> tuple[int, int]:
    """The number of windows, down and across. Padding 0 is SAME, 1 is VALID."""
    strides = options.number("stride height"), options.number("stride width")
    padding = options.number("padding")
    if not all(1 <= step <= _MAX_STEP for step in (*sides, *strides)) or padding not in {0, 1}:
        raise refusal(f"{what} has windows of {sides}, strides of {strides} and padding {padding}")
    spare = [0, 0] if padding == 0 else [side - 1 for side in sides]
    down, across = (
        -(-(extent - less) // stride) for extent, less, stride in zip(pixels.shape[1:3], spare, strides, strict=True)
    )
    if down * across * prod(sides) > _MOST_WINDOW_PIXELS:
        raise refusal(f"{what} has {down:,} × {across:,} windows of {sides}")
    return down, across


def _connect(options: Table, operands: list[Tensor], output: Tensor, what: str) -> int:
    features, kernel, *biases = operands
    if len(kernel.shape) != 2 or prod(features.shape) != kernel.shape[1]:
        raise _unfit(what)
    _check_weights(features, kernel, biases[0] if biases else None, output, what)
    kept = features.shape[:-1] if options.number("keep dimensions") else (1,)
    if prod(kept) != 1:
        raise _unfit(what)
    _require_shape(output, (*kept, kernel.shape[0]), what)
    return prod(kernel.shape)


def _check_weights(
    features: Tensor, kernel: Tensor, bias: Tensor | None, output: Tensor, what: str, *, axis: int = 0
) -> None:
    """Checks that the types fit together, and that filters along the axis have one bias each, and one scale or none."""
    last = {types[2] for types in _WEIGHTED if types[:2] == (features.type, kernel.type)}
    if not last or output.type != features.type or (bias is not None and bias.type not in last):
        raise refusal(f"{what} mixes types {features.type}, {kernel.type} and {output.type}")
    if bias is not None and bias.shape != (kernel.shape[axis],):
        raise _unfit(what)
    if (kernel.type == INT8) != bool(len(kernel.scales)) or kernel.zero_points.any():
        raise _unscaled(what)
    if len(kernel.scales) > 1 and kernel.axis != axis:
        raise _unscaled(what)
    if features.type == FLOAT32:
        return
    _require_one_scale(what, features, output)
    if bias is not None and len(bias.scales) != len(kernel.scales):
        raise _unscaled(what)
    for scale in (float(kernel.scales.min()), float(kernel.scales.max())):
        _require_multiplier(float(features.scales[0]) * scale / float(output.scales[0]), what)


def _add(_: Table, operands: list[Tensor], output: Tensor, what: str) -> int:
    """Two tensors of the same shape."""
    for operand in operands:
        _require_same_steps(operand, output, what)
        _require_shape(output, operand.shape, what)
    if output.type != FLOAT32:
        widest = max(float(operand.scales[0]) for operand in operands)
        if widest / float(output.scales[0]) >= _MAX_SUM_MULTIPLIER:
            raise _unscaled(what)
    return prod(output.shape)


def _reshape(options: Table, operands: list[Tensor], output: Tensor, what: str) -> int:
    features, shape = operands
    _require_same_steps(features, output, what)
    if shape.type != INT32 or len(shape.shape) != 1 or prod(features.shape) != prod(output.shape):
        raise _unfit(what)
    wanted, again = _integers(shape), options.numbers("shape", "<i4")
    is_repeated = again is None or tuple(again.tolist()) == wanted
    if not is_repeated or wanted not in {output.shape, (-1, *output.shape[1:])}:
        raise _unfit(what)
    return 0


def _average(options: Table, operands: list[Tensor], output: Tensor, what: str) -> int:
    """The mean over height and width, which the result does not have."""
    pixels, axes = operands
    if len(pixels.shape) != 4 or axes.type != INT32 or _integers(axes) != (1, 2) or options.number("keep dimensions"):
        raise _unfit(what)
    _require_shape(output, (1, pixels.shape[3]), what)
    _require_same_steps(pixels, output, what)
    if pixels.type != FLOAT32:
        _require_multiplier(float(pixels.scales[0]) / float(output.scales[0]), what)
    return prod(pixels.shape)


def _convert(allowed: set[tuple[int, int]], _: Table, operands: list[Tensor], output: Tensor, what: str) -> int:
    """Another type or scale of the same values, from and to the types `allowed`."""
    [features] = operands
    _require_types(features, output, allowed, what)
    _require_shape(output, features.shape, what)
    quantized = [tensor for tensor in (features, output) if tensor.type != FLOAT32]
    _require_one_scale(what, *quantized)
    if len(quantized) == 2:
        _require_multiplier(float(features.scales[0]) / float(output.scales[0]), what)
    return 0


def _require_same_steps(features: Tensor, output: Tensor, what: str) -> None:
    """Checks that types are equal, and that int8 has one scale on each side."""
    _require_types(features, output, _SAME, what)
    if features.type != FLOAT32:
        _require_one_scale(what, features, output)


def _require_types(features: Tensor, output: Tensor, allowed: set[tuple[int, int]], what: str) -> None:
    if (features.type, output.type) not in allowed:
        raise refusal(f"{what} turns type {features.type} into {output.type}")


def _integers(tensor: Tensor) -> tuple[int, ...]:
    """The values of a constant."""
    return () if tensor.data is None else tuple(int(value) for value in tensor.data.ravel())


def _require_shape(output: Tensor, expected: tuple[int, ...], what: str) -> None:
    if output.shape != expected:
        raise refusal(f"{what} writes {expected} into a tensor of {output.shape}")


def _require_one_scale(what: str, *tensors: Tensor) -> None:
    if any(len(tensor.scales) != 1 for tensor in tensors):
        raise _unscaled(what)


def _require_multiplier(multiplier: float, what: str) -> None:
    if multiplier >= _MAX_MULTIPLIER:
        raise _unscaled(what)


def _unfit(what: str) -> ModelFileError:
    return refusal(f"{what} has operands that do not fit together")


def _unscaled(what: str) -> ModelFileError:
    return refusal(f"{what} has scales that LiteRT cannot compute with")


Rule = Callable[[Table, list[Tensor], Tensor, str], int]
"""Takes the options, the operands, the result and the operation's name for messages.

Returns the number of multiplications, or raises `ModelFileError`.
"""


@dataclass(frozen=True)
class Operation:
    """An operation that Lince writes.

    Attributes:
        name: LiteRT's.
        options: the number of their type in LiteRT's schema.
        slots: the fields of the options.
        operands: the kind of each: `activation`, `constant`, or a constant that is `optional`.
        rule: checks everything else.
        bare: whether it is also written without options.
    """

    name: str
    options: int
    slots: Slots
    operands: tuple[str, ...]
    rule: Rule
    bare: bool = False


OPERATIONS: dict[int, Operation] = {
    0: Operation("ADD", 11, _ADDITION, ("activation", "activation"), _add),
    3: Operation("CONV_2D", 1, _CONVOLUTION, ("activation", "constant", "constant"), _convolve),
    4: Operation("DEPTHWISE_CONV_2D", 2, _DEPTHWISE, ("activation", "constant", "constant"), _convolve_depthwise),
    6: Operation("DEQUANTIZE", 38, {}, ("activation",), partial(_convert, _DEQUANTIZING), bare=True),
    9: Operation("FULLY_CONNECTED", 8, _DENSE, ("activation", "constant", "optional"), _connect),
    17: Operation("MAX_POOL_2D", 5, _POOLING, ("activation",), _pool),
    22: Operation("RESHAPE", 17, _RESHAPE, ("activation", "constant"), _reshape, bare=True),
    40: Operation("MEAN", 27, _MEAN, ("activation", "constant"), _average),
    114: Operation("QUANTIZE", 89, {}, ("activation",), partial(_convert, _QUANTIZING), bare=True),
}
"""By LiteRT's number."""
