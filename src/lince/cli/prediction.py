"""What `lince predict` does."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Literal

from lince.cli import prediction_file
from lince.cli.console import csv_rows, json_lines, say, text_lines
from lince.system import machine, quiet

TOP_IN_JSON = 5  # classes, as the service's `top`


def predict(
    model: str,
    paths: Iterable[Path],
    *,
    top: int,
    logits: bool,
    output: Path | Literal["text", "json", "csv"],
    resume: bool,
    workers: int | None,
) -> int:
    """Writes a row for each image.

    Args:
        model: a file, a run folder, or the name of a model that ships.
        paths: images, folders and archives.
        top: classes to list; 0 for five in JSON, and none elsewhere.
        logits: add the network's output.
        output: a file, or how stdout is written.
        resume: the file holds rows already.
        workers: processes; None for one on each core.

    Returns:
        How many rows are errors.

    Raises:
        LinceError: the model cannot be read, or the file not be written or continued.
    """
    from lince import calibration
    from lince.inference.classifier import Classifier
    from lince.inference.folder_prediction import RowOptions, predict_on_cores
    from lince.model_file import artifact

    file = artifact.locate(model)
    with quiet.captured_stderr():
        classifier = Classifier.load(file)
    if classifier.manifest.calibration.set_threshold is None:
        say(calibration.what_is_missing(classifier.manifest.calibration))
    listed = min(top, len(classifier.classes))
    held = RowOptions(top=listed or TOP_IN_JSON, logits=logits)
    rows = partial(predict_on_cores, classifier, file, paths, held, workers=workers or machine.cores())
    if isinstance(output, Path):
        with prediction_file.opened(output, resume=resume, top=listed) as opened:
            return opened.write(rows(done=opened.rows, last=opened.last), top=listed)
    write: Callable[..., int] = {"text": text_lines, "csv": csv_rows}.get(output, json_lines)
    return write(rows()) if output == "json" else write(rows(), top=listed)
