"""Model files with an altered network, whose hash, version and size agree with it: what an attacker would send.

Number n of a seed is always the same mutant. Two kinds alternate. In one, bytes of the flatbuffer are changed in place,
mostly bytes that are not weights. In the other, one field of the decoded flatbuffer is changed, and the flatbuffer is
written anew, with valid offsets.
"""

import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from lince.model_file import artifact
from lince.model_file.artifact import Artifact
from lince.quantization import flatbuffer_writer

_CREATED = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = (0, 1, 2, 3, 4, 7, 8, 127, 255, 256, 2**16, 2**30, 2**31 - 1, -(2**31), -1, -2, -128)
REALS = (0.0, -1.0, 1e-45, 1e-38, 1e-30, 1e-9, 1e9, 1e30, 3e38, float("inf"), float("nan"))


@dataclass(frozen=True)
class Mutants:
    """The mutants of one model file."""

    sound: Artifact
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", places(self.sound.flatbuffer))

    def flatbuffer(self, number: int) -> bytes:
        """The altered network."""
        rng = np.random.default_rng((self.seed, number))
        if number % 2:
            return _with_other_field(self.sound.flatbuffer, rng)
        return _with_other_bytes(self.sound.flatbuffer, self._places, rng)

    def file(self, number: int) -> bytes:
        """The whole model file."""
        return refit(self.sound, self.flatbuffer(number))


def refit(sound: Artifact, flatbuffer: bytes) -> bytes:
    """A model file of another network, with hash, version and size that agree with it."""
    described = artifact.describe(
        name="mutant", flatbuffer=flatbuffer, created=_CREATED, classes=sound.manifest.classes,
        image=sound.manifest.image, calibration=sound.manifest.calibration, certificate=None, training={},
        arithmetic=sound.manifest.arithmetic,
    )  # fmt: skip
    return artifact.encode(Artifact(flatbuffer, described, sound.golden, "A mutant.\n", sound.familiarity))


def places(flatbuffer: bytes) -> np.ndarray:
    """The positions of bytes that do not belong to weights."""
    whole = np.frombuffer(flatbuffer, np.uint8)
    base, free = whole.__array_interface__["data"][0], np.ones(len(whole), bool)
    model = schema.Model.GetRootAs(flatbuffer)
    for index in range(model.BuffersLength()):
        data = model.Buffers(index).DataAsNumpy()
        if isinstance(data, np.ndarray):
            start = data.__array_interface__["data"][0] - base
            free[start : start + len(data)] = False
    return np.flatnonzero(free)


def _with_other_bytes(flatbuffer: bytes, places: np.ndarray, rng: np.random.Generator) -> bytes:
    """One to three changes: bytes, words of 16, 32 or 64 bits, two words exchanged, or the end removed."""
    data = bytearray(flatbuffer)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        anywhere = rng.random() < 0.1
        place = int(rng.integers(len(data)) if anywhere else rng.choice(places[places < len(data)]))
        kind = rng.integers(8)
        if kind < 2:
            data[place] = int(rng.choice((0, 1, 127, 128, 255, int(rng.integers(256)))))
        elif kind == 2:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind < 6:
            _write_word(data, place, size=int(rng.choice((2, 4, 4, 4, 8))), rng=rng)
        elif kind == 6:
            other = int(rng.choice(places[places < len(data)])) & ~3
            place &= ~3
            data[place : place + 4], data[other : other + 4] = data[other : other + 4], data[place : place + 4]
        elif rng.random() < 0.2:
            del data[max(8, place) :]
    return bytes(data)


def _write_word(data: bytearray, place: int, *, size: int, rng: np.random.Generator) -> None:
    """Replaces an aligned word by a special value, or by slightly more or less than it was."""
    place &= -size
    word = int.from_bytes(data[place : place + size], "little", signed=True)
    near = word + int(rng.integers(-16, 17))
    changed = int(rng.choice(WORDS)) if rng.random() < 0.6 else near
    mask = (1 << (8 * size)) - 1
    data[place : place + size] = (changed & mask).to_bytes(size, "little")[: len(data) - place]


def _with_other_field(flatbuffer: bytes, rng: np.random.Generator) -> bytes:
    """Changes the value of one or two fields. When the result cannot be written, other changes are drawn."""
    while True:
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
        try:
            for _ in range(rng.choice((1, 1, 2))):
                _change(model, rng)
            return flatbuffer_writer.pack(model)
        except Exception:  # values that have no place in a flatbuffer raise many types
            continue


def _change(model: Any, rng: np.random.Generator) -> None:
    graph = model.subgraphs[0]
    kinds = [[model], model.operatorCodes, model.subgraphs, graph.tensors, graph.operators, model.buffers]
    kinds += [[tensor.quantization for tensor in graph.tensors if tensor.quantization is not None]]
    kinds += [[operator.builtinOptions for operator in graph.operators if vars(operator.builtinOptions or model)]]
    weights = np.array([1, 2, 1, 8, 8, 1, 6, 8])
    things = [one for one in kinds[rng.choice(len(kinds), p=weights / weights.sum())] if one is not None]
    thing = things[rng.integers(len(things))]
    name = str(rng.choice(sorted(vars(thing))))
    other = things[rng.integers(len(things))]
    old = getattr(thing, name)
    new = getattr(other, name) if rng.random() < 0.15 and hasattr(other, name) else _other_value(old, rng)
    setattr(thing, name, copy.deepcopy(new))


def _other_value(old: Any, rng: np.random.Generator) -> Any:
    if old is None:
        return rng.choice((0, 1, 2, -1), int(rng.integers(1, 4))).tolist()
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return int(rng.choice(WORDS)) if rng.random() < 0.6 else old + int(rng.integers(-4, 5))
    if isinstance(old, bytes):
        return bytes([*old, 0, 255, 0]) if rng.random() < 0.5 else old * 5000
    if isinstance(old, list | np.ndarray):
        return _other_vector(old, rng)
    return None


def _other_vector(old: Any, rng: np.random.Generator) -> Any:
    """A vector that is shorter, longer, empty, in another order, or with another element."""
    values = list(old)
    kind = rng.integers(6)
    if kind == 0 or not values:
        return None
    if kind == 1:
        return values[: rng.integers(len(values))]
    if kind == 2:
        return [*values, *values[: rng.integers(1, len(values) + 1)]]
    if kind == 3:
        return [values[index] for index in rng.permutation(len(values))]
    place = rng.integers(len(values))
    if isinstance(values[place], float | np.floating):
        values[place] = float(rng.choice(REALS))
    elif isinstance(values[place], int | np.integer):
        values[place] = int(rng.choice(WORDS)) if rng.random() < 0.6 else int(values[place]) + int(rng.integers(-3, 4))
    else:
        values[place] = values[rng.integers(len(values))]
    return values
