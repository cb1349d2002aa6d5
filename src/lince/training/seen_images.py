"""Which images another network has learned from: a teacher's, or that of the run whose weights training begins with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lince.errors import RecipeError
from lince.runs.run_folder import RunRecord
from lince.types import Dataset


@dataclass(frozen=True)
class HeldOut:
    """The settings that decide on which images of a dataset a run does not train.

    Attributes:
        seed: of the run.
        leave_out: the name given by `--leave-out`, without its folder; or None.
        validation_fraction: of the recipe.
        groups: the rule of `--groups`; or None.
    """

    seed: int
    leave_out: str | None
    validation_fraction: float
    groups: str | None = None


@dataclass(frozen=True)
class Learned:
    """Another network, and what is written down about its training.

    Attributes:
        name: for messages, such as "The teacher 'a.tflite'".
        training: as the free-form `training` of a manifest.
    """

    name: str
    training: Mapping[str, Any]

    @classmethod
    def by_run(cls, record: RunRecord, dataset: Dataset, *, source: str, name: str) -> "Learned":
        """The network of an earlier run.

        The same source may have changed since, or have been read at another image size, at which a few other images
        are drawn. Its images are taken to be those of the dataset, and some of them to be validated on now.

        Args:
            record: of the earlier run.
            dataset, source: of the new run.
            name: for messages.
        """
        is_same = record.source == source
        training = {
            "fingerprint": dataset.fingerprint if is_same else record.fingerprint,
            "seed": record.seed,
            "groups": record.groups,
            "leave_out": record.left_out_name,
            "recipe": record.recipe,
            "refitted": record.refits,
            "knows_validation": record.knows_validation or (is_same and record.fingerprint != dataset.fingerprint),
        }
        return cls(name, training)

    def require_unseen_test(self, dataset: Dataset, held_out: HeldOut) -> None:
        """Refuses a network that has learned from images that the run tests on, or leaves out.

        Args:
            dataset: the run's. With `test_indices`, the seed has drawn its test split.
            held_out: of the run.

        Raises:
            RecipeError: see above.
        """
        theirs = self.training
        if theirs.get("fingerprint") != dataset.fingerprint:
            return  # of other data, or of more: from which images it has learned is unknown
        if dataset.test_indices and "seed" not in theirs:
            raise RecipeError(
                f"{self.name} does not say with which --seed it was trained: it may have learned from images of the "
                "run's test split. Name a model of lince train, or add a test split to the data."
            )
        if dataset.test_indices and theirs["seed"] != held_out.seed:
            raise RecipeError(
                f"{self.name} was trained with --seed {theirs['seed']}, the run has {held_out.seed}: it has learned "
                "from images of the run's test split. Give both the same seed."
            )
        if dataset.test_indices and theirs.get("groups") != held_out.groups:
            raise RecipeError(
                f"{self.name} was trained with --groups {theirs.get('groups')}, the run has {held_out.groups}: it has "
                "learned from images of the run's test split. Give both the same groups."
            )
        if held_out.leave_out and theirs.get("leave_out") != held_out.leave_out:
            raise RecipeError(
                f"{self.name} was trained without --leave-out {held_out.leave_out}, which the run leaves out: it has "
                "learned from those images. Train it with the same --leave-out, or name another."
            )

    def knows_validation(self, dataset: Dataset, held_out: HeldOut) -> bool:
        """Whether it has learned from images of the run's validation split, by what is written down.

        It has if both use the same dataset, and it was trained on all images in the end, or holds out others, or has
        itself learned from a network that knew them.

        Args: as of `require_unseen_test`.
        """
        theirs = self.training
        if theirs.get("fingerprint") != dataset.fingerprint:
            return False
        fraction = _at(theirs, "recipe", "train", "validation_fraction")
        mine = (held_out.seed, held_out.validation_fraction, held_out.leave_out, held_out.groups)
        yours = (theirs.get("seed"), fraction, theirs.get("leave_out"), theirs.get("groups"))
        return theirs.get("refitted") is True or theirs.get("knows_validation") is True or yours != mine


def _at(table: Any, *keys: str) -> Any:
    """The value at these keys of a manifest's free-form part; None if it has another structure."""
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table
