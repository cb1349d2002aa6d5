"""Which places of an image support a class, found by occlusion with the network that is served.

The image is divided into a grid of cells. Many copies of it go through the network, each with half of the cells hidden,
and a cell's effect is the mean difference between the copies that show it and those that hide it. The copies follow a
two-level factorial design, so that the cells' effects do not disturb each other. Hiding one window at a time, and
hiding cells at random, were compared: docs/experiments.md.

Source: occlusion, Zeiler and Fergus 2014, arXiv:1311.2901; many hidden places at once, Petsiuk, Das, Saenko 2018,
arXiv:1806.07421; the design, Plackett and Burman 1946, Biometrika 33:305, folded over, Box and Wilson 1951, J. R. Stat.
Soc. B 13:1. What it estimates is the Banzhaf value of a cell: its mean effect when each other cell is hidden as often
as not (Banzhaf 1965, Rutgers Law Rev. 19:317).

It belongs to `inference`, because the service may call it: it may not import `evaluation`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from PIL import Image, ImageFilter

from lince import calibration, number_formats
from lince.errors import LinceError
from lince.inference.classifier import Classifier
from lince.types import Prediction

# A side of the grid: 64 cells and 128 copies. See docs/experiments.md for grids of 6 to 11.
_CELLS = 8
# Standard deviation of the blur that replaces a hidden cell, as a share of the image's side: the width of a cell.
_BLUR = 1 / 8
_QUARTER = 4  # the image's most important part, and its least important, are each a quarter of its cells
_NO_EFFECT = 1e-6  # nats; of a picture of one colour only rounding is left
_MOST_PLACES = 3  # that a sentence names
# The middle is half as wide and half as high as the image, so that an object in the middle is mostly there.
_PLACES = (
    *("at the top left", "at the top", "at the top right"),
    *("at the left", "in the middle", "at the right"),
    *("at the bottom left", "at the bottom", "at the bottom right"),
)


@dataclass(frozen=True)
class Explanation:
    """What supports a class in an image.

    Attributes:
        prediction: the model's answer for the image, a batch of one.
        index: of the class that is explained.
        heat: f32[H,W]: how much the log-odds of the class, in nats, fall when this place is hidden, on average over
            copies of the image in which half of the other places are hidden too. Above 0 the place supports the class,
            below 0 it speaks against it. All pixels of a cell have the same value.
        most: bool[H,W], the quarter of the cells with the highest heat.
        probability: of the class, as in `prediction`.
        without_most, without_least: probability of the class when the quarter with the highest heat is hidden, and when
            the quarter with the lowest is. They show on this image how much the map is worth.
    """

    prediction: Prediction
    index: int
    heat: Float32[np.ndarray, "h w"]
    most: Bool[np.ndarray, "h w"]
    probability: float
    without_most: float
    without_least: float

    @property
    def grid(self) -> Float32[np.ndarray, "rows columns"]:
        """The heat of each cell. Cells divide the image evenly, to the pixel."""
        starts = (-(-np.arange(cells := min(_CELLS, side)) * side // cells) for side in self.heat.shape)
        grid: Float32[np.ndarray, "rows columns"] = self.heat[np.ix_(*starts)]
        return grid


def explain(
    classifier: Classifier,
    pixels: UInt8[np.ndarray, "h w 3"],
    class_index: int | None = None,
    *,
    before_copy: Callable[[], None] = lambda: None,
) -> Explanation:
    """Finds the places of an image that support a class. Takes 131 answers of the classifier for most image sizes.

    Args:
        classifier: the model; its own calibration turns logits into log-odds and probabilities.
        pixels: u8[H,W,3], RGB 0..255, of the model's size (`lince.images.decode` makes them).
        class_index: the class to explain; None takes the answer.
        before_copy: called before each copy of the image goes through the network; what it raises ends the work.

    Returns:
        The heat map with the answer. The same pixels always give the same one.

    Raises:
        LinceError: the pixels are of another shape or type, there is no such class, or the model has one class only.
    """
    classes = classifier.classes
    if len(classes) < 2:
        raise LinceError(f"The model has one class, {classes[0]!r}. Expected two or more: nothing speaks against one.")
    prediction = classifier.predict(pixels[None])
    index = int(prediction.indices[0]) if class_index is None else class_index
    if not 0 <= index < len(classes):
        raise LinceError(f"Received class_index={index}. Expected 0 <= class_index < {len(classes)}.")
    cells = _grid(*pixels.shape[:2])
    count = int(cells.max()) + 1
    hidden = _design(count)
    logits = partial(_logits, classifier, pixels, cells, before_copy=before_copy)
    scores = _log_odds(logits(hidden), index, classifier.manifest.calibration.temperature)
    effects = np.where(hidden, -1.0, 1.0).T @ scores / (len(hidden) / 2)
    quarters = _quarters(effects)
    without = calibration.probabilities(logits(quarters), classifier.manifest.calibration)
    without_most, without_least = without[:, index].tolist()
    return Explanation(
        prediction=prediction,
        index=index,
        heat=effects.astype(np.float32)[cells],
        most=quarters[0, cells],
        probability=float(prediction.probabilities[0, index]),
        without_most=without_most,
        without_least=without_least,
    )


def sentences(found: Explanation, classes: tuple[str, ...]) -> str:
    """Says where the evidence for the class lies, and how much the most and the least important quarter matter.

    Args:
        found: of an image.
        classes: K labels, in index order.

    Returns:
        Two sentences; one where no part of the image has an effect.
    """
    if np.abs(found.heat).max() < _NO_EFFECT:
        label = classes[found.index]
        return f"There is nothing to explain: hiding any part of the picture changes nothing for {label!r}."
    shown = (found.probability, found.without_most, found.without_least)
    before, most, least = (number_formats.probability(one, unit="%") for one in shown)
    return (
        f"{_where(found, classes[found.index])} Without the quarter of the picture that supports it most, its "
        f"probability is {most} instead of {before}; without the quarter that supports it least, {least}."
    )


def _where(found: Explanation, label: str) -> str:
    places = _places(np.where(found.most, np.maximum(found.heat, 0), 0), found.heat)
    if not places:
        return f"No part of the picture supports {label!r}."
    if len(places) > _MOST_PLACES:
        return f"The evidence for {label!r} is spread over the picture."
    listed = " and ".join(filter(None, (", ".join(places[:-1]), places[-1])))
    return f"The evidence for {label!r} is mostly {listed}."


def _places(evidence: Float32[np.ndarray, "h w"], heat: Float32[np.ndarray, "h w"]) -> list[str]:
    """The fewest places that hold more than half of the evidence together, the most important first.

    A place that speaks against the class on the whole is none of them.
    """
    rows, columns = (np.array([0, 1, 1, 2])[np.arange(side) * 4 // side] for side in evidence.shape)
    sums, total = np.zeros((3, 3)), np.zeros((3, 3))
    np.add.at(sums, (rows[:, None], columns[None, :]), evidence)
    np.add.at(total, (rows[:, None], columns[None, :]), heat)
    sums[total <= 0] = 0
    order = np.argsort(-sums, axis=None, kind="stable")
    reached = np.cumsum(sums.flat[order]) / max(float(sums.sum()), np.finfo(float).tiny)
    count = int(np.searchsorted(reached, 0.5, side="right")) + 1
    return [_PLACES[place] for place in order[:count] if sums.flat[place] > 0]


def _grid(height: int, width: int) -> Int64[np.ndarray, "{height} {width}"]:
    """The cell of each pixel, numbered by rows; a side of fewer pixels than cells has a cell for each pixel."""
    rows, columns = min(_CELLS, height), min(_CELLS, width)
    cells: Int64[np.ndarray, "h w"] = np.add.outer(
        np.arange(height) * rows // height * columns, np.arange(width) * columns // width
    )
    return cells


def _design(count: int) -> Bool[np.ndarray, "n {count}"]:
    """Which cells each copy hides: each half of the time, each pair of cells together a quarter of the time.

    The columns are of a Hadamard matrix of Sylvester's kind, of which 2**m >= count has the sign
    (−1)**(number of bits that row and column share). The second half hides what the first shows. Through this fold, an
    interaction of two cells cannot be mistaken for the effect of a third.
    """
    order = np.arange(1 << (count - 1).bit_length())
    half: Bool[np.ndarray, "n k"] = np.bitwise_count(order[:, None] & order[None, :count]) % 2 == 1
    return np.concatenate([half, ~half])


def _quarters(effects: Float64[np.ndarray, " c"]) -> Bool[np.ndarray, "2 c"]:
    """The quarter of the cells with the highest effects, and the quarter with the lowest."""
    order, count = np.argsort(-effects, kind="stable"), max(1, len(effects) // _QUARTER)
    return np.stack([np.isin(np.arange(len(effects)), chosen) for chosen in (order[:count], order[-count:])])


def _logits(
    classifier: Classifier,
    pixels: UInt8[np.ndarray, "h w 3"],
    cells: Int64[np.ndarray, "h w"],
    hidden: Bool[np.ndarray, "n c"],
    before_copy: Callable[[], None],
) -> Float32[np.ndarray, "n k"]:
    """The logits of copies of the image, with the cells that each of them hides blurred.

    The copies go one by one: memory is bounded, and other threads ask the classifier in between.
    """
    blur = ImageFilter.GaussianBlur((pixels.shape[1] * _BLUR, pixels.shape[0] * _BLUR))
    blurred = np.asarray(Image.fromarray(pixels).filter(blur))

    def logits(of_copy: Bool[np.ndarray, " c"]) -> Float32[np.ndarray, "1 k"]:
        before_copy()
        return classifier.logits(np.where(of_copy[cells, None], blurred, pixels)[None])

    return np.concatenate([logits(one) for one in hidden])


def _log_odds(logits: Float32[np.ndarray, "n k"], index: int, temperature: float) -> Float64[np.ndarray, " n"]:
    """The logarithm of p / (1 − p) for one class of two or more. Unlike p, it does not saturate near 0 and 1."""
    scaled = logits.astype(np.float64) / temperature
    others = np.delete(scaled, index, axis=1)
    highest = others.max(axis=1, keepdims=True)
    odds: Float64[np.ndarray, " n"] = scaled[:, index] - highest[:, 0] - np.log(np.exp(others - highest).sum(axis=1))
    return odds
