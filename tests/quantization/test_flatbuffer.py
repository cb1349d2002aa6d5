"""The int8 network's public face: uint8 pixels in, int8 logits out, any batch size, and nothing heavy left in float."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import residual
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import quantizer
from ai_edge_quantizer import recipe as quantizer_recipes

import synthetic
from lince.errors import QuantizationError
from lince.model_file import artifact
from lince.networks.models import normalised_to_logits
from lince.quantization import flatbuffer
from lince.quantization.export import export


@pytest.fixture(scope="module")
def float_network(trained_model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The tests' network as a float flatbuffer, as Keras exports it."""
    path: Path = tmp_path_factory.mktemp("float") / "float.tflite"
    signature = [keras.InputSpec(shape=(1, 32, 32, 3), dtype="float32", name="pixels")]
    normalised_to_logits(trained_model).export(path, format="litert", verbose=False, input_signature=signature)
    return path.read_bytes()


def run(network: bytes, images: np.ndarray) -> np.ndarray:
    """All images as one batch."""
    interpreter = Interpreter(model_content=network)
    [pixels], [logits, *_] = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(pixels["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(pixels["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(logits["index"])


class TestFinish:
    def test_ends(self, int8):
        """`pixels` in, `logits` and `features` out, the batch size free; the signature says the same."""
        interpreter = Interpreter(model_content=int8)
        [pixels], [logits, features] = interpreter.get_input_details(), interpreter.get_output_details()
        assert (np.int8, -1, 4) == (features["dtype"], features["shape_signature"][0], len(features["shape"]))
        assert ("pixels", np.uint8) == (pixels["name"], pixels["dtype"])
        assert ("logits", np.int8) == (logits["name"], logits["dtype"])
        assert [-1, 32, 32, 3] == pixels["shape_signature"].tolist()
        assert [-1, 3] == logits["shape_signature"].tolist()
        [(_, ends)] = interpreter.get_signature_list().items()
        assert {"inputs": ["pixels"], "outputs": ["features", "logits"]} == {key: sorted(ends[key]) for key in ends}

    def test_input_is_the_pixel_minus_128(self, int8):
        """The first operation turns each of the 256 pixel values into that value minus 128, and rounds nothing."""
        interpreter = Interpreter(model_content=int8, experimental_preserve_all_tensors=True)
        interpreter.allocate_tensors()
        [pixels] = interpreter.get_input_details()
        first = interpreter._get_ops_details()[0]
        assert ("QUANTIZE", [pixels["index"]]) == (first["op_name"], first["inputs"].tolist())
        image = np.resize(np.arange(256, dtype=np.uint8), (1, 32, 32, 3))
        interpreter.set_tensor(pixels["index"], image)
        interpreter.invoke()
        inner = interpreter.get_tensor(first["outputs"][0])
        np.testing.assert_array_equal(image.astype(int) - 128, inner)

    @pytest.mark.parametrize("n", [1, 2, 7, 32])
    def test_any_batch_gives_the_same_logits(self, int8, n):
        """A batch of any size gives, to the step, what its images give one by one."""
        images, _ = synthetic.batch(n, seed=8)
        expected = np.concatenate([run(int8, images[index : index + 1]) for index in range(n)])
        np.testing.assert_array_equal(expected, run(int8, images))

    def test_refuses_another_input(self, trained_model, float_network, splits):
        """An input range read from what happened to be seen would round pixels: the sentence says what is needed."""
        engine = quantizer.Quantizer(float_network, quantizer_recipes.static_wi8_ai8())
        [(signature, ends)] = Interpreter(model_content=float_network).get_signature_list().items()
        dim = np.full((1, 32, 32, 3), 0.25, np.float32)
        ranges = engine.calibrate({signature: [{ends["inputs"][0]: dim}]})
        narrow = bytes(engine.quantize(ranges, enable_progress_report=False).quantized_model)
        with pytest.raises(QuantizationError, match=r"has scale 0\.00\d+ and zero point -?\d+\. Expected 1/128 and 0"):
            flatbuffer.finish(narrow)


class TestAddFeatures:
    @staticmethod
    def without_features(name: str) -> Any:
        """A model that ships, parsed, with logits alone."""
        content = bytearray(artifact.read(artifact.locate(name)).flatbuffer)
        model = flatbuffer_utils.read_model_from_bytearray(content)
        model.subgraphs[0].outputs = model.subgraphs[0].outputs[:1]  # a list, or an array with older versions of LiteRT
        del model.signatureDefs[0].outputs[1:]
        return model

    @pytest.mark.parametrize(("name", "expected"), [("cifar10", b"stage2_add"), ("cifar10-best", b"stage2_block4_add")])
    def test_takes_the_narrowest_of_the_lowest_resolution_but_one(self, name, expected):
        """The end of the last stage but one, not the wider convolution that begins the last stage."""
        found = flatbuffer.add_features(
            bytes(flatbuffer_utils.convert_object_to_bytearray(self.without_features(name)))
        )
        graph = flatbuffer_utils.read_model_from_bytearray(bytearray(found)).subgraphs[0]
        assert expected == graph.tensors[graph.outputs[1]].name
        assert found == artifact.read(artifact.locate(name)).flatbuffer

    def test_without_height_and_width_nothing_is_added(self):
        """A network whose results are all 1 × 1 has no place in its middle."""
        model = self.without_features("cifar10")
        for tensor in model.subgraphs[0].tensors:
            if len(tensor.shape) == 4 and model.buffers[tensor.buffer].data is None:
                tensor.shape = [1, 1, 1, tensor.shape[3]]
        flat = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
        assert flat == flatbuffer.add_features(flat)

    def test_too_many_channels_are_not_added(self, monkeypatch):
        """A model file would grow by their square."""
        monkeypatch.setattr(flatbuffer, "MOST_FEATURES", 175)
        wide = bytes(flatbuffer_utils.convert_object_to_bytearray(self.without_features("cifar10")))
        assert wide == flatbuffer.add_features(wide)

    def test_logits_do_not_change(self, int8):
        """The second output costs no bit of the first."""
        images, _ = synthetic.batch(6, seed=3)
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(int8))
        model.subgraphs[0].outputs = model.subgraphs[0].outputs[:1]  # a list, or an array with older versions of LiteRT
        del model.signatureDefs[0].outputs[1:]
        alone = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
        np.testing.assert_array_equal(run(alone, images), run(int8, images))


class TestFloatOperations:
    def test_none_in_int8(self, int8):
        """Every operation of the finished network computes in int8, pooling and additions too."""
        assert [] == flatbuffer.float_operations(int8)

    def test_all_in_float(self, trained_model):
        """In an exported float network every operation is found, by name."""
        network = export(trained_model)
        assert [operation.name for operation in network.operations] == flatbuffer.float_operations(network.flatbuffer)

    def test_weights_alone_are_not_enough(self, float_network):
        """Int8 weights under float activations still compute in float."""
        engine = quantizer.Quantizer(float_network, quantizer_recipes.dynamic_wi8_afp32())
        network = bytes(engine.quantize(enable_progress_report=False).quantized_model)
        assert flatbuffer.float_operations(float_network) == flatbuffer.float_operations(network)

    def test_additions_count(self):
        """A shortcut that adds in float is found, like a convolution."""
        assert "shortcut" in flatbuffer.float_operations(export(residual.build()).flatbuffer)
