"""Recipes: every hyper-parameter of an experiment, declared once, read from a TOML file.

A recipe has five tables. `[model]` names a family of `model.py` and its sizes, `[augment]` what happens to training
images, `[train]` the loop, `[quantize]` and `[calibrate]` what follows. Overrides come as `key=value` with dotted keys:
`train.epochs=5`.
"""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from lince.errors import RecipeError
from lince.records import ImageSpec

Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Precision = Literal["auto", "bfloat16", "float32"]


class Vgg(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="family", tag="vgg"):
    """Blocks of 3×3 convolutions with ReLU, each closed by max pooling and dropout; then dense layers.

    Attributes:
        blocks: channels of each convolution, a list per block.
        block_dropout: dropout rate after each block.
        dense: units of the hidden dense layers.
        dense_dropout: dropout rate after each hidden dense layer.
        initializer: a Keras initialiser's name; `he_normal` keeps the variance through ReLU (He et al. 2015).
    """

    blocks: tuple[tuple[Positive, ...], ...]
    block_dropout: tuple[Share, ...]
    dense: tuple[Positive, ...]
    dense_dropout: Share
    initializer: str = "he_normal"


class Augment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Random geometry, drawn anew for each image and epoch.

    Attributes:
        rotation_degrees: up to this many degrees either way.
        zoom: up to this share larger or smaller.
        horizontal_flip: mirror every other image.
    """

    rotation_degrees: Annotated[float, Meta(ge=0, le=180)] = 0.0
    zoom: Share = 0.0
    horizontal_flip: bool = False


class Train(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loop.

    Attributes:
        epochs: at most this many.
        batch_size: images a step.
        optimizer: a Keras optimiser's name.
        learning_rate: its step size.
        loss: a Keras loss over one-hot labels.
        validation_fraction: share of the training images held out, stratified.
        patience: stop when `val_loss` has not improved for this many epochs; the best weights are kept.
        precision: of the arithmetic; `auto` is bfloat16 where the processor computes in it, else float32.
    """

    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Meta(gt=0)]
    optimizer: str = "adam"
    loss: str = "categorical_crossentropy"
    validation_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    patience: Positive = 10
    precision: Precision = "auto"


class Quantize(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Static int8.

    Attributes:
        calibration_images: training images, stratified and seeded, from which activation ranges are read.
        max_drop_points: refuse to publish when int8 loses more accuracy than this, in percentage points.
    """

    calibration_images: Positive = 1000
    max_drop_points: Annotated[float, Meta(ge=0, le=100)] = 0.5


class Calibrate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Honest probabilities, fitted on validation images through the int8 model.

    Attributes:
        coverage: share of images whose true class the prediction set should hold.
        abstain: share of validation images on which the model answers "I don't know".
    """

    coverage: Annotated[float, Meta(gt=0, lt=1)] = 0.95
    abstain: Share = 0.05


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One experiment.

    Attributes:
        name: of the recipe, and of its run folder; the file's name if left out.
        image_size: height and width that images are brought to, pixels.
    """

    name: str
    image_size: Annotated[int, Meta(ge=8, le=1024)] = 32
    model: Vgg
    augment: Augment = Augment()
    train: Train
    quantize: Quantize = Quantize()
    calibrate: Calibrate = Calibrate()

    @property
    def spec(self) -> ImageSpec:
        """The images that the recipe wants."""
        return ImageSpec(self.image_size, self.image_size)

    def __post_init__(self) -> None:
        if len(self.model.blocks) != len(self.model.block_dropout):
            raise ValueError(
                f"{len(self.model.blocks)} blocks but {len(self.model.block_dropout)} values in block_dropout; "
                "give one rate per block"
            )
        if self.image_size >> len(self.model.blocks) == 0:
            raise ValueError(
                f"{len(self.model.blocks)} blocks halve image_size={self.image_size} to nothing; "
                f"use at most {self.image_size.bit_length() - 1} blocks, or larger images"
            )


def names() -> list[str]:
    """The recipes that ship, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in _shipped().iterdir() if entry.name.endswith(".toml"))


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe by its name (one that ships) or its path (`*.toml`), and applies overrides.

    Args:
        name_or_path: `classic`, or `mine.toml`.
        overrides: `key=value` with dotted keys and TOML values: `train.epochs=5`, `model.dense=[64]`.

    Raises:
        RecipeError: unknown recipe, key or value; the sentence names the key and what was expected.
    """
    text = _read(name_or_path)
    try:
        table: dict[str, Any] = tomllib.loads(text)
        for override in overrides:
            _override(table, override)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"Recipe {str(name_or_path)!r} is not valid TOML: {error}.") from error
    table.setdefault("name", Path(name_or_path).stem)
    return from_table(table, source=str(name_or_path))


def from_table(table: dict[str, Any], *, source: str) -> Recipe:
    """Turns a parsed table into a Recipe; `source` names it in error messages."""
    try:
        return msgspec.convert(table, Recipe)
    except (msgspec.ValidationError, ValueError) as error:
        raise RecipeError(f"Recipe {source!r}: {error}.") from error


def override(recipe: Recipe, overrides: Sequence[str], *, tables: Sequence[str]) -> Recipe:
    """A recipe with `key=value` overrides, of the given tables only.

    Raises:
        RecipeError: a key of another table, or a value that is not valid.
    """
    table = to_table(recipe)
    for text in overrides:
        if text.partition(".")[0] not in tables:
            raise RecipeError(
                f"Received --set {text!r}. Expected a key of {' or '.join(tables)}: the rest is trained in."
            )
        _override(table, text)
    return from_table(table, source=recipe.name)


def to_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON data; `from_table` reads it back."""
    return msgspec.to_builtins(recipe)


def _shipped():
    return resources.files("lince") / "recipes"


def _read(name_or_path: str | Path) -> str:
    name = str(name_or_path)
    if name in names():
        return (_shipped() / f"{name}.toml").read_text(encoding="utf-8")
    try:
        return Path(name_or_path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(names())
        raise RecipeError(f"Received recipe {name!r}. Expected one of {known}, or the path of a TOML file.") from error


def _override(table: dict[str, Any], override: str) -> None:
    """Sets one dotted key; a value that is not TOML is taken as a string, so that `train.optimizer=adam` works."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"Received --set {override!r}. Expected key=value, for example train.epochs=5.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise RecipeError(f"Received --set {override!r}, but {parent!r} is a value, not a table.")
    table[leaf] = value
