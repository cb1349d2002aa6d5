"""The run folder: the path of every file of a run, and the record that makes the run repeatable."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from lince import schema
from lince.errors import DataError, RecipeError, ResumeError, TrainingError
from lince.model_file.manifest import Pretrained, RunReport
from lince.system.files import DAMAGED_NPZ, meant, open_regular, read_bounded, reason_of, write_atomically
from lince.types import ComputeDtype, Environment, EpochRecord, Rejected

# One part of a path, so that a recipe from another person cannot name a folder outside `runs`.
_NAME = re.compile(r"\w[\w.\- ]*")
FORMAT = 4  # of run.json
_MAX_JSON_BYTES = 2**28  # enough for a record with a million rejected files; an endless file is not read to its end


class Budget(Struct, frozen=True, kw_only=True):
    """The time budget of a run, and its parts; see `training/time_budget/recipe_choice.py`.

    Attributes:
        seconds: from the start of the program to the published model, as the user asked.
        training_seconds: the training loop's part; the rest is reading, measuring and publishing.
        publishing_seconds: the expected time of the last validation and of publishing.
        step_seconds: the measured time of a step, in each phase of the recipe and at full size. Empty for a pretrained
            network, whose head is published first: no step was rehearsed, and the recipe's epochs are the most.
        rejected: recipes that need more time.
    """

    seconds: float
    training_seconds: float
    publishing_seconds: float
    step_seconds: tuple[float, ...] = ()
    rejected: tuple[str, ...] = ()


class RunRecord(Struct, frozen=True, kw_only=True):
    """`run.json`: everything that repeats the run, written before the first step.

    Attributes:
        recipe: resolved, with every override.
        source: DATA as the user named it; a path is made absolute.
        fingerprint: of the dataset's content.
        precision: the recipe's `precision`, resolved for this machine.
        environment: backend, machine, package versions.
        reading: how the source's folders were read, and which groups were named; empty for a source without folders.
        warnings: possible mistakes in the source, one sentence each.
        teacher: the model file of the teacher; the folder has a copy of it.
        teacher_version: of that model.
        knows_validation: the teacher, or the run whose weights training begins with, was trained on some of the run's
            validation images.
        leave_out: the source named by --leave-out; its images are neither trained nor validated on.
        pretrained: the weights that training begins with; None from scratch.
        refits: the network is trained again on the validation images too; see `training/refit.py`.
        groups: the rule of --groups, or None.
        budget: the time budget of the run, or None.
    """

    name: str
    recipe: dict[str, Any]
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    source: str
    fingerprint: str
    classes: tuple[str, ...]
    precision: ComputeDtype
    deterministic: bool
    created: str
    environment: Environment
    rejected: tuple[Rejected, ...] = ()
    reading: str = ""
    warnings: tuple[str, ...] = ()
    teacher: str | None = None
    teacher_version: str | None = None
    knows_validation: bool = False
    leave_out: str | None = None
    pretrained: Pretrained | None = None
    refits: bool = False
    groups: str | None = None
    budget: Budget | None = None
    format: int = FORMAT

    @property
    def left_out_name(self) -> str | None:
        """The name of what was left out, without its folder."""
        return Path(self.leave_out).name if self.leave_out else None


class RunFolder:
    """The paths of a run's files, and how they are read and written."""

    def __init__(self, path: str | Path):
        self.path = path = Path(path)
        self.record = path / "run.json"
        self.splits = path / "splits.npz"
        self.features = path / "features.npy"
        self.head = path / "head.npz"
        self.checkpoint = path / "checkpoint.npz"
        self.refit = path / "refit.npz"
        self.held_out = path / "held_out.npz"
        self.history = path / "history.csv"
        self.keras_model = path / "model.keras"
        self.model = path / "model.tflite"
        self.answers = path / "answers.npz"
        self.teacher = path / "teacher.tflite"
        self._beginning = path / "beginning"
        self.report = path / "report.json"
        self.pictures = path / "pictures.npz"
        self.page = path / "report.html"
        self.markdown = path / "report.md"
        self.plots = path / "plots"
        self.tensorboard = path / "tensorboard"

    @property
    def beginning(self) -> "RunFolder":
        """Record and float model of the run whose weights training begins with, copied."""
        return RunFolder(self._beginning)

    def require_new(self) -> None:
        """Raises RecipeError when its name is not allowed, TrainingError when it already holds a run."""
        check_name(self.path.name)
        if self.record.exists() or self.checkpoint.exists():
            raise TrainingError(
                f"{str(self.path)!r} already holds a run. Continue it with lince train --resume {self.path}, or "
                f"with lince quantize {self.path} when it is trained. Or choose another --name, or delete it."
            )

    def create(self, record: RunRecord, *, kept: Mapping[Path, bytes] | None = None, **splits: np.ndarray) -> None:
        """Makes the folder and writes index arrays by name, other files that it is to keep, and last the record.

        Raises:
            TrainingError: the folder already holds a run, or cannot be made.
        """
        self.require_new()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = io.BytesIO()
            np.savez(file, allow_pickle=False, **splits)
            write_atomically(self.splits, file.getvalue())
            for path, content in (kept or {}).items():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, content)
            self.write_record(record)
        except OSError as error:
            raise TrainingError(
                f"The run folder {str(self.path)!r} cannot be written ({error.strerror}). Expected a folder with room "
                "for a run: free disk space, or choose another one by --runs."
            ) from error
        except UnicodeEncodeError as error:
            raise TrainingError(
                f"{error.object!r} has bytes that are not UTF-8, and {self.record.name} is UTF-8. Expected paths in "
                "UTF-8: rename the file or folder."
            ) from error

    def write_record(self, record: RunRecord) -> None:
        """Writes `run.json`, also where there is one."""
        write_atomically(self.record, msgspec.json.format(msgspec.json.encode(record), indent=2))

    def read_record(self) -> RunRecord:
        """Raises ResumeError when the folder is not a run's, or its record is damaged or of another format."""
        try:
            data = read_bounded(self.record, _MAX_JSON_BYTES)
            received = schema.from_json(data, dict[str, Any]).get("format")
            if received != FORMAT:
                raise ResumeError(
                    f"{str(self.record)!r} is of format {received!r}. Expected {FORMAT}: another version of lince "
                    "wrote it. Train again with lince train DATA and another --name."
                )
            return schema.from_json(data, RunRecord)
        except FileNotFoundError as error:
            raise ResumeError(
                f"{str(self.path)!r} is not a run folder: it has no run.json.{meant(str(self.path), self.record.name)} "
                "Expected a folder made by lince train."
            ) from error
        except OSError as error:
            raise ResumeError(
                f"{str(self.record)!r} cannot be read ({error.strerror}). Expected a folder made by lince train."
            ) from error
        except schema.MisfitError as error:
            raise ResumeError(f"{str(self.record)!r} is damaged ({reason_of(error)}). Start the run anew.") from error

    def read_splits(self) -> dict[str, np.ndarray]:
        """Indices i64: `train` and `validation` into the source's training images; `test` of a drawn test split.

        And `groups` i64[N], equal for training images that stay together when they are divided.
        """
        return _read_arrays(self.splits, "train", "validation", "test", "groups", repair="Start the run anew.")

    def read_groups(self) -> np.ndarray:
        """Groups i64[N] of the training images, then of the validation images."""
        splits = self.read_splits()
        groups: np.ndarray = splits["groups"][np.concatenate([splits["train"], splits["validation"]])]
        return groups

    @property
    def trained(self) -> Path:
        """The checkpoint with the weights to publish: of the refit, once that is done."""
        return self.refit if self.held_out.exists() else self.checkpoint

    def write_held_out(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """`held_out.npz`: logits f32[M,K] of images that the network was not trained on, and their labels i64[M]."""
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, logits=logits, labels=labels)
        write_atomically(self.held_out, file.getvalue())

    def read_held_out(self) -> tuple[np.ndarray, np.ndarray] | None:
        """What `write_held_out` wrote; None for a run without a refit. Raises DataError when the file is damaged."""
        if not self.held_out.exists():
            return None
        repair = f"Delete it, then continue with lince train --resume {self.path}."
        arrays = _read_arrays(self.held_out, "logits", "labels", repair=repair)
        return arrays["logits"], arrays["labels"]

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
            return schema.from_json(read_bounded(self.report, _MAX_JSON_BYTES), RunReport)
        except (OSError, schema.MisfitError) as error:
            raise DataError(
                f"{str(self.report)!r} cannot be read ({reason_of(error)}). Write it with lince quantize {self.path}."
            ) from error

    def read_answers(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities f32[N,K] of the model file on the test images, and their labels i64[N]."""
        arrays = _read_arrays(
            self.answers, "probabilities", "labels", repair=f"Write it with lince quantize {self.path}."
        )
        return arrays["probabilities"], arrays["labels"]


def new_folder(runs: Path, name: str) -> RunFolder:
    """The folder of a new run inside `runs`; nothing is made yet.

    Raises:
        RecipeError: the name is not allowed. TrainingError: the folder already holds a run.
    """
    check_name(name)
    folder = RunFolder(runs / name)
    folder.require_new()
    return folder


def check_name(name: str, *, of: str = "run") -> None:
    """Refuses a name that is not allowed for a run or a model.

    Raises:
        RecipeError: the name has characters that are not allowed.
    """
    if not _NAME.fullmatch(name):
        raise RecipeError(
            f"Received the {of}'s name {name!r}. Expected letters, digits, '.', '-', '_' and spaces: give it by --name."
        )


def _read_arrays(path: Path, *names: str, repair: str) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file; DataError, with the repair, when it is damaged or lacks one of them."""
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (*DAMAGED_NPZ, KeyError) as error:
        raise DataError(f"{str(path)!r} cannot be read ({reason_of(error)}). {repair}") from error


def _numbers(row: dict[str, str]) -> dict[str, Any]:
    """A row of CSV, in which cells that are numbers become numbers."""
    return {column: _number(cell) for column, cell in row.items()}


def _number(cell: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(cell)
        except (TypeError, ValueError):  # TypeError: a row with too few cells, or too many
            continue
    return cell
