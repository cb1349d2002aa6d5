"""A teacher answers as its model file is served, and teaches no other classes or sizes than its own."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import synthetic
from lince import artifact
from lince.classifier import Network
from lince.errors import ModelFileError, RecipeError
from lince.records import Split
from lince.run import RunFolder, RunRecord
from lince.training import recipe as recipes
from lince.training import teacher
from lince.training.opening import Run

# The model that ships is a teacher that needs no training first.
SHIPPED = artifact.read(artifact.locate(artifact.SHIPPED))


def taught(
    named: str,
    *,
    classes: tuple[str, ...] = SHIPPED.manifest.classes,
    image_size: int = 32,
    version: str | None = SHIPPED.manifest.version,
) -> Run:
    """A run with this teacher."""
    recipe = recipes.load("classic", [f"image_size={image_size}"])
    record = RunRecord(
        name="pupil", recipe=recipes.to_table(recipe), seed=0, source="images", fingerprint="", classes=classes,
        precision="float32", deterministic=True, created=datetime.now(UTC).isoformat(), environment={}, teacher=named,
        teacher_version=version,
    )  # fmt: skip
    images, labels = synthetic.batch(3, seed=0)
    split = Split(images, labels, classes, ("a", "b", "c"))
    return Run(RunFolder(Path("pupil")), record, recipe, train=split, validation=split, test=split)


class TestLoad:
    @pytest.mark.parametrize("n", [1, 2, 7])
    def test_answers_as_the_model_file(self, n):
        """Logits of each image, in their order, however many there are for the cores."""
        images = synthetic.batch(n, seed=3)[0]
        network = Network(SHIPPED.flatbuffer)
        expected = network.dequantize(network.run(images))
        np.testing.assert_array_equal(expected, teacher.load(taught(artifact.SHIPPED))(images))

    def test_other_classes(self):
        """Its answers would be about something else, even where there are as many."""
        classes = ("disc", *SHIPPED.manifest.classes[1:])
        with pytest.raises(
            RecipeError,
            match=r"The teacher 'cifar10' was trained for 10 classes \(airplane, .*\)\. Expected those of the run, "
            r"10 \(disc, .*\): train a teacher on this data",
        ):
            teacher.load(taught(artifact.SHIPPED, classes=classes))

    def test_another_file_than_the_run_began_with(self):
        """A run that goes on is taught by the same network, not by what was put in its place since."""
        with pytest.raises(RecipeError, match=r"is of version \w+\. Expected the one that the run began with, abc123:"):
            teacher.load(taught(artifact.SHIPPED, version="abc123"))

    def test_other_sizes(self):
        """It sees the very pixels that the network is trained on."""
        with pytest.raises(RecipeError, match=r"was trained for .*32.*Expected those of the run, .*64"):
            teacher.load(taught(artifact.SHIPPED, image_size=64))

    def test_no_model_file(self, tmp_path):
        """A file of something else is refused as everywhere."""
        path = tmp_path / "teacher.tflite"
        path.write_bytes(b"something else")
        with pytest.raises(ModelFileError, match=r"teacher\.tflite"):
            teacher.load(taught(str(path)))
