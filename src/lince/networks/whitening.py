"""The whitening stem: filters that make neighbouring pixels uncorrelated, computed from images, not trained."""

import numpy as np
from jaxtyping import Float32, Float64, UInt8

# Rounding to whole grey levels adds a variance of 1/12 to a pixel (uniform over one level). Pictures are rounded when
# they are made, composed, and resized: three times. A variance below that is noise. In grey pictures that were given a
# colour, such as sepia, eight of twelve directions have 0.08 to 0.09.
_ROUNDING_VARIANCE = 3 / 12


def patch_covariance(images: UInt8[np.ndarray, "n h w 3"]) -> Float64[np.ndarray, "12 12"]:
    """The covariance of the 12 values of 2×2 patches, over all patches of all images.

    Args:
        images: u8[N,H,W,3]; height and width 2 or more.

    Returns:
        f64[12,12], in the order of a kernel's axes: row, column, colour.
    """
    count, total, products = 0, np.zeros(12), np.zeros((12, 12))
    for image in images:  # one by one, since its patches take 32 times the bytes of an image
        height, width = image.shape[0] - 1, image.shape[1] - 1
        corners = [image[y : y + height, x : x + width] for y in (0, 1) for x in (0, 1)]
        patches = np.concatenate(corners, axis=2).reshape(-1, 12).astype(np.float64)
        count += len(patches)
        total += patches.sum(axis=0)
        products += patches.T @ patches  # sums of whole numbers, exact up to 2⁵³: 10¹¹ patches
    return (products - np.outer(total, total) / count) / (count - 1)


def filters(covariance: Float64[np.ndarray, "12 12"], *, count: int, floor: float) -> Float32[np.ndarray, "2 2 3 c"]:
    """The `count`/2 leading eigenvectors of 2×2 patches, scaled to unit variance, and their negatives.

    Grey pictures vary in four of twelve directions, as do binary ones. A filter for a direction without variance would
    respond to rounding errors. Batch norm would amplify them to signals, and the stem's biases would grow with every
    step. Therefore a random mixture of the directions in which the images vary replaces each such direction.

    Args:
        covariance: f64[12,12] of pixels 0..255 that the stem will see; see `patch_covariance`.
        count: of filters, even, up to 24.
        floor: added to each eigenvalue, as a multiple of the mean variance of a value. It bounds the amplification of
            detail that the images hardly have.

    Returns:
        f32[2,2,3,C], for pixels 0..255. Source: Page 2019, "How to train your ResNet"; Jordan 2024, arXiv:2404.00498.
    """
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1].clip(min=0), directions[:, ::-1]
    varies = variances > _ROUNDING_VARIANCE
    mean = float(np.mean(np.diag(covariance)))
    if not varies.any():  # all images have one colour: there is nothing to scale, and nothing to learn
        varies, mean = np.ones_like(varies), 1.0
    scaled = (directions / np.sqrt(variances + floor * mean))[:, varies][:, : count // 2]
    missing = count // 2 - scaled.shape[1]
    mixtures = np.random.default_rng(0).standard_normal((scaled.shape[1], missing))
    mixtures /= np.linalg.norm(mixtures, axis=0)  # a mixture of uncorrelated responses of variance 1 has variance 1
    leading = np.concatenate([scaled, scaled @ mixtures], axis=1).reshape(2, 2, 3, -1)
    return np.concatenate([leading, -leading], axis=-1).astype(np.float32)
