"""A network made hostile to int8 climbs the ladder, and what it ends on is certified, recorded and served."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import keras
import msgspec
import numpy as np
import pytest
from server_process import running_server

from lince import pipeline
from lince.errors import GateError
from lince.inference.classifier import Classifier
from lince.inference.interpreter import Network
from lince.model_file import artifact
from lince.progress import silent
from lince.quantization import activation_ranges, export, fallback, layer_sensitivity
from lince.runs.run_folder import RunFolder
from lince.types import Interval


def make_scaled(model: keras.Model, *, channels: int = 1) -> None:
    """The first channels between two convolutions 1,000 times as large, compensated behind: the same answers in float.

    In int8 their range leaves the other channels no step, and their own weights behind them none.
    """
    first, second = (layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, bias = first.get_weights()
    kernel[..., :channels] *= 1000
    bias[:channels] *= 1000
    first.set_weights([kernel, bias])
    kernel, bias = second.get_weights()
    kernel[:, :, :channels] /= 1000
    second.set_weights([kernel, bias])


@pytest.fixture
def copy(run: RunFolder, tmp_path: Path) -> RunFolder:
    """A finished run that may be changed; the checkpoint, which knows the old weights, is gone."""
    folder = RunFolder(Path(shutil.copytree(run.path, tmp_path / "tiny")))
    folder.checkpoint.unlink()
    return folder


def publish(folder: RunFolder, change, *overrides: str, **options):
    """Changes the run's network, and publishes it."""
    model = pipeline.trained_model(folder)
    before = keras.ops.convert_to_numpy(model(_PIXELS))
    change(model)
    np.testing.assert_allclose(before, keras.ops.convert_to_numpy(model(_PIXELS)), atol=2e-2)
    model.save(folder.keras_model)
    opened = pipeline.resume(folder, overrides=overrides, progress=silent)
    said: list[str] = []
    return pipeline.publish(opened, pipeline.PublishOptions(**options), say=said.append), said, opened


_PIXELS = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.float32)


class TestClimb:
    def test_nothing_to_climb(self, copy):
        """A network that int8 suits is published in int8, asked for a fallback or not."""
        report, _, _ = publish(copy, lambda _: None, fallback=True)
        assert ("int8", ()) == (report.arithmetic.kind, report.arithmetic.float_layers)
        [attempt] = report.ladder
        assert attempt.passed
        assert Network(artifact.read(copy.model).flatbuffer).answers_in_int8

    def test_refused_without_the_flag(self, copy):
        """A fallback is never silent."""
        with pytest.raises(GateError, match=r"int8 answers .* points worse .*--fallback"):
            publish(copy, make_scaled)

    def test_mixed(self, copy):
        """The layers on both sides of the hostile channel stay in float, and nothing else that computes."""
        report, said, _ = publish(copy, make_scaled, fallback=True)
        kinds = [(one.arithmetic.kind, len(one.arithmetic.float_layers), one.passed) for one in report.ladder]
        assert ("int8", 0, False) == kinds[0]
        assert ("mixed", len(kinds) - 1, True) == kinds[-1]
        convolutions = {cost.layer for cost in report.sensitivity.layers if cost.operation == "CONV_2D"}
        assert convolutions == set(report.arithmetic.float_layers)
        assert report.certificate.comparison.drop_points.value <= 10
        assert any("in float: +" in sentence or "in float: -" in sentence for sentence in said)

    def test_sixteen_bits(self, copy):
        """With no layer allowed in float, 16-bit activations are next: steps for all channels but the hostile one's."""
        report, _, _ = publish(copy, make_scaled, "quantize.max_float_layers=0", fallback=True)
        assert ["int8", "int16"] == [one.arithmetic.kind for one in report.ladder]
        assert report.int8.accuracy.value > 0.7

    def test_order_is_the_recipe_s(self, copy):
        """`quantize.fallback` names the rungs: dynamic ranges alone, whose int8 weights lose every scaled channel."""
        with pytest.raises(GateError, match=r"Every rung loses more than 10\.0 points on 15 validation images: int8"):
            publish(copy, partial(make_scaled, channels=7), "quantize.fallback=['dynamic']", fallback=True)

    def test_dynamic(self, copy):
        """Ranges read from grey pictures suit no real one; those read from each picture as it comes do."""
        report, _ = climbed("dynamic", copy)
        assert ["int8", "int16", "dynamic"] == [one.arithmetic.kind for one in report.ladder]
        assert report.int8.accuracy.value > 0.7


def climbed(kind: str, folder: RunFolder):
    """A run published on a rung of the ladder, and the run opened."""
    if kind == "dynamic":
        bound = ("quantize.max_float_layers=0", "quantize.max_drop_points=1")
        opened = pipeline.resume(folder, overrides=bound, progress=silent)
        grey = replace(opened.train, images=np.full_like(opened.train.images, 128))
        return pipeline.publish(
            replace(opened, train=grey), pipeline.PublishOptions(fallback=True), say=lambda _: None
        ), opened
    change, overrides = {
        "mixed": (make_scaled, ()),
        "int16": (make_scaled, ("quantize.fallback=['int16']",)),
    }[kind]
    report, _, opened = publish(folder, change, *overrides, fallback=True)
    return report, opened


class TestServed:
    @pytest.mark.parametrize("kind", ["mixed", "int16", "dynamic"])
    def test_answers_as_certified(self, copy, kind, images_folder):
        """Every rung is a model file like any other: verified, reproduced, served; and says what it computes in."""
        report, opened = climbed(kind, copy)
        classifier = Classifier.load(copy.model)
        assert kind == classifier.manifest.arithmetic.kind == report.arithmetic.kind
        assert f"Not int8 throughout: {report.arithmetic.description}" in classifier.card
        assert all(f"{layer}" in classifier.card for layer in report.arithmetic.float_layers)
        assert np.float32 == artifact.read(copy.model).golden.logits.dtype
        probabilities = classifier.predict(opened.test.images).probabilities
        np.testing.assert_array_equal(copy.read_answers()[0], probabilities)
        with running_server(model=copy.model) as server:
            picture = (images_folder / opened.test.names[0]).read_bytes()
            answer = httpx.post(f"{server.url}/predict", content=picture, headers={"content-type": "image/*"})
        [prediction] = answer.json()["predictions"]
        assert prediction["probability"] == pytest.approx(float(probabilities[0].max()), abs=1e-6)


class TestFewImages:
    def climb(self, opened, network, options, said):
        spans = activation_ranges.span(activation_ranges.observe(network, opened.train.images[:24]), options.ranges)
        costs = layer_sensitivity.measure(network, spans, opened.validation.images)
        return fallback.climb(
            network, spans, costs=costs, images=opened.validation, options=options, folder=opened.folder.path,
            say=said.append,
        )  # fmt: skip

    @pytest.fixture
    def opened(self, copy):
        return pipeline.resume(copy, overrides=["quantize.max_drop_points=0.5"], progress=silent)

    @pytest.mark.parametrize("lost", [(3, 2), (2, 3)])
    def test_the_least_loss_where_none_keeps_the_bound(self, opened, trained_model, monkeypatch, lost):
        """With 15 images a bound of half a point is kept by none that loses two: the better one is taken, and told."""
        options = msgspec.structs.replace(opened.recipe.quantize, fallback=("int16",))
        drops = iter(Interval(100 * count / 15, -10, 30) for count in lost)
        monkeypatch.setattr(fallback.metrics, "points", lambda _: next(drops))
        said: list[str] = []
        arithmetic, attempts = self.climb(opened, export.export(trained_model), options, said)
        chosen = ("int8", "int16")[lost.index(2)]
        assert chosen == arithmetic.kind
        assert [chosen] == [one.arithmetic.kind for one in attempts if one.passed]
        assert "None keeps the bound of 0.5 points. Taken is what lost least." == said[-1]

    def test_every_rung_is_refused_by_the_gate(self, opened, trained_model, monkeypatch):
        """Four of 15 images are too many, whatever the interval says."""
        options = msgspec.structs.replace(opened.recipe.quantize, fallback=("int16",))
        monkeypatch.setattr(fallback.metrics, "points", lambda _: Interval(100 * 4 / 15, -10, 50))
        with pytest.raises(
            GateError, match=r"on 15 validation images: int8 throughout: \+26\.67 .*What was trained is"
        ):
            self.climb(opened, export.export(trained_model), options, [])
