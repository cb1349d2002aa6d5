"""Reads and writes the float model of a run folder, `model.keras`."""

import keras

from lince.errors import TrainingError
from lince.runs.run_folder import RunFolder
from lince.system.files import open_regular, reason_of, write_atomically


def trained_model(folder: RunFolder) -> keras.Model:
    """The float model of a run, with the weights that the recipe keeps.

    Raises:
        TrainingError: the run has none yet, or its file is damaged.
    """
    try:
        open_regular(folder.keras_model).close()  # Keras would wait for a pipe
        return keras.models.load_model(folder.keras_model, compile=False, safe_mode=True)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error


def trained_bytes(folder: RunFolder) -> bytes:
    """The file of the float model of a run, as it is; raises TrainingError when it cannot be read."""
    try:
        with open_regular(folder.keras_model) as file:
            return file.read()
    except OSError as error:
        raise _unreadable(folder, error) from error


def save_trained(model: keras.Model, folder: RunFolder) -> None:
    """Writes the float model of a run, whole or not at all; raises OSError when it cannot."""
    temporary = folder.path / ".model.tmp.keras"
    try:
        model.save(temporary)
        write_atomically(folder.keras_model, temporary.read_bytes())
    finally:
        temporary.unlink(missing_ok=True)


def _unreadable(folder: RunFolder, error: Exception) -> TrainingError:
    return TrainingError(
        f"{str(folder.keras_model)!r} cannot be read ({reason_of(error)}). Expected the model of a run that "
        f"finished an epoch: train it with lince train --resume {folder.path}."
    )
