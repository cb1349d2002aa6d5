"""Muon takes orthogonal steps and keeps kernels at one norm; schedules fall as they say."""

import keras
import numpy as np
import pytest

import synthetic
from lince.errors import RecipeError
from lince.networks import models
from lince.networks.pooled import Pooled
from lince.training import optimizers
from lince.training.optimizers import Muon, orthogonalise
from lince.training.recipe import Train
from lince.types import ImageSpec


def options(**changes: object) -> Train:
    return Train(**{"epochs": 1, "batch_size": 8, "learning_rate": 0.1} | changes)


def apply(muon: Muon, values: list[np.ndarray], gradients: list[np.ndarray], *, times: int = 1) -> list[np.ndarray]:
    """What variables of these values are after steps along these gradients."""
    variables = [keras.Variable(value.astype(np.float32)) for value in values]
    for _ in range(times):
        muon.apply([keras.ops.convert_to_tensor(one.astype(np.float32)) for one in gradients], variables)
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class TestOrthogonalise:
    @pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
    @pytest.mark.parametrize("shape", [(216, 64), (27, 64), (64, 64)], ids=["tall", "wide", "square"])
    def test_singular_values_come_near_1(self, rng, shape, precision, tolerance):
        """Singular vectors stay, singular values follow three steps of the quintic, bfloat16 apart."""
        matrix = rng.normal(size=shape).astype(np.float32)
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        values = values / np.linalg.norm(values)
        assert values.max() / values.min() > 2
        for _ in range(3):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        found = keras.ops.convert_to_numpy(orthogonalise(matrix, steps=3, precision=precision))
        assert np.float32 == found.dtype
        np.testing.assert_allclose((left * values) @ right, found, atol=tolerance)
        kept = np.linalg.svd(found, compute_uv=False)[values > 0.6]
        assert 0.55 < kept.min() <= kept.max() < 1.25

    def test_more_steps_lift_the_smallest(self, rng):
        """A singular value far below the others needs more steps."""
        left, _ = np.linalg.qr(rng.normal(size=(32, 8)))
        matrix = left * np.array([1, 1, 1, 1, 1, 1, 1, 1e-3])
        smallest = [
            np.linalg.svd(np.asarray(orthogonalise(matrix.astype(np.float32), steps=steps)), compute_uv=False).min()
            for steps in (3, 6)
        ]
        assert smallest[0] < 0.1
        assert smallest[1] > 0.55

    def test_nothing_stays_nothing(self):
        """A gradient of zeros gives a step of zeros, not of infinities."""
        np.testing.assert_array_equal(np.zeros((9, 4)), orthogonalise(np.zeros((9, 4), np.float32), steps=3))


class TestMuon:
    def test_kernel(self, rng):
        """Brought to norm √out, then moved by the learning rate along the orthogonalised gradient."""
        kernel, gradient = rng.normal(size=(2, 3, 3, 4, 8))
        [found] = apply(Muon(0.1), [kernel], [gradient])
        step = np.asarray(orthogonalise(1.6 * gradient.reshape(-1, 8).astype(np.float32), steps=3)).reshape(
            kernel.shape
        )
        np.testing.assert_allclose(kernel * 8**0.5 / np.linalg.norm(kernel) - 0.1 * step, found, atol=2e-3)

    def test_kernels_keep_one_norm(self, rng):
        """However large the gradients and however many the steps: the norm is √out, give or take the last step."""
        kernel, gradient = rng.normal(size=(2, 3, 3, 4, 8))
        [found] = apply(Muon(0.1), [5 * kernel], [1e6 * gradient], times=20)
        assert 8**0.5 == pytest.approx(np.linalg.norm(found), rel=0.15)

    def test_size_of_the_gradient_does_not_count(self, rng):
        """Only its direction does."""
        kernel, gradient = rng.normal(size=(2, 3, 3, 4, 8))
        [one], [other] = (apply(Muon(0.1), [kernel], [scale * gradient]) for scale in (1, 1024))
        np.testing.assert_allclose(one, other, atol=1e-3)

    def test_everything_else_goes_by_nesterov(self, rng):
        """Two steps along one gradient g, momentum m: (1 + m) g, then (1 + m (1 + m)) g, each times its own rate."""
        dense, bias = rng.normal(size=(4, 3)), rng.normal(size=3)
        found = apply(Muon(0.1), [dense, bias], [0.1 * np.ones((4, 3)), 0.1 * np.ones(3)], times=2)
        moved = 0.1 * ((1 + 0.85) + (1 + 0.85 * (1 + 0.85)))
        np.testing.assert_allclose(dense - 0.1 * 0.055 * moved, found[0], rtol=1e-5)
        np.testing.assert_allclose(bias - 0.1 * 0.35 * moved, found[1], rtol=1e-5)

    def test_rounding_errors_do_not_carry_a_bias_away(self):
        """Sums over areas of one colour may come to thousands: a step of a bias is 1 at the most, times its rate."""
        [found] = apply(Muon(0.1), [np.zeros(4)], [np.array([15_000, -15_000, 0.2, 0])])
        np.testing.assert_allclose(-0.1 * 0.35 * np.array([1, -1, 0.2 * 1.85, 0]), found, rtol=1e-5)

    def test_trains(self):
        """Twenty steps of a small network on three classes of pictures, with the schedule's changes of rate."""
        recipe = Pooled(stem=12, stages=((8, 8), (16,)))
        model = models.build(recipe, spec=ImageSpec(), num_classes=3, precision="float32", seed=0)
        images, labels = synthetic.batch(48, seed=0)
        recipe.initialise_from(images, model)
        model.compile(optimizers.create(options(optimizer="muon")), "categorical_crossentropy", jit_compile=False)
        losses = []
        for step in range(20):
            model.optimizer.learning_rate = 0.1 * (1 - step / 20)
            losses.append(float(model.train_on_batch(images.astype(np.float32), np.eye(3)[labels])))
        assert losses[-1] < 0.5 * losses[0]

    def test_comes_back_from_its_config(self):
        """Every option is written down and read; rates come back as they were."""
        rates = {"momentum": 0.5, "dense_rate": 0.1, "bias_rate": 0.2, "other_momentum": 0.9}
        muon = Muon(0.25, **rates, steps=4, precision="bfloat16")
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(muon))
        assert isinstance(again, Muon)
        assert muon.get_config() == again.get_config()
        assert rates == {name: getattr(again, name) for name in rates}
        assert (0.25, 4, "bfloat16") == (float(again.learning_rate), again.steps, again.precision)


class TestCreate:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [("muon", Muon), ("Muon", Muon), ("adam", keras.optimizers.Adam), ("sgd", keras.optimizers.SGD)],
    )
    def test_by_name(self, name, kind):
        """Ours and Keras's, with the recipe's learning rate."""
        found = optimizers.create(options(optimizer=name, learning_rate=0.03))
        assert isinstance(found, kind)
        assert float(found.learning_rate) == pytest.approx(0.03)

    def test_unknown(self):
        """The sentence says what was received and what is known."""
        with pytest.raises(
            RecipeError, match=r"Keras does not know train\.optimizer='adamm'.*Expected 'muon' or a name such as 'adam'"
        ):
            optimizers.create(options(optimizer="adamm"))
