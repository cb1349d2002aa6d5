"""Figures show the numbers they are given, and can be written as files."""

import io
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from lince import calibration
from lince.errors import LinceError
from lince.evaluation.accuracy import report_from
from lince.reporting import plots
from lince.types import Calibration, Split


def report_on(classes: tuple[str, ...], confusion: np.ndarray):
    """A report with exactly this confusion matrix."""
    labels, predicted = (np.repeat(index, confusion.ravel()) for index in np.indices(confusion.shape).reshape(2, -1))
    images = np.zeros((len(labels), 1, 1, 3), np.uint8)
    answers = calibration.apply(200 * np.eye(len(classes), dtype=np.float32)[predicted], Calibration())
    return report_from(answers, Split(images, labels, classes, tuple(map(str, range(len(labels))))))


class TestCurves:
    @pytest.mark.parametrize(
        ("draw", "fields", "patience", "kept"),
        [
            (plots.accuracy_curves, ("accuracy", "val_accuracy"), 2, "kept: epoch 3 (70.0 %)"),
            (plots.accuracy_curves, ("accuracy", "val_accuracy"), 0, "kept: epoch 5 (71.0 %)"),
            (plots.loss_curves, ("loss", "val_loss"), 2, "kept: epoch 3 (0.700)"),
            (plots.loss_curves, ("loss", "val_loss"), 0, "kept: epoch 5 (0.950)"),
        ],
    )
    def test_draw_the_history_and_mark_the_kept_epoch(self, history, draw, fields, patience, kept):
        """With patience that of the lowest validation loss, also among accuracies; without it the last."""
        (axes,) = draw(history, patience=patience).axes
        lines = {line.get_label(): line for line in axes.lines}
        for label, field in zip(("training", "validation"), fields, strict=True):
            np.testing.assert_array_equal([record.epoch for record in history], lines[label].get_xdata())
            np.testing.assert_array_equal([getattr(record, field) for record in history], lines[label].get_ydata())
        assert list(lines[kept].get_xdata()) == [3 if patience else 5]
        (legend,) = axes.figure.legends
        assert {"training", "validation", kept} == {text.get_text() for text in legend.get_texts()}
        assert axes.get_xlabel() == "epoch"

    @pytest.mark.parametrize("spread", [0.003, 0.02, 0.15, 0.6])
    def test_ticks_are_what_they_say(self, history, spread):
        """None is rounded: 32.5 % is not called 32 %."""
        values = np.linspace(0.3, 0.3 + spread, len(history))
        changed = [replace(record, accuracy=one, val_accuracy=one) for record, one in zip(history, values, strict=True)]
        (axes,) = plots.accuracy_curves(changed, patience=0).axes
        axes.figure.draw_without_rendering()
        shown = [float(label.get_text().removesuffix(" %")) for label in axes.get_yticklabels()]
        np.testing.assert_allclose(shown, 100 * axes.get_yticks(), atol=1e-9)

    def test_show_a_single_epoch(self, history):
        """One point has no line; it gets a marker."""
        (axes,) = plots.loss_curves(history[:1], patience=0).axes
        assert axes.lines[0].get_marker() == "o"


class TestConfusionFigure:
    def test_colours_rows_and_counts_images(self):
        """Opacity is the root of the share of the row; cells without images have no number; a class may be absent."""
        classes = ("a", "b", "c")
        counts = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
        figure = plots.confusion_figure(report_on(classes, counts), classes)
        axes = figure.axes[0]
        expected = [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]]
        np.testing.assert_allclose(expected, axes.images[0].get_array()[..., 3] ** 2, atol=1e-12)
        assert {text.get_position(): text.get_text() for text in axes.texts} == {(0, 0): "3", (1, 0): "1", (1, 1): "2"}
        assert list(classes) == [tick.get_text() for tick in axes.get_yticklabels()]

    @pytest.mark.parametrize(("k", "numbers", "names"), [(20, True, True), (21, False, True), (61, False, False)])
    def test_leaves_out_what_cannot_be_read(self, k, numbers, names):
        """Numbers up to 20 classes, names up to 60."""
        classes = tuple(f"class {i}" for i in range(k))
        axes = plots.confusion_figure(report_on(classes, np.eye(k, dtype=int)), classes).axes[0]
        assert numbers == bool(axes.texts)
        assert names == (axes.get_yticklabels()[0].get_text() == "class 0")

    def test_takes_names_of_any_kind(self):
        """A formula, a long name and another script: shown as they are, shortened, and without a warning."""
        classes = (r"$\frac$", "a" * 40, "ねこ")
        figure = plots.confusion_figure(report_on(classes, np.eye(3, dtype=int)), classes)
        names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        assert names == [r"$\frac$", "a" * 21 + "…", "ねこ"]
        svg = plots.rendered(figure, "svg").decode()
        assert r"$\frac$" in svg
        assert "ねこ" in svg


class TestReliabilityDiagram:
    def test_shows_bins_that_hold_images(self):
        """Two images of 0.95 with one right, one of 0.5 right: two points, and shares 2/3 and 1/3 below."""
        probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.5, 0.5]], np.float32)
        above, below = plots.reliability_diagram(probabilities, np.array([0, 1, 0])).axes
        (points,) = [line for line in above.lines if line.get_marker() == "o"]
        np.testing.assert_allclose([[0.5, 1], [0.95, 0.5]], points.get_xydata(), rtol=1e-6)
        np.testing.assert_allclose([1 / 3, 2 / 3], sorted(bar.get_height() for bar in below.patches)[-2:])
        assert len(below.patches) == 15
        assert above.get_title() == "Reliability of 3 answers"

    def test_refuses_no_image(self):
        """Nothing can be said about nothing."""
        with pytest.raises(LinceError, match="Received 0 images"):
            plots.reliability_diagram(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))


class TestFiles:
    def test_png_is_a_picture(self, history):
        """It is wide enough to read."""
        with Image.open(io.BytesIO(plots.rendered(plots.loss_curves(history, patience=0), "png"))) as image:
            assert image.format == "PNG"
            assert image.width > 800

    @pytest.mark.parametrize("kind", ["png", "svg"])
    def test_same_figure_gives_same_bytes(self, history, kind):
        """No date and no random identifier inside."""
        first, second = (plots.accuracy_curves(history, patience=0) for _ in range(2))
        assert plots.rendered(first, kind) == plots.rendered(second, kind)

    def test_pyplot_is_not_loaded(self):
        """pyplot keeps state, and may ask for a window."""
        code = "import sys, lince.reporting.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestInlineSvg:
    def test_follows_the_page(self, history):
        """Colours are variables of the page, and fonts are its own; nothing is loaded, and ids are the figure's own."""
        svg = plots.inline_svg(plots.loss_curves(history, patience=0), name="loss", label='"Loss" <by> epoch')
        root = ElementTree.fromstring(svg)
        assert root.attrib["aria-label"] == '"Loss" <by> epoch'
        assert "var(--vermilion)" in svg
        assert "font-family" not in svg
        assert "http" not in svg
        ids = [one.attrib["id"] for one in root.iter() if "id" in one.attrib]
        assert all(one.startswith("loss-") for one in ids)
        assert {one.attrib["href"] for one in root.iter() if "href" in one.attrib} <= {f"#{one}" for one in ids}

    def test_leaves_names_as_they_are(self):
        """A class may be named like a colour or like markup."""
        classes = ("#0072b2", "<b>", "font: 9px x")
        figure = plots.confusion_figure(report_on(classes, np.eye(3, dtype=int)), classes)
        root = ElementTree.fromstring(plots.inline_svg(figure, name="confusion", label=""))
        assert set(classes) <= {one.text for one in root.iter() if one.text}


def test_speaks_portuguese(history):
    """Words and numbers."""
    (axes,) = plots.accuracy_curves(history, patience=2, language="pt").axes
    assert ("Acurácia por época", "época") == (axes.get_title(), axes.get_xlabel())
    assert "mantida: época 3 (70,0%)" in {line.get_label() for line in axes.lines}
