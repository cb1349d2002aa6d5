"""Runs networks as they are exported: normalised pixels f32[1,H,W,3] in, logits f32[1,K] out."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from jaxtyping import Float32, UInt8

from lince.networks.family import PIXEL_OFFSET, PIXEL_SCALE
from lince.system import machine, quiet


def normalised(pixels: np.ndarray) -> Float32[np.ndarray, "..."]:
    """Pixels 0..255 as an exported network takes them."""
    return (pixels * PIXEL_SCALE + PIXEL_OFFSET).astype(np.float32)


def logits(flatbuffer: bytes, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n k"]:
    """The logits of images. Each core computes those of a part.

    Args:
        flatbuffer: of a `FloatNetwork`, or with some of its layers in int8.
        images: u8[N,H,W,3], N at least 1.
    """
    parts = np.array_split(images, max(1, min(machine.cores(), len(images))))
    with quiet.captured_stderr():
        interpreters = [Interpreter(model_content=flatbuffer, num_threads=1) for _ in parts]
        for interpreter in interpreters:
            interpreter.allocate_tensors()
    with ThreadPoolExecutor(len(parts), thread_name_prefix="lince-exported") as pool:
        return np.concatenate(list(pool.map(_logits, interpreters, parts)))


def _logits(interpreter: Interpreter, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n k"]:
    [pixels], [answer] = interpreter.get_input_details(), interpreter.get_output_details()
    found = np.empty((len(images), answer["shape"][1]), np.float32)
    for number in range(len(images)):
        interpreter.set_tensor(pixels["index"], normalised(images[number : number + 1]))
        interpreter.invoke()
        found[number] = interpreter.get_tensor(answer["index"])[0]
    return found
