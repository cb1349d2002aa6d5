"""A small network of each family, and what its tests do with it."""

import keras
import numpy as np

import synthetic
from lince.networks import models
from lince.networks.efficientnet_lite import EfficientNetLite
from lince.networks.families import Model
from lince.networks.pooled import Pooled
from lince.networks.resnet import ResNet
from lince.networks.vgg import Vgg
from lince.training import optimizers
from lince.training.recipe import Train
from lince.types import ComputeDtype, ImageSpec

# A new family gets a line here; a test fails when it has none.
SMALL = {
    Vgg: Vgg(blocks=((8, 8), (16,)), block_dropout=(0.1, 0.2), dense=(16,), dense_dropout=0.5),
    Pooled: Pooled(stem=6, stages=((8, 12, 8), (16,)), shortcut=True),
    ResNet: ResNet(stages=(8, 16)),
    EfficientNetLite: EfficientNetLite(),
}


def build(
    recipe: Model,
    *,
    spec: ImageSpec = ImageSpec(),
    precision: ComputeDtype = "float32",
    seed: int = 0,
    folded: bool = False,
) -> keras.Model:
    """The network, for three classes."""
    return models.build(recipe, spec=spec, num_classes=3, precision=precision, seed=seed, folded=folded)


def draw(n: int, spec: ImageSpec = ImageSpec()) -> np.ndarray:
    """Pixels u8[n,H,W,3] of pictures, which need not be square."""
    images, _ = synthetic.batch(n, seed=5, size=max(spec.height, spec.width))
    return images[:, : spec.height, : spec.width]


def answers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Probabilities f32[N,3]."""
    return keras.ops.convert_to_numpy(model(images.astype(np.float32)))


def trained(recipe: Model, spec: ImageSpec = ImageSpec(), *, steps: int = 4) -> keras.Model:
    """A network after a few real steps, so that its moving statistics are those of its activations."""
    model, images = build(recipe, spec=spec), draw(24, spec)
    recipe.initialise_from(images, model)
    options = Train(epochs=1, batch_size=24, learning_rate=0.1, optimizer="muon")
    model.compile(optimizers.create(options), "categorical_crossentropy", jit_compile=False)
    for _ in range(steps):
        model.train_on_batch(images.astype(np.float32), np.eye(3)[np.arange(24) % 3])
    return model
