"""Does an explanation name the places that the answer depends on, and what does it cost? Deletion and insertion curves.

    python benchmarks/explanation.py MODEL DATA --images 500

Places are hidden in the order of a map, a sixteenth of the picture at a time, and the probability of the model's answer
is read each time. The area under this curve is small when the map is good (deletion). From a hidden picture, places are
shown in the same order; there the area is large (insertion). Places are hidden in two ways: by the mean colour of the
picture, of which explanations make no use, and by the blur of which they do.
Source: Petsiuk, Das, Saenko 2018, arXiv:1806.07421.

Maps to compare with, each for every image:

    random    a random number for each cell of an 8 × 8 grid, as coarse as the explanation
    other     the explanation of another of the images: what a map owes to the usual place of things
    centre    places nearer to the centre first; it knows that photographers aim

DATA is as for `lince evaluate`; its test split is read. Latency is that of whole explanations on one thread, without
decoding; `cpu_ms` is the processor's part of it, which other programs hardly lengthen. The last line of stdout is one
JSON object: for each map the mean area with its standard deviation over the images, and the mean paired difference to
the explanation with its 95 % interval.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
from PIL import Image, ImageFilter

from lince import data
from lince.inference import explanation
from lince.inference.classifier import Classifier
from lince.metrics import Z95
from lince.model_file import artifact
from lince.system import machine, quiet

STEPS = 16
GRID = 8

Pixels = np.ndarray
Fill = Callable[[Pixels], Pixels]


def main() -> int:
    """Measures, and prints."""
    options = _options()
    with quiet.captured_stderr():
        classifier = Classifier.load(artifact.locate(options.model), threads=1)
    test = data.load(options.data, classifier.image_spec, seed=0).test
    chosen = np.random.default_rng(options.seed).permutation(len(test))[: options.images]
    images = test.images[np.sort(chosen)]
    found, times = explained(classifier, images)
    maps = {"explanation": [one.heat for one in found], **compared(found, seed=options.seed)}
    areas = {name: measured(classifier, images, found, heats) for name, heats in maps.items()}
    result = {
        "model": classifier.manifest.name,
        "version": classifier.manifest.version,
        "data": options.data,
        "images": len(images),
        "seed": options.seed,
        **{kind: {f"p{share}": float(np.percentile(ms, share)) for share in (5, 50, 95)} for kind, ms in times.items()},
        "quarters": quarters(found),
        "curves": {name: summary(area, areas["explanation"]) for name, area in areas.items()},
        "machine": asdict(machine.read()),
    }
    for name, curves in result["curves"].items():
        print(name, *(f"{curve} {one['mean']:.3f} ± {one['sd']:.3f}" for curve, one in curves.items()), sep="; ")
    sys.stdout.write(f"{json.dumps(result)}\n")
    return 0


def explained(classifier: Classifier, images: Pixels) -> tuple[list[explanation.Explanation], dict[str, list[float]]]:
    """Explanations of the answers, and the milliseconds that each took: by the clock, and of the processor."""
    found, clock_ms, cpu_ms = [], [], []
    explanation.explain(classifier, images[0])  # the first one warms the caches
    for image in images:
        began, began_cpu = time.perf_counter(), time.process_time()
        found.append(explanation.explain(classifier, image))
        clock_ms.append(1000 * (time.perf_counter() - began))
        cpu_ms.append(1000 * (time.process_time() - began_cpu))
    return found, {"latency_ms": clock_ms, "cpu_ms": cpu_ms}


def compared(found: list[explanation.Explanation], *, seed: int) -> dict[str, list[np.ndarray]]:
    """The maps to compare with."""
    height, width = found[0].heat.shape
    rows, columns = np.arange(height) * GRID // height, np.arange(width) * GRID // width
    drawn = np.random.default_rng((seed, 1)).random((len(found), GRID, GRID))
    y, x = np.mgrid[:height, :width] + 0.5
    centre = -np.hypot(y / height - 0.5, x / width - 0.5)
    return {
        "random": [one[rows[:, None], columns] for one in drawn],
        "other": [found[index - 1].heat for index in range(len(found))],
        "centre": [centre] * len(found),
    }


def measured(
    classifier: Classifier, images: Pixels, found: list[explanation.Explanation], heats: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Areas under the curves, f64[N] by the kind of curve."""
    rows = (
        dict(_areas(classifier, image, one.index, heat)) for image, one, heat in zip(images, found, heats, strict=True)
    )
    table = list(rows)
    return {curve: np.array([row[curve] for row in table]) for curve in table[0]}


def _areas(classifier: Classifier, image: Pixels, index: int, heat: np.ndarray) -> Iterator[tuple[str, float]]:
    order = np.argsort(-heat, axis=None, kind="stable")
    hidden = np.zeros((STEPS + 1, order.size), bool)
    for step in range(STEPS + 1):
        hidden[step, order[: round(step * order.size / STEPS)]] = True
    hidden = hidden.reshape(-1, *heat.shape, 1)
    for name, fill in FILLS.items():
        for curve, where in (("deletion", hidden), ("insertion", ~hidden)):
            copies = np.where(where, fill(image), image)
            probabilities = classifier.predict(copies).probabilities[:, index].astype(float)
            yield f"{curve}, {name}", float(np.trapezoid(probabilities, dx=1 / STEPS))


def _mean_colour(image: Pixels) -> Pixels:
    return np.broadcast_to(np.rint(image.mean(axis=(0, 1))).astype(np.uint8), image.shape)


def _blurred(image: Pixels) -> Pixels:
    height, width, _ = image.shape
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur((width / 8, height / 8))))


FILLS: dict[str, Fill] = {"mean colour": _mean_colour, "blur": _blurred}


def quarters(found: list[explanation.Explanation]) -> dict[str, float]:
    """Mean probability of the answer: whole, without the most important quarter and without the least important."""
    names = ("probability", "without_most", "without_least")
    return {name: float(np.mean([getattr(one, name) for one in found])) for name in names}


def summary(areas: dict[str, np.ndarray], best: dict[str, np.ndarray]) -> dict[str, dict[str, float | list[float]]]:
    """Mean, standard deviation over images, and the paired difference to the explanation with its 95 % interval."""
    table = {}
    for curve, values in areas.items():
        paired = values - best[curve]
        half = Z95 * paired.std(ddof=1) / np.sqrt(len(paired))
        table[curve] = {
            "mean": float(values.mean()),
            "sd": float(values.std(ddof=1)),
            "more_than_explanation": float(paired.mean()),
            "interval": [float(paired.mean() - half), float(paired.mean() + half)],
            "share_above_explanation": float((paired > 0).mean()),
        }
    return table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of images, and of random maps")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
