"""The run folder: every file of a run, by name, and the record that says what the run is."""

import csv
import io
import re
from dataclasses import astuple
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from lince import schema
from lince.errors import DataError, RecipeError, ResumeError, TrainingError
from lince.model_file.manifest import RunReport
from lince.system.files import DAMAGED_NPZ, open_regular, read_bounded, reason_of, write_atomically
from lince.types import ComputeDtype, EpochRecord, Rejected

# One part of a path, so that a recipe from elsewhere cannot name a folder outside `runs`.
_NAME = re.compile(r"\w[\w.\- ]*")
FORMAT = 2  # of run.json; before it there was no number
_MAX_JSON_BYTES = 2**28  # a record with a million rejected files; the bound is against a file that never ends


class Budget(Struct, frozen=True, kw_only=True):
    """A time that a run was given, and how it was divided; see `training/time_budget/recipe_choice.py`.

    Attributes:
        seconds: from the start of the program to the published model, as asked for.
        training_seconds: of these, what the loop has; the rest is reading, measuring and publishing.
        publishing_seconds: of these, what the last validation and publishing were expected to take.
        step_seconds: what a step was found to take, in each phase of the recipe and at full size.
        rejected: recipes for which the time was too short.
    """

    seconds: float
    training_seconds: float
    publishing_seconds: float
    step_seconds: tuple[float, ...]
    rejected: tuple[str, ...] = ()


class RunRecord(Struct, frozen=True, kw_only=True):
    """`run.json`: what is needed to repeat the run, fixed before the first step.

    Attributes:
        recipe: resolved, with every override.
        source: what the user named as DATA; a path is made absolute.
        fingerprint: of the dataset's content.
        precision: what the recipe's `precision` meant on this machine.
        environment: backend, machine, package versions.
        reading: how the source's folders were read, a sentence; empty for one without folders.
        warnings: what of the source may not be meant so, a sentence each.
        teacher: the model file that the network learned from, besides the labels; the folder has a copy of it.
        teacher_version: of that model.
        teacher_knows_validation: it has learned from images that the run validates with.
        leave_out: what the user named by --leave-out: no image of it is trained or validated on; it may be tested on.
        budget: the time that the run was given, or None.
    """

    name: str
    recipe: dict[str, Any]
    seed: int
    source: str
    fingerprint: str
    classes: tuple[str, ...]
    precision: ComputeDtype
    deterministic: bool
    created: str
    environment: dict[str, Any]
    rejected: tuple[Rejected, ...] = ()
    reading: str = ""
    warnings: tuple[str, ...] = ()
    teacher: str | None = None
    teacher_version: str | None = None
    teacher_knows_validation: bool = False
    leave_out: str | None = None
    budget: Budget | None = None
    format: int = FORMAT

    @property
    def left_out_name(self) -> str | None:
        """The name of what was left out, without its folder."""
        return Path(self.leave_out).name if self.leave_out else None


class RunFolder:
    """Where a run's files are."""

    def __init__(self, path: Path):
        self.path = path
        self.record = path / "run.json"
        self.splits = path / "splits.npz"
        self.checkpoint = path / "checkpoint.npz"
        self.history = path / "history.csv"
        self.keras_model = path / "model.keras"
        self.model = path / "model.tflite"
        self.answers = path / "answers.npz"
        self.teacher = path / "teacher.tflite"
        self.report = path / "report.json"
        self.page = path / "report.html"
        self.plots = path / "plots"
        self.tensorboard = path / "tensorboard"

    def require_new(self) -> None:
        """Raises RecipeError when its name is none, TrainingError when it holds a run already."""
        check_name(self.path.name)
        if self.record.exists() or self.checkpoint.exists():
            raise TrainingError(
                f"{str(self.path)!r} holds a run already. Go on by lince train --resume {self.path}, or when it "
                f"is trained by lince quantize {self.path}; choose another --name, or delete it."
            )

    def create(self, record: RunRecord, *, teacher: bytes | None = None, **splits: np.ndarray) -> None:
        """Makes the folder and writes what the run is: the record, its teacher's model file, and index arrays by name.

        Raises:
            TrainingError: the folder holds a run already, or cannot be made.
        """
        self.require_new()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = io.BytesIO()
            np.savez(file, allow_pickle=False, **splits)
            write_atomically(self.splits, file.getvalue())
            if teacher is not None:
                write_atomically(self.teacher, teacher)
            write_atomically(self.record, msgspec.json.format(msgspec.json.encode(record), indent=2))
        except OSError as error:
            raise TrainingError(f"The run folder {str(self.path)!r} cannot be written ({error.strerror}).") from error
        except UnicodeEncodeError as error:
            raise TrainingError(
                f"{error.object!r} holds bytes that are not UTF-8, which {self.record.name} cannot hold. Expected "
                "paths in UTF-8: rename the file or folder."
            ) from error

    def read_record(self) -> RunRecord:
        """Raises ResumeError when the folder is not a run's, or its record is damaged or of another format."""
        try:
            data = read_bounded(self.record, _MAX_JSON_BYTES)
            _require_format(self.record, schema.from_json(data, dict[str, Any]).get("format"))
            record: RunRecord = schema.from_json(data, RunRecord)
            return record
        except FileNotFoundError as error:
            message = (
                f"{str(self.path)!r} is not a run folder: it has no run.json. Expected a folder made by lince train."
            )
            raise ResumeError(message) from error
        except OSError as error:
            message = f"{str(self.record)!r} cannot be read ({error.strerror}). Expected a folder made by lince train."
            raise ResumeError(message) from error
        except schema.MisfitError as error:
            raise ResumeError(f"{str(self.record)!r} is damaged ({reason_of(error)}). Start the run anew.") from error

    def read_splits(self) -> dict[str, np.ndarray]:
        """Indices i64 by name: `train` and `validation` into the source's training images; `test` of the set-aside."""
        try:
            with open_regular(self.splits) as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except DAMAGED_NPZ as error:
            raise DataError(f"{str(self.splits)!r} cannot be read ({reason_of(error)}). Start the run anew.") from error

    def write_history(self, history: tuple[EpochRecord, ...]) -> None:
        """`history.csv`: a header and one row for each validation."""
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(EpochRecord.__dataclass_fields__)
        writer.writerows(astuple(record) for record in history)
        write_atomically(self.history, file.getvalue().encode())

    def read_history(self) -> tuple[EpochRecord, ...]:
        """The finished epochs; empty before the first. Raises DataError when the file is damaged."""
        if not self.history.exists():
            return ()
        try:
            with io.StringIO(read_bounded(self.history, _MAX_JSON_BYTES).decode(), newline="") as file:
                return tuple(schema.convert(_numbers(row), EpochRecord) for row in csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error, schema.MisfitError) as error:
            raise DataError(
                f"{str(self.history)!r} cannot be read ({reason_of(error)}). Delete it: lince train --resume "
                "writes it anew."
            ) from error

    def read_report(self) -> RunReport:
        """Raises DataError when the run was not published, or its report is damaged."""
        try:
            report: RunReport = schema.from_json(read_bounded(self.report, _MAX_JSON_BYTES), RunReport)
            return report
        except (OSError, schema.MisfitError) as error:
            raise DataError(
                f"{str(self.report)!r} cannot be read ({reason_of(error)}). Write it by lince quantize {self.path}."
            ) from error

    def read_answers(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities f32[N,K] of the model file on the test images, and their labels i64[N]."""
        try:
            with open_regular(self.answers) as file, np.load(file, allow_pickle=False) as arrays:
                return arrays["probabilities"], arrays["labels"]
        except (*DAMAGED_NPZ, KeyError) as error:
            message = (
                f"{str(self.answers)!r} cannot be read ({reason_of(error)}). Write it by lince quantize {self.path}."
            )
            raise DataError(message) from error


def new_folder(runs: Path, name: str) -> RunFolder:
    """The folder of a run to come, inside `runs`; nothing is made yet.

    Raises:
        RecipeError: the name is none. TrainingError: it holds a run already.
    """
    check_name(name)
    folder = RunFolder(runs / name)
    folder.require_new()
    return folder


def check_name(name: str, *, of: str = "run") -> None:
    """Refuses what is no name of a run or of a model.

    Raises:
        RecipeError: it has other signs than those of a name.
    """
    if not _NAME.fullmatch(name):
        raise RecipeError(
            f"Received the {of}'s name {name!r}. Expected letters, digits, '.', '-', '_' and spaces: give it by --name."
        )


def _require_format(path: Path, received: object) -> None:
    if received != FORMAT:
        raise ResumeError(
            f"{str(path)!r} is of format {received!r}. Expected {FORMAT}: another version of lince wrote it. Train "
            "again by lince train DATA, with another --name."
        )


def _numbers(row: dict[str, str]) -> dict[str, Any]:
    """A row of CSV whose cells are numbers where they read as such."""
    return {column: _number(cell) for column, cell in row.items()}


def _number(cell: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(cell)
        except (TypeError, ValueError):  # TypeError: a row with too few cells, or too many
            continue
    return cell
