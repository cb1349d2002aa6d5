"""Pictures that vary in few of a patch's twelve directions: grey, binary, on a plain ground, black among others.

A filter for a direction in which nothing varies answers with rounding errors, and batch norm makes a signal of them.
"""

import keras
import numpy as np
import pytest

import synthetic
from lince.networks import models, whitening
from lince.networks.pooled import STEM, Pooled
from lince.training import optimizers
from lince.training.recipe import Train
from lince.types import ImageSpec

FLOOR = Pooled(stages=((8,),)).stem_floor


def drawn(n: int, *, seed: int) -> dict[str, np.ndarray]:
    """`n` pictures u8[n,32,32,3] of each kind, the three classes of `synthetic` taking turns."""
    rng = np.random.default_rng(seed)
    noisy, labels = synthetic.batch(n, seed=seed)
    shapes = np.stack([noisy[i, :, :, label] > 130 for i, label in enumerate(labels)])
    ground = np.linspace(60, 120, 32)[:, None]
    grey = noisy.mean(axis=3)
    kinds = {
        "grey": grey,
        "digits on black": shapes * rng.uniform(120, 250, (n, 1, 1)),
        "binary": shapes * 255,
        "depth map": np.where(shapes, ground + 90, ground),
    }
    in_grey = {name: np.repeat(images.astype(np.uint8)[..., None], 3, axis=3) for name, images in kinds.items()}
    one_in_colour, half_black = in_grey["grey"].copy(), noisy.copy()
    one_in_colour[0], half_black[::2] = noisy[0], 0
    in_colour = {
        "colour": noisy,
        "one constant channel": np.where(np.arange(3) == 2, 200, noisy),
        "icons on white": np.where(shapes[..., None], rng.integers(0, 200, (n, 1, 1, 3)), 255),
        "one in colour among grey": one_in_colour,
        "black among others": half_black,
        "sepia": np.rint(grey[..., None] * [1.0, 0.85, 0.62]),
    }
    return in_grey | {name: images.astype(np.uint8) for name, images in in_colour.items()}


TRAINING, VALIDATION = drawn(96, seed=1), drawn(60, seed=2)
KINDS = pytest.mark.parametrize("kind", TRAINING)


@KINDS
def test_no_filter_answers_with_rounding_errors(kind):
    """Over all patches, each answer varies at least as much as one to grey levels that were rounded three times."""
    covariance = whitening.patch_covariance(TRAINING[kind])
    kernel = whitening.filters(covariance, count=24, floor=FLOOR).reshape(12, 24)
    variances = np.einsum("if,ij,jf->f", kernel, covariance, kernel)
    assert variances.min() > 0.25 / (0.25 + FLOOR * np.diag(covariance).mean()) - 1e-6
    assert variances.max() < 1 + 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_sepia_has_no_more_directions_than_grey(seed):
    """Rounded after it was given its colour: what each direction of rounding adds varies around 1/12."""
    grey = synthetic.batch(96, seed=seed)[0].mean(axis=3).astype(np.uint8)
    sepia = np.rint(grey[..., None] * [1.0, 0.85, 0.62]).astype(np.uint8)
    covariance = whitening.patch_covariance(sepia)
    kernel = whitening.filters(covariance, count=24, floor=FLOOR).reshape(12, 24)
    assert 4 == np.linalg.matrix_rank(kernel, tol=1e-3 * abs(kernel).max())


def test_filters_of_colour_pictures_are_the_directions_alone():
    """Where everything varies, each filter is one direction of the twelve: none is a mixture."""
    covariance = whitening.patch_covariance(TRAINING["colour"])
    kernel = whitening.filters(covariance, count=24, floor=FLOOR).reshape(12, 24)[:, :12]
    np.testing.assert_allclose(kernel.T @ kernel, np.diag((kernel**2).sum(axis=0)), atol=1e-8)


@KINDS
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_published_has_learned(kind, precision):
    """After twenty steps: the folded float32 network is well above chance, as the one that was trained is."""
    recipe, labels = Pooled(stem=24, stages=((16, 16), (32, 32))), np.arange(96) % 3
    trained = models.build(recipe, spec=ImageSpec(), num_classes=3, precision=precision, seed=0)
    recipe.initialise_from(TRAINING[kind], trained)
    options = Train(epochs=1, batch_size=32, learning_rate=0.2, optimizer="muon")
    trained.compile(optimizers.create(options), "categorical_crossentropy", jit_compile=False)
    rng = np.random.default_rng(0)
    for step in range(20):
        trained.optimizer.learning_rate = 0.2 * (1 - step / 20)
        batch = rng.permutation(96)[:32]
        trained.train_on_batch(TRAINING[kind][batch].astype(np.float32), np.eye(3)[labels[batch]])
    published = models.build(recipe, spec=ImageSpec(), num_classes=3, precision="float32", seed=1, folded=True)
    models.fold(trained, published)
    accuracy, expected = (_accuracy(network, VALIDATION[kind]) for network in (published, trained))
    assert abs(trained.get_layer(STEM).get_weights()[1]).max() < 0.1
    assert accuracy >= 0.6
    assert accuracy == pytest.approx(expected, abs=0.02 if precision == "float32" else 0.1)


def _accuracy(model: keras.Model, images: np.ndarray) -> float:
    found = keras.ops.convert_to_numpy(model(images.astype(np.float32)))
    return (found.argmax(axis=1) == np.arange(len(images)) % 3).mean()
