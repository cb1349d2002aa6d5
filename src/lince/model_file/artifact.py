"""The model file: a LiteRT flatbuffer, followed by a zip archive that describes it. See `docs/model-file.md`.

    ┌────────────────────┬───────────────────────────────────────────────────────────┐
    │ flatbuffer         │ zip: manifest.json  labels.txt  golden.npz  CARD.md        │
    └────────────────────┴───────────────────────────────────────────────────────────┘

A network that returns features has a fifth member, familiarity.npz.

A reader does not trust the file: it checks sizes before it unpacks a byte, checks each part against the others, and
executes nothing.
"""

import difflib
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lince import schema
from lince.errors import WRITE_AGAIN, ModelFileError
from lince.familiarity import LARGEST, Familiarity
from lince.images import EXTENSIONS
from lince.model_file import archive as zips
from lince.model_file import golden_images, network
from lince.model_file.golden_images import Golden
from lince.model_file.manifest import FORMAT, Arithmetic, Certificate, CurvePoint, Manifest, Pretrained, Verdict
from lince.system.files import meant, read_bounded
from lince.text import listed
from lince.types import Calibration, DriftReference, ImageSpec

SHIPPED = "cifar10"  # of the models that ship, the one that is served when none is named
MEMBERS = ("manifest.json", "labels.txt", "golden.npz", "CARD.md")
FAMILIARITY = "familiarity.npz"

# Our models have a few megabytes; the limit is for hostile files.
_MAX_FILE_BYTES = 2**30
# 32 images of 1024 × 1024 pixels, the largest a recipe allows, are 96 MiB; the other members are text.
_MAX_MEMBER_BYTES = {"manifest.json": 2**23, "labels.txt": 2**20, "golden.npz": 2**27, "CARD.md": 2**20}
_MAX_MEMBER_BYTES[FAMILIARITY] = 2**23  # twice the covariance of the most features
_MAX_DEPTH = 32  # of `training`, which is free-form; Lince nests 5 levels there
_FLATBUFFER_IDENTIFIER = b"TFL3"  # bytes 4 to 8 of every LiteRT flatbuffer
_MAX_CURVE_POINTS = 10_000  # ten times what is written
_SHARES_ERROR = 1e-6  # of a sum of shares; float64 makes 1e-13 of a thousand
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, the earliest of zip: the same content gives the same bytes


@dataclass(frozen=True)
class Artifact:
    """A model file, read and verified; familiarity is None for a network without features."""

    flatbuffer: bytes
    manifest: Manifest
    golden: Golden
    card: str
    familiarity: Familiarity | None = None


def locate(name: str) -> Path:
    """The path of a model file, from what a user typed: a path, a run folder, or the name of a model that ships.

    Raises:
        ModelFileError: a folder without a model, an address, a picture, or a path that is not there beside one that is.
    """
    path, shipped = Path(name), shipped_models()
    if name in shipped and not path.exists():
        return shipped[name]
    if not path.is_dir():
        _require_possible(name, path, shipped)
        return path
    model = path / "model.tflite"
    if not model.exists():
        raise ModelFileError(
            f"{name!r} holds no model.tflite.{meant(name, model.name)} Expected a model file, a run folder that was "
            f"published (lince train --resume {name}; lince quantize {name} once it is trained), or a model that "
            f"ships: {listed(list(shipped))}."
        )
    return model


def _require_possible(name: str, path: Path, shipped: Mapping[str, Path]) -> None:
    """Refuses what is no model file, and says what was probably meant."""
    if "://" in name:
        raise ModelFileError(
            f"Received the address {name!r}. Expected a model file, a run folder, or a model that ships. A server is "
            "asked with curl or lince.client, and measured with lince evaluate."
        )
    if path.suffix.lower() in EXTENSIONS:
        raise ModelFileError(f"Received the picture {name!r} as the model. Expected the model first, then pictures.")
    if not path.exists():
        near = difflib.get_close_matches(name.lower(), shipped, 1)
        question = meant(name, "model.tflite") or (f" Did you mean {near[0]!r}?" if near else "")
        if question:
            raise ModelFileError(
                f"Model file {name!r}: there is none.{question} Expected a .tflite file, a run folder, or a model that "
                f"ships: {listed(list(shipped))}."
            )


def shipped_models() -> dict[str, Path]:
    """The model files inside the package, by name, sorted."""
    found = Path(str(resources.files("lince") / "models")).glob("*.tflite")
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem)}


def describe(
    *,
    name: str,
    flatbuffer: bytes,
    created: datetime,
    classes: tuple[str, ...],
    image: ImageSpec,
    calibration: Calibration,
    certificate: Certificate | None,
    training: dict[str, Any],
    arithmetic: Arithmetic = Arithmetic(),
    verdict: Verdict | None = None,
    pretrained: Pretrained | None = None,
    drift_reference: DriftReference | None = None,
    curves: tuple[CurvePoint, ...] = (),
) -> Manifest:
    """The manifest of a network: the caller's facts, and the network's hash and size."""
    digest = hashlib.sha256(flatbuffer).hexdigest()
    return Manifest(
        name=name,
        version=digest[:12],
        created=created.isoformat(timespec="seconds"),
        classes=classes,
        image=image,
        calibration=calibration,
        flatbuffer_sha256=digest,
        flatbuffer_bytes=len(flatbuffer),
        certificate=certificate,
        arithmetic=arithmetic,
        verdict=verdict,
        pretrained=pretrained,
        drift_reference=drift_reference,
        curves=curves,
        training=training,
    )


def encode(artifact: Artifact) -> bytes:
    """The bytes of a model file; the same artifact gives the same bytes."""
    arrays = io.BytesIO()
    np.savez_compressed(arrays, images=artifact.golden.images, logits=artifact.golden.logits)
    contents = {
        "manifest.json": msgspec.json.format(msgspec.json.encode(artifact.manifest), indent=2),
        "labels.txt": "".join(f"{label}\n" for label in artifact.manifest.classes).encode(),
        "golden.npz": arrays.getvalue(),
        "CARD.md": artifact.card.encode(),
    }
    if artifact.familiarity is not None:
        arrays = io.BytesIO()
        np.savez_compressed(arrays, mean=artifact.familiarity.mean, whitening=artifact.familiarity.whitening)
        contents[FAMILIARITY] = arrays.getvalue()
    file = io.BytesIO(artifact.flatbuffer)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for name in contents:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, contents[name])
    return file.getvalue()


def read(path: Path, *, sha256: str | None = None) -> Artifact:
    """Reads and verifies a model file; the golden images are checked by `Classifier.load`, which can run them.

    Args:
        path: of the file.
        sha256: the hash that the whole file must have, in hex digits. The bytes that are hashed are those used.

    Raises:
        ModelFileError: the file is missing, foreign, damaged, of an unknown format, or its parts do not agree.
    """
    try:
        return decode(_bytes(path, sha256=sha256))
    except ModelFileError as error:
        raise ModelFileError(f"Model file {str(path)!r}: {error}") from error


def decode(data: bytes) -> Artifact:
    """Verifies the bytes of a model file; see `read`."""
    if data[4:8] != _FLATBUFFER_IDENTIFIER:
        raise ModelFileError("this is not a LiteRT flatbuffer. Expected a .tflite file written by lince.")
    members, archive_start = _members(data)
    manifest = _manifest(members["manifest.json"])
    if manifest.flatbuffer_bytes != archive_start:
        raise ModelFileError(
            f"the archive begins at byte {archive_start:,}, the manifest says {manifest.flatbuffer_bytes:,}. "
            f"Expected no gap between network and archive: the file was altered. {WRITE_AGAIN}"
        )
    flatbuffer = data[:archive_start]
    digest = hashlib.sha256(flatbuffer).hexdigest()
    if digest != manifest.flatbuffer_sha256 or manifest.version != digest[:12]:
        raise ModelFileError(
            f"the network's SHA-256 is {digest[:12]}…, the manifest says {manifest.flatbuffer_sha256[:12]}…. "
            f"The file is damaged or was altered. {WRITE_AGAIN}"
        )
    num_features = network.verify(flatbuffer).num_features
    if members["labels.txt"].decode("utf-8", "replace").splitlines() != list(manifest.classes):
        raise ModelFileError(f"labels.txt and the manifest name different classes. {WRITE_AGAIN}")
    golden = _golden(members["golden.npz"], manifest)
    familiarity = _familiarity(members.get(FAMILIARITY), num_features, manifest)
    return Artifact(flatbuffer, manifest, golden, members["CARD.md"].decode("utf-8", "replace"), familiarity)


def _bytes(path: Path, *, sha256: str | None) -> bytes:
    try:
        data = read_bounded(path, _MAX_FILE_BYTES)
    except OSError as error:
        raise ModelFileError(
            f"cannot be read ({error.strerror}). Expected a .tflite file, a run folder, or a model that ships: "
            f"{listed(list(shipped_models()))}."
        ) from error
    if sha256 is not None and (digest := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise ModelFileError(
            f"its SHA-256 is {digest}. Expected the pinned one, {sha256.lower()}: "
            "put that file back, or pin this one if you trust it."
        )
    return data


def _members(data: bytes) -> tuple[dict[str, bytes], int]:
    """The archive's members and the offset at which it begins."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            found = tuple(entry.filename for entry in entries)
            if sorted(found) not in [sorted(MEMBERS), sorted([*MEMBERS, FAMILIARITY])] or archive.comment:
                raise ModelFileError(
                    f"its archive holds {list(found)!r}. Expected exactly {list(MEMBERS)!r}, and "
                    f"{FAMILIARITY} for a network with features."
                )
            for entry in entries:
                zips.require_bounded(entry)
                limit = _MAX_MEMBER_BYTES[entry.filename]
                if entry.file_size > limit:
                    raise ModelFileError(f"{entry.filename} has {entry.file_size:,} bytes. Expected at most {limit:,}.")
            start = min(entry.header_offset for entry in entries)
            zips.require_no_holes(entries, len(data) - start)
            return {entry.filename: archive.read(entry) for entry in entries}, start
    except ModelFileError:
        raise
    except Exception as error:  # zipfile and its decompressors raise many types on hostile bytes: zlib.error, …
        message = "no readable archive follows the network. Expected a .tflite file written by lince."
        raise ModelFileError(message) from error


def _manifest(data: bytes) -> Manifest:
    try:
        version = schema.from_json(data, dict[str, Any]).get("format")
        if version != FORMAT:
            raise ModelFileError(f"format {version!r}. Expected {FORMAT}: update lince, or use lince quantize RUN.")
        manifest = schema.from_json(data, Manifest)
    except schema.MisfitError as error:
        raise ModelFileError(f"its manifest is not valid. {error} {WRITE_AGAIN}") from error
    _check(manifest)
    if _deeper(manifest.training, _MAX_DEPTH):
        raise ModelFileError(f"its manifest is nested more than {_MAX_DEPTH} deep. {WRITE_AGAIN}")
    return manifest


def _deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects of JSON are nested deeper: writing them again would need as much of the stack."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper(one, depth - 1) for one in inner)


def _check(manifest: Manifest) -> None:
    """Checks what the types do not express."""
    image = manifest.image
    if len(manifest.classes) < 2 or len(set(manifest.classes)) < len(manifest.classes):
        raise ModelFileError(f"classes {manifest.classes!r}. Expected two or more, all different.")
    if any(len(label.splitlines()) != 1 for label in manifest.classes):
        raise ModelFileError(f"classes {manifest.classes!r}. Expected labels of one line, none empty.")
    if not (1 <= image.height <= 1024 and 1 <= image.width <= 1024):
        raise ModelFileError(f"images of {image.width} × {image.height}. Expected 1 to 1024 pixels a side.")
    if len(manifest.curves) > _MAX_CURVE_POINTS:
        raise ModelFileError(f"curves of {len(manifest.curves):,} points. Expected {_MAX_CURVE_POINTS:,} at most.")
    if manifest.drift_reference is not None:
        _check_reference(manifest.drift_reference, len(manifest.classes))


def _check_reference(reference: DriftReference, num_classes: int) -> None:
    binned = (reference.brightness, reference.contrast)
    if len(reference.classes) != num_classes:
        raise ModelFileError(
            f"drift_reference has shares of {len(reference.classes)} classes. Expected {num_classes}, one for each. "
            f"{WRITE_AGAIN}"
        )
    if any(abs(sum(shares) - 1) > _SHARES_ERROR for shares in (reference.classes, *(one.shares for one in binned))):
        raise ModelFileError(f"drift_reference has shares whose sum is not 1. {WRITE_AGAIN}")
    if any(list(one.edges) != sorted(one.edges) for one in binned):
        raise ModelFileError(f"drift_reference has edges of bins that do not rise. {WRITE_AGAIN}")


def _golden(data: bytes, manifest: Manifest) -> Golden:
    count, classes = golden_images.COUNT, len(manifest.classes)
    answers = np.int8 if manifest.arithmetic.kind == "int8" else np.float32
    images, logits = _arrays(
        data,
        "golden.npz",
        {"images.npy": ((count, *manifest.image.shape), np.uint8), "logits.npy": ((count, classes), answers)},
    )
    return Golden(images, logits)


def _familiarity(data: bytes | None, num_features: int, manifest: Manifest) -> Familiarity | None:
    if (data is None) != (num_features == 0):
        raise ModelFileError(
            f"{FAMILIARITY} is {'missing' if data is None else 'there'}, and the network has {num_features} features. "
            f"Expected both or none. {WRITE_AGAIN}"
        )
    if data is None:
        if manifest.calibration.distance_weight > 0:
            raise ModelFileError(f"its manifest weighs distances, which it cannot measure. {WRITE_AGAIN}")
        return None
    shapes = {"mean.npy": ((num_features,), np.float32), "whitening.npy": ((num_features, num_features), np.float32)}
    mean, whitening = _arrays(data, FAMILIARITY, shapes)
    if max(np.abs(mean).max(), np.abs(whitening).max()) > LARGEST:
        raise ModelFileError(f"{FAMILIARITY} holds numbers beyond {LARGEST:g}. {WRITE_AGAIN}")
    return Familiarity(mean, whitening)


def _arrays(data: bytes, name: str, expected: Mapping[str, tuple[tuple[int, ...], type]]) -> list[np.ndarray]:
    """The finite arrays of an npz, which holds exactly these."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                zips.require_bounded(entry)
            if archive.namelist() != list(expected):
                raise ValueError(f"it holds {archive.namelist()!r}, expected {' and '.join(expected)}")
            arrays = [zips.array(archive, member, *kind) for member, kind in expected.items()]
        for member, array in zip(expected, arrays, strict=True):
            if not np.isfinite(array).all():
                raise ValueError(f"its {member.removesuffix('.npy')} are not all finite")
    except Exception as error:  # zipfile, zlib and NumPy's header parser raise many types on hostile bytes
        raise ModelFileError(f"{name} cannot be read ({error}). {WRITE_AGAIN}") from error
    return arrays
