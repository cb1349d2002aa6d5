"""Residual networks."""

from lince.networks import models
from lince.networks.resnet import ResNet
from lince.types import ImageSpec


def test_is_the_network_of_mlperf_tiny():
    """Three stages of 16, 32 and 64: its 78,666 numbers (Banbury et al. 2021), less four of each of 240 norms."""
    recipe = ResNet(stages=(16, 32, 64))
    model = models.build(recipe, spec=ImageSpec(), num_classes=10, precision="float32", seed=0, folded=True)
    assert 78_666 - 4 * (3 * 16 + 2 * 32 + 2 * 64) == model.count_params()
