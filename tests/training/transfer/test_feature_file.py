"""The file of features: written in parts, read in slices, and refused when it is damaged."""

import numpy as np
import pytest

from lince.errors import TrainingError
from lince.training.transfer import feature_file

SHAPE = (10, 2, 5)


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float16)


@pytest.fixture
def path(features, tmp_path):
    """A file of these features, written four images at a time."""
    path = tmp_path / "features.npy"
    feature_file.write(path, SHAPE, (features[start : start + 4] for start in range(0, 10, 4)))
    return path


def test_slices_are_those_of_the_array(features, path):
    """NumPy reads the same file, and every slice of images is the array's."""
    assert np.array_equal(features, np.load(path, allow_pickle=False))
    stored = feature_file.read(path)
    assert (SHAPE, 10) == (stored.shape, len(stored))
    for images in (slice(None), slice(3, 7), slice(8, 99), slice(5, 5), slice(7, 3)):
        assert np.array_equal(features[images], stored[images])
    assert np.array_equal(features[2:6], stored.first(6)[2:])


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_file_that_is_cut_short(path, size):
    """It is refused before a number is read, wherever it ends."""
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(TrainingError, match=r"cannot be read \(it is damaged or cut short\).*--recipe photos"):
        feature_file.read(path)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 2, 3), np.float32), np.zeros((4, 3), np.float16), np.zeros((4, 2, 3), np.float16, order="F")],
    ids=["precision", "dimensions", "order"],
)
def test_file_of_something_else(tmp_path, array):
    """Another array is not taken for features."""
    np.save(tmp_path / "features.npy", array)
    with pytest.raises(TrainingError, match="it is damaged or cut short"):
        feature_file.read(tmp_path / "features.npy")


def test_objects_are_refused(tmp_path):
    """A file that asks for pickle is not unpickled."""
    np.save(tmp_path / "features.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(TrainingError, match="it is damaged or cut short"):
        feature_file.read(tmp_path / "features.npy")


def test_file_that_becomes_shorter(path):
    """The open features say so, instead of giving too few."""
    stored = feature_file.read(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert (2, 2, 5) == stored[:2].shape
    with pytest.raises(TrainingError, match="it is damaged or cut short"):
        stored[8:]
    path.unlink()
    with pytest.raises(TrainingError, match="No such file"):
        stored[:2]


def test_write_that_fails_leaves_nothing(path, tmp_path):
    """An interrupted computation keeps the old file, and leaves no part of the new one."""
    before = path.read_bytes()

    def interrupted():
        yield np.zeros((4, 2, 5), np.float16)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feature_file.write(path, SHAPE, interrupted())
    assert ([path], before) == (list(tmp_path.iterdir()), path.read_bytes())
    with pytest.raises(TrainingError, match=r"could not be written \(No such file.*Expected room for 200 bytes"):
        feature_file.write(tmp_path / "missing" / "features.npy", SHAPE, [])
