"""Labels that may be wrong, as one HTML file with the pictures inside: it loads nothing."""

import base64
import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lince.errors import OutputError
from lince.reporting.page import environment
from lince.system.files import write_atomically
from lince.training.transfer.label_check import LabelCheck

_MOST_PICTURES = 500  # of 128 × 128 pixels: a page of 3 MB


def write(path: Path, checked: LabelCheck, *, source: str) -> None:
    """Writes the page.

    Args:
        path: of the file; an existing one is replaced.
        checked: the suspects and their images.
        source: DATA as the user named it, for the heading.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        write_atomically(path, html(checked, source=source).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise OutputError(
            f"The page {str(path)!r} could not be written ({error.strerror}). Expected a file in a folder that exists "
            "and has room."
        ) from error


def html(checked: LabelCheck, *, source: str) -> str:
    """The page: each picture with its label and the suggested one, the most suspicious first; names are escaped."""
    shown = checked.suspects[:_MOST_PICTURES]
    pictures = [_data_uri(image) for image in checked.images[: len(shown)]]
    return (
        environment()
        .get_template("labels.html")
        .render(source=source, checked=checked, shown=list(zip(shown, pictures, strict=True)))
    )


def _data_uri(image: UInt8[np.ndarray, "h w 3"]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
