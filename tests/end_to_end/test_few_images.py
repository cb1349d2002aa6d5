"""A model with too few validation images for prediction sets, from publishing to each place that shows sets."""

import html
import json
import re
import shlex
import shutil

import pytest

from lince.runs.run_folder import RunFolder

SENTENCE = "No prediction sets: 15 validation images, 95 % needs 19. The model never answers “I don't know”."


@pytest.fixture(scope="module")
def few(trained_run, lince, tmp_path_factory):
    """The small run, published for 95 %, which its 15 validation images cannot promise; and what that printed."""
    folder = tmp_path_factory.mktemp("few images") / "run"
    shutil.copytree(trained_run.path, folder)
    done = lince("quantize", folder, "--set", "calibrate.coverage=0.95")
    assert done.returncode == 0, done.stderr
    return RunFolder(folder), done


def test_publishing_says_why_there_are_none(few):
    """The sentence with its numbers, and dashes where sets would be measured."""
    folder, done = few
    held_out = "hold out more in a new training (--set train.validation_fraction=0.31)"
    assert f"{SENTENCE} Add images, {held_out}, or lower the coverage: lince quantize" in done.stderr
    assert "no sets: too few" in done.stdout
    assert folder.read_report().sets.coverage is None
    assert folder.read_report().calibration.set_threshold is None


def test_its_advice_brings_sets(few, lince, tmp_path):
    """The command that the sentence names, on a copy: the most that 15 images can promise."""
    folder, done = few
    found = re.search(r"lower the coverage: lince (quantize .*--set calibrate\.coverage=0\.93)", done.stderr)
    arguments = shlex.split(found[1])
    copy = tmp_path / "copy"
    shutil.copytree(folder.path, copy)
    arguments[arguments.index(str(folder.path))] = str(copy)
    again = lince(*arguments)
    assert again.returncode == 0, again.stderr
    assert "No prediction sets" not in again.stderr
    assert "The model never answers “I don't know”." in again.stderr
    assert RunFolder(copy).read_report().sets.coverage.value > 0


def test_card_and_report_say_it(few, lince):
    """GET /model carries the card; the page says the same."""
    folder, _ = few
    assert f"| prediction sets | {SENTENCE} |" in lince("inspect", folder.path).stdout
    page = html.unescape(folder.page.read_text(encoding="utf-8"))
    assert "There are no prediction sets: 15 validation images are too few to promise a coverage." in page
    assert "The model never answers “I don't know”." in page
    assert "the answer is “I don't know” when" not in page


def test_predictions_have_no_set(few, lince, images_folder):
    """A notice on stderr, null in JSON, an empty field in CSV, the answer alone in text; nothing is certain."""
    folder, _ = few
    image = next((images_folder / "test" / "disc").iterdir())
    text, objects, table = (lince("predict", folder.path, image, *flags) for flags in ((), ("--json",), ("--csv",)))
    assert SENTENCE in text.stderr
    assert ", or " not in text.stdout
    assert json.loads(objects.stdout)["prediction_set"] is None
    assert json.loads(objects.stdout)["probability"] <= 15.5 / 16
    assert table.stdout.splitlines()[1].endswith(",,")


def test_evaluation_has_none_to_measure(few, lince):
    """Coverage and size are null, out-of-distribution pictures have no set size; corruptions are measured as usual."""
    folder, _ = few
    found = json.loads(lince("evaluate", folder.path, "--foreign", "--json", "--corruptions").stdout)
    assert (found["sets"]["coverage"], found["sets"]["mean_size"]) == (None, None)
    assert found["ood"]["mean"]["mean_set_size"] is None
    assert found["ood"]["mean"]["abstained"] == 0.0
    assert "–" in lince("evaluate", folder.path).stdout
