"""The options of `lince train` are checked before a dataset is read."""

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from lince.cli import commands, frameworks, options, run_start
from lince.data import Overview
from lince.errors import LinceError
from lince.progress import silent
from lince.training.recommendation import recommend


class TestTimeBudget:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("90s", 90), ("20m", 1200), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("1m30s", 90), ("1h1m1s", 3661)],
    )
    def test_durations(self, text, seconds):
        """Hours, minutes and seconds, or some of them."""
        assert seconds == options.seconds(text)

    @pytest.mark.parametrize("text", ["", "20", "m", "-3m", "0s", "0h0m", "20 m", "30m1h", "1.2.3s", ".s", "soon"])
    def test_what_is_no_duration(self, text):
        """It is quoted, with what would be one."""
        with pytest.raises(typer.BadParameter, match=r"Received --time-budget '.*'\. Expected a time such as 90s, 20m"):
            options.seconds(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["DATA", "--time-budget", "soon"], "such as 90s, 20m, 2h or 1h30m"),
        (["DATA", "--time-budget", "20m", "--deterministic"], "timed runs are not reproducible"),
        (["DATA", "--force", "--fallback"], "cannot be combined with --force"),
        (["DATA", "--time-budget", "20m", "--fallback"], "how long a fallback takes cannot be predicted"),
        (["--resume", "runs/x", "--time-budget", "20m"], "--time-budget cannot be combined with --resume"),
        (["--resume", "runs/x", "--leave-out", "other"], "--leave-out cannot be combined with --resume"),
        (["--resume", "runs/x", "--groups", "folder"], "--groups cannot be combined with --resume"),
        (["--resume", "runs/x", "--teacher", "cifar10"], "--teacher cannot be combined with --resume"),
        (["--resume", "runs/x", "--fit", "pad"], "--fit cannot be combined with --resume"),
        (["DATA", "--fit", "pad", "--set", "fit=crop"], "received --fit pad and --set fit=crop"),
        (["DATA", "--fit", "contain"], "Expected one of 'crop', 'pad', 'stretch'"),
        (["--resume", "runs/x", "--set", "train.epochs=3"], "--set cannot be combined with --resume"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_contradict_each_other(arguments, message):
    """They are refused as a mistake of usage, and nothing is read."""
    done = CliRunner().invoke(commands.app, ["train", *arguments], env={"COLUMNS": "300"})
    assert 2 == done.exit_code
    assert message in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], r"Cannot read 'nowhere' \(No such file or directory\)\."),
        ([".", "--leave-out", "nowhere"], r"Cannot read 'nowhere'"),
        ([".", "--groups", "films"], r"Received --groups 'films'\. Expected the word 'folder', or a pattern of names"),
        (["cifar10", "--groups", "folder"], r"Received --groups folder for 'cifar10'\. Its images are not files"),
        ([".", "--leave-out", "cifar10"], r"Received 'cifar10' to leave out\. Its images are not files with names"),
        (["cifar10", "--leave-out", "."], r"'\.' to leave out of 'cifar10'\. Its images are not files with names"),
        (
            [".", "--recipe", "classical"],
            r"Received recipe 'classical'\. Did you mean 'classic'\? Expected one of best, classic",
        ),
        (["{data}", "--set", "train.epoch=3"], r"train\.epoch is not known\. Did you mean 'train\.epochs'\?"),
        ([".", "--teacher", "nowhere"], r"'nowhere'.*Expected a \.tflite file, a run folder, or a model .*'cifar10'"),
        (
            [".", "--teacher", "cifar10", "--recipe", "photos"],
            r"trained for images of 32 .* of the run, images of 128",
        ),
        (
            [".", "--teacher", "cifar10", "--fit", "pad"],
            r"pixels \(crop\)\. Expected those of the run, images of 32 × 32 pixels \(pad\): train a teacher",
        ),
        (["{data}", "--set", "fit=contain"], r"fit = 'contain'\. Expected 'crop', 'pad' or 'stretch'\."),
        (["{data}", "--name", "a/b"], r"Received the run's name 'a/b'"),
        (["{data}", "--runs", "{runs}", "--name", "done"], r"done' already holds a run"),
        (
            ["{data}", "--time-budget", "5m", "--set", "train.epoch=3"],
            r"train\.epoch is not known\. Did you mean 'train\.epochs'\?",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_at_once(arguments, message, monkeypatch, tmp_path, images_folder):
    """Before TensorFlow is imported, which takes seconds."""
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "run.json").write_text("{}")
    monkeypatch.setattr(run_start, "prepare", lambda **_: pytest.fail("The pipeline was imported first."))
    with pytest.raises(LinceError, match=message):
        CliRunner().invoke(
            commands.app,
            ["train", *(text.format(runs=tmp_path, data=images_folder) for text in arguments)],
            catch_exceptions=False,
        )


class TestChoice:
    """Of the recipe, where the user has named none."""

    @pytest.fixture
    def train(self, monkeypatch, tmp_path):
        """Runs `lince train` up to the import of the framework, and returns what it has said."""

        def stop(**_: object) -> None:
            raise LinceError("Far enough.")

        def run(*arguments: object) -> str:
            monkeypatch.setattr(run_start, "prepare", stop)
            done = CliRunner().invoke(commands.app, ["train", *map(str, arguments), "--runs", str(tmp_path)])
            assert "Far enough." == str(done.exception)
            return " ".join(done.output.split())

        return run

    def test_says_what_why_and_the_alternative(self, images_folder, train):
        """With the user's own settings in the command."""
        said = train(images_folder, "--set", "train.label_smoothing=0.2", "--time-budget", "3m")
        assert said.startswith("Recipe: photos, because the pictures are in colour, with 25 training images a class.")
        assert f"Or: lince train {images_folder} --recipe default" in said
        assert said.endswith("--set=train.label_smoothing=0.2 --time-budget=180s")

    @pytest.mark.parametrize(
        "arguments", [("cifar10",), ("{data}", "--recipe", "fast"), ("{data}", "--teacher", "cifar10")]
    )
    def test_is_not_made(self, images_folder, train, arguments):
        """For CIFAR-10, a recipe that was named, and a teacher, which reads images of one size."""
        assert "Recipe:" not in train(*(one.format(data=images_folder) for one in arguments))

    def test_is_not_made_for_one_class(self, images_folder, train, tmp_path):
        """The images are refused when they are read, and a recipe for them would mislead."""
        one = tmp_path / "one class"
        one.mkdir()
        (one / "cats").symlink_to(next(path for path in sorted(images_folder.rglob("*")) if path.suffix).parent)
        assert "Recipe:" not in train(one)

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            (("--time-budget", "1m"), "the time is too short"),
            (("--set", "model.frozen=0"), "a key of its network is given"),
        ],
    )
    def test_without_a_trial(self, train, tmp_path, options, why):
        """Grey pictures are then fine-tuned: with little time, and with a key that the other recipe does not have."""
        for label in ("a", "b"):
            (tmp_path / "grey" / label).mkdir(parents=True)
            for level in (0, 100):
                Image.new("L", (8, 8), level).save(tmp_path / "grey" / label / f"{level}.png")
        said = train(tmp_path / "grey", *options)
        assert f"photos, because the pictures are grey, with 2 training images a class, and {why}" in said

    @pytest.mark.parametrize(("scratch", "chosen", "other"), [(0.96, "default", "photos"), (0.9, "photos", "default")])
    def test_by_a_trial(self, monkeypatch, scratch, chosen, other):
        """Both are trained on the same validation images; the sentence has what they got."""
        trial = pytest.importorskip("lince.training.trial")
        accuracies, loaded = {"photos": 0.85, "default": scratch}, []

        def tried(recipe, **_):
            loaded.append(recipe)
            return trial.Outcome(accuracies[recipe.name], 80)

        monkeypatch.setattr(trial, "run", tried)
        seen = Overview(num_train=400, num_classes=10, num_sampled=64, is_grey=True, side=28)
        found = run_start._tried(
            recommend(seen), ["train.label_smoothing=0.2"], begin=None, seconds=None, progress=silent
        )
        assert (chosen, other) == (found.chosen.name, found.other.name)
        right = f"{scratch:.0%}".replace("%", " %")
        assert f"a short training of default was right for {right} of 80 validation images" in found.why
        assert [0.2, 0.2] == [one.train.validation_fraction for one in loaded]
        assert [0.2, 0.2] == [one.train.label_smoothing for one in loaded]


@pytest.mark.parametrize(
    ("package", "repair"), [("keras", r"'\.\[train\]', or make train\.$"), ("jax", r"'\.\[train,gpu\]'\.$")]
)
def test_package_that_is_missing(package, repair):
    """The error names the extra that has the package: JAX is in another one than Keras."""
    with (
        pytest.raises(LinceError, match=f"Training needs '{package}', which is not installed: pip install {repair}"),
        frameworks.needs("Training", "train"),
    ):
        raise ModuleNotFoundError(name=package)
