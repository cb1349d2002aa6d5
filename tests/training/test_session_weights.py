"""A run that begins with the weights of an earlier run: which weights, and what the earlier run has learned from."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.training.test_refit import SMALL, quiet, start

from lince import pipeline
from lince.errors import RecipeError, ResumeError, TrainingError
from lince.networks.models import LOGITS
from lince.progress import silent
from lince.runs.float_model import trained_model
from lince.runs.run_folder import RunFolder
from lince.training import recipes
from lince.training.seen_images import HeldOut, Learned
from lince.training.session import Run, begin, build_for
from lince.types import Dataset, Split


@pytest.fixture(scope="module")
def drawn(images_folder, tmp_path_factory) -> Path:
    """The training images of `images_folder`, without a test split of their own."""
    return Path(shutil.copytree(images_folder / "train", tmp_path_factory.mktemp("drawn") / "images"))


@pytest.fixture(scope="module")
def earlier(drawn, tmp_path_factory) -> RunFolder:
    """A run of `drawn`, fine-tuned for an epoch, before a second training on all images."""
    run = start(drawn, tmp_path_factory.mktemp("earlier") / "old", overrides=(*SMALL, "train.epochs=1"))
    pipeline.fit_head(run, silent)
    pipeline.train_model(run, quiet())
    return run.folder


def begun(source: Path, folder: Path, weights: RunFolder, *overrides: str, **changes: object) -> Run:
    """A new run that begins with the weights of another."""
    recipe = recipes.load("photos", (*SMALL, f"model.weights={weights.path}", *overrides))
    options = {"seed": 0, "deterministic": True, "strict": False, "progress": silent} | changes
    return pipeline.start(str(source), recipe, RunFolder(folder), **options)


class TestWeights:
    def test_are_those_of_the_earlier_run(self, drawn, earlier, tmp_path):
        """All of them, where the classes are the same."""
        run = begun(drawn, tmp_path / "new", earlier)
        model, expected = build_for(run, precision="float32"), trained_model(earlier)
        begin(run, model)
        for one, other in zip(expected.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_of_other_classes_but_the_last_layer(self, drawn, earlier, tmp_path):
        """As many classes of other names are other classes."""
        source = Path(shutil.copytree(drawn, tmp_path / "images"))
        next(source.iterdir()).rename(source / "another")
        run = begun(source, tmp_path / "new", earlier)
        model, expected = build_for(run, precision="float32"), trained_model(earlier)
        fresh = [weights.copy() for weights in model.get_layer(LOGITS).get_weights()]
        begin(run, model)
        for layer in (layer for layer in model.layers if layer.weights):
            theirs = fresh if layer.name == LOGITS else expected.get_layer(layer.name).get_weights()
            for one, other in zip(theirs, layer.get_weights(), strict=True):
                np.testing.assert_array_equal(one, other)

    def test_are_kept(self, drawn, earlier, tmp_path):
        """A later stage, and a run that is resumed, do not need the earlier run any more."""
        old = RunFolder(Path(shutil.copytree(earlier.path, tmp_path / "old")))
        run = begun(drawn, tmp_path / "new", old)
        shutil.rmtree(old.path)
        pipeline.fit_head(pipeline.resume(run.folder, progress=silent), silent)
        assert run.folder.head.exists()

    def test_of_another_family(self, trained_run, images_folder, tmp_path):
        """One sentence names both; no folder is made, so that the name can be given again."""
        with pytest.raises(RecipeError, match=r"family '\w+'\. Expected one of family 'efficientnet_lite'"):
            begun(images_folder, tmp_path / "new", trained_run)
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize(
        ("name", "error", "sentence"),
        [
            ("run.json", ResumeError, "is not a run folder"),
            ("model.keras", TrainingError, r"model\.keras' cannot be read .* finished an epoch"),
        ],
    )
    def test_that_are_missing(self, drawn, earlier, tmp_path, name, error, sentence):
        """Refused before a picture is read; no folder is made."""
        old = Path(shutil.copytree(earlier.path, tmp_path / "old"))
        (old / name).unlink()
        with pytest.raises(error, match=sentence):
            begun(tmp_path / "nothing", tmp_path / "new", RunFolder(old))
        assert not (tmp_path / "new").exists()

    def test_that_are_damaged(self, drawn, earlier, tmp_path):
        """The file that the user has named is told, and no folder is made, so that the name can be given again."""
        old = RunFolder(Path(shutil.copytree(earlier.path, tmp_path / "old")))
        old.keras_model.write_bytes(old.keras_model.read_bytes()[:100_000])
        with pytest.raises(TrainingError, match=r"old/model\.keras' cannot be read"):
            begun(drawn, tmp_path / "new", old)
        assert not (tmp_path / "new").exists()


class TestImages:
    """Which images the earlier run has learned from."""

    def test_of_the_test_split(self, drawn, earlier, tmp_path):
        """Another seed draws other test images, of which the earlier run has learned from most."""
        with pytest.raises(RecipeError, match=r"The run '.*old', whose .* --seed 0, the run has 1: it has learned"):
            begun(drawn, tmp_path / "new", earlier, seed=1)

    def test_of_the_validation_split(self, drawn, earlier, tmp_path):
        """With few images it was trained on all but the test images in the end."""
        assert begun(drawn, tmp_path / "new", earlier).folder.read_record().knows_validation

    def test_at_another_image_size(self, drawn, earlier, tmp_path):
        """They are the same images, of which a few others may be drawn."""
        with pytest.raises(RecipeError, match=r"--seed 0, the run has 1: it has learned"):
            begun(drawn, tmp_path / "new", earlier, "image_size=96", seed=1)
        record = begun(drawn, tmp_path / "new", earlier, "image_size=96").record
        assert record.knows_validation
        assert any("read at another size" in warning for warning in record.warnings)

    def test_are_passed_on(self, drawn, images_folder, earlier, tmp_path):
        """A run that began with one that knew its validation images knows them, too."""
        old = RunFolder(Path(shutil.copytree(earlier.path, tmp_path / "old")))
        source = str(images_folder)
        dataset = Dataset(*(Split(np.empty((0, 8, 8, 3), np.uint8), np.empty(0, int), (), ()),) * 2, fingerprint="x")
        held_out = HeldOut(seed=0, leave_out=None, validation_fraction=0.2)
        record = msgspec.structs.replace(old.read_record(), source="elsewhere", fingerprint="x", refits=False)
        for knows in (False, True):
            changed = msgspec.structs.replace(record, knows_validation=knows)
            learned = Learned.by_run(changed, dataset, source=source, name="The run")
            assert knows is learned.knows_validation(dataset, held_out)

    def test_of_the_run_before_the_earlier_one(self, drawn, images_folder, earlier, tmp_path):
        """Weights that came by way of another dataset have still learned from the first one's images."""
        between = begun(images_folder, tmp_path / "between", earlier)
        shutil.copy(earlier.keras_model, between.folder.keras_model)
        run = begun(drawn, tmp_path / "same", between.folder)
        assert run.record.knows_validation
        assert "old" == run.folder.beginning.beginning.read_record().name
        with pytest.raises(RecipeError, match=r"The run 'old', from which those of model\.weights come, .* --seed 0"):
            begun(drawn, tmp_path / "new", between.folder, seed=1)

    def test_of_a_source_that_has_changed(self, drawn, earlier, tmp_path):
        """Of new splits nothing is known. The user is told."""
        changed = next(drawn.rglob("*.*"))
        aside = changed.rename(tmp_path / "aside")
        try:
            warnings = begun(drawn, tmp_path / "new", earlier).record.warnings
        finally:
            aside.rename(changed)
        assert any("has learned from images of the same source" in warning for warning in warnings)

    def test_of_another_source(self, drawn, earlier, tmp_path):
        """Nothing is known, and nothing is said."""
        source = Path(shutil.copytree(drawn, tmp_path / "images"))
        next(source.rglob("*.*")).unlink()
        run = begun(source, tmp_path / "new", earlier)
        assert not any("same source" in warning for warning in run.record.warnings)
        assert not run.record.knows_validation
        assert isinstance(run.record.pretrained.data, str)
