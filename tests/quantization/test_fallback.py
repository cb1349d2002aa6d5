"""A network that int8 damages keeps its most sensitive layers in float, and is certified, recorded and served."""

import shutil
from pathlib import Path

import httpx
import keras
import numpy as np
import pytest
from server_process import running_server

from lince import pipeline
from lince.errors import GateError
from lince.inference.classifier import Classifier
from lince.inference.interpreter import Network
from lince.model_file import artifact
from lince.progress import silent
from lince.publishing import acceptance
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
def copy(trained_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A finished run that may be changed; the checkpoint, which knows the old weights, is gone."""
    folder = RunFolder(Path(shutil.copytree(trained_run.path, tmp_path / "tiny")))
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


class TestPublish:
    def test_int8_suffices(self, copy):
        """A network that loses nothing in int8 stays int8 with `fallback=True`."""
        report, _, _ = publish(copy, lambda _: None, fallback=True)
        assert ("int8", ()) == (report.arithmetic.kind, report.arithmetic.float_layers)
        [attempt] = report.fallback
        assert attempt.is_chosen
        assert Network(artifact.read(copy.model).flatbuffer).answers_in_int8

    def test_refused_without_the_flag(self, copy):
        """Without `fallback=True` the network is refused, and the sentence names the flag."""
        with pytest.raises(GateError, match=r"int8 answers .* points worse .*--fallback"):
            publish(copy, make_scaled)

    def test_layers_in_float(self, copy, images_folder):
        """The layers around the scaled channel stay in float, and what is certified is what is served."""
        report, said, opened = publish(copy, make_scaled, fallback=True)
        tried = [(one.arithmetic.kind, len(one.arithmetic.float_layers), one.is_chosen) for one in report.fallback]
        assert ("int8", 0, False) == tried[0]
        assert ("mixed", len(tried) - 1, True) == tried[-1]
        convolutions = {cost.layer for cost in report.sensitivity.layers if cost.operation == "CONV_2D"}
        assert convolutions == set(report.arithmetic.float_layers)
        assert report.certificate.comparison.drop_points.value <= 10
        assert any("in float: +" in sentence or "in float: -" in sentence for sentence in said)
        classifier = Classifier.load(copy.model)
        assert report.arithmetic == classifier.manifest.arithmetic
        assert f"Not int8 throughout: {report.arithmetic.description}" in classifier.card
        assert np.float32 == artifact.read(copy.model).golden.logits.dtype
        probabilities = classifier.predict(opened.test.images).probabilities
        np.testing.assert_array_equal(copy.read_answers()[0], probabilities)
        with running_server(model=copy.model) as server:
            picture = (images_folder / opened.test.names[0]).read_bytes()
            answer = httpx.post(f"{server.url}/predict", content=picture, headers={"content-type": "image/*"})
        [prediction] = answer.json()["predictions"]
        assert prediction["probability"] == pytest.approx(float(probabilities[0].max()), abs=1e-6)


class TestChoose:
    @pytest.fixture
    def choose(self, copy, trained_model):
        """Runs the choice on the run's validation images, with a bound of 0.5 points; takes `say`."""
        opened = pipeline.resume(copy, progress=silent)
        network = export.export(trained_model)
        ranges = activation_ranges.measure(network, opened.train.images[:24])
        sensitivity = layer_sensitivity.measure(network, ranges, opened.validation.images)
        return lambda say: (
            fallback.choose(
                network,
                ranges,
                sensitivity=sensitivity,
                images=opened.validation,
                max_drop_points=0.5,
                say=say,
            ),
            opened,
        )

    @pytest.mark.parametrize("lost", [(2, 3, 3, 3), (3, 2, 2, 3)])
    def test_the_smallest_loss_where_none_keeps_the_bound(self, choose, monkeypatch, lost):
        """Of 15 images a loss of two is above the bound, and passes the gate: the first of the smallest is chosen."""
        drops = iter(Interval(100 * count / 15, -10, 30) for count in lost)
        monkeypatch.setattr(fallback.metrics, "points", lambda _: next(drops))
        said: list[str] = []
        attempts, _ = choose(said.append)
        assert [place == lost.index(2) for place in range(len(lost))] == [one.is_chosen for one in attempts]
        assert "All lose more than 0.5 points. The one that lost least is used." == said[-1]
        assert "15 validation images cannot tell networks apart: one image is 6.7 points." == said[0]

    def test_none_passes_the_gate(self, choose, monkeypatch):
        """A loss of four of 15 images is refused, whatever the interval is; the sentence lists every attempt."""
        monkeypatch.setattr(fallback.metrics, "points", lambda _: Interval(100 * 4 / 15, -10, 50))
        attempts, opened = choose(lambda _: None)
        assert not any(one.is_chosen for one in attempts)
        with pytest.raises(
            GateError,
            match=r"on 15 validation images: int8 throughout: \+26\.67 .* in float: \+26\.67 .*The network is kept",
        ):
            acceptance.require_chosen(attempts, opened)
