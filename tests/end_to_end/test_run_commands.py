"""What the stages say on the way: what a run holds, how its time is divided, what it took."""

import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from lince.cli import frameworks, publish_process, run_commands, run_publishing, run_summary
from lince.errors import GateError, ResumeError
from lince.progress import silent
from lince.publishing.options import PublishOptions, PublishRequest
from lince.runs.float_model import save_trained, trained_model
from lince.runs.run_folder import Budget, RunFolder
from lince.system import machine
from lince.types import Rejected


@pytest.fixture(scope="module")
def opened(trained_run: RunFolder):
    """The tests' run, in memory."""
    frameworks.prepare(run=trained_run.path)
    from lince import pipeline

    return pipeline.resume(trained_run, progress=silent)


def changed(opened, *, budget: Budget | None = None, **train: object):
    """An open run with another `[train]` table and budget."""
    recipe = msgspec.structs.replace(opened.recipe, train=msgspec.structs.replace(opened.recipe.train, **train))
    return replace(opened, recipe=recipe, record=msgspec.structs.replace(opened.record, budget=budget))


def test_a_finished_run_that_is_resumed(trained_run, tmp_path, capsys):
    """One line, instead of how long a training takes that is over; then how to publish it."""
    copy = shutil.copytree(trained_run.path, tmp_path / "tiny")
    run = frameworks.resume(copy, trains=True)
    run_commands.train(run, None, began=0, resumes=True, tensorboard=False, as_json=False)
    finished, following = capsys.readouterr().err.splitlines()
    assert f"{copy}: training is finished. Only later stages are repeated." == finished
    assert f"Next:     lince quantize {copy}" == following


class TestSayStart:
    def test_what_a_run_holds(self, opened, capsys):
        """Data, recipe, device and folder; nothing of steps, of which there are 96."""
        run_summary.say_start(opened)
        data, training, run = capsys.readouterr().err.splitlines()
        counts = "60 images to train on, 15 to validate, 45 to test; 3 classes."
        assert f"Data:     {Path(opened.record.source).name}: {counts} Folders: 'train' to train on" in data
        assert (
            "Training: recipe tiny, 12 epochs. Each image is cut to its centre square and resized to 32 × 32"
            in training
        )
        assert run.startswith(f"Run:      {opened.folder.path}, on ")
        assert run.endswith(f"{machine.cores()} core{'s' * (machine.cores() > 1)}, float32.")

    def test_what_was_left_out(self, opened, capsys):
        """How many files; the end lists them."""
        rejected = (Rejected("a.jpg", "It is damaged."),) * 2
        run_summary.say_start(replace(opened, record=msgspec.structs.replace(opened.record, rejected=rejected)))
        assert capsys.readouterr().err.endswith("Left out: 2 files that cannot be used; listed at the end.\n")

    @pytest.mark.parametrize(("platform", "expected"), [("gpu", ", on H100, float32."), ("cpu", "core")])
    def test_device_of_jax(self, opened, capsys, monkeypatch, platform, expected):
        """Its name; the processor's where it has no other device."""
        device = SimpleNamespace(platform=platform, device_kind="H100")
        monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(devices=lambda: [device]))
        environment = opened.record.environment | {"backend": "jax"}
        run_summary.say_start(replace(opened, record=msgspec.structs.replace(opened.record, environment=environment)))
        [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Run:")]
        assert expected in line

    def test_what_may_not_be_meant_so(self, opened, capsys):
        """A line for each."""
        record = msgspec.structs.replace(opened.record, warnings=("The classes 'cat', 'Cat' differ only in case.",))
        run_summary.say_start(replace(opened, record=record))
        assert "Warning:  The classes 'cat', 'Cat' differ only in case." in capsys.readouterr().err.splitlines()

    @pytest.mark.parametrize(
        ("fit", "sentence"),
        [
            ("crop", "Each image is cut to its centre square and resized to 32 × 32 pixels."),
            ("pad", "Each image is scaled to fit into the middle of a grey square of 32 × 32 pixels."),
            ("stretch", "Each image is stretched, as a whole, to 32 × 32 pixels."),
        ],
    )
    def test_how_pictures_become_squares(self, opened, capsys, fit, sentence):
        """The rule of the recipe."""
        run_summary.say_start(replace(opened, recipe=msgspec.structs.replace(opened.recipe, fit=fit)))
        assert sentence in " ".join(capsys.readouterr().err.split())

    def test_few_steps(self, opened, capsys):
        """A batch larger than the dataset makes one step an epoch: it says so, and what to do."""
        run_summary.say_start(changed(opened, batch_size=1000))
        advised = (
            "try --time-budget 5m, or --set train.epochs=240 --set train.validate_every=20 --set train.batch_size=16."
        )
        assert f"60 images give only 12 training steps: {advised}" in " ".join(capsys.readouterr().err.split())

    def test_enough_steps(self, opened, capsys):
        """Many epochs of one step each are as good."""
        run_summary.say_start(changed(opened, batch_size=1000, epochs=120))
        assert "give only" not in capsys.readouterr().err

    def test_uneven_classes(self, opened, capsys):
        """Once the largest class has more than twice the images of the smallest, unless the recipe weighs them."""
        labels = opened.train.labels
        uneven = np.sort(np.concatenate([np.flatnonzero(labels > 0), np.flatnonzero(labels == 0)[:3]]))
        run = replace(opened, train=opened.train.take(uneven))
        run_summary.say_start(run)
        said = " ".join(capsys.readouterr().err.split())
        most = max(np.bincount(labels)[1:])
        assert f"Classes are uneven, 3 to {most} images to train on, and all images have the same weight." in said
        run_summary.say_start(changed(run, class_balance=0.5))
        assert "uneven" not in capsys.readouterr().err

    def test_a_time_that_is_less_than_an_epoch(self, opened, capsys):
        """It does not promise that all images are seen."""
        budget = Budget(seconds=60, training_seconds=50, publishing_seconds=8, step_seconds=(0.1,), rejected=())
        run_summary.say_start(changed(opened, budget=budget, epochs=1, batch_size=16))
        assert "about one epoch, as far as the time allows, in batches of 16" in " ".join(
            capsys.readouterr().err.split()
        )

    def test_time_budget(self, opened, capsys):
        """How the time is divided, and what was chosen for it."""
        budget = Budget(
            seconds=1200, training_seconds=1100, publishing_seconds=80, step_seconds=(0.1,), rejected=("default",)
        )
        run_summary.say_start(changed(opened, budget=budget, epochs=1200, batch_size=16))
        said = " ".join(capsys.readouterr().err.split())
        assert "Time: 0:20:00 in all, 0:18:20 to train, 0:01:20 to publish." in said
        assert "Recipe tiny, about 1,200 epochs in batches of 16; too short for default." in said

    def test_a_teacher_that_knows_too_much(self, opened, capsys):
        """What the validation images say is then not to be relied on."""
        record = msgspec.structs.replace(opened.record, teacher="a.tflite", teacher_version="abc123")
        run_summary.say_start(replace(opened, record=record))
        assert "validation images, so" not in capsys.readouterr().err
        run_summary.say_start(replace(opened, record=msgspec.structs.replace(record, knows_validation=True)))
        said = " ".join(capsys.readouterr().err.split())
        assert (
            "The teacher, or the run of model.weights, has learned from some of the validation images, so judge this "
            "run by its test images." in said
        )


class TestShowResult:
    @pytest.fixture
    def result(self, opened, trained_run, capsys):
        """Prints the result of a changed run, and returns the lines of stderr and of stdout."""

        def show(**record: object) -> tuple[list[str], list[str]]:
            run = replace(opened, record=msgspec.structs.replace(opened.record, **record))
            run_summary.show_result(trained_run.read_report(), run)
            shown = capsys.readouterr()
            return shown.err.splitlines(), shown.out.splitlines()

        return show

    def test_verdict_and_accuracy_are_the_results(self, result):
        """On stdout, with the interval; the rest on stderr."""
        said, (verdict, accuracy) = result()
        assert verdict.startswith("Verdict:  ")
        assert re.match(r"Accuracy: \d+ % of 45 test images, 95 % interval \d+ % to \d+ %\.", accuracy)
        assert said[0].startswith("Model:    ")

    def test_next_commands_work_as_printed(self, result, opened, monkeypatch):
        """The run's folder, and a test picture that is there; the report opens with a program of this machine."""
        monkeypatch.setattr(run_summary.shutil, "which", lambda program: f"/usr/bin/{program}")
        said, _ = result()
        serve, predict, report = said[-3:]
        assert serve.startswith(f"Next:     lince serve {opened.folder.path}   # ")
        *command, picture = predict.split()
        assert ["lince", "predict", str(opened.folder.path)] == command
        assert Path(picture).is_file()
        assert opened.folder.page.as_uri() in report or f"{opened.folder.page}   #" in report

    def test_without_programs_on_the_path(self, result, opened, monkeypatch):
        """Python starts lince, in an environment that is not active; of the report, its address, for a browser."""
        monkeypatch.setattr(run_summary.shutil, "which", lambda _: None)
        said, _ = result()
        assert said[-3].startswith(f"Next:     {sys.executable} -m lince serve ")
        assert said[-1].split()[0] == opened.folder.page.as_uri()

    def test_picture_of_an_archive(self, result, tmp_path):
        """The archive itself, of which predict reads all pictures; of other sources, the user has to name one."""
        archive = tmp_path / "images.zip"
        archive.touch()
        said, _ = result(source=str(archive))
        assert said[-2].endswith(f" {archive}")
        said, _ = result(source="cifar10")
        assert said[-2].endswith(" PICTURE")

    def test_left_out_files_once_more(self, result):
        """The first three with their reasons, and where all are."""
        said, _ = result(rejected=tuple(Rejected(f"{number}.jpg", "It is damaged.") for number in range(5)))
        assert [f"Left out: {number}.jpg: It is damaged." for number in range(3)] == said[:3]
        assert said[3].startswith("Left out: 5 files in all: see ")


class TestPrepare:
    def test_another_backend_than_the_run_began_with(self, trained_run, monkeypatch):
        """Weights and random state of one are not the other's: a training goes on with its own."""
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        with pytest.raises(ResumeError, match=r"Received KERAS_BACKEND=jax .* a run that tensorflow trains\. Expected"):
            frameworks.prepare(run=trained_run.path, trains=True)

    def test_the_backend_that_the_run_began_with(self, trained_run, monkeypatch, tmp_path):
        """Where the environment names none, the run's is taken."""
        monkeypatch.setenv("KERAS_BACKEND", "")  # so that what is set below is undone
        monkeypatch.delenv("KERAS_BACKEND")
        record = trained_run.read_record()
        copy = RunFolder(tmp_path / "on jax")
        environment = record.environment | {"backend": "jax"}
        copy.create(msgspec.structs.replace(record, environment=environment), **trained_run.read_splits())
        frameworks.prepare(run=copy.path, trains=True)
        assert "jax" == os.environ["KERAS_BACKEND"]


def test_say_cost(capsys):
    """Minutes, and the most memory that the process held."""
    run_commands.say_cost(90)
    said = capsys.readouterr().err
    assert said.startswith("Done in 1.5 minutes, peak memory ")
    assert 0.1 < float(said.split()[-2]) < 100
    assert said.endswith(" GB.\n")


class TestPublish:
    def test_another_backend_hands_the_request_over(self, monkeypatch, tmp_path):
        """A process on TensorFlow gets it whole, as JSON; its exit code is this one's."""
        calls = []
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        monkeypatch.setattr(
            subprocess, "run", lambda *given, **options: calls.append((given, options)) or SimpleNamespace(returncode=3)
        )
        about = tmp_path / "about.md"
        about.write_text("Who made it.")
        request = PublishRequest(str(tmp_path), ("calibrate.coverage=0.9",), PublishOptions(name="a b", force=True))
        with pytest.raises(SystemExit) as ended:
            run_publishing.publish(request, about=about, as_json=False)
        [((program,), options)] = calls
        assert (3, ["-m", "lince.cli.publish_process"]) == (ended.value.code, program[1:])
        assert "tensorflow" == options["env"]["KERAS_BACKEND"]
        told = replace(request, options=replace(request.options, about="Who made it."))
        assert told == msgspec.json.decode(options["input"], type=PublishRequest)

    def test_a_model_that_the_other_process_refuses_is_refused_here(self, monkeypatch, trained_run, tmp_path, capfd):
        """As one that this process refuses: the caller may go on. The sentence is told once, by the caller."""
        from lince.networks.models import LOGITS

        folder = RunFolder(Path(shutil.copytree(trained_run.path, tmp_path / "run")))
        model = trained_model(folder)
        layer = model.get_layer(LOGITS)
        layer.set_weights([0 * weights for weights in layer.get_weights()])
        save_trained(model, folder)
        folder.checkpoint.unlink()
        monkeypatch.setenv("KERAS_BACKEND", "jax")
        with pytest.raises(GateError, match="always naming"):
            run_publishing.publish_elsewhere(PublishRequest(str(folder.path)))
        assert "always naming" not in capfd.readouterr().err

    def test_the_other_process_publishes_what_it_is_told(self, monkeypatch):
        """It reads the request from its stdin."""
        request = PublishRequest("runs/one", options=PublishOptions(fallback=True))
        told = []
        monkeypatch.setattr(run_publishing, "publish_here", told.append)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(msgspec.json.encode(request))))
        publish_process.main()
        assert [request] == told

    def test_interrupted(self, monkeypatch, tmp_path, capsys):
        """The command that goes on has every option."""

        def interrupt(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(run_publishing, "publish_here", interrupt)
        request = PublishRequest("runs/a b", ("calibrate.coverage=0.9",), PublishOptions(name="it", fallback=True))
        with pytest.raises(SystemExit):
            run_publishing.publish(request, as_json=True)
        expected = "lince quantize 'runs/a b' --set=calibrate.coverage=0.9 --name=it --fallback --json"
        assert f"Stopped. Continue with: {expected}" in " ".join(capsys.readouterr().err.split())
