"""A teacher answers as its model file is served, and teaches no other classes or sizes than its own."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

import synthetic
from lince.errors import ModelFileError, RecipeError, ResumeError
from lince.inference.interpreter import Network
from lince.model_file import artifact
from lince.runs.run_folder import RunFolder, RunRecord
from lince.training.distillation import teacher
from lince.types import ImageSpec

# The model that ships is a teacher that needs no training first.
SHIPPED = artifact.read(artifact.locate(artifact.SHIPPED))


SPEC = SHIPPED.manifest.image


def taught(named: str = artifact.SHIPPED, **changes: object) -> RunRecord:
    """The record of a run with this teacher, on the shipped model's data unless told otherwise."""
    record = RunRecord(
        name="pupil", recipe={}, seed=SHIPPED.manifest.training["seed"], source="images.zip", precision="float32",
        fingerprint=SHIPPED.manifest.training["fingerprint"], classes=SHIPPED.manifest.classes, deterministic=True,
        created="2026-11-23", environment={}, teacher=str(artifact.locate(named)),
        teacher_version=SHIPPED.manifest.version,
    )  # fmt: skip
    return msgspec.structs.replace(record, **changes)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    """A run folder with its copy of the shipped model as the teacher."""
    folder = RunFolder(tmp_path / "pupil")
    folder.create(taught(), teacher=artifact.encode(SHIPPED))
    return folder


class TestLoad:
    @pytest.mark.parametrize("n", [1, 2, 7])
    def test_answers_as_the_model_file(self, folder, n):
        """Logits of each image, in their order, however many there are for the cores."""
        images = synthetic.batch(n, seed=3)[0]
        network = Network(SHIPPED.flatbuffer)
        expected = network.dequantize(network.run(images))
        np.testing.assert_array_equal(expected, teacher.load(folder, taught(), SPEC)(images))

    def test_another_file_than_the_run_began_with(self, folder):
        """A run that goes on is taught by the same network, not by what was put in its place since."""
        with pytest.raises(RecipeError, match=r"is of version \w+\. Expected the one that the run began with, abc123:"):
            teacher.load(folder, taught(teacher_version="abc123"), SPEC)

    def test_copy_that_is_gone(self, folder):
        """Nothing else takes its place."""
        folder.teacher.unlink()
        with pytest.raises(
            ResumeError, match=r"has no copy of the run's teacher\. Expected .*teacher\.tflite: put the"
        ):
            teacher.load(folder, taught(), SPEC)


class TestRead:
    def test_other_sizes(self):
        """It sees the very pixels that the network is trained on."""
        with pytest.raises(RecipeError, match=r"was trained for .*32.*Expected those of the run, .*64"):
            teacher.read(artifact.locate(artifact.SHIPPED), ImageSpec(64, 64))

    def test_no_model_file(self, tmp_path):
        """A file of something else is refused as everywhere."""
        path = tmp_path / "teacher.tflite"
        path.write_bytes(b"something else")
        with pytest.raises(ModelFileError, match=r"teacher\.tflite"):
            teacher.read(path, SPEC)

    def test_golden_images_that_come_out_wrong(self, tmp_path):
        """A network that computes otherwise here than where it was written must not teach."""
        path, golden = tmp_path / "teacher.tflite", SHIPPED.golden
        path.write_bytes(artifact.encode(replace(SHIPPED, golden=replace(golden, logits=golden.logits[::-1].copy()))))
        with pytest.raises(ModelFileError, match="its golden images give logits"):
            teacher.read(path, SPEC)


class TestKnowsValidation:
    """Whether the shipped model has learned from the validation images of a run that differs in this."""

    def knows(self, *, fraction: float = 0.05, **changes: object) -> bool:
        """The shipped model as the teacher of a run."""
        same = {"leave_out": f"/a/{SHIPPED.manifest.training['leave_out']}"}
        record = taught(recipe={"train": {"validation_fraction": fraction}}, **same | changes)
        return teacher.knows_validation(SHIPPED.manifest, record)

    def test_the_same_images_are_held_out(self):
        """Same data, seed, share, and images left out."""
        assert not self.knows()

    @pytest.mark.parametrize("change", [{"seed": 1}, {"fraction": 0.2}, {"leave_out": None}])
    def test_others_are_held_out(self, change):
        """Any of the three makes other splits of the same dataset."""
        assert self.knows(**change)

    def test_other_data(self):
        """Nothing can be told."""
        assert not self.knows(seed=1, fingerprint="other")

    def test_a_manifest_that_does_not_say(self):
        """Its free-form part may hold anything."""
        record = taught(recipe={"train": {"validation_fraction": 0.05}})
        for said in ({}, {"recipe": 5}, {"recipe": {"train": None}}):
            training = {"fingerprint": record.fingerprint, "seed": record.seed, "leave_out": None} | said
            assert teacher.knows_validation(replace(SHIPPED.manifest, training=training), record)


class TestCheck:
    def check(self, *, test_is_drawn: bool = False, **changes: object) -> None:
        """The shipped model as the teacher of a run that differs in this."""
        teacher.check(SHIPPED.manifest, taught(**changes), test_is_drawn=test_is_drawn)

    def test_takes_one_of_the_same_run(self):
        """Same data, same seed, nothing left out; and one of other data, of which nothing can be said."""
        self.check()
        self.check(test_is_drawn=True)
        self.check(seed=5, fingerprint="other", leave_out="/a/others.zip", test_is_drawn=True)

    def test_other_classes(self):
        """Its answers would be about something else, even where there are as many."""
        classes = ("disc", *SHIPPED.manifest.classes[1:])
        with pytest.raises(
            RecipeError,
            match=r"The teacher '.*' was trained for 10 classes \(airplane, .*\)\. Expected those of the run, "
            r"10 \(disc, .*\): train a teacher on this data",
        ):
            self.check(classes=classes)

    def test_one_that_was_trained_on_test_images(self):
        """A test split that is drawn is drawn by the seed: another seed's training images are among it."""
        with pytest.raises(RecipeError, match=r"trained with --seed 0, the run has 5: .* Give both the same seed"):
            self.check(seed=5, test_is_drawn=True)
        self.check(seed=5)  # a test split of the source's own

    def test_one_that_does_not_say(self):
        """Of a teacher without a seed nobody knows which images it has seen."""
        training = {key: value for key, value in SHIPPED.manifest.training.items() if key != "seed"}
        silent = replace(SHIPPED.manifest, training=training)
        with pytest.raises(RecipeError, match="does not say with which --seed it was trained"):
            teacher.check(silent, taught(), test_is_drawn=True)
        teacher.check(silent, taught(), test_is_drawn=False)

    def test_one_that_was_trained_on_what_is_left_out(self):
        """It would pass it on."""
        with pytest.raises(RecipeError, match=r"trained without --leave-out others\.zip, which the run leaves out"):
            self.check(leave_out="/a/others.zip")
