"""The whole path: what a run folder holds at the end, what each stage refuses, and that nothing is mixed up."""

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from lince import pipeline
from lince.data import division
from lince.errors import DataError, GateError, RecipeError, ResumeError, TrainingError
from lince.evaluation import accuracy
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.progress import silent
from lince.publishing.model_card import write_card
from lince.quantization import activation_ranges
from lince.quantization.export import FloatNetwork
from lince.reporting.run_report import write_run_report
from lince.runs.run_folder import RunFolder
from lince.training import recipes
from lince.training.display import LineDisplay
from lince.training.distillation import teacher
from lince.training.transfer import feature_file
from lince.training.transfer import head as heads


def start(source: Path, recipe, folder: Path, **options):
    settings = {"seed": 0, "deterministic": False, "strict": False, "progress": silent} | options
    return pipeline.start(str(source), recipe, RunFolder(folder), **settings)


def console_on(**options: object) -> Console:
    """A console that writes into memory."""
    return Console(file=io.StringIO(), width=200, **options)


def quiet(_: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def run(trained_run: RunFolder) -> RunFolder:
    """Here a run with everything that a training leaves. Copy the folder before changing it."""
    return trained_run


@pytest.fixture(scope="module")
def opened(run: RunFolder):
    """The finished run, in memory again."""
    return pipeline.resume(run, progress=silent)


@pytest.fixture
def copy(run: RunFolder, tmp_path: Path) -> RunFolder:
    """A finished run that may be changed."""
    return RunFolder(Path(shutil.copytree(run.path, tmp_path / "tiny")))


class TestRunFolder:
    def test_holds_every_file(self, run):
        """Recipe and record, splits, checkpoint, history, both models, answers, report and plots; nothing temporary."""
        expected = {
            "run.json",
            "splits.npz",
            "checkpoint.npz",
            "history.csv",
            "model.keras",
            "model.tflite",
            "answers.npz",
            "report.json",
            "pictures.npz",
            "report.html",
            "report.md",
            "plots",
        }
        assert expected == {path.name for path in run.path.iterdir()}
        assert {"accuracy.png", "loss.png"} <= {path.name for path in run.plots.iterdir()}

    def test_record_repeats_the_run(self, run, images_folder, recipe, dataset):
        """run.json holds the recipe, seed, source and fingerprint with which the run can be repeated."""
        record = run.read_record()
        assert ("tiny", 0, str(images_folder), dataset.fingerprint) == (
            record.name,
            record.seed,
            record.source,
            record.fingerprint,
        )
        assert recipe == recipes.from_table(record.recipe, source="run.json")
        assert (("disc", "square", "stripes"), "float32", True) == (
            record.classes,
            record.precision,
            record.deterministic,
        )

    def test_history_has_every_epoch(self, run, recipe):
        """One row an epoch, in order, with losses that were finite."""
        history = run.read_history()
        assert list(range(1, len(history) + 1)) == [row.epoch for row in history]
        assert 1 <= len(history) <= recipe.train.epochs
        assert all(np.isfinite([row.loss, row.val_loss]).all() for row in history)


class TestSplits:
    def test_train_and_validation_share_nothing(self, run, dataset):
        """Together they are the source's training images, each once, a fifth of every class held out."""
        splits = run.read_splits()
        together = np.concatenate([splits["train"], splits["validation"]])
        np.testing.assert_array_equal(np.arange(len(dataset.train)), np.sort(together))
        assert [5, 5, 5] == np.bincount(dataset.train.labels[splits["validation"]]).tolist()

    def test_calibration_images_are_training_images(self, run):
        """Activation ranges were read from images that the network was trained on: none of validation, none of test."""
        manifest = artifact.read(run.model).manifest
        chosen, splits = set(manifest.training["calibration_indices"]), run.read_splits()
        assert len(chosen) == len(manifest.training["calibration_indices"]) == 24
        assert chosen <= set(splits["train"].tolist())
        assert chosen.isdisjoint(splits["validation"].tolist())

    def test_calibration_images_are_of_every_class(self, run, dataset):
        """The same share of each."""
        chosen = artifact.read(run.model).manifest.training["calibration_indices"]
        assert [8, 8, 8] == np.bincount(dataset.train.labels[chosen]).tolist()

    def test_test_images_are_the_source_s(self, opened, dataset):
        """A source with a test split of its own is tested on it, all of it."""
        np.testing.assert_array_equal(dataset.test.images, opened.test.images)
        assert 0 == len(opened.folder.read_splits()["test"])

    def test_source_without_a_test_split(self, images_folder, recipe, tmp_path):
        """Classes alone: a fifth is set aside, written down, and never trained on; resuming finds the same images."""
        begun = start(images_folder / "train", recipe, tmp_path / "alone")
        assert (75 - 15) == len(begun.train) + len(begun.validation)
        assert 15 == len(begun.test) == len(begun.folder.read_splits()["test"])
        names = [set(split.names) for split in (begun.train, begun.validation, begun.test)]
        assert 75 == len(set.union(*names))
        again = pipeline.resume(begun.folder, progress=silent)
        for first, second in (
            (begun.train, again.train),
            (begun.validation, again.validation),
            (begun.test, again.test),
        ):
            assert first.names == second.names
            np.testing.assert_array_equal(first.images, second.images)


class TestGroups:
    @pytest.fixture
    def films(self, images_folder: Path, tmp_path: Path) -> Path:
        """The 75 training pictures alone, in three films a class."""
        for path in sorted(images_folder.glob("train/*/*")):
            target = tmp_path / "films" / path.parent.name / f"film{int(path.stem) // 25}" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        return tmp_path / "films"

    @pytest.fixture
    def begun(self, films, recipe, tmp_path):
        """A run on these films."""
        return start(films, recipe, tmp_path / "run", groups="folder")

    def test_no_film_is_in_two_splits(self, begun):
        """Neither in test and training nor in validation and training; run.json says by which rule."""
        sides = [
            {str(Path(name).parent) for name in split.names} for split in (begun.train, begun.validation, begun.test)
        ]
        assert [0, 0, 0] == [len(sides[one] & sides[other]) for one, other in ((0, 1), (0, 2), (1, 2))]
        assert 75 == len(begun.train) + len(begun.validation) + len(begun.test)
        record = begun.folder.read_record()
        assert "folder" == record.groups
        assert "75 of 75 images are in 9 groups of --groups folder" in record.reading

    def test_groups_of_training_images_are_recorded(self, begun):
        """Images of one film have one number, also when the run is opened again."""
        for opened in (begun, pipeline.resume(begun.folder, progress=silent)):
            films = [Path(name).parent for name in opened.train.names]
            assert len(films) == len(opened.groups)
            assert len(set(films)) == len(set(opened.groups.tolist())) == len({*zip(films, opened.groups, strict=True)})

    def test_recorded_splits_are_used_and_not_drawn_again(self, begun, monkeypatch):
        """A version that draws in another way continues the run with the images that it began with."""
        monkeypatch.setattr(division, "stratified_split", None)
        monkeypatch.setattr(division, "find_groups", None)
        again = pipeline.resume(begun.folder, progress=silent)
        assert begun.test.names == again.test.names
        assert begun.validation.names == again.validation.names

    def test_too_few_groups(self, films, recipe, tmp_path):
        """One film that is trained on and one that is tested leave none to validate with: it is said for each class."""
        for folder in films.glob("*/film2"):
            shutil.rmtree(folder)
        with pytest.raises(
            TrainingError, match=r"and 0 to validate with\. .*a class with images of three or more groups"
        ):
            start(films, recipe, tmp_path / "run", groups="folder")

    def test_class_without_validation_images(self, films, recipe, tmp_path):
        """It is a warning when other classes have some."""
        shutil.rmtree(next(iter(films.glob("disc/film2"))))
        begun = start(films, recipe, tmp_path / "run", groups="folder")
        assert any(
            warning.startswith("No image of 'disc' is held out to validate: all images of the class are in one group")
            for warning in begun.record.warnings
        )

    @pytest.mark.parametrize("indices", [[3, 3], [2, 1], [-1, 2], [74, 75]])
    def test_damaged_indices(self, begun, indices):
        """Those that cannot be a test split are refused, as an array that is missing is."""
        with np.load(begun.folder.splits) as arrays:
            splits = dict(arrays)
        np.savez(begun.folder.splits, **splits | {"test": np.array(indices)})
        with pytest.raises(DataError, match=r"The recorded test split does not hold indices of 75 images"):
            pipeline.resume(begun.folder, progress=silent)


class TestLeaveOut:
    @pytest.fixture
    def other(self, images_folder: Path, tmp_path: Path) -> Path:
        """A folder with the first three pictures of each class, in another format, and one that is nowhere else."""
        for path in sorted(images_folder.glob("train/*/00[0-8].*")):
            target = tmp_path / "other" / path.parent.name / f"{path.stem}.bmp"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).save(target)
        Image.new("RGB", (32, 32), "red").save(tmp_path / "other" / "disc" / "alone.bmp")
        return tmp_path / "other"

    def test_images_are_in_no_split(self, images_folder, recipe, tmp_path, other):
        """Neither trained nor validated on; run.json says whose they are."""
        begun = start(images_folder, recipe, tmp_path / "run", leave_out=str(other))
        assert (75 - 9, 45) == (len(begun.train) + len(begun.validation), len(begun.test))
        seen = {Path(name).stem for name in (*begun.train.names, *begun.validation.names)}
        assert seen.isdisjoint(path.stem for path in other.glob("*/*"))
        assert str(other) == begun.folder.read_record().leave_out

    def test_resumes_without_them(self, images_folder, recipe, tmp_path, other):
        """The splits are written down: what was left out need not be there any more."""
        begun = start(images_folder, recipe, tmp_path / "run", leave_out=str(other))
        shutil.rmtree(other)
        assert begun.train.names == pipeline.resume(begun.folder, progress=silent).train.names


class TestTeacher:
    def test_learns_from_a_model_file(self, images_folder, recipe, run, tmp_path):
        """It learns the teacher's classes where all labels are wrong; run.json names the teacher, the folder has it."""
        given = Path(shutil.copy(run.model, tmp_path / "given.tflite"))
        taught = msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, teacher_weight=1.0))
        opened = teacher.open_model(given, taught.spec)
        begun = start(images_folder, taught, tmp_path / "pupil", teacher=opened)
        assert (str(given), False) == (begun.record.teacher, begun.record.knows_validation)
        assert artifact.read(run.model).manifest.version == begun.record.teacher_version
        given.unlink()  # the run has its own
        begun = replace(begun, train=replace(begun.train, labels=(begun.train.labels + 1) % 3))
        with pipeline.watch(console_on(), begun, tensorboard=False) as display:
            pipeline.train_model(begun, display)
        pupil = pipeline.float_predict(pipeline.trained_model(begun.folder))(begun.test.images).logits.argmax(axis=1)
        theirs = Classifier.load(run.model).logits(begun.test.images).argmax(axis=1)
        assert (pupil == theirs).mean() > 0.7
        assert (pupil == (begun.test.labels + 1) % 3).mean() < 0.3

    def test_is_read_once(self, images_folder, recipe, run, tmp_path, monkeypatch):
        """One file read and one run of the golden images, from the command line's check to the last step."""
        reads, checks, read, check = [], [], artifact.read, Classifier._check_golden
        monkeypatch.setattr(artifact, "read", lambda path, **options: reads.append(path) or read(path, **options))
        monkeypatch.setattr(Classifier, "_check_golden", lambda *given: checks.append(given) or check(*given))
        taught = msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, epochs=1))
        opened = teacher.open_model(run.model, taught.spec)
        begun = start(images_folder, taught, tmp_path / "pupil", teacher=opened)
        with pipeline.watch(console_on(), begun, tensorboard=False) as display:
            pipeline.train_model(begun, display)
        assert ([run.model], 1) == (reads, len(checks))

    def test_tells_when_the_knows_validation_images(self, images_folder, recipe, run, tmp_path):
        """Another share held out: the record says so, for the card and for whoever watches."""
        other = msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, validation_fraction=0.4))
        begun = start(images_folder, other, tmp_path / "pupil", teacher=teacher.open_model(run.model, other.spec))
        assert begun.folder.read_record().knows_validation

    @pytest.mark.parametrize("is_timed", [False, True])
    def test_refuses_one_of_other_classes_before_a_folder_is_made(self, images_folder, recipe, tmp_path, is_timed):
        """So that the same name can be given again; before it is asked anything."""
        plan = (lambda *_: pytest.fail("It was rehearsed.")) if is_timed else None
        other = teacher.open_model(artifact.locate(artifact.SHIPPED), recipe.spec)
        with pytest.raises(RecipeError, match="was trained for 10 classes"):
            start(images_folder, recipe, tmp_path / "pupil", teacher=other, plan=plan)
        assert not (tmp_path / "pupil").exists()


class TestCard:
    def test_names_the_teacher_and_what_was_left_out(self, run):
        """By version and by name, where there was one; a run without says nothing of it."""
        manifest = artifact.read(run.model).manifest
        assert {"teacher": None, "leave_out": None} == {key: manifest.training[key] for key in ("teacher", "leave_out")}
        changed = manifest.training | {"teacher": "abc123", "leave_out": "other.zip"}
        plain, full, knowing = (
            write_card(replace(manifest, training=training), run.read_report())
            for training in (manifest.training, changed, changed | {"knows_validation": True})
        )
        doubt = "was trained on some of the validation images, on which"
        assert [False, False, True] == [doubt in card for card in (plain, full, knowing)]
        for sentence in ("the answers of the model of version abc123.", "Images that `other.zip` also holds"):
            assert sentence in full
            assert sentence not in plain


class TestManifest:
    def test_is_complete(self, run, recipe):
        """Everything that a reader of the file alone may ask."""
        manifest = artifact.read(run.model).manifest
        training, record = manifest.training, run.read_record()
        assert ("tiny", ("disc", "square", "stripes"), recipe.spec) == (manifest.name, manifest.classes, manifest.image)
        assert recipe == recipes.from_table(training["recipe"], source="manifest")
        assert {"train": 60, "validation": 15, "test": 45} == training["images"]
        assert (record.seed, record.fingerprint, "float32", True) == (
            training["seed"],
            training["fingerprint"],
            training["precision"],
            training["deterministic"],
        )
        assert len(run.read_history()) == training["epochs"]
        assert "tensorflow" == training["backend"]
        assert {"keras", "lince", "numpy"} <= training["versions"].keys()
        assert 15 == manifest.calibration.n

    def test_certificate_is_of_the_test_images(self, run):
        """Float against int8 on all of them, within the bound, not forced."""
        manifest = artifact.read(run.model).manifest
        certificate = manifest.certificate
        assert ("test", 45, 10.0, False) == (
            certificate.split,
            certificate.comparison.n,
            certificate.bound_points,
            certificate.forced,
        )
        assert certificate.comparison.drop_points.value <= certificate.bound_points
        assert manifest.flatbuffer_bytes == certificate.flatbuffer_bytes


class TestReport:
    def test_says_what_the_model_file_answers(self, run, opened):
        """report.json's figures are those of the published file on the test images, evaluated again."""
        report, classifier = run.read_report(), Classifier.load(run.model)
        assert classifier.manifest.version == report.version
        found = accuracy.evaluate(classifier.outputs, opened.test, fitted=report.calibration)
        assert (report.int8, report.sets) == found

    def test_says_what_the_float_model_answers(self, run, opened, trained_model):
        """And those of model.keras."""
        predict = pipeline.float_predict(trained_model)
        found, _ = accuracy.evaluate(predict, opened.test)
        assert found.confusion == run.read_report().float32.confusion
        assert found.nll == pytest.approx(run.read_report().float32.nll, rel=1e-5, abs=1e-6)

    def test_learned(self, run):
        """Three classes that differ in colour: far better than chance, on new images and in int8."""
        assert run.read_report().int8.accuracy.value > 0.7

    def test_is_plain_json(self, run):
        """Anybody can read it."""
        assert "tiny" == json.loads(run.report.read_text())["name"]

    def test_answers_are_kept(self, run, opened):
        """answers.npz: the file's probabilities on the test images, and the labels."""
        probabilities, labels = run.read_answers()
        np.testing.assert_array_equal(opened.test.labels, labels)
        expected = Classifier.load(run.model).predict(opened.test.images).probabilities
        np.testing.assert_array_equal(expected, probabilities)


class TestStart:
    def test_folder_that_is_taken(self, run, images_folder, recipe):
        """A finished run is not trained over."""
        with pytest.raises(
            TrainingError, match=r"tiny' already holds a run\. Continue it with lince train --resume .*or delete it"
        ):
            start(images_folder, recipe, run.path)

    def test_folder_that_cannot_be_made(self, images_folder, recipe, tmp_path):
        """A file stands where the folder should be."""
        (tmp_path / "file").write_text("")
        with pytest.raises(TrainingError, match=r"The run folder .* cannot be written \(Not a directory\)"):
            start(images_folder, recipe, tmp_path / "file" / "tiny")

    def test_recipes_that_cannot_train(self, images_folder, recipe, tmp_path):
        """What Keras does not know is said before a folder is made."""
        wrong = msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, optimizer="adamm"))
        with pytest.raises(RecipeError, match=r"Keras does not know train\.optimizer=.adamm.\. Did you mean .adam.\?"):
            start(images_folder, wrong, tmp_path / "wrong")
        assert [] == list(tmp_path.iterdir())

    def test_too_few_images(self, recipe, tmp_path):
        """Two of each class: one is to test on, one to train on, and none is left to validate with."""
        for number in range(4):
            path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (60 * number, 0, 0)).save(path)
        with pytest.raises(
            TrainingError,
            match=r"^2 training images of 2 classes leave 2 to train on and 0 to validate with\..*three or more",
        ):
            start(tmp_path / "images", recipe, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_images_that_cannot_be_read(self, images_folder, recipe, tmp_path):
        """A broken file is left out and named; with `strict` it stops the run, and no folder is made."""
        source = Path(shutil.copytree(images_folder, tmp_path / "images"))
        (source / "train" / "disc" / "broken.png").write_bytes(b"no image")
        begun = start(source, recipe, tmp_path / "tolerant")
        assert ["train/disc/broken.png"] == [one.path for one in begun.record.rejected]
        assert "not an image" in begun.folder.read_record().rejected[0].reason
        with pytest.raises(DataError, match=r"broken\.png"):
            start(source, recipe, tmp_path / "strict", strict=True)
        assert not (tmp_path / "strict").exists()


class TestResume:
    def test_gives_the_same_images(self, opened, run, dataset):
        """A reopened run has the images of its splits, in their order."""
        splits = run.read_splits()
        np.testing.assert_array_equal(dataset.train.images[splits["train"]], opened.train.images)
        np.testing.assert_array_equal(dataset.train.labels[splits["validation"]], opened.validation.labels)

    def test_keeps_no_other_images(self, opened):
        """Each split has its own: a view would keep all images of the source in memory besides."""
        assert [None] * 3 == [split.images.base for split in (opened.train, opened.validation, opened.test)]

    def test_no_run_folder(self, tmp_path):
        """A folder without run.json."""
        with pytest.raises(ResumeError, match=r"is not a run folder: it has no run\.json"):
            pipeline.resume(RunFolder(tmp_path), progress=silent)

    def test_damaged_record(self, copy):
        """A run.json that is cut short."""
        copy.record.write_bytes(copy.record.read_bytes()[:100])
        with pytest.raises(ResumeError, match=r"run\.json' is damaged"):
            pipeline.resume(copy, progress=silent)

    def test_a_record_of_other_classes(self, copy):
        """Images are as they were, and run.json was altered: a network of other classes is not built."""
        altered = msgspec.structs.replace(copy.read_record(), classes=("disc", "square"))
        copy.record.write_bytes(msgspec.json.encode(altered))
        with pytest.raises(ResumeError, match=r"run\.json' names other classes than .* has"):
            pipeline.resume(copy, progress=silent)

    def test_damaged_splits(self, copy):
        """Without its splits a run cannot tell what it may train on."""
        data = copy.splits.read_bytes()
        for broken in (b"", data[: len(data) // 2], data[:-30]):
            copy.splits.write_bytes(broken)
            with pytest.raises(DataError, match=r"splits\.npz' cannot be read .*Start the run anew"):
                pipeline.resume(copy, progress=silent)

    def test_images_that_changed(self, images_folder, recipe, tmp_path):
        """One more picture in the source: the run's splits would mean other images."""
        source = Path(shutil.copytree(images_folder, tmp_path / "images"))
        begun = start(source, recipe, tmp_path / "tiny")
        Image.new("RGB", (32, 32), "red").save(source / "train" / "disc" / "more.png")
        with pytest.raises(
            ResumeError, match=r"The images of '.*images' .*\(fingerprint [0-9a-f]{12}, was [0-9a-f]{12}\)"
        ):
            pipeline.resume(begun.folder, progress=silent)


class TestPublish:
    def test_gives_the_same_network_again(self, copy, run):
        """Quantizing a run once more gives the same answers, but for the date."""
        report = pipeline.publish(pipeline.resume(copy, progress=silent), say=quiet)
        first, second = artifact.read(run.model), artifact.read(copy.model)
        np.testing.assert_array_equal(first.golden.logits, second.golden.logits)
        assert first.manifest.calibration == second.manifest.calibration
        assert run.read_report().int8 == report.int8

    def test_gate(self, copy, monkeypatch):
        """A model that lost too much is not published: the old file stays; with `force` it is, and says so."""
        opened, measured = pipeline.resume(copy, progress=silent), activation_ranges.measure

        def too_wide(network: FloatNetwork, images: np.ndarray) -> dict:
            """In ranges a thousand times too wide every activation is rounded to 0."""
            return measured(network, images) | {
                layer.name: {"min": np.float32([-1e4]), "max": np.float32([1e4])} for layer in network.layers
            }

        monkeypatch.setattr(activation_ranges, "measure", too_wide)
        before = {path.name: path.read_bytes() for path in copy.path.iterdir() if path.is_file()}
        with pytest.raises(GateError, match=r"points worse than float .*not shown to exceed 10\.0 points"):
            pipeline.publish(opened, say=quiet)
        assert before == {path.name: path.read_bytes() for path in copy.path.iterdir() if path.is_file()}
        report = pipeline.publish(opened, pipeline.PublishOptions(force=True), say=quiet)
        manifest = artifact.read(copy.model).manifest
        assert manifest.certificate.forced
        assert manifest.certificate.comparison.drop_points.value > 10
        assert report.certificate == manifest.certificate
        assert "published with --force" in Classifier.load(copy.model).card

    def test_report_is_of_what_was_published(self, copy):
        """With the overrides of `lince quantize`, and the packages that published where others had trained."""
        record = copy.read_record()
        trained = record.environment | {"versions": record.environment["versions"] | {"ai-edge-quantizer": "0.0.1"}}
        copy.record.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, environment=trained)))
        opened = pipeline.resume(copy, overrides=["calibrate.coverage=0.8"], progress=silent)
        pipeline.publish(opened, say=quiet)
        write_run_report(copy)
        rows = re.sub(r"<[^>]*>|\s+", " ", copy.page.read_text())
        assert re.search(r"calibrate\.coverage = 0\.8 ", rows)
        assert re.search(r"ai-edge-quantizer +0\.0\.1, published with \d+\.\d", rows)

    def test_report_of_a_manifest_that_says_less(self, copy):
        """Its free-form part may lack what only the report shows."""
        model = artifact.read(copy.model)
        training = {
            key: value for key, value in model.manifest.training.items() if key not in ("published_with", "members")
        }
        copy.model.write_bytes(artifact.encode(replace(model, manifest=replace(model.manifest, training=training))))
        write_run_report(copy)
        assert "calibrate.coverage" in copy.page.read_text()

    def test_name(self, copy):
        """The model may be named otherwise than its run."""
        pipeline.publish(pipeline.resume(copy, progress=silent), pipeline.PublishOptions(name="shapes"), say=quiet)
        assert "shapes" == artifact.read(copy.model).manifest.name

    def test_run_without_a_model(self, copy):
        """Nothing was trained yet."""
        copy.keras_model.unlink()
        with pytest.raises(TrainingError, match=r"model\.keras' cannot be read .*train it with lince train --resume"):
            pipeline.publish(pipeline.resume(copy, progress=silent), say=quiet)


class TestTrainModel:
    def test_does_not_begin_again_unasked(self, copy):
        """What was trained would be lost."""
        opened = pipeline.resume(copy, progress=silent)
        with (
            pipeline.watch(console_on(), opened, tensorboard=False) as display,
            pytest.raises(TrainingError, match=r"has trained epochs\. Expected resume=True"),
        ):
            pipeline.train_model(opened, display)

    def test_history_is_the_checkpoint_s(self, copy):
        """A history that lost its last rows, as after a kill, is whole again when the run is resumed."""
        whole = copy.read_history()
        copy.write_history(whole[:2])
        copy.keras_model.unlink()
        opened = pipeline.resume(copy, progress=silent)
        with pipeline.watch(console_on(), opened, tensorboard=False) as display:
            pipeline.train_model(opened, display, resume=True)
        assert whole == copy.read_history()
        assert copy.keras_model.exists()

    def test_tensorboard(self, copy):
        """On request the figures go to TensorBoard, too, and still to the other display."""
        opened = pipeline.resume(copy, progress=silent)
        [record] = copy.read_history()[:1]
        console = console_on()
        with pipeline.watch(console, opened, tensorboard=True) as display:
            display.epoch(record, best=True)
        assert any(path.name.startswith("events.out.tfevents") for path in copy.tensorboard.iterdir())
        assert "epoch   1/12" in console.file.getvalue()


class TestWriteFloatModel:
    def test_damaged_checkpoint_beside_a_model(self, copy):
        """What can still be published is not to be trained anew."""
        opened = pipeline.resume(copy, progress=silent)
        copy.checkpoint.write_bytes(copy.checkpoint.read_bytes()[:1000])
        with pytest.raises(
            ResumeError, match=r"is not a checkpoint .* model\.keras exists\. To publish it, move the checkpoint"
        ):
            pipeline.write_float_model(opened)
        copy.keras_model.unlink()
        with pytest.raises(ResumeError, match=r"is not a checkpoint .*Start a new run"):
            pipeline.write_float_model(opened)


class TestWatch:
    def test_line_by_line_without_a_terminal(self, opened):
        """One line for each validation, nothing that redraws."""
        console = console_on()
        with pipeline.watch(console, opened, tensorboard=False) as display:
            assert isinstance(display, LineDisplay)
            display.step(epoch=1, step=1, steps=8, images=8, seconds=0.1, loss=1.0, accuracy=0.5)
            display.epoch(opened.folder.read_history()[0], best=True)
        [line] = console.file.getvalue().splitlines()
        assert line.startswith("epoch   1/12  loss ")
        assert line.endswith("  best")
        assert "\x1b" not in line

    def test_redraws_on_a_terminal(self, opened):
        """The present epoch, and the loss."""
        console = console_on(force_terminal=True, color_system=None)
        with pipeline.watch(console, opened, tensorboard=False) as display:
            display.step(epoch=2, step=3, steps=6, images=24, seconds=0.5, loss=1.25, accuracy=0.5)
        shown = console.file.getvalue()
        assert "epoch 2/12" in shown
        assert "loss 1.250" in shown


def test_features_and_head_are_kept(images_folder, tmp_path):
    """Both views of training, then validation images; the head is that of the former; nothing is done twice."""
    opened = start(images_folder, recipes.load("photos", ["image_size=64", "augment.translate=4"]), tmp_path / "run")
    progress: list[int] = []
    pipeline.fit_head(opened, lambda done, total, what: progress.append(done))
    features = feature_file.read(opened.folder.features)
    assert ((75, 2, 1280), 75) == (features.shape, progress[-1])
    fitted = heads.read(opened.folder.head)
    expected = heads.fit(features.first(60), opened.train.labels, num_classes=3, seed=0)
    assert np.array_equal(expected.kernel, fitted.kernel)
    progress.clear()
    pipeline.fit_head(opened, lambda done, total, what: progress.append(done))
    opened.folder.head.unlink()
    pipeline.fit_head(opened, lambda done, total, what: progress.append(done))
    assert [] == progress
    assert np.array_equal(expected.kernel, heads.read(opened.folder.head).kernel)
