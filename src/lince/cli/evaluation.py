"""What `lince evaluate` does: it opens a model of any kind and measures it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lince.cli.console import progress_bar, say, stderr
from lince.cli.frameworks import needs
from lince.errors import LinceError
from lince.system import quiet

if TYPE_CHECKING:  # imported late, inside the functions
    from lince.evaluation.evaluated_model import EvaluatedModel


def evaluate(
    model: str,
    source: str | None,
    *,
    split: str | None,
    corruptions: bool,
    foreign: bool,
    foreign_images: Sequence[Path],
    seed: int,
) -> dict[str, Any]:
    """Measures a model.

    Args:
        model: see `open_model`.
        source, corruptions, foreign, foreign_images, seed: see `lince evaluate --help`.
        split: of the labelled images; None reads none.

    Returns:
        `report`, `sets`, `corruptions` and `ood`, each None where it was not measured.

    Raises:
        LinceError: the model or the images cannot be used.
    """
    with needs("Evaluating", "train"):
        from lince.evaluation import accuracy, evaluated_model, robustness

        with quiet.captured_stderr():
            found = open_model(model)
    result = dict.fromkeys(("report", "sets", "corruptions", "ood"))
    with progress_bar(stderr()) as progress:
        if split is not None:
            images = evaluated_model.images(found, source, split, progress=progress, say=say)
            result["report"], result["sets"] = accuracy.evaluate(
                found.predict, images, fitted=found.fitted, progress=progress
            )
        if corruptions:
            result["corruptions"] = robustness.corruption_report(
                found.predict, images, fitted=found.fitted, seed=seed, progress=progress
            )
        if foreign:
            result["ood"] = robustness.ood_report(
                found.predict,
                found.spec,
                num_classes=len(found.classes),
                fitted=found.fitted,
                folders=foreign_images,
                seed=seed,
                progress=progress,
            )
    return result


def open_model(name: str) -> EvaluatedModel:
    """Opens the model that a user named for evaluation.

    Args:
        name: the path of a `.tflite` file or of a run's `model.keras`, a run folder (its model file), a model that
            ships, or the address of a server.

    Raises:
        LinceError: the model does not exist, is damaged, or does not answer.
    """
    from lince.evaluation import evaluated_model
    from lince.model_file import artifact

    if name.startswith(("http://", "https://")):
        return evaluated_model.open_server(name)
    path = artifact.locate(name)
    return _float_model(path) if path.suffix == ".keras" else evaluated_model.open_file(path, name=name)


def _float_model(path: Path) -> EvaluatedModel:
    from lince.evaluation.evaluated_model import EvaluatedModel, recorded_split
    from lince.runs.run_folder import RunFolder

    folder = RunFolder(path.parent)
    if path != folder.keras_model or not folder.record.exists():
        raise LinceError(
            f"{str(path)!r} is not the model of a run folder, where run.json names its classes. "
            "Expected RUN/model.keras, or a .tflite file, which holds its classes itself."
        )
    record = folder.read_record()
    from lince.training import backend

    backend.prepare()
    from lince import pipeline
    from lince.training import recipes

    return EvaluatedModel(
        name=str(path),
        predict=pipeline.float_predict(pipeline.trained_model(folder)),
        classes=record.classes,
        spec=recipes.from_table(record.recipe, source=str(folder.record)).spec,
        seed=record.seed,
        split=recorded_split(folder, record),
        run=(folder, record),
    )
