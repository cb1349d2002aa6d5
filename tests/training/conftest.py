"""What the training room shares: Keras set up before any of its modules is imported, and parts of the tiny run."""

import os

import pytest

# As `backend.prepare` does, for the test modules here that import Keras at their top: before any of them is collected.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture
def recipe(recipe_file):
    """The tiny recipe, resolved."""
    from lince.training import recipe as recipes

    return recipes.load(recipe_file)


@pytest.fixture
def splits(dataset):
    """45 images to train on and 15 to validate with."""
    import numpy as np

    return dataset.train.take(np.arange(0, 45)), dataset.train.take(np.arange(45, 75))
