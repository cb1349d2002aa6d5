"""The interpreter of one flatbuffer: what it refuses, and the numbers that it gives."""

import numpy as np
import pytest

from lince.errors import ModelFileError
from lince.inference.interpreter import Network
from lince.model_file import artifact


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
