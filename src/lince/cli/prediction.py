"""What `lince predict` does."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from lince.cli import prediction_file
from lince.cli.console import Row, counter, csv_rows, json_lines, say, text_lines
from lince.cli.prediction_file import PredictionFile
from lince.errors import LinceError
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
    sort_into: Path | None,
    workers: int | None,
) -> int:
    """Writes a row for each image.

    Args:
        model: a file, a run folder, or the name of a model that ships.
        paths: images, folders and archives.
        top: classes to list; 0 for none in text and CSV, and five elsewhere.
        logits: add the network's output.
        output: a file, or how stdout is written.
        resume: the file holds rows already.
        sort_into: a folder for the pictures of each answer, or None.
        workers: processes; None for one on each core.

    Returns:
        How many rows are errors.

    Raises:
        LinceError: the model cannot be read, or the file not be written or continued.
    """
    from lince import calibration
    from lince.inference.answer_folders import AnswerFolders
    from lince.inference.classifier import Classifier
    from lince.inference.folder_prediction import RowOptions, predict_on_cores
    from lince.model_file import artifact

    file = artifact.locate(model)
    with quiet.captured_stderr():
        classifier = Classifier.load(file)
    if classifier.manifest.calibration.set_threshold is None:
        say(calibration.what_is_missing(classifier.manifest.calibration))
    listed = min(top, len(classifier.classes))
    is_text = output in ("text", "csv") or (isinstance(output, Path) and output.suffix.lower() == ".csv")
    held = RowOptions(top=listed or (0 if is_text else TOP_IN_JSON), logits=logits)
    paths = tuple(paths)
    add = AnswerFolders(sort_into, classifier.classes, paths).add if sort_into else None
    rows = partial(predict_on_cores, classifier, file, paths, held, workers=workers or machine.cores(), add=add)
    if isinstance(output, Path):
        return _write(output, rows, resume=resume, top=listed)
    if output == "json":
        return json_lines(rows())
    return csv_rows(rows(), top=listed) if output == "csv" else text_lines(rows(), top=listed)


def _write(path: Path, predict: Callable[..., Iterator[Row]], *, resume: bool, top: int) -> int:
    with prediction_file.opened(path, resume=resume, top=top) as file, counter("images") as count:
        rows = file.count

        def counted() -> Iterator[Row]:
            nonlocal rows
            for row in _continued(file, predict):
                yield row
                rows += 1
                count()

        try:
            failed = file.write(counted())
        except KeyboardInterrupt:
            say(f"Interrupted. {rows:,} rows are kept: the same command with --resume goes on.")
            raise
    say(f"{rows:,} rows are in {path}.")
    return failed


def _continued(file: PredictionFile, predict: Callable[..., Iterator[Row]]) -> Iterator[Row]:
    """The rows that a file lacks. Its last answer is computed again, since a file does not name its model."""
    if file.last_answer is None:
        yield from predict(done=file.paths())
        return
    number, line = file.last_answer
    rows = predict(done=file.paths(), again=number)
    if file.line(next(rows)) != line:
        raise LinceError(
            f"The answer number {number + 1:,} of the file is another one now. Expected the same model, options and "
            "pictures as before. Name another file, and leave out --resume."
        )
    yield from rows
