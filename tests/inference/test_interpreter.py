"""The interpreter of one flatbuffer: what it refuses, and the numbers that it gives."""

import numpy as np
import pytest

from lince.errors import ModelFileError
from lince.inference import interpreter
from lince.inference.interpreter import Network
from lince.model_file import artifact
from lince.model_file.network import verify


class TestNetwork:
    def test_refuses_what_is_no_network(self):
        """Bytes that LiteRT cannot run; its reason comes on one line with ours."""
        with pytest.raises(
            ModelFileError, match=r"LiteRT cannot run this network \(.*Write the file again with lince quantize RUN"
        ):
            Network(b"\x1c\x00\x00\x00TFL3" + bytes(100))

    def test_dequantize(self, run):
        """A step is the output's scale, counted from its zero point: equal steps give equal differences."""
        network = Network(artifact.read(run.model).flatbuffer)
        values = network.dequantize(np.array([[-128, 0, 127]], np.int8))[0]
        assert np.float32 == values.dtype
        assert values[0] < values[1] < values[2]
        np.testing.assert_allclose((values[1] - values[0]) / 128, (values[2] - values[1]) / 127, rtol=1e-5)

    @pytest.mark.parametrize("count", [0, 1, 7, 8, 65])
    def test_copies_give_the_numbers_of_one(self, run, count: int):
        """To the bit and in order, for batches that are shared and for those that are not."""
        flatbuffer = artifact.read(run.model).flatbuffer
        shape = (count, *Network(flatbuffer).input_shape)
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        indices = np.random.default_rng(1).permutation(count)
        for chosen in (None, indices):
            expected, features = Network(flatbuffer).run_with_features(images, chosen)
            found, theirs = Network(flatbuffer, copies=3).run_with_features(images, chosen)
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(theirs, features)

    @pytest.mark.parametrize("name", ["cifar10", "cifar10-tiny", "cifar10-best"])
    def test_several_at_once_give_the_numbers_of_one(self, name: str):
        """Of each model that ships: calls of up to 8 images, and of the few that are left."""
        flatbuffer = artifact.read(artifact.locate(name)).flatbuffer
        one, two = Network(flatbuffer), Network(flatbuffer, copies=2)
        images = np.random.default_rng(0).integers(0, 256, (45, *one.input_shape), np.uint8)
        for count in (45, 20, 45):
            expected, features = one.run_with_features(images[:count])
            found, theirs = two.run_with_features(images[:count])
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(theirs, features)
        assert two._copies is not None
        assert two._copies._at_once > 1

    @pytest.mark.parametrize(
        ("kind", "largest", "most"),
        [(np.int8, 2**19, 8), (np.int8, 2**21, 2), (np.int8, 2**30, 1), (np.float32, 9, 1)],
    )
    def test_most_at_once(self, run, monkeypatch, kind: type, largest: int, most: int):
        """Few where a tensor is large: memory grows with them. One where sums are of real numbers."""
        network = interpreter._Interpreter(artifact.read(run.model).flatbuffer)
        tensors = [{"shape": np.array(shape), "dtype": kind} for shape in ([], [4], [largest // 4, 4])]
        monkeypatch.setattr(network._interpreter, "get_tensor_details", lambda: tensors)
        assert most == network.most_at_once()

    def test_a_network_with_a_fixed_batch_takes_one(self, run):
        """Lince writes a reshape to any number of images; other programs fix it to one."""
        flatbuffer = artifact.read(run.model).flatbuffer
        graph = verify(flatbuffer)
        # The flatbuffer's number of RESHAPE.
        shapes = [graph.tensors[one.inputs[1]].data for one in graph.operators if one.code == 22]
        fixed = flatbuffer
        for shape in shapes:
            fixed = fixed.replace(shape.tobytes(), np.array([1, *shape[1:]], "<i4").tobytes())
        assert fixed != flatbuffer
        images = np.random.default_rng(0).integers(0, 256, (20, *Network(fixed).input_shape), np.uint8)
        network = Network(fixed, copies=2)
        np.testing.assert_array_equal(network.run(images), Network(flatbuffer).run(images))
        assert network._copies is not None
        assert network._copies._at_once == 1

    def test_a_fault_in_a_copy_is_raised(self, run, monkeypatch):
        """The answers would have holes."""
        network = Network(artifact.read(run.model).flatbuffer, copies=2)
        images = np.zeros((20, *network.input_shape), np.uint8)
        monkeypatch.setattr(interpreter._Interpreter, "run", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            network.run(images)
