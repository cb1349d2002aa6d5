"""CIFAR-10 as JPEG files, from the official archive: quality 75, chroma halved, the same bytes on every run.

    python benchmarks/make_jpeg_dataset.py cifar10-jpeg.zip

The figures of Lince are for such files; docs/figures.md says how these compare with ours. The archive is taken from the
cache, and downloaded if it is not there. Entries: train/CLASS/NNNNN.jpg and test/CLASS/NNNNN.jpg, numbered in the
order of the archive.
"""

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lince.data.cache import default_folder
from lince.data.sources.cifar10 import Cifar10Reading
from lince.system.files import write_atomically
from lince.types import ImageSpec

_QUALITY = 75
_HALVED_CHROMA = 2  # Pillow's number for 4:2:0
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold: the time of writing must not change the file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the .zip to write")
    options = parser.parse_args()
    count = write(Cifar10Reading(ImageSpec(32, 32), cache=default_folder()), options.output)
    print(f"{options.output}: {count:,} images")


def write(reading: Cifar10Reading, output: Path) -> int:
    """Writes every image of the archive as a JPEG file into a `.zip`, and returns how many there are."""
    catalogue, content = reading.catalogue(), io.BytesIO()
    images = (image for block in reading.blocks() for image in block)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for number, (image, label) in enumerate(zip(images, catalogue.labels, strict=True)):
            split = "train" if number < catalogue.num_train else "test"
            entry = zipfile.ZipInfo(f"{split}/{catalogue.classes[label]}/{number:05d}.jpg", _DATE)
            entry.create_system = 3  # as on Unix, wherever it is made
            archive.writestr(entry, encoded(image))
    write_atomically(output, content.getvalue())
    return len(catalogue.labels)


def encoded(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """One image u8[H,W,3] as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_QUALITY, subsampling=_HALVED_CHROMA)
    return file.getvalue()


if __name__ == "__main__":
    main()
