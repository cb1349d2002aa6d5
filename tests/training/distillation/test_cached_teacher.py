"""A cached teacher is asked once about each image, in fixed views, and answers with their mean."""

import numpy as np
import pytest

from lince.training.distillation.cached_teacher import CachedTeacher, fixed_views
from lince.types import Split


@pytest.fixture
def split() -> Split:
    """Twenty pictures."""
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 7, 3), dtype=np.uint8)
    return Split(images=images, labels=np.zeros(20, np.int64), classes=("a", "b"), names=tuple(map(str, range(20))))


class Corner:
    """A teacher whose logits are two channels of each picture's first pixel; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.asked.extend(images)
        return images[:, 0, 0, :2].astype(np.float32)


class TestViews:
    def test_six(self, split):
        """As it is, a pixel down and right, a pixel up and left, mirrored at the edge; then each of them mirrored."""
        still, down, up, *mirrored = fixed_views(split.images, mirror=True)
        np.testing.assert_array_equal(split.images, still)
        np.testing.assert_array_equal(split.images[:, :-1, :-1], down[:, 1:, 1:])
        np.testing.assert_array_equal(split.images[:, 1, 1], down[:, 0, 0])
        np.testing.assert_array_equal(split.images[:, 1:, 1:], up[:, :-1, :-1])
        np.testing.assert_array_equal(split.images[:, -2, -2], up[:, -1, -1])
        for view, turned in zip((still, down, up), mirrored, strict=True):
            np.testing.assert_array_equal(view[:, :, ::-1], turned)

    def test_three_where_nothing_is_mirrored(self, split):
        """Letters, say, are not to be."""
        assert 3 == len(fixed_views(split.images, mirror=False))


class TestAnswers:
    @pytest.mark.parametrize("mirror", [True, False])
    def test_mean_over_views(self, split, mirror):
        """In the order of the indices, whichever were asked for before."""
        teacher, indices = Corner(), np.array([7, 3, 19])
        expected = np.mean([view[:, 0, 0, :2] for view in fixed_views(split.images[indices], mirror=mirror)], axis=0)
        cached = CachedTeacher(teacher, split, mirror=mirror)
        cached(np.array([3, 4]))
        found = cached(indices)
        assert np.float32 == found.dtype
        np.testing.assert_allclose(expected, found, rtol=1e-6)

    def test_asks_once(self, split):
        """About each image, in six views, however often it is shown."""
        teacher = Corner()
        cached = CachedTeacher(teacher, split, mirror=True)
        for indices in ([5, 2], [2, 5], [5, 8]):
            cached(np.array(indices))
        assert 3 * 6 == len(teacher.asked)
