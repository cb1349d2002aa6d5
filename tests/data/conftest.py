"""Small labelled sources, made of noise: every image differs from every other."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _encode(seed: int, kind: str = "PNG", side: int = 8) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def encode():
    """`encode(seed, kind="PNG", side=8)`: the bytes of one image of noise."""
    return _encode


@pytest.fixture
def make_tree(tmp_path):
    """`make_tree({path: content})`: a folder; content is bytes, a seed for an image, or None for an empty folder."""

    def make(files: dict[str, bytes | int | None], name: str = "pictures") -> Path:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for path, content in files.items():
            target = root / path
            (target if content is None else target.parent).mkdir(parents=True, exist_ok=True)
            if content is not None:
                target.write_bytes(_encode(content) if isinstance(content, int) else content)
        return root

    return make


@pytest.fixture
def make_zip(tmp_path):
    """`make_zip({path: content})`: the same as a .zip."""

    def make(files: dict[str, bytes | int], name: str = "pictures.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in files.items():
                archive.writestr(member, _encode(content) if isinstance(content, int) else content)
        return path

    return make


@pytest.fixture
def two_classes():
    """`two_classes(n, *, prefix="", start=0)`: n images each of cat and dog, for `make_tree` and `make_zip`."""

    def make(n: int, *, prefix: str = "", start: int = 0) -> dict[str, int]:
        places = [f"{prefix}{label}/{index:03d}.png" for label in ("cat", "dog") for index in range(n)]
        return {place: start + seed for seed, place in enumerate(places)}

    return make


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Nothing is ever written to the user's own cache."""
    monkeypatch.setenv("LINCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
