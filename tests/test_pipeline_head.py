"""The stage that fits the head: features and head of a run, once."""

import numpy as np
import pytest

from lince import pipeline
from lince.progress import silent
from lince.training import recipes
from lince.training.transfer import feature_file, head


@pytest.fixture
def opened(images_folder, tmp_path):
    """A new run of the pretrained network, at 32 pixels."""
    recipe = recipes.load("photos", ["image_size=64", "augment.translate=4"])
    folder = pipeline.RunFolder(tmp_path / "run")
    return pipeline.start(
        str(images_folder), recipe, folder, seed=0, deterministic=False, strict=False, progress=silent
    )


def test_features_and_head_are_kept(opened):
    """Both views of training, then validation images; the head is that of the former; nothing is done twice."""
    progress: list[int] = []
    pipeline.fit_head(opened, lambda done, total, what: progress.append(done))
    features = feature_file.read(opened.folder.features)
    assert ((75, 2, 1280), 75) == (features.shape, progress[-1])
    fitted = head.read(opened.folder.head)
    expected = head.fit(features.first(60), opened.train.labels, num_classes=3, seed=0)
    assert np.array_equal(expected.kernel, fitted.kernel)
    progress.clear()
    pipeline.fit_head(opened, lambda done, total, what: progress.append(done))
    opened.folder.head.unlink()
    pipeline.fit_head(opened, lambda done, total, what: progress.append(done))
    assert [] == progress
    assert np.array_equal(expected.kernel, head.read(opened.folder.head).kernel)
