"""What a flatbuffer answers, whatever it computes in."""

import numpy as np
from jaxtyping import Float32

from lince.inference.interpreter import Network
from lince.system import machine, quiet
from lince.types import Images


def logits(flatbuffer: bytes, images: Images) -> Float32[np.ndarray, "n k"]:
    """Real logits of images, on all cores.

    Args:
        flatbuffer: of `quantize`: `pixels` u8[N,H,W,3] → `logits`.
        images: u8[N,H,W,3].

    Raises:
        ModelFileError: LiteRT cannot run it.
    """
    with quiet.captured_stderr():
        network = Network(flatbuffer, threads=machine.cores())
    return network.dequantize(network.run(images))
