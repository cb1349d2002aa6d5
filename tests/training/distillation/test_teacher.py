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
from lince.training.seen_images import HeldOut
from lince.types import Dataset, ImageSpec, Split

# The model that ships is a teacher that needs no training first.
PATH = artifact.locate(artifact.SHIPPED)
SHIPPED = artifact.read(PATH)
TRAINING = SHIPPED.manifest.training
SPEC = SHIPPED.manifest.image


def saying(training: dict) -> teacher.TeacherModel:
    """A teacher whose manifest says this of its training; it is never asked anything."""
    model = replace(SHIPPED, manifest=replace(SHIPPED.manifest, training=training))
    return teacher.TeacherModel(PATH, model, predict=lambda images: pytest.fail("asked"))


def dataset(*, fingerprint: str = TRAINING["fingerprint"], classes=SHIPPED.manifest.classes, drawn=False) -> Dataset:
    """A dataset without images: the shipped model's own, unless told otherwise."""
    empty = Split(np.empty((0, *SPEC.shape), np.uint8), np.empty(0, np.int64), classes, ())
    return Dataset(empty, empty, fingerprint, test_indices=(1, 2) if drawn else ())


def held_out(**changes: object) -> HeldOut:
    """The same images as the shipped model holds out, but for what is changed."""
    fraction = TRAINING["recipe"]["train"]["validation_fraction"]
    return replace(HeldOut(TRAINING["seed"], TRAINING["leave_out"], fraction), **changes)


def taught(**changes: object) -> RunRecord:
    """The record of a run with this teacher, on the shipped model's data unless told otherwise."""
    record = RunRecord(
        name="pupil", recipe={}, seed=SHIPPED.manifest.training["seed"], source="images.zip", precision="float32",
        fingerprint=SHIPPED.manifest.training["fingerprint"], classes=SHIPPED.manifest.classes, deterministic=True,
        created="2026-11-23", environment={}, teacher=str(PATH),
        teacher_version=SHIPPED.manifest.version,
    )  # fmt: skip
    return msgspec.structs.replace(record, **changes)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    """A run folder with its copy of the shipped model as the teacher."""
    folder = RunFolder(tmp_path / "pupil")
    folder.create(taught(), kept={folder.teacher: artifact.encode(SHIPPED)})
    return folder


class TestReopen:
    @pytest.mark.parametrize("n", [1, 2, 7])
    def test_answers_as_the_model_file(self, folder, n):
        """Logits of each image, in their order, however many there are for the cores."""
        images = synthetic.batch(n, seed=3)[0]
        network = Network(SHIPPED.flatbuffer)
        expected = network.dequantize(network.run(images))
        np.testing.assert_array_equal(expected, teacher.reopen(folder, taught(), SPEC).predict(images))

    def test_another_file_than_the_run_began_with(self, folder):
        """A resumed run learns from the same network, not from a file that replaced it."""
        with pytest.raises(
            RecipeError, match=r"is of version \w+\. Expected the version with which .* started, abc123:"
        ):
            teacher.reopen(folder, taught(teacher_version="abc123"), SPEC)

    def test_copy_that_is_gone(self, folder):
        """Nothing else takes its place."""
        folder.teacher.unlink()
        with pytest.raises(
            ResumeError, match=r"has no copy of the run's teacher\. Expected .*teacher\.tflite: copy the"
        ):
            teacher.reopen(folder, taught(), SPEC)


class TestOpen:
    def test_other_sizes(self):
        """It sees the very pixels that the network is trained on."""
        with pytest.raises(RecipeError, match=r"was trained for .*32.*Expected those of the run, .*64"):
            teacher.open_model(PATH, ImageSpec(64, 64))

    def test_no_model_file(self, tmp_path):
        """A file of something else is refused as everywhere."""
        path = tmp_path / "teacher.tflite"
        path.write_bytes(b"something else")
        with pytest.raises(ModelFileError, match=r"teacher\.tflite"):
            teacher.open_model(path, SPEC)

    def test_golden_images_that_come_out_wrong(self, tmp_path):
        """A network that computes otherwise here than where it was written must not teach."""
        path, golden = tmp_path / "teacher.tflite", SHIPPED.golden
        path.write_bytes(artifact.encode(replace(SHIPPED, golden=replace(golden, logits=golden.logits[::-1].copy()))))
        with pytest.raises(ModelFileError, match="its golden images give logits"):
            teacher.open_model(path, SPEC)


class TestKnowsValidation:
    """Whether the shipped model has learned from the validation images of a run that differs in this."""

    def test_the_same_images_are_held_out(self):
        """Same data, seed, share, and images left out."""
        assert not saying(TRAINING).learned.knows_validation(dataset(), held_out())

    @pytest.mark.parametrize(
        "change", [{"seed": 1}, {"validation_fraction": 0.2}, {"leave_out": None}, {"groups": "folder"}]
    )
    def test_others_are_held_out(self, change):
        """Any of these makes other splits of the same dataset."""
        assert saying(TRAINING).learned.knows_validation(dataset(), held_out(**change))

    def test_a_teacher_of_few_images(self):
        """In the end it was trained on its validation images, too."""
        assert saying(TRAINING | {"refitted": True}).learned.knows_validation(dataset(), held_out())

    def test_other_data(self):
        """Nothing can be told."""
        assert not saying(TRAINING).learned.knows_validation(dataset(fingerprint="other"), held_out(seed=1))

    def test_a_manifest_that_does_not_say(self):
        """Its free-form part may hold anything."""
        for said in ({}, {"recipe": 5}, {"recipe": {"train": None}}):
            training = {"fingerprint": TRAINING["fingerprint"], "seed": TRAINING["seed"], "leave_out": None} | said
            assert saying(training).learned.knows_validation(dataset(), held_out(leave_out=None))


class TestCheck:
    def check(self, training: dict = TRAINING, *, of: Dataset | None = None, **changes: object) -> None:
        """The shipped model as the teacher of a run that differs in this."""
        teacher.check(saying(training), of or dataset(), held_out(leave_out=None, **changes))

    def test_takes_one_of_the_same_run(self):
        """Same data, same seed, nothing left out; and one of other data, of which nothing can be said."""
        self.check()
        self.check(of=dataset(drawn=True))
        teacher.check(saying(TRAINING), dataset(fingerprint="other", drawn=True), held_out(seed=5, leave_out="o.zip"))

    def test_other_classes(self):
        """Its answers would be about something else, even where there are as many."""
        classes = ("disc", *SHIPPED.manifest.classes[1:])
        with pytest.raises(
            RecipeError,
            match=r"The teacher '.*' was trained for 10 classes \(airplane, .*\)\. Expected those of the run, "
            r"10 \(disc, .*\): train a teacher on this data",
        ):
            self.check(of=dataset(classes=classes))

    def test_one_that_was_trained_on_test_images(self):
        """A test split that is drawn is drawn by the seed: another seed's training images are among it."""
        with pytest.raises(RecipeError, match=r"trained with --seed 0, the run has 5: .* Give both the same seed"):
            self.check(of=dataset(drawn=True), seed=5)
        self.check(seed=5)  # a test split of the source's own

    def test_one_that_was_trained_with_other_groups(self):
        """Groups decide on the drawn test split, too."""
        with pytest.raises(RecipeError, match=r"trained with --groups None, the run has folder: .* the same groups"):
            self.check(of=dataset(drawn=True), groups="folder")
        self.check(TRAINING | {"groups": "folder"}, of=dataset(drawn=True), groups="folder")
        self.check(groups="folder")  # a test split of the source's own

    def test_one_that_does_not_say(self):
        """Of a teacher without a seed it is not known which images it has seen."""
        training = {key: value for key, value in TRAINING.items() if key != "seed"}
        with pytest.raises(RecipeError, match="does not say with which --seed it was trained"):
            self.check(training, of=dataset(drawn=True))
        self.check(training)

    def test_one_that_was_trained_on_what_is_left_out(self):
        """It would pass it on."""
        with pytest.raises(RecipeError, match=r"trained without --leave-out others\.zip, which the run leaves out"):
            teacher.check(saying(TRAINING), dataset(), held_out(leave_out="others.zip"))
