"""The divergence of a quantized network's logits from the float network's."""

import numpy as np
from jaxtyping import Float32, Float64

from lince import metrics
from lince.model_file.manifest import Divergence


def measure(exact: Float32[np.ndarray, "n k"], quantized: Float32[np.ndarray, "n k"]) -> Divergence:
    """Compares logits of two networks on the same images.

    Accuracy counts whole images; the divergence is a real number for each image. A few hundred images are therefore
    enough to rank layers of which each changes one answer in a thousand.

    Args:
        exact: f32[N,K] of the float network; N at least 1.
        quantized: f32[N,K].
    """
    logs, others = (_log_softmax(logits) for logits in (exact, quantized))
    centred, others_centred = (logits - logits.mean(axis=1, keepdims=True) for logits in (logs, others))
    spread = np.sqrt((centred**2).mean())
    difference = np.sqrt(((centred - others_centred) ** 2).mean())
    return Divergence(
        kl=max(0.0, float((np.exp(logs) * (logs - others)).sum(axis=1).mean())),  # rounding may leave −1e-17
        logit_error=float(difference / spread) if spread > 0 else float(difference > 0),
        disagreement=metrics.disagreement(exact.argmax(axis=1), quantized.argmax(axis=1)),
    )


def _log_softmax(logits: Float32[np.ndarray, "n k"]) -> Float64[np.ndarray, "n k"]:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    normalised: Float64[np.ndarray, "n k"] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised
