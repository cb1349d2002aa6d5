"""The process that decodes large pictures: the same pixels, a bound on each of them, and an end at any time."""

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from lince import images
from lince.errors import ImageError
from lince.serving.decoder_process import DecoderProcess
from lince.serving.errors import RequestError
from lince.types import ImageLimits, ImageSpec

pytestmark = pytest.mark.waits

SPEC = ImageSpec(24, 40)
LIMITS = ImageLimits()


@pytest.fixture
def process() -> Iterator[DecoderProcess]:
    process = DecoderProcess(LIMITS)
    yield process
    process.close()


def picture(kind: str = "PNG", *, size: tuple[int, int] = (300, 200), **options: object) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def heavy() -> bytes:
    """A progressive JPEG of 16 megapixels, which takes some tenths of a second."""
    file = io.BytesIO()
    Image.new("RGB", (4_000, 4_000), "grey").save(file, "JPEG", progressive=True)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_pixels_are_those_of_decode(process: DecoderProcess, kind: str):
    """One function decodes, here or there."""
    data = picture(kind)
    pixels, seconds = process.decode(data, SPEC, cpu_s=5)
    assert np.array_equal(images.decode(data, SPEC, LIMITS), pixels)
    assert 0 < seconds < 5


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_fit_is_that_of_decode(kind: str, resize: str):
    """A picture that is turned, of odd sides, comes out alike here and there."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data, spec = picture(kind, size=(301, 1_203), exif=exif), ImageSpec(24, 24, resize)
    process = DecoderProcess(LIMITS)
    try:
        pixels, _ = process.decode(data, spec, cpu_s=5)
    finally:
        process.close()
    assert np.array_equal(images.decode(data, spec, LIMITS), pixels)


def test_errors_are_those_of_decode(process: DecoderProcess):
    """Code and sentence come back; the process goes on."""
    for data in (b"", b"text", picture()[:5_000]):
        with pytest.raises(ImageError) as expected:
            images.decode(data, SPEC, LIMITS)
        error, _ = process.decode(data, SPEC, cpu_s=5)
        assert (expected.value.code, str(expected.value)) == (error.code, str(error))
    assert isinstance(process.decode(picture(), SPEC, cpu_s=5)[0], np.ndarray)


def test_a_picture_that_takes_too_long_is_given_up(process: DecoderProcess):
    """Its process ends, the next picture gets another."""
    error, seconds = process.decode(heavy(), SPEC, cpu_s=0.01)
    assert ("decode_timeout", 0.01) == (error.code, seconds)
    assert isinstance(process.decode(picture(), SPEC, cpu_s=5)[0], np.ndarray)


@pytest.mark.parametrize(("end", "code"), [("SIGSEGV", "corrupt_image"), ("SIGKILL", "image_too_large")])
def test_a_process_that_dies_is_replaced(process: DecoderProcess, end: str, code: str):
    """A crash of a decoder, and a system short of memory, cost one picture and not the service."""
    process.decode(picture(), SPEC, cpu_s=5)
    os.kill(process._process.pid, signal.SIGSTOP)
    threading.Timer(0.1, _end, (process._process.pid, signal.Signals[end])).start()
    error, _ = process.decode(picture(), SPEC, cpu_s=5)
    assert code == error.code
    assert isinstance(process.decode(picture(), SPEC, cpu_s=5)[0], np.ndarray)


def test_too_much_memory_is_an_error(monkeypatch: pytest.MonkeyPatch):
    """What no estimate foresaw meets the limit of the process."""
    monkeypatch.setattr("lince.serving.decoder_process._SPARE_BYTES", -LIMITS.max_decoder_bytes + 20 * 2**20)
    process = DecoderProcess(LIMITS)
    error, _ = process.decode(picture(size=(4_000, 3_000)), SPEC, cpu_s=5)
    process.close()
    assert error.code in ("image_too_large", "corrupt_image")


def test_close_ends_what_is_being_decoded():
    """A stop waits for no picture, and nothing starts after it."""
    process = DecoderProcess(LIMITS)
    process.decode(picture(), SPEC, cpu_s=5)
    os.kill(process._process.pid, signal.SIGSTOP)  # as stuck as a decoder can be
    threading.Timer(0.1, process.close).start()
    start = time.monotonic()
    with pytest.raises(RequestError) as stopped:
        process.decode(picture(), SPEC, cpu_s=5)
    assert "shutting_down" == stopped.value.code
    assert time.monotonic() - start < 5
    with pytest.raises(RequestError):
        process.decode(picture(), SPEC, cpu_s=5)


def _end(pid: int, end: signal.Signals) -> None:
    """Sends a signal to a stopped process, which takes all but SIGKILL once it goes on."""
    os.kill(pid, end)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
