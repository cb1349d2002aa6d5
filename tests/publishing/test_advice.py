"""What the message of a refusal advises works: each command in it is run."""

import html
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.quantization.test_fallback import make_scaled, publish

from lince import pipeline
from lince.cli import commands as cli
from lince.errors import GateError
from lince.model_file import artifact
from lince.progress import silent
from lince.publishing import acceptance, advice
from lince.quantization import fallback
from lince.quantization.options import Quantize
from lince.runs.run_folder import RunFolder


def commands(sentence: str) -> list[list[str]]:
    """The `lince quantize` commands of a sentence, as arguments."""
    found = [shlex.split(part) for part in re.findall(r"lince quantize [^;]*", sentence)]
    known = ("lince", "quantize")
    flags = [[word for word in words if word.startswith("--")] for words in found]
    return [[*known, words[2], *options] for words, options in zip(found, flags, strict=True)]


def works(words: list[str], capsys: pytest.CaptureFixture) -> bool:
    """Whether the command publishes."""
    try:
        cli.app(words[1:], standalone_mode=False)
    except GateError:
        return False
    finally:
        capsys.readouterr()
    return True


@pytest.fixture
def copy(trained_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A finished run that may be changed; the checkpoint, which knows the old weights, is gone."""
    folder = RunFolder(Path(shutil.copytree(trained_run.path, tmp_path / "tiny")))
    folder.checkpoint.unlink()
    return folder


def refusal(call) -> str:
    with pytest.raises(GateError) as caught:
        call()
    return str(caught.value)


class TestAfterLoss:
    def test_everything_it_advises_publishes(self, copy, capsys):
        """For a network that int8 damages: the fallback, a bound that accepts the loss, and force."""
        model = pipeline.trained_model(copy)
        make_scaled(model)
        model.save(copy.keras_model)
        before = copy.model.read_bytes()
        found = commands(refusal(lambda: cli.app(["quantize", str(copy.path)], standalone_mode=False)))
        assert copy.model.read_bytes() == before
        options = [words[3] for words in found]
        assert "--fallback" == options[0]
        assert "--force" == options[-1]
        assert any("calibration_images=60" in option for option in options)  # of 60, where 24 were read
        for words in found:
            if not any("calibration_images" in option for option in words):  # which may help, and does not here
                assert works(words, capsys), words

    def test_the_fallback_is_advised_only_where_it_changes_something(self):
        """Where validation images lose nothing it would choose int8 again, and the gate would refuse it again."""
        told = {
            leaves: advice.after_loss(
                12.5, Quantize(), folder=Path("runs/a"), num_train=80, is_fallback=False, fallback_can_help=leaves,
                is_above_one_class=True,
            )
            for leaves in (True, False)
        }  # fmt: skip
        assert "lince quantize runs/a --fallback keeps the most sensitive layers in float" in told[True]
        assert "--fallback" not in told[False]
        assert "--set=quantize.max_drop_points=13 accepts the loss; lince quantize runs/a --force" in told[False]
        assert "calibration_images" not in told[False]  # all 80 were read

    def test_after_the_fallback(self):
        """It is not advised again, nor is a wider bound, with which it could choose another network."""
        told = advice.after_loss(
            12.5, Quantize(), folder=Path("runs/my run"), num_train=3000, is_fallback=True, fallback_can_help=True,
            is_above_one_class=True,
        )  # fmt: skip
        assert told == (
            "The network is kept: lince quantize 'runs/my run' --fallback --set=quantize.calibration_images=3000 "
            "reads the activation ranges from more training images, which may lose less; "
            "lince quantize 'runs/my run' --force publishes it, int8 throughout, whatever is lost."
        )

    def test_accepting_the_loss_is_not_enough_at_chance(self):
        """The other gate would refuse it."""
        told = advice.after_loss(
            80.0, Quantize(), folder=Path("a"), num_train=80, is_fallback=False, fallback_can_help=True,
            is_above_one_class=False,
        )  # fmt: skip
        assert "max_drop_points" not in told
        assert told.endswith("lince quantize a --force publishes it, whatever is lost.")


class TestAfterFallback:
    def test_everything_it_advises_publishes(self, copy, capsys, monkeypatch):
        """A network at chance, of which no layer may stay in float, is published by force alone."""
        monkeypatch.setattr(fallback, "_MOST_FLOAT_LAYERS", 0)
        [words] = commands(refusal(lambda: publish(copy, make_scaled, fallback=True)))
        assert ["--force"] == words[3:]
        assert works(words, capsys)

    def test_accepting_the_loss(self):
        """A wider bound is advised unless the network is at chance, where the other gate would refuse it."""
        force = "lince quantize a --force publishes int8 throughout, whatever is lost."
        told = {good: advice.after_fallback(2.3, folder=Path("a"), is_above_one_class=good) for good in (True, False)}
        assert f"The network is kept: {force}" == told[False]
        assert told[True] == (
            "The network is kept: lince quantize a --fallback --set=quantize.max_drop_points=3 accepts the loss, "
            f"if test images lose no more; {force}"
        )


class TestAfterChance:
    def test_a_network_that_learned_nothing(self, copy, capsys):
        """It is refused with the figures, and published by force, with a verdict that begins with it."""
        model = pipeline.trained_model(copy)
        dense = model.get_layer("logits")
        dense.set_weights([1e-3 * dense.get_weights()[0], np.array([0, 5, 0], np.float32)])
        model.save(copy.keras_model)
        before = {path.name: path.read_bytes() for path in copy.path.iterdir() if path.is_file()}
        sentence = refusal(lambda: cli.app(["quantize", str(copy.path)], standalone_mode=False))
        assert re.search(
            r"for every image, and always naming '\w+' would be right for 15 \(33 %\)\. Expected", sentence
        )
        assert (
            "It is right for 33 % of its training images, so it has not learned them well. Train again with" in sentence
        )
        assert "--set train.epochs=120 --set train.validate_every=10." in sentence
        assert before == {path.name: path.read_bytes() for path in copy.path.iterdir() if path.is_file()}
        [words] = commands(sentence.replace(" publishes", ";"))
        assert works(words, capsys)
        [first, *_] = artifact.read(copy.model).manifest.verdict.findings
        assert "not_above_one_class" == first.code

    def test_longer_training_is_enough(self, images_folder, recipe_file, tmp_path, capsys):
        """An epoch at a tiny step is at chance; with as many epochs as are advised the same recipe is published."""
        arguments = ["train", str(images_folder), "--recipe", str(recipe_file), "--runs", str(tmp_path)]
        short = ["--set", "train.epochs=1", "--set", "train.batch_size=60", "--set", "train.learning_rate=1e-5"]
        sentence = refusal(lambda: cli.app([*arguments, *short, "--name", "a"], standalone_mode=False))
        longer = re.findall(r"--set (train\.\w+=\d+)", sentence)
        assert ["train.epochs=10", "train.validate_every=10"] == longer
        again = [*arguments, *(word for key in longer for word in ("--set", key)), "--name", "b"]
        cli.app(again, standalone_mode=False)
        assert "Verdict: " in capsys.readouterr().out

    def test_memorized_images(self, recipe):
        """The advice is to add images and to check the labels, with a command for this source."""
        told = advice.after_chance(
            recipe, folder=Path("a"), source="my images", training_accuracy=1.0, chance=0.5, loss=None,
            is_timed=False,
        )  # fmt: skip
        assert "memorized them. Add images, and look for wrong labels with lince data check 'my images'." in told

    def test_test_images_of_one_class(self, recipe):
        """No network can have more than all, so that training longer is not advised."""
        told = advice.after_chance(
            recipe, folder=Path("a"), source="b", training_accuracy=1.0, chance=1.0, loss=None,
            is_timed=False,
        )  # fmt: skip
        assert told.startswith("All test images are of one class, so no network can be better. Add test images")
        assert "Train again" not in told

    def test_others(self, recipe):
        """A timed run takes no epochs, and what int8 lost is said to be int8's."""

        def told(**options):
            defaults = {"loss": None, "is_timed": False}
            return advice.after_chance(
                recipe, folder=Path("a"), source="b", training_accuracy=0.3, chance=0.3, **defaults | options
            )

        assert "Train again with a longer --time-budget." in told(is_timed=True)
        assert "The float network is better than that: int8 has lost it. Do this." in told(loss="Do this.")


class TestVerdict:
    def test_is_the_same_everywhere(self, trained):
        """In the JSON that `train` prints, in report.json, the manifest, the card and on the page."""
        folder, done = trained
        printed, model = msgspec.json.decode(done.stdout)["verdict"], artifact.read(folder.model)
        expected = folder.read_report().verdict
        assert msgspec.convert(printed, type(expected)) == expected
        assert model.manifest.verdict == expected
        assert expected.text in model.card
        page = html.unescape(folder.page.read_text())
        assert all(finding.sentence in page for finding in expected.findings)

    def test_ends_what_is_printed(self, copy, capsys):
        """After the tables, so that nobody overlooks it."""
        cli.app(["quantize", str(copy.path)], standalone_mode=False)
        last = capsys.readouterr().out.splitlines()[-1]
        assert last == f"Verdict: {copy.read_report().verdict.text}"

    def test_copies_are_told(self, copy):
        """Half of the test images are training images: what remains without them is said."""
        opened = pipeline.resume(copy, progress=silent)
        half = np.arange(len(opened.test) // 2)
        mixed = np.concatenate([opened.train.images[half], opened.test.images[len(half) :]])
        labels = np.concatenate([opened.train.labels[half], opened.test.labels[len(half) :]])
        opened = replace(opened, test=replace(opened.test, images=mixed, labels=labels))
        report = pipeline.publish(opened, say=lambda _: None)
        assert len(half) == report.leakage.identical
        assert f"{len(half)} are identical to" in report.verdict.text
        assert len(opened.test) - len(half) - report.leakage.look_alike > 0
        assert report.leakage.accuracy_without is not None

    def test_training_accuracy_is_of_images_as_they_are(self, copy):
        """All 60 of them are sampled, and the published network answers."""
        opened = pipeline.resume(copy, progress=silent)
        report = pipeline.publish(opened, say=lambda _: None)
        flatbuffer = artifact.read(copy.model).flatbuffer
        assert report.training_accuracy == acceptance._training_accuracy(flatbuffer, opened)
        assert report.training_accuracy.value > 0.9
