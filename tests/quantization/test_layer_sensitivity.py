"""Each layer's cost alone, the study of activation ranges, and what they are measured by."""

import keras
import numpy as np
import pytest
import residual

from lince import metrics
from lince.inference.interpreter import Network
from lince.model_file.manifest import Arithmetic
from lince.quantization import divergence, flatbuffer_inference, layer_sensitivity, quantizer, range_study
from lince.quantization.activation_ranges import Extremes, observe, span
from lince.quantization.export import export
from lince.training.recipe import Quantize
from lince.types import Split


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """u8[24,16,16,3] of noise."""
    return np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network():
    """A network with a shortcut, exported."""
    with quantizer.silenced():
        return export(residual.build())


@pytest.fixture(scope="module")
def ranges(network, images):
    with quantizer.silenced():
        return span(observe(network, images), "q99")


class TestExport:
    def test_operations_have_the_layers_names(self, network):
        """Whatever the exporter calls them, and fused with what follows: names of Keras layers, each once."""
        names = [operation.name for operation in network.operations]
        assert ["first", "inner_1", "inner_2", "shortcut", "pool", "logits"] == names

    def test_layers_are_what_int8_can_cost(self, network):
        """Convolutions, dense layers and additions; pooling passes on what it reads."""
        found = [(layer.name, layer.kind, layer.weights) for layer in network.layers]
        assert ("first", "CONV_2D", 3 * 3 * 3 * 8) == found[0]
        assert ("shortcut", "ADD", 0) == found[3]
        assert ("logits", "FULLY_CONNECTED", 8 * 3) == found[-1]
        assert ("first", "inner_2") == next(one.reads for one in network.operations if one.name == "shortcut")

    def test_in_float_is_the_model(self, network, images):
        """The exported network answers as Keras does."""
        exact = residual.build()(images.astype(np.float32))
        found = metrics.softmax(flatbuffer_inference.logits(quantizer.in_float(network), images))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(exact), found, atol=1e-5)


class TestSpan:
    def test_methods(self):
        """By hand: four images, one of them with an extreme."""
        extremes = Extremes({"a": np.array([0, -1, -2, -9], np.float32)}, {"a": np.array([1, 2, 3, 99], np.float32)})
        found = {method: span(extremes, method)["a"] for method in ("min_max", "moving_average", "q99")}
        assert (-9, 99) == (found["min_max"]["min"], found["min_max"]["max"])
        average = 1.0
        for value in (2, 3, 99):
            average = 0.95 * average + 0.05 * value
        assert average == pytest.approx(found["moving_average"]["max"][0])
        assert np.quantile([1, 2, 3, 99], 0.99) == pytest.approx(found["q99"]["max"][0])

    def test_input_is_known(self, ranges):
        """Whatever was seen: 0..255."""
        assert (-1, 127 / 128) == pytest.approx((ranges["pixels"]["min"][0], ranges["pixels"]["max"][0]))

    def test_observed_are_the_network_s(self, network, images):
        """The last activation's extremes are those of the logits."""
        with quantizer.silenced():
            extremes = observe(network, images)
        logits = flatbuffer_inference.logits(quantizer.in_float(network), images)
        np.testing.assert_allclose(logits.min(axis=1), extremes.lows["logits"], atol=1e-5)
        np.testing.assert_allclose(logits.max(axis=1), extremes.highs["logits"], atol=1e-5)


class TestDivergence:
    def test_same(self):
        """Equal logits, or logits shifted by a constant an image, do not diverge at all."""
        logits = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
        found = divergence.measure(logits, logits + np.arange(9, dtype=np.float32)[:, None])
        assert 0 == pytest.approx(found.kl, abs=1e-9)
        assert (0, 0) == pytest.approx((found.logit_error, found.disagreement), abs=1e-6)

    def test_by_hand(self):
        """Half against a fifth: KL = ½·ln(½/0.2) + ½·ln(½/0.8)."""
        exact, other = np.log([[0.5, 0.5]]).astype(np.float32), np.log([[0.2, 0.8]]).astype(np.float32)
        assert 0.5 * np.log(2.5) + 0.5 * np.log(0.625) == pytest.approx(divergence.measure(exact, other).kl, rel=1e-5)

    def test_opposite(self):
        """Everything turned round: twice as far off as the logits spread, every answer changed."""
        logits = np.array([[1, -1], [-2, 2]], np.float32)
        found = divergence.measure(logits, -logits)
        assert (2, 1) == pytest.approx((found.logit_error, found.disagreement))


class TestMeasure:
    def test_every_layer_once(self, network, ranges, images):
        """Costliest first; none of them costs nothing, and all together no less than the cheapest."""
        found = layer_sensitivity.measure(network, ranges, images)
        assert {layer.name for layer in network.layers} == {cost.layer for cost in found.layers}
        costs = [cost.divergence.kl for cost in found.layers]
        assert sorted(costs, reverse=True) == costs
        assert 0 < costs[-1] <= found.whole.kl

    def test_finds_the_hostile_layer(self, images):
        """One channel 300 times as large, compensated behind: the layers on both sides of it cost most."""
        model = residual.build()
        first, second = model.get_layer("inner_1"), model.get_layer("inner_2")
        kernel, bias = first.get_weights()
        kernel[..., 0] *= 300
        first.set_weights([kernel, bias])
        kernel, bias = second.get_weights()
        kernel[:, :, 0] /= 300
        second.set_weights([kernel, bias])
        with quantizer.silenced():
            network = export(model)
            ranges = span(observe(network, images), "q99")
        worst = layer_sensitivity.measure(network, ranges, images).layers[:2]
        assert {"inner_1", "inner_2"} == {cost.layer for cost in worst}
        assert worst[1].divergence.kl > 10 * layer_sensitivity.measure(network, ranges, images).layers[2].divergence.kl


class TestToArithmetic:
    @pytest.mark.parametrize(
        "arithmetic",
        [Arithmetic("mixed", ("first", "shortcut")), Arithmetic("int16"), Arithmetic("dynamic")],
        ids=lambda one: one.kind,
    )
    def test_close_to_float(self, network, ranges, images, arithmetic):
        """Every arithmetic takes pixels, gives real logits, and those of the float network nearly."""
        with quantizer.silenced():
            flatbuffer = quantizer.to_arithmetic(network, ranges, arithmetic)
        assert not Network(flatbuffer).answers_in_int8
        exact = flatbuffer_inference.logits(quantizer.in_float(network), images)
        whole = flatbuffer_inference.logits(quantizer.to_arithmetic(network, ranges, Arithmetic()), images)
        found = divergence.measure(exact, flatbuffer_inference.logits(flatbuffer, images))
        assert found.logit_error < 0.05
        assert found.kl <= 1.5 * divergence.measure(exact, whole).kl


class TestStudy:
    def test_every_choice_is_tried(self, network, images):
        """Methods × sizes × draws, the choice in use among them; sizes beyond the images become all of them."""
        labels = np.arange(24) % 3
        split = Split(images, labels, ("a", "b", "c"), tuple(map(str, range(24))))
        said: list[str] = []
        found = range_study.run(
            network, train=split, validation=split, options=Quantize(calibration_images=9), seed=0, say=said.append
        )
        assert {9, 24} == {point.images for point in found.points}
        assert 4 * 2 * 4 == len(found.points) == len({(p.method, p.images, p.draw) for p in found.points})
        assert ("q99", 9, 24) == (found.method, found.images, found.n)
        # From all images every draw is the same, but for the moving average, which knows an order.
        whole = [p.divergence for p in found.points if (p.method, p.images) == ("min_max", 24)]
        assert 1 == len(set(whole))
        assert 1 == len(said)
