"""Reads the tensors of a file that PyTorch wrote before version 1.6, without PyTorch.

Such a file is a sequence of pickles, then raw numbers:

    magic number · protocol version · description of the machine · names with descriptions of tensors · keys of storages
    for each key: the count of its numbers (i64), and the numbers

A pickle is a program for a stack machine, which can call any function that it names. Here a program may name only the
four functions and types below, none of which does anything but describe a tensor. Everything else is refused.
"""

import io
import math
import pickle
import pickletools
from collections import OrderedDict
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from lince.errors import TrainingError

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# EfficientNet-Lite0 has 11,000 instructions. Each can put a tuple around another: so many are safe to hash and compare.
_MOST_INSTRUCTIONS = 20_000
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
# fmt: off
_INSTRUCTIONS = {
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE",
    "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE", "EMPTY_DICT", "EMPTY_LIST", "APPEND", "APPENDS", "SETITEM",
    "SETITEMS", "BUILD", "REDUCE", "GLOBAL", "BINPERSID", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
}
# fmt: on
_MEMORISED = {"GLOBAL", "BINUNICODE"}
"""What may be used again. A tuple of the same tuple twice, many times over, would take for ever to hash or to print."""


class _Tensor(NamedTuple):
    """A tensor's place: the key and type of its storage, its first number there, its shape and strides, in numbers."""

    key: str
    dtype: np.dtype[Any]
    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a file of PyTorch's old format, by name.

    Args:
        data: the content of the file.

    Returns:
        Arrays f32 or i64, in the order of the file. They are copies.

    Raises:
        TrainingError: the bytes are of another format, cut short, or name anything that is not part of a tensor.
    """
    stream = io.BytesIO(data)
    try:
        header = [_load(stream) for _ in range(3)]
        if header[:2] != [_MAGIC, _PROTOCOL]:
            raise ValueError("it starts otherwise")
        described, keys = _load(stream), _load(stream)
        tensors = {str(name): _tensor(value) for name, value in described.items()}
        storages = _storages(stream, keys, {tensor.key: tensor.dtype for tensor in tensors.values()})
        if sum(math.prod(tensor.shape) for tensor in tensors.values()) > sum(map(len, storages.values())):
            raise ValueError("its tensors are larger than its storages")
        return {name: _array(tensor, storages[tensor.key]) for name, tensor in tensors.items()}
    except Exception as error:  # a hostile pickle raises any type
        raise TrainingError(
            f"The weights cannot be read ({str(error) or type(error).__name__}). Expected tensors as PyTorch wrote "
            "them before version 1.6: install the package of the weights again."
        ) from error


def _load(stream: io.BytesIO) -> Any:
    """The value of the next pickle. Its instructions are read once before they are followed."""
    start, count, before = stream.tell(), 0, ""
    memo: set[Any] = set()
    for instruction, argument, _ in islice(pickletools.genops(stream), _MOST_INSTRUCTIONS):
        count += 1
        name = instruction.name
        if name not in _INSTRUCTIONS:
            raise pickle.UnpicklingError(f"it has the instruction {name}")
        if name == "LONG_BINPUT" and int(argument or 0) > _MOST_INSTRUCTIONS:  # it would be allocated
            raise pickle.UnpicklingError(f"it has place {argument:,} of the memo")
        if name in ("BINPUT", "LONG_BINPUT"):
            (memo.add if before in _MEMORISED else memo.discard)(argument)
        if name in ("BINGET", "LONG_BINGET") and argument not in memo:
            raise pickle.UnpicklingError("it uses something again that is neither a name nor a text")
        before = name
    if count == _MOST_INSTRUCTIONS:
        raise pickle.UnpicklingError(f"it has more than {_MOST_INSTRUCTIONS:,} instructions")
    stream.seek(start)
    return _Unpickler(stream).load()


class _Unpickler(pickle.Unpickler):
    """Makes the description of a tensor, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, first, shape, strides, *_: (storage, first, shape, strides)
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}"[:200])

    def persistent_load(self, pid: Any) -> Any:
        return pid


def _tensor(value: Any) -> _Tensor:
    (kind, dtype, key, _, _, _), first, shape, strides = value
    if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
        raise ValueError("a tensor has no storage")
    if len(shape) != len(strides) or not all(type(n) is int and n >= 0 for n in (first, *shape, *strides)):
        raise ValueError(f"a tensor has the shape {shape!r} and the strides {strides!r}"[:200])
    return _Tensor(key, dtype, first, tuple(shape), tuple(strides))


def _storages(stream: io.BytesIO, keys: Any, dtypes: dict[str, np.dtype[Any]]) -> dict[str, np.ndarray]:
    if sorted(keys) != sorted(dtypes):
        raise ValueError("its storages are not those of its tensors")
    storages = {}
    for key in keys:
        count, left = int.from_bytes(stream.read(8), "little", signed=True), len(stream.getbuffer()) - stream.tell()
        if not 0 <= count * dtypes[key].itemsize <= left:
            raise ValueError(f"a storage has {count:,} numbers and {left:,} bytes are left")
        storages[key] = np.frombuffer(stream.read(count * dtypes[key].itemsize), dtypes[key])
    if stream.read(1):
        raise ValueError("bytes follow its last storage")
    return storages


def _array(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    size = math.prod(tensor.shape)
    last = tensor.first + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if size > len(storage) or (size and last >= len(storage)):
        raise ValueError(f"a tensor of {size:,} numbers is larger than its storage of {len(storage):,}")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    if size == 0:
        return np.empty(tensor.shape, storage.dtype)
    return np.lib.stride_tricks.as_strided(storage[tensor.first :], tensor.shape, strides).copy()
