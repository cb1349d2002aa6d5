"""A file of PyTorch's old format: its tensors are read; whatever else it names or claims is refused."""

import collections
import contextlib
import io
import os
import pickle
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lince.errors import TrainingError
from lince.networks import torch_tensors

KERNEL, COUNT = np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.array(7)


def _rebuild_tensor_v2(*_: object) -> None:
    """Stands for PyTorch's function: only its name is written."""


class FloatStorage:
    """Stands for PyTorch's class: only its name is written."""


class LongStorage:
    """As `FloatStorage`."""


@pytest.fixture
def _torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules with the names that the file refers to, for the time of writing."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for module, thing in ((torch, FloatStorage), (torch, LongStorage), (utils, _rebuild_tensor_v2)):
        monkeypatch.setattr(thing, "__module__", module.__name__)
        setattr(module, thing.__name__, thing)
        monkeypatch.setitem(sys.modules, module.__name__, module)


class _Tensor:
    """An array with the parts of the description that a test replaces."""

    def __init__(self, key: str, array: np.ndarray, **changes: Any):
        kind = FloatStorage if array.dtype == np.float32 else LongStorage
        strides = tuple(step // array.itemsize for step in array.strides)
        parts = {"storage": ("storage", kind, key, "cpu", array.size, None), "first": 0, "shape": array.shape}
        self.parts = {**parts, "strides": strides, **changes}


class _Pickler(pickle.Pickler):
    def persistent_id(self, thing: object) -> object:
        return thing if isinstance(thing, tuple) and thing[:1] == ("storage",) else None

    def reducer_override(self, thing: object) -> Any:
        if not isinstance(thing, _Tensor):
            return NotImplemented
        return _rebuild_tensor_v2, (*thing.parts.values(), False, collections.OrderedDict())


def pickled(thing: object) -> bytes:
    file = io.BytesIO()
    _Pickler(file, 2).dump(thing)
    return file.getvalue()


def written(
    *, header: tuple = (0x1950A86A20F9469CFC6C, 1001, {}), keys: object = ("1", "2"), state: bytes | None = None,
    counts: tuple[int, int] = (24, 1), end: bytes = b"", **changes: Any,
) -> bytes:  # fmt: skip
    """A file of two tensors, in which one thing can be replaced; other names replace parts of the first description."""
    tensors = {"kernel": _Tensor("1", KERNEL, **changes), "count": _Tensor("2", COUNT)}
    state = pickled(collections.OrderedDict(tensors)) if state is None else state
    storages = [
        count.to_bytes(8, "little", signed=True) + array.astype(array.dtype, order="C").tobytes()
        for count, array in zip(counts, (KERNEL, COUNT), strict=True)
    ]
    return b"".join([*map(pickled, header), state, pickled(list(keys)), *storages, end])


@pytest.mark.usefixtures("_torch")
class TestRead:
    def test_tensors_by_name(self):
        """Arrays with the types and shapes of the tensors, in the order of the file."""
        found = torch_tensors.read(written())
        assert ["kernel", "count"] == list(found)
        np.testing.assert_array_equal(KERNEL, found["kernel"])
        assert (7, np.int64) == (found["count"], found["count"].dtype)

    def test_transposed(self):
        """A tensor may lie in its storage in another order, or be a part of it."""
        found = torch_tensors.read(written(first=1, shape=(4, 2), strides=(1, 12)))
        np.testing.assert_array_equal(KERNEL.reshape(-1)[1:][[[0, 12], [1, 13], [2, 14], [3, 15]]], found["kernel"])

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"header": (1, 1001, {})}, "it starts otherwise"),
            ({"header": (0x1950A86A20F9469CFC6C, 1002, {})}, "it starts otherwise"),
            ({"state": pickle.dumps(os.system, 2)}, r"it names posix\.system"),
            ({"state": pickle.dumps(collections.Counter(), 2)}, r"it names collections\.Counter"),
            ({"state": b"cbuiltins\neval\n."}, r"it names builtins\.eval"),
            ({"state": b"cos.path\njoin\n."}, r"it names os\.path\.join"),
            ({"state": b"\x80\x04\x8c\x02os\x8c\x06system\x93."}, "it has the instruction SHORT_BINUNICODE"),
            ({"state": b"r\xff\xff\xff\x7f."}, "memo"),
            ({"state": b"N" * 30_000 + b"."}, "more than 20,000 instructions"),
            ({"state": b"}q\x00}q\x01" + b"h\x01h\x01\x86q\x01" * 99 + b"N\x86s."}, "uses something again"),
            ({"state": b"\x80\x02}N" + b"\x85" * 19_000 + b"Ns."}, "recursion"),
            ({"state": b"\x80\x02}."}, "its storages are not those"),
            ({"keys": ("1",)}, "its storages are not those"),
            ({"counts": (2**40, 1)}, "a storage has 1,099,511,627,776 numbers"),
            ({"counts": (-1, 1)}, "a storage has -1 numbers"),
            ({"counts": (12, 1)}, "a storage has"),
            ({"end": b"\0"}, "bytes follow its last storage"),
            ({"shape": (2**30, 2**30, 2**30)}, "larger than its storage"),
            ({"shape": (5, 5, 1)}, "larger than its storage"),
            ({"first": 1}, "larger than its storage"),
            ({"strides": (12, 4, 2)}, "larger than its storage"),
            ({"strides": (-12, 4, 1)}, "the strides"),
            ({"strides": (12, 4)}, "the strides"),
            ({"first": True}, "the shape"),
            ({"storage": ("storage", "FloatStorage", "1", "cpu", 24, None)}, "a tensor has no storage"),
        ],
    )
    def test_refused_with_a_sentence(self, changes, reason):
        """Another class, a huge size, a short storage: nothing is called, and the sentence says what was found."""
        with pytest.raises(TrainingError, match=rf"The weights cannot be read \(.*{reason}.*\)\. Expected tensors"):
            torch_tensors.read(written(**changes))

    def test_cut_short_anywhere(self):
        """A part of a file is never read as a whole one."""
        data = written()
        for length in range(len(data)):
            with pytest.raises(TrainingError, match="The weights cannot be read"):
                torch_tensors.read(data[:length])

    def test_a_byte_changed_anywhere(self):
        """It is read or refused with a sentence, and memory stays bounded."""
        data = written()
        for place in range(len(data)):
            for value in (0, 0x2E, 0x7F, 0xFF):
                altered = bytearray(data)
                altered[place] = value
                assert _refused_or_read(bytes(altered)) <= 25


def _refused_or_read(data: bytes) -> int:
    """How many numbers were read; 0 where the file is refused."""
    with contextlib.suppress(TrainingError):
        return sum(array.size for array in torch_tensors.read(data).values())
    return 0
