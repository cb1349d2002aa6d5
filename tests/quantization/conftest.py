"""A small network with a shortcut, exported, and the images that its activation ranges are read from."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """u8[24,16,16,3] of noise."""
    return np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def network():
    """The network of `residual.build`, exported."""
    import residual

    from lince.quantization.export import export

    return export(residual.build())


@pytest.fixture(scope="session")
def ranges(network, images):
    """Its activation ranges."""
    from lince.quantization import activation_ranges

    return activation_ranges.measure(network, images)
