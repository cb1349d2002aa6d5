"""The program that makes the JPEG dataset, on a small archive made here."""

import hashlib
import io
import tarfile
import zipfile

import make_jpeg_dataset
import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from lince import data
from lince.data.sources import cifar10
from lince.types import ImageSpec

SPEC = ImageSpec(32, 32)
BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


@pytest.fixture
def reading(tmp_path):
    """24 images in the official archive's form, 4 a batch, at hand in the cache."""
    records = np.random.default_rng(0).integers(0, 256, (24, 3073), np.uint8)
    records[:, 0] = np.arange(24) % 2
    path = cifar10.archive_path(tmp_path)
    path.parent.mkdir()
    with tarfile.open(path, mode="w:gz") as archive:
        for name, batch in zip(BATCHES, np.split(records, 6), strict=True):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = batch.size
            archive.addfile(info, io.BytesIO(batch.tobytes()))
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    return cifar10.Cifar10Reading(SPEC, cache=tmp_path, checksum=checksum)


def test_dataset_is_read_with_its_splits(reading, tmp_path):
    """`lince train` finds as many images a split and class as the archive has."""
    path = tmp_path / "jpeg.zip"
    assert 24 == make_jpeg_dataset.write(reading, path)
    dataset = data.load(str(path), SPEC, seed=0)
    assert (20, 4) == (len(dataset.train), len(dataset.test))
    assert ("airplane", "automobile") == dataset.train.classes
    assert [2, 2] == np.bincount(dataset.test.labels).tolist()


def test_two_runs_give_the_same_bytes(reading, tmp_path):
    """No date and no order of the machine gets into the file."""
    for name in ("one.zip", "two.zip"):
        make_jpeg_dataset.write(reading, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_quality_and_chroma(reading, tmp_path):
    """Files have the quantization tables of quality 75, and chroma is halved both ways."""
    make_jpeg_dataset.write(reading, tmp_path / "jpeg.zip")
    with zipfile.ZipFile(tmp_path / "jpeg.zip") as archive:
        names = archive.namelist()
        picture = Image.open(io.BytesIO(archive.read(names[0])))
    assert ("train/airplane/00000.jpg", "test/automobile/00023.jpg") == (names[0], names[-1])
    assert 2 == JpegImagePlugin.get_sampling(picture)
    # Annex K of the standard (ITU-T T.81), halved: its first entries are 16, 11, 10 and 16.
    assert [8, 6, 5, 8] == picture.quantization[0][:4]
