"""Checkpoints: everything that training needs to continue, in one file that is complete or absent."""

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

# Number of the other arrays. A zip file with a damaged directory can lose some without an error.
_COUNT = "count"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after an epoch, besides the variables of the model.

    Attributes:
        history: one record for each validation. Schedule and early stopping follow from it.
        kept_weights: of the best epoch, or of the last one in a recipe without patience; in the order of the model.
    """

    history: tuple[EpochRecord, ...]
    kept_weights: tuple[np.ndarray, ...]


def save(path: Path, checkpoint: Checkpoint, model: keras.Model) -> None:
    """Writes weights, optimizer state, random state, the weights to keep and the history.

    Raises:
        TrainingError: the disk is full or the folder cannot be written. An earlier checkpoint is intact.
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
        raise TrainingError(f"{what} {_next_step(path)}") from error


def _next_step(path: Path) -> str:
    command = f"lince train --resume {path.parent}"
    if path.exists():
        return f"The previous checkpoint is intact: free disk space, then continue with {command}."
    return f"It was the first of this run, so no epoch is kept: free disk space, then start again with {command}."


def read(path: Path) -> Checkpoint | None:
    """Reads history and the weights to keep; None when there is no checkpoint yet.

    Raises:
        ResumeError: the file is damaged.
    """
    contents = _contents(path)
    return None if contents is None else _checkpoint(contents, path)


def restore(path: Path, model: keras.Model) -> Checkpoint:
    """Loads a checkpoint's variables into a compiled model that was built from the same recipe.

    Raises:
        ResumeError: the checkpoint is missing, damaged, or of another network.
    """
    contents = _contents(path)
    if contents is None:
        raise ResumeError(f"{str(path)!r} does not exist: no epoch was finished. Start a new run.")
    variables, saved = _variables(model), _numbered(contents, "variable")
    if [v.shape for v in variables] != [value.shape for value in saved]:
        raise ResumeError(f"{str(path)!r} holds another network than the run's recipe describes. Start a new run.")
    state = _checkpoint(contents, path)
    for variable, value in zip(variables, saved, strict=True):
        variable.assign(value)
    return state


def _contents(path: Path) -> dict[str, np.ndarray] | None:
    try:
        # Opened here, because `np.load` does not close a damaged file.
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
    return ResumeError(f"{str(path)!r} is not a checkpoint ({reason}). Start a new run.")


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, the random state of dropout, and the variables of the optimizer, in a fixed order."""
    model.optimizer.build(model.trainable_variables)
    seeds = [v for layer in model.layers for v in layer.variables if all(v is not w for w in layer.weights)]
    return [*model.weights, *seeds, *model.optimizer.variables]
