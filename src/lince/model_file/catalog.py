"""The models that ship, one record each, from their own manifests."""

from dataclasses import dataclass
from pathlib import Path

from lince.errors import ModelFileError
from lince.model_file import artifact
from lince.model_file.manifest import Certificate


@dataclass(frozen=True)
class CatalogEntry:
    """What a model file says about itself, for a list of models.

    Attributes:
        name: of the model.
        version: of its network.
        file_bytes: size of the whole file: the network and its description.
        pretrained_on: the data of the weights that its training began with, such as ImageNet-1k. None where training
            began with random weights.
        certificate: accuracy and latency, as measured when the file was published.
    """

    name: str
    version: str
    file_bytes: int
    pretrained_on: str | None
    certificate: Certificate


def entries() -> tuple[CatalogEntry, ...]:
    """The models that ship, sorted by name.

    Raises:
        ModelFileError: see `entry`.
    """
    return tuple(entry(path) for path in artifact.shipped_models().values())


def entry(path: Path) -> CatalogEntry:
    """The catalog's entry for one model file.

    Args:
        path: of the file. It is verified, but its golden images are not run.

    Raises:
        ModelFileError: the file is damaged (see `artifact.read`), or was never measured.
    """
    manifest = artifact.read(path).manifest
    if manifest.certificate is None:
        raise ModelFileError(
            f"Model file {str(path)!r} has no certificate, so its accuracy is unknown. Expected a file that "
            "lince train or lince quantize wrote."
        )
    return CatalogEntry(
        name=manifest.name,
        version=manifest.version,
        file_bytes=path.stat().st_size,
        pretrained_on=manifest.pretrained.data if manifest.pretrained else None,
        certificate=manifest.certificate,
    )
