"""The program as people and scripts meet it: exit codes, stdout for results alone, JSON and CSV that parse."""

import csv
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
import typer
from PIL import Image

import lince as package
from lince import images
from lince.cli import options
from lince.cli.commands import app
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.types import ImageSpec

VERBS = [
    *("train", "quantize", "evaluate", "predict", "explain", "serve", "key", "report", "compare", "models", "inspect"),
    *("bench", "data", "data check", "feedback", "feedback export"),
]


def one_sentence(stderr: str) -> str:
    """What the program says when it fails: one line that begins with "Error:", and no traceback."""
    assert "Traceback" not in stderr
    [line] = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    return line


@pytest.fixture(scope="module")
def picture(images_folder: Path) -> Path:
    """One test image."""
    return sorted(images_folder.glob("test/square/*.png"))[0]


@pytest.fixture
def mixed(images_folder: Path, tmp_path: Path) -> Path:
    """A folder of two pictures, one file that only pretends, and one that is none of ours."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, path in enumerate(sorted(images_folder.glob("test/*/*.png"))[:2]):
        shutil.copy(path, folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "notes.txt").write_text("no picture by its name")
    return folder


def test_help_names_every_model_that_ships():
    """The text is written by hand: reading the folder would slow the start of every command."""
    assert artifact.shipped_models()
    assert options.MODEL_HELP.endswith(f": {', '.join(artifact.shipped_models())}.")


class TestProgram:
    def test_version(self, lince):
        """The package's version, on stdout."""
        done = lince("--version")
        assert (0, f"{package.__version__}\n", "") == (done.returncode, done.stdout, done.stderr)

    def test_every_verb_is_listed(self):
        """The verbs of the design are those of the program; a new one needs its line here."""
        program = typer.main.get_command(app)
        groups = {name: command.commands for name, command in program.commands.items() if hasattr(command, "commands")}
        found = [*program.commands, *(f"{name} {verb}" for name in groups for verb in groups[name])]
        assert sorted(VERBS) == sorted(found)

    @pytest.mark.parametrize("verb", VERBS)
    def test_help(self, verb):
        """Every verb explains itself, and each of its options."""
        from typer.testing import CliRunner

        done = CliRunner().invoke(app, [*verb.split(), "--help"])
        assert 0 == done.exit_code
        assert done.stdout.startswith("\n Usage:") or done.stdout.startswith("Usage:")
        command = typer.main.get_command(app)
        for name in verb.split():
            command = command.commands[name]
        assert command.help
        if verb not in ("data", "feedback"):
            assert [] == [
                parameter.name for parameter in command.params if parameter.name != "help" and not parameter.help
            ]

    @pytest.mark.parametrize("group", [[], ["data"], ["feedback"]])
    def test_help_fits_a_narrow_terminal(self, group):
        """No verb's line is cut at 80 columns."""
        from typer.testing import CliRunner

        _, verbs = CliRunner().invoke(app, [*group, "--help"], env={"COLUMNS": "80"}).stdout.split("Commands:")
        assert verbs.strip()
        assert "..." not in verbs

    def test_settings_are_printed(self, lince, tmp_path):
        """As a file that gives the same settings; nothing is served."""
        first = lince("serve", "--port", "0", "--workers", "3", "--print-config")
        (tmp_path / "lince.toml").write_text(first.stdout)
        assert "port = 0\nworkers = 3\n" in first.stdout
        again = lince("serve", "--config", str(tmp_path / "lince.toml"), "--print-config")
        assert (0, first.stdout) == (again.returncode, again.stdout)

    def test_key(self, lince):
        """The line goes to stdout, to be appended to the file; the key to stderr."""
        done = lince("key", "cats", "--admin")
        line, key = done.stdout.strip(), done.stderr.split()[-1]
        assert f"cats admin {hashlib.sha256(key.encode()).hexdigest()}" == line

    def test_without_a_verb_it_helps(self, lince):
        """Nothing to do: usage, and the exit code of usage."""
        done = lince()
        assert 2 == done.returncode
        assert "Usage:" in done.stdout + done.stderr

    @pytest.mark.parametrize(
        "arguments",
        [
            ["fly"],
            ["predict"],
            ["predict", "model.tflite"],
            ["train"],
            ["train", "cifar10", "--resume", "runs/x"],
            ["train", "cifar10", "--seed", "-1"],
            ["train", "cifar10", "--until", "noon"],
            ["predict", "model.tflite", "x.png", "--json", "--csv"],
            ["predict", "model.tflite", "x.png", "--top", "0"],
            ["evaluate", "model.tflite", "--split", "half"],
            ["predict", "model.tflite", "x.png", "--logits"],
            ["predict", "model.tflite", "x.png", "--logits", "--csv"],
        ],
        ids=" ".join,
    )
    def test_usage(self, lince, arguments):
        """What cannot be meant: exit code 2, nothing on stdout, no traceback."""
        done = lince(*arguments)
        assert (2, "") == (done.returncode, done.stdout)
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["train", "x", "--until", "train", "--force"], "--force has no effect with --until train"),
            (["train", "x", "--until", "train", "--fallback"], "--fallback has no effect with --until train"),
            (["train", "x", "--until", "train", "--json"], "--json has no effect with --until train"),
            (["train", "x", "--set", "train.teacher_weight=1"], "has no effect without --teacher"),
            (["train", "x", "--set", "augment.teacher_translate=1"], "has no effect without --teacher"),
            (["evaluate", "cifar10", "--foreign", "--split", "all"], "--split has no effect with --foreign alone"),
            (["evaluate", "cifar10", "x", "--seed", "3"], "--seed has no effect without --corruptions or --foreign"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_option_without_effect(self, lince, arguments, match):
        """An option that would change nothing is refused, and not ignored."""
        done = lince(*arguments)
        assert (2, "") == (done.returncode, done.stdout)
        assert match in " ".join(done.stderr.split())

    @pytest.mark.parametrize(
        ("arguments", "meant"),
        [
            (["trian"], "train"),
            (["PREDICT"], "predict"),
            (["check"], "data check"),
            (["data", "chek"], "check"),
            (["data", "CHECK"], "check"),
            (["train", "--recip", "fast"], "--recipe"),
            (["train", "x", "--recipe", "photo"], "photos"),
            (["train", "x", "--recipe", "Fast"], "fast"),
            (["train", "cifar10", "--set", "train.epoch=3"], "train.epochs"),
            (["train", "cifar10", "--set", "epochs=3"], "train.epochs"),
            (["train", "cifar10", "--set", "epoch=3"], "train.epochs"),
            (["train", "cifar10", "--set", "train.EPOCHS=3"], "train.epochs"),
            (["train", "cifar10", "--set", "model.famly=vgg"], "model.family"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_what_was_meant(self, lince, arguments, meant):
        """A verb, an option, a recipe or a key that is almost right is answered by the right one."""
        stderr = " ".join(lince(*arguments).stderr.split())
        assert f"Did you mean '{meant}'?" in stderr or meant in stderr.partition("Possible options: ")[2]

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["key", "a b"], "Received the name 'a b'. Expected at most 100 letters"),
            (["train", "x", "--seed", "abc"], "Received 'abc'. Expected a whole number from 0 to 4294967295."),
            (["train", "x", "--seed", "-1"], "Received '-1'. Expected a whole number from 0 to 4294967295."),
            (["train", "x", "--fit", "squeeze"], "Received 'squeeze'. Expected one of 'crop', 'pad', 'stretch'."),
            (["report", "x", "--lang", "de"], "'--lang': Received 'de'. Expected one of 'en', 'pt'."),
            (["train", "x", "--until", "noon"], "'--until': Received 'noon'. Expected one of 'train', 'report'."),
            (["predict", "x", "y", "--top", "1.5"], "Received '1.5'. Expected a whole number of at least 1."),
            (
                ["evaluate", "x", "--split", "tset"],
                "'tset'. Expected one of 'test', 'validation', 'train', 'all'.",
            ),
            (["serve", "--port", "http"], "Received 'http'. Expected a whole number."),
            (["train", "x", "--time-budget", "9999999999999h"], "or 1h30m, at most 1,000 hours."),
            (["help"], "Received 'help'. Expected one of train, quantize,"),
            (["train", ""], "Received an empty argument"),
            (["evaluate", "cifar10", ""], "Received an empty argument"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_usage_in_our_own_words(self, lince, arguments, match):
        """What was received and what was expected, whichever extras are installed."""
        done = lince(*arguments)
        assert (2, "") == (done.returncode, done.stdout)
        assert match in " ".join(done.stderr.split())

    @pytest.mark.parametrize("host", ["caf\udce9", "a..b", "a" * 70])
    def test_host_that_is_none(self, lince, host):
        """A name that cannot be looked up is a sentence, to serve and to measure."""
        served = lince("serve", "--host", host, "--port", "0")
        expected = "Expected an address or a name of this machine. Correct --host or LINCE_HOST."
        assert (3, f"Error: Setting 'host' received {host!r}. {expected}") == (
            served.returncode,
            one_sentence(served.stderr),
        )
        measured = lince("evaluate", f"http://{host}", "x")
        assert (1, "") == (measured.returncode, measured.stdout)
        assert "Expected the address of a server" in one_sentence(measured.stderr)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["predict", "nowhere.tflite", "x.png"], "Model file 'nowhere.tflite'"),
            (["inspect", "nowhere.tflite"], "Model file 'nowhere.tflite'"),
            (["evaluate", "nowhere.tflite", "nowhere"], "Model file 'nowhere.tflite'"),
            (["train", "--resume", "nowhere"], "'nowhere' is not a run folder"),
            (["quantize", "nowhere"], "'nowhere' is not a run folder"),
            (["report", "nowhere"], "nowhere"),
            (["compare", "nowhere"], "nowhere"),
            (["data", "check", "nowhere"], "Cannot read 'nowhere'"),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else "",
    )
    def test_what_is_not_there(self, lince, tmp_path, arguments, match):
        """One sentence that names it, exit code 1, nothing on stdout."""
        done = lince(*arguments, cwd=tmp_path)
        assert (1, "") == (done.returncode, done.stdout)
        assert match in one_sentence(done.stderr)

    @pytest.mark.parametrize(
        ("arguments", "meant"),
        [
            (["inspect", "runs"], "'runs' holds no model.tflite. Did you mean one of 'runs/one', 'runs/two'? Expected"),
            (["inspect", "one"], "Model file 'one': there is none. Did you mean 'runs/one'?"),
            (["predict", "one", "x.png"], "Model file 'one': there is none. Did you mean 'runs/one'?"),
            (["inspect", "CIFAR10"], "Did you mean 'cifar10'?"),
            (["predict", "http://127.0.0.1:8000", "x.png"], "Received the address 'http://127.0.0.1:8000'. Expected a"),
            (["predict", "x.png", "runs/one"], "Received the picture 'x.png' as the model. Expected the model first"),
            (["report", "runs"], "'runs' is not a run folder: it has no run.json. Did you mean 'runs/two'? Expected"),
            (["report", "two"], "Did you mean 'runs/two'?"),
            (["train", "http://host/images.zip"], "Cannot read 'http:/host/images.zip' (it is an address: download it"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_path_that_was_meant(self, lince, tmp_path, arguments, meant):
        """A path that is almost right is answered by the right one."""
        for name in ("one/model.tflite", "two/model.tflite", "two/run.json"):
            (tmp_path / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "runs" / name).touch()
        done = lince(*arguments, cwd=tmp_path)
        assert (1, "") == (done.returncode, done.stdout)
        assert meant in one_sentence(done.stderr)

    @pytest.mark.parametrize("verb", ["predict", "explain"])
    def test_address_of_a_picture(self, lince, verb):
        """It is no file, whichever way its slashes are read."""
        done = lince(verb, "cifar10", "https://host/cat.jpg")
        assert (2, "") == (done.returncode, done.stdout)
        assert "Received the address 'https:/host/cat.jpg'. Expected a file: download it first." in done.stderr

    def test_model_that_is_damaged(self, lince, run, picture, tmp_path):
        """A tampered model file answers nothing."""
        path = tmp_path / "damaged.tflite"
        data = bytearray(run.model.read_bytes())
        data[1000] ^= 1
        path.write_bytes(data)
        done = lince("predict", path, picture)
        assert (1, "") == (done.returncode, done.stdout)
        assert "damaged or was altered" in one_sentence(done.stderr)


class TestPredict:
    def test_text(self, lince, run, picture):
        """A line for people: path, label, probability."""
        done = lince("predict", run.model, picture)
        assert (0, "") == (
            done.returncode,
            done.stderr.replace("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n", ""),
        )
        [line] = done.stdout.splitlines()
        label = Classifier.load(run.model).predict(images.decode(picture.read_bytes(), ImageSpec())[None]).indices[0]
        assert line.startswith(f"{picture}: {('disc', 'square', 'stripes')[label]} ")
        assert "%" in line

    def test_text_of_a_file_that_cannot_be_read(self, lince, run, mixed):
        """Its error goes to stderr, answers alone to stdout."""
        done = lince("predict", run.model, mixed)
        assert 1 == done.returncode
        assert [f"{mixed}/0.png", f"{mixed}/1.png"] == [line.partition(": ")[0] for line in done.stdout.splitlines()]
        assert f"{mixed}/broken.jpg: " in done.stderr

    def test_json(self, lince, run, mixed):
        """An object a line in a fixed order; the bad file has its error, and the exit code says so."""
        done = lince("predict", run.model, mixed, "--json", "--top", 2)
        assert 1 == done.returncode
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert [f"{mixed}/{name}" for name in ("0.png", "1.png", "broken.jpg")] == [row["path"] for row in rows]
        for row in rows[:2]:
            assert {"path", "label", "index", "probability", "top", "prediction_set", "abstain"} == row.keys()
            assert 2 == len(row["top"])
            assert {key: row[key] for key in ("label", "index", "probability")} == row["top"][0]
            assert row["label"] in row["prediction_set"]
        assert {"path", "error"} == rows[2].keys()
        assert "Paths or images without an answer: 1." in done.stderr

    def test_csv(self, lince, run, mixed):
        """A header and a row an image, the same answers as in JSON."""
        done = lince("predict", run.model, mixed, "--csv")
        assert 1 == done.returncode
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        objects = [json.loads(line) for line in lince("predict", run.model, mixed, "--json").stdout.splitlines()]
        assert ["path", "label", "index", "probability", "abstain", "prediction_set", "error"] == list(rows[0])
        for row, expected in zip(rows[:2], objects[:2], strict=True):
            assert (expected["path"], expected["label"], str(expected["index"])) == (
                row["path"],
                row["label"],
                row["index"],
            )
            assert expected["probability"] == float(row["probability"])
            assert "" == row["error"]
        assert objects[2]["error"] == rows[2]["error"]
        assert "" == rows[2]["label"]

    def test_top(self, lince, run, mixed):
        """In text, CSV and JSON alike: so many classes, the most probable first; never more than there are."""
        text, table, lines = (lince("predict", run.model, mixed, "--top", 2, *o) for o in ((), ("--csv",), ("--json",)))
        best = [row["top"] for row in map(json.loads, lines.stdout.splitlines()) if "top" in row]
        said = [", ".join(f"{one['label']} {one['probability']:.1%}" for one in top) for top in best]
        assert said == [line.partition("; top 2: ")[2] for line in text.stdout.splitlines()]
        rows = list(csv.DictReader(io.StringIO(table.stdout)))
        for place in (1, 2):
            assert [top[place - 1]["label"] for top in best] == [row[f"label_{place}"] for row in rows[:2]]
            found = [float(row[f"probability_{place}"]) for row in rows[:2]]
            assert [top[place - 1]["probability"] for top in best] == found
        assert not rows[2]["label_1"]
        many = lince("predict", run.model, mixed, "--top", 99, "--csv")
        assert "label_3" in many.stdout
        assert "label_4" not in many.stdout

    def test_zip(self, lince, run, mixed, tmp_path):
        """The same pictures in an archive, read in place, give the same answers."""
        archive = tmp_path / "mixed.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(mixed.iterdir()):
                file.write(path, path.name)
        found = lince("predict", run.model, archive, "--json")
        expected = lince("predict", run.model, mixed, "--json")
        assert 1 == found.returncode
        rows = [[json.loads(line) for line in done.stdout.splitlines()] for done in (found, expected)]
        assert [f"{archive}/{name}" for name in ("0.png", "1.png", "broken.jpg")] == [row["path"] for row in rows[0]]
        assert [{**row, "path": None} for row in rows[1]] == [{**row, "path": None} for row in rows[0]]

    def test_missing_file(self, lince, run, picture):
        """A path that leads nowhere is a row with its error; the others are answered."""
        done = lince("predict", run.model, "nowhere.png", picture, "--json")
        assert 1 == done.returncode
        first, second = map(json.loads, done.stdout.splitlines())
        assert ("nowhere.png", "error") == (first["path"], list(first)[1])
        assert "label" in second

    def test_logits(self, lince, run, picture):
        """On request the network's raw output, in the order of the classes: that of the runtime, exactly."""
        done = lince("predict", run.model, picture, "--json", "--logits")
        classifier = Classifier.load(run.model)
        expected = classifier.logits(images.decode(picture.read_bytes(), classifier.image_spec)[None])[0]
        assert 0 == done.returncode
        np.testing.assert_array_equal(expected, np.float32(json.loads(done.stdout)["logits"]))

    def test_any_size_and_format(self, lince, run, tmp_path):
        """A large grey JPEG is as good as a small PNG."""
        path = tmp_path / "large.jpeg"
        Image.new("L", (640, 480), 128).save(path)
        assert 0 == lince("predict", run.model, path, "--json").returncode


class TestModels:
    def test_table(self, lince):
        """Every model that ships has a line, and the machine of its latency is named."""
        done = lince("models")
        assert (0, "") == (done.returncode, done.stderr)
        for name, path in artifact.shipped_models().items():
            certificate = artifact.read(path).manifest.certificate
            [line] = [line for line in done.stdout.splitlines() if line.split()[:1] == [name]]
            assert f"{100 * certificate.comparison.int8_accuracy:.2f} %" in line
            assert certificate.machine in " ".join(done.stdout.split())

    def test_json(self, lince):
        """A list of objects, for programs."""
        done = lince("models", "--json")
        assert 0 == done.returncode, done.stderr
        found = {entry["name"]: entry for entry in json.loads(done.stdout)}
        assert list(artifact.shipped_models()) == list(found)
        for name, path in artifact.shipped_models().items():
            certificate = artifact.read(path).manifest.certificate
            assert msgspec.to_builtins(certificate) == found[name]["certificate"]
            assert path.stat().st_size == found[name]["file_bytes"]

    @pytest.mark.parametrize("verb", ["predict", "inspect", "bench", "evaluate", "serve"])
    def test_wrong_name(self, lince, tmp_path, verb):
        """The error of every verb that takes a model lists those that ship."""
        more = {"predict": ["x.png"], "serve": ["--port", "0"]}.get(verb, [])
        done = lince(verb, "cifar10-tyni", *more, cwd=tmp_path)
        expected = "or a model that ships: 'cifar10', 'cifar10-best', 'cifar10-tiny'."
        assert expected in one_sentence(done.stderr)
        assert "" == done.stdout


class TestReport:
    def test_in_portuguese(self, lince, run, tmp_path):
        """Written into the run folder; the line that says so goes to stderr."""
        pytest.importorskip("matplotlib", reason="a report needs what trains")
        folder = Path(shutil.copytree(run.path, tmp_path / "tiny"))
        done = lince("report", folder, "--lang", "pt")
        assert (0, "") == (done.returncode, done.stdout)
        assert f"Report: {folder / 'report.html'}" in done.stderr.replace("\n", "")
        assert "Relatório do Lince" in (folder / "report.html").read_text(encoding="utf-8")


class TestCompare:
    def test_side_by_side(self, lince, run):
        """A column a run; as JSON, a record a run."""
        done = lince("compare", run.path, run.path)
        assert 0 == done.returncode
        assert "paired 95 % interval" in done.stdout
        found = json.loads(lince("compare", run.path, run.path, "--json").stdout)
        assert [str(run.path)] * 2 == [one["run"] for one in found["runs"]]
        assert 0 == found["runs"][1]["gain_points"]["value"]


class TestInspect:
    def test_card(self, lince, run):
        """The model card, for people."""
        done = lince("inspect", run.model)
        assert 0 == done.returncode
        assert Classifier.load(run.model).card.strip() == done.stdout.strip()

    def test_json(self, lince, run):
        """The manifest, for programs."""
        done = lince("inspect", run.model, "--json")
        manifest = json.loads(done.stdout)
        assert 0 == done.returncode
        assert ("tiny", ["disc", "square", "stripes"], 2) == (manifest["name"], manifest["classes"], manifest["format"])
        assert "certificate" in manifest


class TestEvaluate:
    def test_other_data_and_splits(self, lince, run, images_folder):
        """A run folder stands for its model file; DATA may be named; validation is the run's own."""
        named, unnamed = (lince("evaluate", run.path, *data, "--json") for data in ([images_folder], []))
        assert json.loads(unnamed.stdout)["report"] == json.loads(named.stdout)["report"]
        held_out = json.loads(lince("evaluate", run.path, "--split", "validation", "--json").stdout)
        assert (15, "validation") == (held_out["report"]["n"], held_out["split"])
        expected = json.loads(run.report.read_text())["validation_accuracy"]
        assert expected == held_out["report"]["accuracy"]

    def test_tables(self, lince, run):
        """For people: accuracy with its interval, and every class."""
        done = lince("evaluate", run.model)
        assert 0 == done.returncode
        assert "95 % interval" in done.stdout
        assert all(label in done.stdout for label in ("disc", "square", "stripes"))

    def test_other_classes(self, lince, run, images_folder, tmp_path):
        """Data of other classes cannot be measured with this model."""
        source = Path(shutil.copytree(images_folder, tmp_path / "images"))
        for split in ("train", "test"):
            (source / split / "stripes").rename(source / split / "zebra")
        done = lince("evaluate", run.model, source)
        assert (1, "") == (done.returncode, done.stdout)
        sentence = one_sentence(done.stderr)
        assert (
            f"'{source}' holds a class that the model '{run.model}' does not know: 'zebra'. Expected some" in sentence
        )
        assert "Expected some of its 3 (disc, square, stripes): rename the folder, leave it out, or train" in sentence

    def test_some_of_the_classes(self, lince, run, images_folder, tmp_path):
        """They are found by name, in whatever order; those that are not there are named, and not measured."""
        source = Path(shutil.copytree(images_folder, tmp_path / "images"))
        for split in ("train", "test"):
            shutil.rmtree(source / split / "disc")
        found = json.loads(lince("evaluate", run.model, source, "--json").stdout)["report"]
        expected = json.loads(lince("evaluate", run.model, images_folder, "--json").stdout)["report"]
        assert (30, [0, 15, 15]) == (found["n"], [score["support"] for score in found["per_class"]])
        assert expected["confusion"][1:] == found["confusion"][1:]
        shown = lince("evaluate", run.model, source).stdout
        assert "No images of 'disc': not measured." in shown

    @pytest.mark.parametrize("split", ["test", "all"])
    def test_one_class(self, lince, run, images_folder, tmp_path, split):
        """Is enough to measure; a test split alone, too."""
        source = tmp_path / "images"
        shutil.copytree(images_folder / "test" / "stripes", source / "test" / "stripes")
        done = lince("evaluate", run.model, source, "--split", split, "--json")
        assert 0 == done.returncode, done.stderr
        assert [0, 0, 15] == [score["support"] for score in json.loads(done.stdout)["report"]["per_class"]]

    def test_split_without_images(self, lince, run, images_folder, tmp_path):
        """What has none is named, and what to ask for instead."""
        shutil.copytree(images_folder / "test", tmp_path / "images" / "test")
        done = lince("evaluate", run.model, tmp_path / "images", "--split", "train")
        assert 1 == done.returncode
        assert "has no image in its train split. Expected at least 1: --split all takes every" in one_sentence(
            done.stderr
        )

    def test_corruptions(self, lince, run, images_folder):
        """25 times worse images beside the clean ones; the same seed, the same figures."""
        found = [
            json.loads(lince("evaluate", run.model, images_folder, "--corruptions", "--seed", 3, "--json").stdout)
            for _ in range(2)
        ]
        assert found[0] == found[1]
        corruptions = found[0]["corruptions"]
        assert found[0]["report"]["accuracy"]["value"] == corruptions["clean_accuracy"]
        assert (25, 3) == (len(corruptions["scores"]), corruptions["seed"])
        assert corruptions["mean_abstained"] is not None
        assert found[0]["ood"] is None

    def test_corruptions_as_tables(self, lince, run):
        """For people: a line a corruption, and what the strengths are."""
        done = lince("evaluate", run.path, "--corruptions")
        assert 0 == done.returncode, done.stderr
        assert all(kind in done.stdout for kind in ("noise", "blur", "contrast", "jpeg", "pixelate", "mean of all"))

    def test_ood_alone_needs_no_data(self, lince, run, tmp_path):
        """Generated pictures, and a folder of one's own; nothing labelled is measured."""
        Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
        done = lince("evaluate", run.model, "--foreign-images", tmp_path, "--json")
        assert 0 == done.returncode, done.stderr
        found = json.loads(done.stdout)
        assert [None] * 4 == [found[key] for key in ("split", "report", "sets", "corruptions")]
        assert [(str(tmp_path), 1)] == [(score["name"], score["n"]) for score in found["ood"]["folders"]]
        assert 7 == len(found["ood"]["generated"])

    def test_ood_beside_data(self, lince, run, images_folder):
        """Both are shown where DATA is named; the table says what it cannot tell."""
        done = lince("evaluate", run.model, images_folder, "--foreign")
        assert 0 == done.returncode, done.stderr
        assert "balanced accuracy" in done.stdout
        assert "always names one of its classes" in " ".join(done.stdout.split())


class TestDataCheck:
    def test_json(self, lince, images_folder, tmp_path):
        """Counts, rejected files and copies, as one object."""
        source = Path(shutil.copytree(images_folder, tmp_path / "images"))
        (source / "train" / "disc" / "broken.png").write_bytes(b"no image")
        shutil.copy(sorted(source.glob("train/disc/*.png"))[0], source / "test" / "disc" / "copy.png")
        done = lince("data", "check", source, "--json")
        assert 0 == done.returncode, done.stderr
        [line] = done.stdout.splitlines()
        assert "broken.png" in line
        assert "copy.png" in line
        assert isinstance(json.loads(line), dict)

    def test_strict(self, lince, images_folder, tmp_path):
        """With --strict a broken file is exit code 1, after the findings were shown."""
        source = Path(shutil.copytree(images_folder, tmp_path / "images"))
        assert 0 == lince("data", "check", source, "--strict").returncode
        (source / "train" / "disc" / "broken.png").write_bytes(b"no image")
        done = lince("data", "check", source, "--strict")
        assert 1 == done.returncode
        assert "that cannot be used: 1." in one_sentence(done.stderr)
        assert "broken.png" in done.stdout

    def test_empty_class_folder(self, lince, images_folder, tmp_path):
        """Is listed; with --strict it is exit code 1."""
        source = Path(shutil.copytree(images_folder, tmp_path / "images"))
        (source / "train" / "owl").mkdir()
        done = lince("data", "check", source)
        assert 0 == done.returncode, done.stderr
        assert "No image in 'train/owl' can be used" in " ".join(done.stdout.split())
        assert 1 == lince("data", "check", source, "--strict").returncode
