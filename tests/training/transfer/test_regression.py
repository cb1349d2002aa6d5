"""The regression: its optimum, several subsets at once, and features that are not held in memory."""

import numpy as np
import pytest
from tests.training.transfer.drawn import CLASSES, draw

from lince.errors import TrainingError
from lince.training.transfer import regression
from lince.training.transfer.regression import Regression


def fitted(features: np.ndarray, labels: np.ndarray, subsets: np.ndarray, strength: float = 0.1):
    """The layers of one strength."""
    [layers] = Regression(features, labels, subsets=subsets, num_classes=CLASSES).path([strength])
    return layers


def everything(labels: np.ndarray) -> np.ndarray:
    """One subset, of all images."""
    return np.ones((len(labels), 1), bool)


@pytest.mark.parametrize(("count", "width"), [(20, 60), (200, 12)], ids=["fewer rows", "more rows"])
def test_gradient_of_the_loss_vanishes(count, width):
    """The mean cross-entropy and the penalty of the scaled kernel pull with equal force, written out from scratch."""
    features, labels = draw(count, width=width)
    layers = fitted(features, labels, everything(labels))
    rows = features.reshape(-1, width).astype(np.float64)
    kernel, bias = layers.kernel[:, 0].astype(np.float64), layers.bias[0].astype(np.float64)
    exponentials = np.exp(rows @ kernel + bias)
    errors = exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(CLASSES)[np.repeat(labels, 2)]
    pull, variance = rows.T @ errors / len(rows), rows.var(axis=0).mean()
    np.testing.assert_allclose(pull, -0.1 * variance * kernel, atol=0.01 * abs(pull).max())
    np.testing.assert_allclose(0, errors.mean(axis=0), atol=1e-3)


def test_subsets_are_fitted_independently():
    """Each layer is the one that its images alone would give; scales differ a little, and so the penalty."""
    features, labels = draw(120)
    half = np.arange(120) < 60
    both = fitted(features, labels, np.stack([half, ~half], axis=1))
    for number, inside in enumerate((half, ~half)):
        alone = fitted(features, labels, inside[:, None])
        np.testing.assert_allclose(alone.kernel[:, 0], both.kernel[:, number], atol=0.02 * abs(alone.kernel).max())
        np.testing.assert_allclose(alone.bias[0], both.bias[number], atol=0.02 * abs(alone.bias).max())


def test_no_more_weights_than_the_bound_are_fitted_at_a_time(monkeypatch):
    """So that many classes do not need memory for all subsets at once. A layer alone is never divided."""
    features, labels = draw(120)
    subsets = np.arange(120)[:, None] % 3 != np.arange(3)
    alone = [fitted(features, labels, subsets[:, [number]]) for number in range(3)]
    sizes = []
    minimize = regression.scipy.optimize.minimize

    def counted(loss, start, **options):
        sizes.append(start.size)
        return minimize(loss, start, **options)

    monkeypatch.setattr(regression.scipy.optimize, "minimize", counted)
    monkeypatch.setattr(regression, "_MOST_WEIGHTS", 1)
    parts = fitted(features, labels, subsets)
    assert sizes == [(features.shape[2] + 1) * CLASSES] * 3
    np.testing.assert_array_equal(np.concatenate([one.kernel for one in alone], axis=1), parts.kernel)
    np.testing.assert_array_equal(np.concatenate([one.bias for one in alone]), parts.bias)


def test_features_are_read_a_block_at_a_time(monkeypatch):
    """Beyond the limit nothing is held, no slice is larger than a block, and the result is the same."""
    features, labels = draw(120)
    expected = fitted(features, labels, everything(labels))
    monkeypatch.setattr(regression, "_IN_MEMORY", 0)
    monkeypatch.setattr(regression, "_BLOCK", 7 * features[0].size)
    monkeypatch.setattr(regression, "_SAMPLED", 50)
    found = fitted(Sliced(features), labels, everything(labels))
    np.testing.assert_allclose(expected.kernel, found.kernel, atol=0.01 * abs(expected.kernel).max())


def test_stronger_penalty_gives_a_smaller_kernel():
    """The strengths of a path are those of its layers, in that order."""
    features, labels = draw(120)
    path = Regression(features, labels, subsets=everything(labels), num_classes=CLASSES).path([1.0, 0.1, 0.01])
    norms = [float((layers.kernel**2).sum()) for layers in path]
    assert sorted(norms) == norms
    assert norms[0] < norms[2] / 4


def test_features_without_variance():
    """Equal images tell no class apart: the bias alone answers, with the shares of the classes."""
    labels = np.array([0, 0, 0, 1, 2, 2])
    layers = fitted(np.ones((6, 1, 4), np.float16), labels, everything(labels))
    logits = layers.logits(np.ones((1, 4), np.float32))[0, 0]
    np.testing.assert_allclose([3 / 6, 1 / 6, 2 / 6], np.exp(logits) / np.exp(logits).sum(), atol=0.01)


def test_fewer_equal_rows_than_features():
    """They span no direction, so that only the bias is fitted."""
    labels = np.arange(20) % 2
    layers = fitted(np.ones((20, 1, 64), np.float16), labels, everything(labels))
    assert not layers.kernel.any()


def test_number_that_is_not_finite():
    """A damaged number is refused with a sentence, instead of a head of such numbers."""
    features, labels = draw(30)
    features[3, 0, 2] = np.inf
    with np.errstate(invalid="ignore"), pytest.raises(TrainingError, match="are not finite numbers"):
        fitted(features, labels, everything(labels))


class Sliced:
    """Features that refuse a slice of more than 7 images, as a file larger than memory would."""

    def __init__(self, features: np.ndarray):
        self._features, self.shape = features, features.shape

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, images: slice) -> np.ndarray:
        assert len(range(*images.indices(len(self)))) <= 7
        return self._features[images]
