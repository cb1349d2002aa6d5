"""The same Keras code on JAX: a few steps on the CPU, in a process whose backend it is."""

import os
import subprocess
import sys
from pathlib import Path

from lince.model_file import artifact

PROGRAM = """
import sys
from pathlib import Path

from lince.training import backend

backend.prepare()
import keras
import numpy as np

from lince import data
from lince.types import ImageSpec
from lince.training import checkpoint, loop, recipes
from lince.networks import models
from lince.training.augmentation.affine import augment
from lince.networks.batch_norm import BatchNorm
from lince.training.loss import compile_model

assert keras.backend.backend() == "jax"
model = "model={family = 'pooled', stem = 6, stages = [[8, 8]]}"
options = ["train.epochs=1", "train.batch_size=16", "train.optimizer=muon", "train.learning_rate=0.1"]
recipe = recipes.load(sys.argv[2], [model, *options])
images = data.load(sys.argv[1], ImageSpec(), seed=0).train
rng = np.random.default_rng(0)
order = rng.permutation(len(images))
mirror = np.arange(4) % 2 == 0
pixels = keras.ops.convert_to_numpy(augment(images.images[:4], recipe.augment, rng, mirror=mirror))
assert pixels.shape == (4, 32, 32, 3) and pixels.min() >= 0 and pixels.max() <= 255

norm, values = BatchNorm(), rng.normal(2, 3, (4, 5, 6, 3)).astype(np.float32)
expected = (values - values.mean((0, 1, 2))) / np.sqrt(values.var((0, 1, 2)) + 1e-5)
np.testing.assert_allclose(norm(values, training=True), expected, atol=1e-4)
np.testing.assert_allclose(norm.moving_variance, 0.6 + 0.4 * values.var((0, 1, 2), ddof=1), rtol=1e-5)


class Quiet:
    def step(self, **_):
        pass

    def epoch(self, record, *, best):
        pass


def build(seed):
    return models.build(recipe.model, spec=recipe.spec, num_classes=3, precision="float32", seed=seed)


path = Path(sys.argv[3]) / "checkpoint.npz"
model, other = build(0), build(1)
before = model.get_weights()
[record] = loop.fit(
    model, train=images.take(order[:48]), validation=images.take(order[48:]), recipe=recipe.train,
    augmentation=recipe.augment, seed=0, checkpoint_path=path, display=Quiet(),
).history
kept = [np.array_equal(*pair) for pair in zip(before, model.get_weights())]
assert kept.count(True) == 1, "all but the filters of the stem are trained"
compile_model(other, recipe.train)
assert checkpoint.restore(path, other).history == (record,)
assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), other.get_weights()))
print(record.loss, record.val_loss)
"""


ENVIRONMENT = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}


def test_command(lince, images_folder: Path, recipe_file: Path, tmp_path: Path):
    """`lince train` learns on JAX, and a process on TensorFlow publishes under the name that was given."""
    options = ["--recipe", recipe_file, "--runs", tmp_path, "--name", "on jax", "--set", "train.epochs=2", "--force"]
    done = lince("train", images_folder, *options, env=ENVIRONMENT, timeout_s=240)
    assert 0 == done.returncode, done.stderr
    manifest = artifact.read(tmp_path / "on jax" / "model.tflite").manifest
    assert ("on jax", "jax") == (manifest.name, manifest.training["backend"])


def test_trains(images_folder: Path, recipe_file: Path, tmp_path: Path):
    """Batch norm, augment, fit an epoch by Muon, write a checkpoint and restore it: finite losses, equal weights."""
    command = [sys.executable, "-c", PROGRAM, str(images_folder), str(recipe_file), str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)
    assert 0 == done.returncode, done.stderr
    assert all(0 < float(loss) < 10 for loss in done.stdout.split())
    assert 2 == len(done.stdout.split())
