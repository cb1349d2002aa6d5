"""The benchmark of few images: its standard error, its verdict, what it keeps, and one real run."""

import math
import subprocess
import sys
from pathlib import Path

import few_images
import few_images_baselines
import few_images_table
import numpy as np
import pytest
from few_images_table import Failed, Fitted, Result, Results, Trained, difference

import make_stored_run
from lince import metrics
from lince.errors import LinceError
from lince.runs.run_folder import RunFolder

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "few_images.py"
NAMES = tuple(f"test/{index}.png" for index in range(100))


def right(count: int) -> str:
    """The answers to 100 images, the first of which are right."""
    return "1" * count + "0" * (100 - count)


def result(seed: int = 0, *, lince: int | None = None, data: str = "icons", **baselines: int) -> Result:
    """A result with so many right answers of 100."""
    trained = None
    if lince is not None:
        trained = Trained(
            right=right(lince), seconds=100 + 20 * seed, peak_bytes=10**9 * (seed + 1), latency_us=1500,
            recipe="photos", float_accuracy=0.9,
        )  # fmt: skip
    fitted = {name: Fitted(right=right(count), settings={}, seconds=1) for name, count in baselines.items()}
    train = tuple(f"train/{index}.png" for index in range(1200))
    return Result(data=data, seed=seed, classes=7, train=train, test=NAMES, lince=trained, baselines=fitted)


def results(*found: Result, arguments: tuple[str, ...] = ()) -> Results:
    return Results(arguments=arguments, machine="a machine", results=list(found))


def cells(found: Results) -> list[list[str]]:
    """The cells of the table's lines, without the line below its head."""
    lines = few_images_table.table(found).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]


class TestDifference:
    def test_of_one_seed_is_that_of_two_paired_shares(self):
        """20 images that Lince alone has right and 8 that the baseline alone has, of 100: as `lince.metrics` has it."""
        ours, theirs = "1" * 20 + "0" * 8 + "1" * 72, "0" * 20 + "1" * 8 + "1" * 72
        found = difference([(NAMES, ours, theirs)])
        expected = metrics.paired_difference(*(np.array(list(answers)) == "1" for answers in (ours, theirs)))
        assert pytest.approx(0.12) == found.value == expected.value
        assert pytest.approx((expected.high - expected.low) / 2 / metrics.Z95) == found.error

    def test_same_answers_of_another_seed_are_no_more_images(self):
        """Two seeds that answer the same images alike have the standard error of one."""
        ours, theirs = right(80), right(70)
        assert difference([(NAMES, ours, theirs)]) == pytest.approx(difference([(NAMES, ours, theirs)] * 2))

    def test_other_images_are_more_images(self):
        """Two seeds with test images of their own have a smaller standard error: by the root of 2, nearly."""
        one = (NAMES, right(90), right(50))
        other = (tuple(f"other/{name}" for name in NAMES), *one[1:])
        assert difference([one]).error / math.sqrt(2) == pytest.approx(difference([one, other]).error, rel=0.05)

    def test_below_is_more_than_one_standard_error(self):
        """A loss of one image of 100 is within the error; one of nine images, all of one kind, is not."""
        assert not difference([(NAMES, right(70), right(71))]).is_below
        assert difference([(NAMES, right(70), right(79))]).is_below

    def test_answers_of_other_lengths_are_an_error(self):
        """An answer that belongs to no image is not left out silently."""
        with pytest.raises(ValueError, match="shorter"):
            difference([(NAMES, right(70), right(79)[:-1])])


class TestTable:
    def test_line_of_a_set(self):
        """Means and spreads over the seeds, the highest memory, the best baseline, and what Lince is above it."""
        first, second = result(0, lince=80, svc=60, forest=70), result(1, lince=84, svc=62, forest=70)
        head, line = cells(results(first, second))
        assert ["set", "classes", "train, test", "Lince, int8 %"] == head[:4]
        assert ["svc", "forest"] == head[7:9]
        assert ["icons", "7", "1,200, 100", "82.0 ± 2.8, n = 2", "110 ± 14, n = 2", "2.00", "1.50 ± 0.00, n = 2"] == (
            line[:7]
        )
        assert ["61.0", "70.0", "forest 70.0", "+12.0 ± 3.3", "ok"] == line[7:]

    def test_every_baseline_counts(self):
        """The verdict names each baseline that Lince is below, not the best alone."""
        [_, line] = cells(results(result(lince=50, svc=80, forest=70, regression=40)))
        assert "**below** svc, forest" == line[-1]

    def test_seed_without_a_model_is_not_ok(self):
        """A set is not ok because the seeds that succeeded are."""
        failed = result(1, svc=60)
        failed.failed = Failed(exit_code=1, message="refused")
        [_, line] = cells(results(result(0, lince=80, svc=60), failed))
        assert "**no model** of seed 1" == line[-1]

    @pytest.mark.parametrize("found", [result(svc=60), result(lince=80)])
    def test_nothing_to_compare(self, found):
        """Baselines alone, or Lince alone, have no verdict."""
        [_, line] = cells(results(found))
        assert ["–", "–"] == line[-2:]

    def test_sets_have_a_line_each(self):
        """Seeds of one set are in one line, whatever the order in which they were measured."""
        found = results(result(0, lince=80), result(0, lince=70, data="emoji"), result(1, lince=82))
        assert ["set", "icons", "emoji"] == [line[0] for line in cells(found)]


class TestKeptResults:
    def test_are_read_as_written(self, tmp_path):
        """Nothing is lost in the file."""
        path, found = tmp_path / "few.json", results(result(lince=80, svc=60), arguments=("--recipe", "photos"))
        few_images_table.write(path, found)
        assert few_images_table.read(path) == found
        assert few_images_table.read(tmp_path / "none.json") is None

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"{", "cannot be read .*choose another --json"),
            (b'{"arguments": [], "machine": "", "format": 9}', "is of format 9. Expected 1: choose another --json"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path, content, sentence):
        """A damaged file, and one of another version."""
        path = tmp_path / "few.json"
        path.write_bytes(content)
        with pytest.raises(LinceError, match=sentence):
            few_images_table.read(path)

    def test_baselines_of_the_same_split_are_kept(self):
        """A run on the split that they were fitted to replaces the place that it lacked in."""
        found = results(result(svc=60))
        assert 1 == len(few_images.put(found, result(lince=80)).baselines)
        assert [80] == [one.lince.right.count("1") for one in found.results]

    def test_baselines_of_another_split_are_dropped(self):
        """Their answers are to other images."""
        found, run = results(result(svc=60)), result(lince=80)
        run.test = tuple(reversed(NAMES))
        assert {} == few_images.put(found, run).baselines


class TestBaselines:
    def test_views_of_an_image_are_in_one_fold(self):
        """What is validated was not fitted to in another view."""
        labels = np.arange(40) % 4
        found = few_images_baselines.folds(labels, views=2, seed=0)
        assert 5 == len(found)
        for fitted, validated in found:
            assert set() == set(fitted % 40) & set(validated)
            assert 80 == len(fitted) + 2 * len(validated)
            assert [2, 2, 2, 2] == np.bincount(labels[validated]).tolist()
        assert list(range(40)) == sorted(np.concatenate([validated for _, validated in found]))

    def test_folds_of_a_small_class(self):
        """As many as it has images, so that each has one of it; two at least."""
        assert [3, 2] == [
            len(few_images_baselines.folds(np.repeat([0, 1], [9, small]), views=1, seed=0)) for small in (3, 1)
        ]

    def test_colours(self):
        """Two colours in equal parts: the roots of their shares, and a length of 1."""
        image = np.zeros((1, 4, 4, 3), np.uint8)
        image[0, :2] = [255, 64, 0]
        [found] = few_images_baselines.colours(image)
        assert {0, 3 * 16 + 4} == set(np.flatnonzero(found))
        assert found[found > 0] == pytest.approx(0.5**0.5)

    def test_missing_packages(self, monkeypatch):
        """The sentence names them, and the command that installs them."""
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(LinceError, match=r"missing: skimage and sklearn\..*make \.venv/baselines/ready"):
            few_images_baselines.require_packages()


def few(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PROGRAM, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def kept(images_folder, tmp_path_factory):
    """The folder with the results, and run folders, of one seed of the tests' recipe; and what the program wrote."""
    folder = tmp_path_factory.mktemp("few")
    own = ["--json", folder / "few.json", "--runs", folder / "runs", "--seeds", 1, "--lince-only"]
    done = few(images_folder, *own, f"--recipe-args=--recipe {make_stored_run.RECIPE}")
    assert 0 == done.returncode, done.stderr
    return folder, done


def test_real_run(kept, images_folder):
    """Accuracy and latency are those of the run's report, the split is the run's, time and memory were measured."""
    folder, done = kept
    [found] = few_images_table.read(folder / "few.json").results
    report = RunFolder(folder / "runs" / f"{images_folder.name}-0").read_report()
    assert report.int8.accuracy.value == pytest.approx(few_images_table.accuracy(found.lince.right))
    assert report.certificate.latency_us == found.lince.latency_us
    assert (75, 45, 3, "tiny") == (len(found.train), len(found.test), found.classes, found.lince.recipe)
    assert set() == set(found.train) & set(found.test)
    assert found.lince.seconds > 1
    assert found.lince.peak_bytes > 10**8
    assert f"| {images_folder.name} | 3 | 75, 45 |" in done.stdout


def test_what_was_measured_is_not_measured_again(kept, images_folder):
    """A second call, with or without the set, prints the same table, and leaves the file as it is."""
    folder, first = kept
    before = (folder / "few.json").read_bytes()
    own = ["--json", folder / "few.json", "--seeds", 1, "--lince-only"]
    again = few(images_folder, *own, f"--recipe-args=--recipe {make_stored_run.RECIPE}")
    printed = few("--json", folder / "few.json")
    assert [first.stdout] * 2 == [again.stdout, printed.stdout]
    assert "" == again.stderr
    assert before == (folder / "few.json").read_bytes()


def test_results_of_other_arguments_are_not_mixed(kept, images_folder):
    """Runs of two recipes are not one mean."""
    done = few(images_folder, "--json", kept[0] / "few.json", "--lince-only", "--recipe-args=--recipe fast")
    assert 1 == done.returncode
    assert "and received '--recipe fast'. Expected the same --recipe-args, or another --json." in done.stderr


def test_run_without_a_model_is_recorded(images_folder, tmp_path):
    """What `lince train` said is kept, and the table says that there is no model."""
    own = ["--json", tmp_path / "few.json", "--seeds", 1, "--lince-only", "--recipe-args=--recipe nothing"]
    done = few(images_folder, *own)
    assert 0 == done.returncode, done.stderr
    assert "**no model** of seed 0" in done.stdout
    [found] = few_images_table.read(tmp_path / "few.json").results
    assert (1, True) == (found.failed.exit_code, "nothing" in found.failed.message)
