"""Several trained networks as one: each answers, and the mean of their logits is the answer.

Networks that were trained alike from other weights err on different images, so that as a rule their mean is right more
often than any of them (Lakshminarayanan et al. 2017, arXiv:1612.01474, who average probabilities; of logits the mean is
an addition, which int8 can do). It costs what they cost together: each picture is looked at once, by every network.
What comes of it is a run like any other, to be quantised, calibrated and certified.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import keras
import msgspec
import numpy as np
from keras import layers

from lince import data
from lince.errors import RecipeError
from lince.networks.family import PIXEL_OFFSET, PIXEL_SCALE
from lince.networks.models import LOGITS, NORMALISE, normalised_to_logits
from lince.runs.float_model import save_trained, trained_model
from lince.runs.run_folder import Member, RunFolder, RunRecord
from lince.training import backend, recipes
from lince.types import ImageSpec


def combine(members: Sequence[RunFolder], folder: RunFolder) -> RunRecord:
    """Makes the run folder of an ensemble, with everything that publishing needs.

    Args:
        members: two or more runs on the same images, which hold out the same ones; each has a `model.keras`.
        folder: a new one. Of the first member it takes what does not concern training: image size, `[quantize]` and
            `[calibrate]`.

    Raises:
        RecipeError: the members do not go together.
        DataError: their images are not where they were.
        ResumeError, TrainingError: one of them is no run, or not trained yet; or the folder is taken.
        OSError: the folder cannot be written.
    """
    folder.require_new()
    records = [member.read_record() for member in members]
    _check(members, records)
    data.probe(records[0].source)  # publishing will read it: nothing is made where it cannot
    splits = members[0].read_splits()
    model = merge([trained_model(member) for member in members])
    first = records[0]
    record = msgspec.structs.replace(
        first,
        name=folder.path.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=backend.describe(),
        teacher=None,
        teacher_version=None,
        deterministic=all(record.deterministic for record in records),
        teacher_knows_validation=any(record.teacher_knows_validation for record in records),
        budget=None,
        members=tuple(_member(*pair) for pair in zip(members, records, strict=True)),
    )
    folder.path.mkdir(parents=True, exist_ok=True)
    save_trained(model, folder)  # before the record: what was interrupted can be asked for again
    folder.create(record, **splits)
    return record


def merge(models: Sequence[keras.Model]) -> keras.Model:
    """One network that answers with the mean of the logits of several.

    Args:
        models: built by `models.build` and folded, for the same images and classes.

    Returns:
        Keras model of the same ends. Dense layers are divided by their number, so that an addition makes the mean.
    """
    pixels = keras.Input(models[0].input_shape[1:], name="pixels")
    hidden = layers.Rescaling(PIXEL_SCALE, PIXEL_OFFSET, name=NORMALISE, dtype="float32")(pixels)
    answers = [
        _branch(model, hidden, f"member{number}", share=1 / len(models)) for number, model in enumerate(models, 1)
    ]
    logits = layers.Add(name=LOGITS, dtype="float32")(answers)
    return keras.Model(pixels, layers.Softmax(name="probabilities", dtype="float32")(logits), name="ensemble")


def _branch(model: keras.Model, hidden: keras.KerasTensor, name: str, *, share: float) -> keras.KerasTensor:
    """The layers of a network behind `hidden`, under names of their own; its logits times `share`."""
    body = normalised_to_logits(model)
    copy = keras.models.clone_model(body, clone_function=_renaming(name))
    copy.set_weights(body.get_weights())
    dense = copy.get_layer(f"{name}_{LOGITS}")
    dense.set_weights([weights * share for weights in dense.get_weights()])
    return copy.call(hidden)  # layer by layer, where calling the model would make one layer of it


def _renaming(name: str) -> Callable[[keras.Layer], keras.Layer]:
    return lambda layer: type(layer).from_config(layer.get_config() | {"name": f"{name}_{layer.name}"})


def _member(folder: RunFolder, record: RunRecord) -> Member:
    return Member(
        name=record.name,
        recipe=record.recipe,
        precision=record.precision,
        epochs=len(folder.read_history()),
        teacher=record.teacher_version,
        environment=record.environment,
    )


def _check(members: Sequence[RunFolder], records: Sequence[RunRecord]) -> None:
    """Raises RecipeError unless members answer about the same images, and none has learned what another holds out."""
    if len(members) < 2:
        raise RecipeError("Received one run. Expected two or more, whose networks answer together.")
    first, first_splits = records[0], members[0].read_splits()
    for folder, record in zip(members, records, strict=True):
        name = f"The run {str(folder.path)!r}"
        if record.members:
            raise RecipeError(f"{name} is an ensemble itself. Expected runs of one network: name its members instead.")
        for what, same in _alike(first, record).items():
            if not same:
                raise RecipeError(f"{name} has other {what} than {str(members[0].path)!r}. Expected the same for all.")
        splits = folder.read_splits()
        if not all(np.array_equal(indices, splits.get(split)) for split, indices in first_splits.items()):
            raise RecipeError(
                f"{name} holds out other images than {str(members[0].path)!r}, which has learned from some of them. "
                "Expected the same --seed, --leave-out and train.validation_fraction for all."
            )
    if len({_training(record) for record in records}) < len(records):
        raise RecipeError(
            "Two of the runs are the same training and would give the same answers. Expected different ones: "
            "--set train.replicate=1 begins from other weights and holds out the same images."
        )


def _training(record: RunRecord) -> bytes:
    """What decides how a network ends, the images apart: equal for two trainings that are the same."""
    recipe = recipes.to_table(recipes.from_table(record.recipe, source=record.name))
    tables = [recipe[table] for table in ("model", "augment", "train")]
    return msgspec.json.encode([*tables, record.precision, record.teacher_version, record.environment["backend"]])


def _alike(one: RunRecord, other: RunRecord) -> dict[str, bool]:
    """Whether two runs have the same, by the words for it."""
    return {
        "images (the fingerprint of its data)": one.fingerprint == other.fingerprint,
        "classes": one.classes == other.classes,
        "image sizes and fit": _spec(one) == _spec(other),
    }


def _spec(record: RunRecord) -> ImageSpec:
    return recipes.from_table(record.recipe, source=record.name).spec
