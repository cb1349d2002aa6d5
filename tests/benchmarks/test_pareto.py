"""The picture of accuracy against cost: measured on real files, drawn without covering anything."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from pareto import from_files, from_record
from pareto_chart import Limit, Point, draw
from PIL import Image

from lince.inference.classifier import Classifier
from lince.metrics import accuracy_interval
from lince.model_file import artifact
from lince.types import Interval

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "pareto.py"


def point(name: str, *, us: float, size: int, right: int, is_yardstick: bool = False) -> Point:
    """A model that answered so many of 10,000 rightly."""
    interval = accuracy_interval(right, 10_000)
    return Point(name, "0123", Interval(us, 0.98 * us, 1.03 * us), (us,), size, size, interval, 10_000, is_yardstick)


@pytest.fixture
def points() -> list[Point]:
    """As crowded as the recipes are."""
    return [
        point("tiny", us=82, size=97_800, right=8530),
        point("small", us=390, size=498_000, right=8970),
        point("fast", us=690, size=2_000_000, right=9010),
        point("default", us=760, size=2_150_000, right=9220),
        point("resnet8", us=85, size=98_352, right=8150, is_yardstick=True),
    ]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_every_point_is_labelled_in_both_panels(points):
    """Name, accuracy and what it costs there."""
    left, right = draw(points).axes
    assert {"tiny\n85.3 %, 82 µs", "resnet8\n81.5 %, 85 µs"} <= set(texts(left))
    assert {"tiny\n85.3 %, 97.8 kB", "default\n92.2 %, 2.1 MB"} <= set(texts(right))
    assert ["log", "log"] == [axes.get_xscale() for axes in (left, right)]


def test_labels_cover_no_other(points):
    """As drawn, no two labels overlap."""
    figure = draw(points)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.axes:
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        assert len(points) == len(boxes)
        assert not any(box.count_overlaps(boxes[:index]) for index, box in enumerate(boxes))


def test_limits_of_latency_need_a_yardstick(points):
    """A multiple of ResNet-8's latency has no place without it; bytes have."""
    limits = (Limit("tiny", flatbuffer_bytes=98_496, times_yardstick=1), Limit("best", latency_us=5000))

    def named(axes) -> list[str]:
        return [text.strip() for text in texts(axes) if text.startswith("limit")]

    left, right = draw(points, limits=limits).axes
    assert (["limit of tiny", "limit of best"], ["limit of tiny"]) == (named(left), named(right))
    left, _ = draw(points[:-1], limits=limits).axes
    assert ["limit of best"] == named(left)


def test_one_model_is_enough(points):
    """Nothing to compare with, and still a picture."""
    assert 2 == len(draw(points[:1]).axes)


def test_measures_and_draws(run, images_folder, tmp_path):
    """The program on a real model: its figures are those of the file, in the picture's JSON too."""
    path = tmp_path / "pareto.png"
    command = [sys.executable, PROGRAM, run.path, "--data", images_folder, "--rounds", "2", "--output", path]
    done = subprocess.run([*map(str, command), "--limits"], capture_output=True, text=True, timeout=120, check=False)
    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    [first] = found["points"]
    model = artifact.read(run.model)
    assert (len(model.flatbuffer), run.model.stat().st_size) == (first["flatbuffer_bytes"], first["file_bytes"])
    assert first["accuracy"] == json.loads(run.report.read_text())["int8"]["accuracy"]
    assert first["latency_us"]["low"] <= first["latency_us"]["value"] <= first["latency_us"]["high"]
    assert 2 == len(first["rounds_us"])
    assert np.asarray(Image.open(path)).std() > 10
    assert Classifier.load(run.model).manifest.version == first["version"]


def test_yardstick_that_is_no_model_is_refused(run, images_folder, tmp_path):
    """A name that fits nothing is a mistake, not a picture without a yardstick."""
    command = [sys.executable, PROGRAM, run.model, "--data", images_folder, "--yardstick", "resnet", "--rounds", "1"]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
    )
    assert 0 != done.returncode
    assert "Received the yardsticks ['resnet']. Expected names of models" in done.stderr
    assert [] == list(tmp_path.iterdir())


def pareto(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PROGRAM, *arguments, "--rounds", "1"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)


def test_recorded_recipe_stands_in_for_its_file(tmp_path):
    """Its bytes are within its limit as the trained one's are, its accuracy is the one that was counted."""
    path = tmp_path / "pareto.png"
    recorded = ["--recorded", "tiny=8556/10000", "--recorded", "resnet8=8090/10000"]
    done = pareto(*recorded, "--yardstick", "resnet8", "--output", path)
    assert 0 == done.returncode, done.stderr
    tiny, resnet8 = json.loads(done.stdout.splitlines()[-1])["points"]
    assert (0.8556, 10_000, None) == (tiny["accuracy"]["value"], tiny["n"], tiny["file_bytes"])
    assert (0.809, True) == (resnet8["accuracy"]["value"], resnet8["is_yardstick"])
    assert 97_000 < tiny["flatbuffer_bytes"] <= 98_496
    assert np.asarray(Image.open(path)).std() > 10


def test_untrained_network_has_the_bytes_of_the_trained_one():
    """That of the recipe of the model that ships, within 1 %."""
    shipped = artifact.read(artifact.locate("cifar10"))
    recipe = shipped.manifest.training["recipe"]["name"]
    stand_in = from_record(f"{recipe}=9/10")
    assert len(stand_in.flatbuffer) == pytest.approx(len(shipped.flatbuffer), rel=0.01)


def test_files_of_one_name_are_told_apart_by_their_versions(run, tmp_path):
    """As two trainings of one recipe are."""
    first, other = artifact.read(run.model), artifact.read(artifact.locate("cifar10"))
    path = tmp_path / "other.tflite"
    path.write_bytes(artifact.encode(replace(other, manifest=replace(other.manifest, name=first.manifest.name))))
    names = [contestant.name for contestant in from_files([str(run.model), str(path)])]
    assert [f"tiny {first.manifest.version[:4]}", f"tiny {other.manifest.version[:4]}"] == names


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recorded", "tiny=85.6"], "Received --recorded 'tiny=85.6'. Expected RECIPE=RIGHT/N"),
        (["--recorded", "tiny=9/10", "--recorded", "tiny=8/10"], "Received ['tiny'] twice. Expected each model once"),
        (["--recorded", "tiny=9/10", "--recorded", "resnet8=80/100"], "Received accuracies on [10, 100] images."),
        (["cifar10"], "expected --data, to count the right answers of a MODEL on"),
        ([], "expected a MODEL or a --recorded recipe"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, sentence):
    """A record that cannot be read, a model with two figures, figures of different images, and no model at all."""
    done = pareto(*arguments)
    assert 0 != done.returncode
    assert sentence in done.stderr
