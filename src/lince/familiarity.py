"""How familiar a picture is: the distance of a network's inner features from those of the training images.

A softmax says which class is the most probable, not whether the picture shows any of them. Inside the network,
pictures of other things differ from training images. The features are means over height and width of the channels of
one intermediate result (see `quantization/flatbuffer.py`), scaled to length 1. The distance is the squared Mahalanobis
distance from their mean over training images, divided by the number of features: about 1 for a training image.

- A Gaussian of intermediate features: Lee, Lee, Lee, Shin 2018, arXiv:1807.03888. They use a mean for each class; one
  mean for all does as well here, and classes with few images do not matter.
- Scaling to length 1: Müller, Hein 2025, arXiv:2505.18032. Without it, large features of any direction look familiar.
- Shrinkage of the covariance towards a multiple of the identity, needed when there are fewer images than features:
  Ledoit, Wolf 2004, J. Multivar. Anal. 88:365. Its amount follows from the data.

Other scores were compared: docs/decisions/0016. `lince.calibration` combines the distance with the top
probability, and fits the threshold on validation images. No foreign picture is used to fit anything.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

IMAGES = 5000  # training images to fit on; at 176 features, shares of foreign pictures change by less than a point

# Of a direction, relative to the mean of all, and in itself: features of length 1 in float32 are exact to 1e-7.
_SMALLEST_SHARE, _SMALLEST_VARIANCE = 1e-6, 1e-12
_SMALLEST_LENGTH = 1e-12
LARGEST = 1e7
"""A bound on every number of a Gaussian, 10 times what `fit` can give: with it, no distance exceeds float32."""


@dataclass(frozen=True)
class Familiarity:
    """The features of the training images as one Gaussian.

    Attributes:
        mean: f32[D], of features scaled to length 1.
        whitening: f32[D,D]. (features − mean) @ whitening has uncorrelated columns whose mean squares sum to about 1.
    """

    mean: Float32[np.ndarray, " d"]
    whitening: Float32[np.ndarray, "d d"]

    def distances(self, features: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " n"]:
        """Squared Mahalanobis distances, divided by D.

        Args:
            features: f32[N,D], of any length.

        Returns:
            f32[N], 0 or more, about 1 for a training image; to the bit the same alone and among others.
        """
        offsets = _scaled(features) - self.mean
        # One product for all would round otherwise than one for each.
        whitened = np.array([offset @ self.whitening for offset in offsets], np.float32).reshape(offsets.shape)
        found: Float32[np.ndarray, " n"] = np.add.reduce(np.square(whitened), axis=1)
        return found


def distances(
    known: Familiarity | None, features: Float32[np.ndarray, "n d"] | None
) -> Float32[np.ndarray, " n"] | None:
    """As `Familiarity.distances`; None for a model without a Gaussian, and for a network without features."""
    return None if known is None or features is None else known.distances(features)


def fit(features: Float32[np.ndarray, "n d"]) -> Familiarity:
    """Fits the Gaussian.

    Args:
        features: f32[N,D] of training images, N at least 1.
    """
    scaled = _scaled(features).astype(np.float64)
    mean = scaled.mean(axis=0)
    variances, directions = np.linalg.eigh(_shrunk_covariance(scaled - mean))
    floor = max(_SMALLEST_SHARE * float(variances.mean()), _SMALLEST_VARIANCE)
    whitening = directions / np.sqrt(np.maximum(variances, floor) * len(mean))
    return Familiarity(mean.astype(np.float32), whitening.astype(np.float32))


def _scaled(features: np.ndarray) -> np.ndarray:
    lengths = np.sqrt(np.add.reduce(features * features, axis=1, keepdims=True))
    scaled: np.ndarray = features / np.maximum(lengths, _SMALLEST_LENGTH)
    return scaled


def _shrunk_covariance(centred: np.ndarray) -> np.ndarray:
    """The covariance of f64[N,D], shrunk by the share that minimises the expected squared error."""
    n, d = centred.shape
    covariance: np.ndarray = centred.T @ centred / n
    target = np.trace(covariance) / d * np.eye(d)
    spread = np.square(covariance - target).sum()  # Ledoit and Wolf's d², of which b² is noise
    noise = (np.square(centred).T @ np.square(centred) / n - np.square(covariance)).sum() / n
    share = min(float(noise / spread), 1.0) if spread > 0 else 1.0
    shrunk: np.ndarray = share * target + (1 - share) * covariance
    return shrunk
