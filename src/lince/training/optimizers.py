"""The optimizers of recipes: those of Keras, and Muon for convolutions."""

import difflib
import math
from typing import Any

import keras
from keras import ops

from lince.errors import RecipeError
from lince.training.recipe import Train
from lince.types import ComputeDtype

# Coefficients of the quintic iteration, chosen by Jordan for a steep slope at 0. Three steps bring singular values from
# 1.6 % of the matrix's norm upwards into 0.60 to 1.21 (found on a grid); those of 256 filters are 6 %, if equal.
_QUINTIC = (3.4445, -4.7750, 2.0315)

# Biases are added to activations of variance 1, so a step above 1, before the rate, is never useful. A bias's gradient
# is a sum over every pixel of a batch. It is below 0.1 for colour pictures. Digits and icons have large areas of one
# colour. There rounding errors of bfloat16 add up to thousands although the true sum is 0.
_MAX_BIAS_STEP = 1.0


@keras.saving.register_keras_serializable("lince")
class Muon(keras.optimizers.Optimizer):
    """Orthogonalised momentum for convolution kernels, SGD with Nesterov momentum for everything else.

    A kernel is read as a matrix [height·width·in, out]. Approximately the nearest matrix with orthonormal rows or
    columns replaces its Nesterov momentum, so that every direction learns at one rate. Before each step the kernel is
    scaled to norm √out, the norm of a step with orthonormal columns. So the learning rate is the share of a kernel that
    a step replaces. A batch norm must follow, which undoes the scaling.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".

    Args:
        learning_rate: of convolution kernels; a number or a Keras schedule.
        momentum: of convolution kernels.
        dense_rate, bias_rate: step sizes of dense kernels and of all else, as multiples of `learning_rate`.
        other_momentum: of dense kernels and biases.
        steps: of the iteration that orthogonalises.
        precision: of the matrix products, `float32` or `bfloat16`. bfloat16 is precise enough for a direction, but
            slower where it is emulated.
    """

    def __init__(
        self,
        learning_rate: Any = 0.15,
        momentum: float = 0.6,
        dense_rate: float = 0.055,
        bias_rate: float = 0.35,
        other_momentum: float = 0.85,
        steps: int = 3,
        precision: ComputeDtype = "float32",
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.momentum, self.other_momentum = momentum, other_momentum
        self.dense_rate, self.bias_rate, self.steps, self.precision = dense_rate, bias_rate, steps, precision

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._velocities = [self.add_variable_from_reference(v, name="momentum") for v in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Called by Keras for each variable."""
        velocity = self._velocities[self._get_variable_index(variable)]
        rate, is_kernel = ops.cast(learning_rate, variable.dtype), len(variable.shape) == 4
        momentum = self.momentum if is_kernel else self.other_momentum
        self.assign(velocity, momentum * velocity + gradient)
        step = gradient + momentum * velocity
        if is_kernel:
            filters = variable.shape[-1]
            matrix = orthogonalise(ops.reshape(step, (-1, filters)), steps=self.steps, precision=self.precision)
            step = ops.reshape(matrix, variable.shape)
            norm = ops.sqrt(ops.sum(ops.square(variable)))
            self.assign(variable, variable * (math.sqrt(filters) / norm) - rate * step)
        else:
            is_bias = len(variable.shape) == 1
            step = ops.clip(step, -_MAX_BIAS_STEP, _MAX_BIAS_STEP) if is_bias else step
            self.assign_sub(variable, rate * (self.bias_rate if is_bias else self.dense_rate) * step)

    def get_config(self) -> dict[str, Any]:
        own = ("momentum", "other_momentum", "dense_rate", "bias_rate", "steps", "precision")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def orthogonalise(matrix: Any, *, steps: int, precision: ComputeDtype = "float32") -> Any:
    """f32[M,N] → f32[M,N] with about the same singular vectors and singular values near 1, by Newton and Schulz.

    Args:
        matrix: f32[M,N].
        steps: of the iteration.
        precision: of its matrix products.
    """
    a, b, c = _QUINTIC
    rows, columns = matrix.shape
    x = matrix / (ops.sqrt(ops.sum(ops.square(matrix))) + 1e-7)
    x = ops.cast(ops.transpose(x) if rows > columns else x, precision)
    for _ in range(steps):
        gram = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    x = ops.cast(x, "float32")
    return ops.transpose(x) if rows > columns else x


def create(recipe: Train, *, precision: ComputeDtype = "float32") -> keras.optimizers.Optimizer:
    """The recipe's optimizer.

    Args:
        recipe: names it.
        precision: of the network's arithmetic.

    Raises:
        RecipeError: Keras knows no such optimizer.
    """
    # Keras ignores case in names, too. Its own Muon (3.15) updates every variable that is not a matrix with AdamW. So
    # it never orthogonalises the kernel of a convolution, which has four axes. The class above does.
    if recipe.optimizer.lower() == "muon":
        return Muon(recipe.learning_rate, precision=precision)
    try:
        return keras.optimizers.get({"class_name": recipe.optimizer, "config": {"learning_rate": recipe.learning_rate}})
    except ValueError as error:
        known = {name.lower(): name for name in ("muon", *dir(keras.optimizers))}
        near = difflib.get_close_matches(recipe.optimizer.lower(), known, 1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise RecipeError(
            f"Recipe: Keras does not know train.optimizer={recipe.optimizer!r}.{meant} "
            "Expected 'muon' or a name such as 'adam' or 'rmsprop'."
        ) from error
