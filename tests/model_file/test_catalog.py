"""The catalog: what ships, what each model says about itself, and how much all of them weigh."""

from dataclasses import replace
from pathlib import Path

import pytest

from lince.errors import ModelFileError
from lince.model_file import artifact, catalog
from lince.model_file.manifest import Pretrained
from lince.runs.run_folder import RunFolder

MOST_BYTES = 12_000_000  # of all models that ship: every installation downloads them


@pytest.fixture
def write(run: RunFolder, tmp_path: Path):
    """Writes the stored run's model file, with another manifest."""

    def written(**changes: object) -> Path:
        model = artifact.read(run.model)
        path = tmp_path / "other.tflite"
        path.write_bytes(artifact.encode(replace(model, manifest=replace(model.manifest, **changes))))
        return path

    return written


class TestWhatShips:
    def test_names(self):
        """The models for a small device, for most uses, and for accuracy; the name is that of the file."""
        found = catalog.entries()
        assert ["cifar10", "cifar10-best", "cifar10-tiny"] == [entry.name for entry in found]
        assert list(artifact.shipped_models()) == [entry.name for entry in found]

    def test_size(self):
        """The folder, cards included, stays small enough to be part of the package."""
        folder = artifact.locate(artifact.SHIPPED).parent
        assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES

    def test_every_model_has_its_author_part_beside_it(self):
        """The Markdown from which the card's last part was made is kept, for the next time the model is published."""
        for path in artifact.shipped_models().values():
            about = path.with_suffix(".md").read_text(encoding="utf-8").strip()
            assert about in artifact.read(path).card


class TestEntry:
    def test_says_what_the_manifest_says(self, run):
        """Name, version and certificate are those of the manifest; the size is that of the whole file."""
        manifest, found = artifact.read(run.model).manifest, catalog.entry(run.model)
        assert (manifest.name, manifest.version, manifest.certificate) == (found.name, found.version, found.certificate)
        assert len(run.model.read_bytes()) == found.file_bytes > manifest.flatbuffer_bytes

    def test_pretraining(self, write):
        """A figure that stands on other data than the model's own is told apart by the name of that data."""
        weights = Pretrained(source="a package", licence="Apache-2.0", data="ImageNet-1k")
        assert "ImageNet-1k" == catalog.entry(write(pretrained=weights)).pretrained_on
        assert catalog.entry(write(pretrained=None)).pretrained_on is None

    def test_a_model_without_a_certificate(self, write):
        """Its accuracy is not made up: the file is refused by name."""
        with pytest.raises(ModelFileError, match=r"other\.tflite' has no certificate.*Expected a file that"):
            catalog.entry(write(certificate=None))

    def test_a_damaged_model(self, run, tmp_path):
        """A changed byte is an error, not a line of the list."""
        path = tmp_path / "damaged.tflite"
        data = bytearray(run.model.read_bytes())
        data[1000] ^= 1
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match="damaged or was altered"):
            catalog.entry(path)
