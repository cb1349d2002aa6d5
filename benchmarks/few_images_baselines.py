"""What `few_images.py` compares Lince with: classifiers of scikit-learn on pixels, HOG, and frozen features.

Every choice is made by cross-validation on training images. Pictures are read and resized as Lince does it.
"""

import functools
import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from few_images_table import Fitted

from lince import data
from lince.errors import LinceError
from lince.progress import silent
from lince.system import machine
from lince.types import ImageSpec, Split

FOLDS = 5
# The sides that pictures are resized to. 128 is that of the frozen network; the smallest pictures have 28 to 32 pixels.
PIXELS_SIDE, HOG_SIDE, FEATURES_SIDE = 32, 64, 128

# Candidates for the inverse weight of a regression's penalty.
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)

Folds = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Rows:
    """What a classifier is fitted to.

    Attributes:
        train: f32[V,N,D], V views of the N training images.
        train_labels: i64[N].
        test: f32[M,D].
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray


class Pictures:
    """The images of a source by their names, and what is computed of them; each is computed once for all seeds."""

    def __init__(self, source: Path):
        self._source = source
        self._splits: dict[int, Split] = {}

    def labels(self, names: Sequence[str]) -> np.ndarray:
        """i64[N]."""
        return self._at(PIXELS_SIDE).labels[self._places(names)]

    def pixels(self, names: Sequence[str]) -> np.ndarray:
        """f32[N,D] in 0..1."""
        images = self._at(PIXELS_SIDE).images[self._places(names)]
        return images.reshape(len(images), -1).astype(np.float32) / 255

    def hog_and_colours(self, names: Sequence[str]) -> np.ndarray:
        """f32[N,D+C], the last `COLOURS` columns are those of `colours`."""
        return self._hog_and_colours[self._places(names)]

    def features(self, names: Sequence[str], *, mirrored: bool) -> np.ndarray:
        """f32[V,N,D], of the images and, if asked, of their mirror images."""
        return self._features[: 2 if mirrored else 1, self._places(names)]

    @functools.cached_property
    def _hog_and_colours(self) -> np.ndarray:
        from skimage.feature import hog

        images = self._at(HOG_SIDE).images[:]
        gradients = [hog(image, orientations=9, pixels_per_cell=(8, 8), channel_axis=-1) for image in images]
        return np.concatenate([np.stack(gradients), colours(images)], axis=1).astype(np.float32)

    @functools.cached_property
    def _features(self) -> np.ndarray:
        from lince.training import backend

        backend.prepare()
        from lince.networks import models, pretrained
        from lince.networks.efficientnet_lite import EfficientNetLite
        from lince.training.transfer import features

        split, spec = self._at(FEATURES_SIDE), ImageSpec(FEATURES_SIDE, FEATURES_SIDE)
        model = models.build(EfficientNetLite(), spec=spec, num_classes=len(split.classes), precision="float32", seed=0)
        pretrained.set_imagenet_weights(model)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "features.npy")
            found = features.stored(path, model, [split.images], mirrored=True, progress=silent)
            return np.moveaxis(np.asarray(found[:], np.float32), 1, 0)

    @functools.cached_property
    def _places_by_name(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self._at(PIXELS_SIDE).names)}

    def _places(self, names: Sequence[str]) -> np.ndarray:
        try:
            return np.array([self._places_by_name[name] for name in names])
        except KeyError as error:
            raise LinceError(
                f"{str(self._source)!r} has no image {error.args[0]!r}, which a result was measured on. Expected the "
                "same images: restore them, or choose another --json."
            ) from error

    def _at(self, side: int) -> Split:
        """All images at one size, in the order of their names: the test split that is drawn depends on the size."""
        if side not in self._splits:
            dataset = data.load(self._source, ImageSpec(side, side), seed=0)
            everything = data.join(dataset.train, dataset.test)
            self._splits[side] = everything.take(np.argsort(np.array(everything.names)))
        return self._splits[side]


COLOURS = 4**3
COLOUR_SHARES = (0, 0.2, 0.5)


def colours(images: np.ndarray) -> np.ndarray:
    """The square roots of the shares of 4 × 4 × 4 colours; u8[N,H,W,3] → f64[N,64].

    Source: Arandjelović and Zisserman 2012, CVPR: the root of a histogram, whose Euclidean distance is Hellinger's.
    """
    bins = (images >> 6).astype(np.int64) @ np.array([16, 4, 1])
    return np.sqrt([np.bincount(image.ravel(), minlength=COLOURS) / image.size for image in bins])


def svc_on_hog(pictures: Pictures, train: Sequence[str], test: Sequence[str], *, seed: int) -> Fitted:
    """A support vector machine with radial basis functions; the share of the colours in the variance is chosen, too."""
    from sklearn.compose import ColumnTransformer
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    rows = Rows(pictures.hog_and_colours(train)[np.newaxis], pictures.labels(train), pictures.hog_and_colours(test))
    width = rows.test.shape[1] - COLOURS
    parts = [("hog", StandardScaler(), slice(0, width)), ("colours", StandardScaler(), slice(width, None))]
    weights = [{"hog": (1 - share) ** 0.5, "colours": (share * width / COLOURS) ** 0.5} for share in COLOUR_SHARES]
    # As SVC's own kernel with gamma="scale", but as a matrix product, which is ten times faster.
    kernel = functools.partial(rbf_kernel, gamma=1 / width)
    grid = {"columntransformer__transformer_weights": weights, "svc__C": [1, 10, 100]}
    classifier = make_pipeline(ColumnTransformer(parts), SVC(kernel=kernel))
    return _fit(classifier, grid, rows, pictures.labels(test), seed=seed)


def forest_on_pixels(pictures: Pictures, train: Sequence[str], test: Sequence[str], *, seed: int) -> Fitted:
    """A random forest of 500 trees."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(500, n_jobs=machine.cores(), random_state=seed)
    return _fit(forest, {}, _pixel_rows(pictures, train, test), pictures.labels(test), seed=seed)


def regression_on_pixels(pictures: Pictures, train: Sequence[str], test: Sequence[str], *, seed: int) -> Fitted:
    """Multinomial logistic regression."""
    grid = {"logisticregression__C": STRENGTHS}
    rows = _pixel_rows(pictures, train, test)
    return _fit(_regression(), grid, rows, pictures.labels(test), seed=seed)


def regression_on_features(pictures: Pictures, train: Sequence[str], test: Sequence[str], *, seed: int) -> Fitted:
    """Multinomial logistic regression on the features of the frozen network, both mirror views in training."""
    grid = {"logisticregression__C": STRENGTHS}
    [seen] = pictures.features(test, mirrored=False)
    rows = Rows(pictures.features(train, mirrored=True), pictures.labels(train), seen)
    return _fit(_regression(), grid, rows, pictures.labels(test), seed=seed)


BASELINES: dict[str, Callable[..., Fitted]] = {
    "SVC, HOG and colours": svc_on_hog,
    "forest, pixels": forest_on_pixels,
    "regression, pixels": regression_on_pixels,
    "regression, frozen features": regression_on_features,
}


def folds(labels: np.ndarray, *, views: int, seed: int) -> Folds:
    """Row indices to fit to and to validate with. All views of an image are on one side; the first view is validated.

    Args:
        labels: i64[N].
        views: V; row v·N + i is view v of image i.

    Returns:
        `FOLDS` pairs, or fewer where a class has fewer images, of i64 arrays.
    """
    rng, fold = np.random.default_rng(seed), np.empty(len(labels), np.int64)
    count = max(2, min(FOLDS, np.unique(labels, return_counts=True)[1].min()))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        fold[members] = np.arange(len(members)) % count
    return [(np.flatnonzero(np.tile(fold != number, views)), np.flatnonzero(fold == number)) for number in range(count)]


def require_packages() -> None:
    """Raises LinceError when scikit-learn or scikit-image is missing."""
    missing = [module for module in ("skimage", "sklearn") if importlib.util.find_spec(module) is None]
    if missing:
        raise LinceError(
            f"The baselines need packages that are missing: {' and '.join(missing)}. Expected an environment from "
            "requirements/baselines.txt: make .venv/baselines/ready. Or leave the baselines out by --lince-only."
        )


def _pixel_rows(pictures: Pictures, train: Sequence[str], test: Sequence[str]) -> Rows:
    return Rows(pictures.pixels(train)[np.newaxis], pictures.labels(train), pictures.pixels(test))


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def _fit(classifier: Any, grid: dict[str, Sequence], rows: Rows, labels: np.ndarray, *, seed: int) -> Fitted:
    """Fits to all training images with the settings of the highest cross-validated accuracy; the first of equals."""
    from sklearn.model_selection import GridSearchCV

    began = time.perf_counter()
    views, _, width = rows.train.shape
    seen, truth = rows.train.reshape(-1, width), np.tile(rows.train_labels, views)
    settings = {}
    if grid:
        search = GridSearchCV(classifier, grid, cv=folds(rows.train_labels, views=views, seed=seed))
        classifier = search.fit(seen, truth)
        settings = {name.rpartition("__")[2]: _plain(value) for name, value in search.best_params_.items()}
    else:
        classifier.fit(seen, truth)
    is_right = classifier.predict(rows.test) == labels
    right = "".join("01"[int(one)] for one in is_right)
    return Fitted(right=right, settings=settings, seconds=time.perf_counter() - began)


def _plain(value: float | dict[str, float]) -> float | str:
    return ", ".join(f"{name} {one:.3g}" for name, one in value.items()) if isinstance(value, dict) else value
