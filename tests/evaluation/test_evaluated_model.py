"""What a user may name for evaluation, and which images are then the test."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lince import data
from lince.cli import evaluation
from lince.data import division
from lince.data.splits import digest
from lince.errors import LinceError
from lince.evaluation import evaluated_model
from lince.model_file import artifact
from lince.runs.run_folder import RunFolder


def test_another_keras_file_of_a_run_is_refused(run):
    """Only RUN/model.keras is what run.json describes: another file is not silently taken for it."""
    other = run.path / "other.keras"

    with pytest.raises(LinceError, match=r"other\.keras' is not the model of a run folder.*Expected RUN/model\.keras"):
        evaluation.open_model(str(other))


class TestDrawnTestSplit:
    """Of a source without a test tree, whose groups a run has named."""

    RULE = "{group}?.*"  # ten pictures of successive numbers

    @pytest.fixture
    def source(self, images_folder) -> str:
        """Classes alone."""
        return str(images_folder / "train")

    @pytest.fixture
    def drawn(self, run, source):
        """As a training reads it; other images are tested than without groups."""
        spec = artifact.read(run.model).manifest.image
        drawn = data.load(source, spec, seed=3, groups=self.RULE)
        assert drawn.test_indices != data.load(source, spec, seed=3).test_indices
        return drawn

    @pytest.fixture
    def model_file(self, run, tmp_path, drawn) -> Path:
        """A model file alone, whose manifest says how the split was drawn."""
        return self.saying(run, tmp_path, drawn, groups=self.RULE)

    def saying(self, run: RunFolder, folder: Path, drawn, **changes: object) -> Path:
        """A model file whose manifest says this of its training."""
        model, path = artifact.read(run.model), folder / "alone.tflite"
        sha256 = digest(np.array(drawn.test_indices))
        training = model.manifest.training | {"seed": 3, "fingerprint": drawn.fingerprint, "drawn_test_sha256": sha256}
        path.write_bytes(artifact.encode(replace(model, manifest=replace(model.manifest, training=training | changes))))
        return path

    def test_a_model_file_draws_the_same_images(self, model_file, source, drawn):
        """By the seed and the groups in its manifest; those of training are the others."""
        model = evaluated_model.open_file(model_file)
        assert drawn.test.names == evaluated_model.images(model, source, "test").names
        assert drawn.train.names == evaluated_model.images(model, source, "train").names

    @pytest.mark.parametrize("change", [{"groups": None}, {"seed": 4}, {"drawn_test_sha256": None}])
    def test_another_split_is_refused(self, run, tmp_path, source, drawn, change):
        """It would hold images that the model was trained on. All images can still be taken."""
        model = evaluated_model.open_file(self.saying(run, tmp_path, drawn, **{"groups": self.RULE} | change))
        with pytest.raises(LinceError, match=r"drawn from DATA now is not the one that this model was trained without"):
            evaluated_model.images(model, source, "test")
        assert 75 == len(evaluated_model.images(model, source, "all"))

    def test_other_data_needs_no_groups(self, model_file, images_folder, tmp_path):
        """The rule of the training has no effect there, although it would match nothing."""
        for path in images_folder.glob("test/*/*"):
            target = tmp_path / "other" / path.parent.name / f"{path.stem}-longer{path.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        model = evaluated_model.open_file(model_file)
        assert 45 == len(evaluated_model.images(model, str(tmp_path / "other"), "all"))
        with pytest.raises(LinceError, match=r"it is not known to be the data that this model was trained on"):
            evaluated_model.images(model, str(tmp_path / "other"), "test")

    def test_a_run_has_recorded_its_images(self, run, tmp_path, source, drawn, monkeypatch):
        """Nothing is drawn again: its test images are those of splits.npz, whatever this version would draw."""
        folder = RunFolder(tmp_path / "run")
        record = msgspec.structs.replace(
            run.read_record(), source=source, seed=3, groups=self.RULE, fingerprint=drawn.fingerprint
        )
        test = np.arange(0, 75, 5)
        some = np.arange(60)
        folder.create(record, train=some[:50], validation=some[50:], test=test, groups=some)
        folder.model.write_bytes(run.model.read_bytes())
        monkeypatch.setattr(division, "stratified_split", None)
        model = evaluated_model.open_file(folder.model)
        said: list[str] = []
        everything = evaluated_model.images(model, None, "all", say=said.append)
        assert ["trained on most of these images" in one for one in said] == [True]
        names = sorted(everything.names)
        assert names[::5] == list(evaluated_model.images(model, None, "test").names)
        assert 50 == len(evaluated_model.images(model, None, "train"))
        assert 10 == len(evaluated_model.images(model, None, "validation"))
