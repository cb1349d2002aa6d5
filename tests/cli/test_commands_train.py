"""The options of `lince train` are checked before a dataset is read."""

import pytest
import typer
from typer.testing import CliRunner

from lince.cli import commands, options, run_commands
from lince.errors import LinceError


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
        ([".", "--set", "train.epoch=3"], r"train\.epoch is not known\. Did you mean 'train\.epochs'\?"),
        ([".", "--teacher", "nowhere"], r"'nowhere'.*Expected a \.tflite file, a run folder, or a model .*'cifar10'"),
        (
            [".", "--teacher", "cifar10", "--recipe", "photos"],
            r"trained for images of 32 .* of the run, images of 96",
        ),
        (
            [".", "--teacher", "cifar10", "--fit", "pad"],
            r"pixels \(crop\)\. Expected those of the run, images of 32 × 32 pixels \(pad\): train a teacher",
        ),
        ([".", "--set", "fit=contain"], r"fit = 'contain'\. Expected 'crop', 'pad' or 'stretch'\."),
        ([".", "--name", "a/b"], r"Received the run's name 'a/b'"),
        ([".", "--runs", "{runs}", "--name", "done"], r"done' already holds a run"),
        (
            [".", "--time-budget", "5m", "--set", "train.epoch=3"],
            r"train\.epoch is not known\. Did you mean 'train\.epochs'\?",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_at_once(arguments, message, monkeypatch, tmp_path):
    """Before TensorFlow is imported, which takes seconds."""
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "run.json").write_text("{}")
    monkeypatch.setattr(run_commands, "prepare", lambda **_: pytest.fail("The pipeline was imported first."))
    with pytest.raises(LinceError, match=message):
        CliRunner().invoke(
            commands.app, ["train", *(text.format(runs=tmp_path) for text in arguments)], catch_exceptions=False
        )


@pytest.mark.parametrize(
    ("package", "repair"), [("keras", r"'\.\[train\]', or make train\.$"), ("jax", r"'\.\[train,gpu\]'\.$")]
)
def test_package_that_is_missing(package, repair):
    """The error names the extra that has the package: JAX is in another one than Keras."""
    with (
        pytest.raises(LinceError, match=f"Training needs '{package}', which is not installed: pip install {repair}"),
        run_commands.needs("Training", "train"),
    ):
        raise ModuleNotFoundError(name=package)
