"""`pictures.npz`: the pictures of a run's data that its report shows, reduced to 128 or 96 pixels a side."""

import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from lince.errors import DataError
from lince.system.files import DAMAGED_NPZ, open_regular, reason_of, write_atomically


@dataclass(frozen=True)
class Pictures:
    """Pictures, RGB, in two sizes.

    Attributes:
        version: of the model file that was published with them.
        mistakes: u8[M,h,w,3], of the worst mistakes on test images, in the report's order.
        examples: u8[E,s,t,3], training images, and `example_labels` i64[E].
        originals: u8[A,s,t,3], training images, and `augmented` u8[A,V,s,t,3], what training makes of each of them. V
            is 0 for a recipe that changes nothing.
        copies: u8[P,2,h,w,3], a test image and the training or validation image that is like it, and `copy_labels`
            i64[P,2] of both.
    """

    version: str
    mistakes: UInt8[np.ndarray, "m h w 3"]
    examples: UInt8[np.ndarray, "e s t 3"]
    example_labels: Int64[np.ndarray, " e"]
    originals: UInt8[np.ndarray, "a s t 3"]
    augmented: UInt8[np.ndarray, "a v s t 3"]
    copies: UInt8[np.ndarray, "p 2 h w 3"]
    copy_labels: Int64[np.ndarray, "p 2"]


def write(path: Path, pictures: Pictures) -> None:
    """Writes the file whole or not at all."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **asdict(pictures))
    write_atomically(path, file.getvalue())


def read(path: Path) -> Pictures | None:
    """The pictures; None where there are none. Raises DataError when the file is damaged."""
    if not path.exists():
        return None
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            found = {field.name: arrays[field.name] for field in fields(Pictures)}
    except (*DAMAGED_NPZ, KeyError) as error:
        raise DataError(
            f"{str(path)!r} cannot be read ({reason_of(error)}). Delete it: the report is then made without pictures, "
            f"or write it anew with lince quantize {path.parent}."
        ) from error
    return Pictures(**(found | {"version": str(found["version"])}))
