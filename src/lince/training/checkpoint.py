"""Checkpoints: everything that training needs to go on, in one file that is whole or not there."""

import io
from dataclasses import dataclass
from pathlib import Path

import keras
import msgspec
import numpy as np

from lince import schema
from lince.errors import ResumeError, TrainingError
from lince.system.files import DAMAGED_NPZ, open_regular, reason_of, write_atomically
from lince.types import EpochRecord

# How many other arrays there are: a zip whose directory was altered may have lost some without a word.
_COUNT = "count"


@dataclass(frozen=True)
class Checkpoint:
    """What a run knows after an epoch, besides the model's own variables.

    Attributes:
        history: one record per finished epoch; schedule and early stopping follow from it.
        kept_weights: of the best epoch, or of the last where the recipe has no patience; in the order of the model's.
    """

    history: tuple[EpochRecord, ...]
    kept_weights: tuple[np.ndarray, ...]


def save(path: Path, checkpoint: Checkpoint, model: keras.Model) -> None:
    """Writes weights, optimiser, random state, the weights to keep and history.

    Raises:
        TrainingError: the disk is full or the folder cannot be written; an earlier checkpoint is still there.
    """
    arrays = {f"variable_{index}": keras.ops.convert_to_numpy(v) for index, v in enumerate(_variables(model))}
    arrays |= {f"kept_{index}": weights for index, weights in enumerate(checkpoint.kept_weights)}
    arrays["history"] = np.frombuffer(msgspec.json.encode(checkpoint.history), np.uint8)
    arrays[_COUNT] = np.array(len(arrays))
    file = io.BytesIO()
    np.savez(file, **arrays)
    try:
        write_atomically(path, file.getvalue())
    except OSError as error:
        what = f"The checkpoint {str(path)!r} ({file.tell() / 1e6:.0f} MB) could not be written ({error.strerror})."
        raise TrainingError(f"{what} {_way_on(path)}") from error


def _way_on(path: Path) -> str:
    command = f"lince train --resume {path.parent}"
    if path.exists():
        return f"The one before it is intact: make room, then go on with {command}."
    return f"It was the first of this run, so no epoch is kept: make room, then begin again by {command}."


def read(path: Path) -> Checkpoint | None:
    """History and the weights to keep of a checkpoint; None when there is none yet.

    Raises:
        ResumeError: the file is damaged.
    """
    contents = _contents(path)
    return None if contents is None else _checkpoint(contents, path)


def restore(path: Path, model: keras.Model) -> Checkpoint:
    """Puts a checkpoint's variables into a compiled model that was built from the same recipe.

    Raises:
        ResumeError: there is no checkpoint, it is damaged, or it belongs to another network.
    """
    contents = _contents(path)
    if contents is None:
        raise ResumeError(f"{str(path)!r} does not exist: no epoch was finished. Start the run anew.")
    variables, saved = _variables(model), _numbered(contents, "variable")
    if [v.shape for v in variables] != [value.shape for value in saved]:
        raise ResumeError(f"{str(path)!r} holds another network than the run's recipe describes. Start the run anew.")
    state = _checkpoint(contents, path)
    for variable, value in zip(variables, saved, strict=True):
        variable.assign(value)
    return state


def _contents(path: Path) -> dict[str, np.ndarray] | None:
    try:
        # Opened here, since `np.load` leaves a damaged file open.
        with open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            contents = dict(arrays)
    except FileNotFoundError:
        return None
    except DAMAGED_NPZ as error:
        raise _damaged(path, reason_of(error)) from error
    if (found := len(contents) - 1) != (expected := contents.pop(_COUNT, -1)):
        raise _damaged(path, f"{found} arrays, expected {expected}")
    return contents


def _checkpoint(contents: dict[str, np.ndarray], path: Path) -> Checkpoint:
    try:
        history = schema.from_json(contents["history"].tobytes(), tuple[EpochRecord, ...])
        return Checkpoint(history, tuple(_numbered(contents, "kept")))
    except (KeyError, schema.MisfitError) as error:
        raise _damaged(path, reason_of(error)) from error


def _numbered(contents: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    count = sum(name.startswith(f"{prefix}_") for name in contents)
    return [contents[f"{prefix}_{index}"] for index in range(count)]


def _damaged(path: Path, reason: str) -> ResumeError:
    return ResumeError(f"{str(path)!r} is not a checkpoint ({reason}). Start the run anew.")


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, the random state of dropout, and the optimiser's variables, in a fixed order."""
    model.optimizer.build(model.trainable_variables)
    seeds = [v for layer in model.layers for v in layer.variables if all(v is not w for w in layer.weights)]
    return [*model.weights, *seeds, *model.optimizer.variables]
