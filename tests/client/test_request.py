"""Images of every kind become requests that the service takes."""

import email
import email.policy
import io
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.client.fake_servers import some_images

from lince import images
from lince.client import request
from lince.client.answers import Failure, Limits
from lince.errors import LinceError
from lince.types import ImageSpec

ROOMY = Limits(1000, 10**7)


def decoded(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


class TestPictures:
    def test_one_or_several(self, tmp_path: Path):
        """A list, a tuple and an array of four axes are several images; all else is one."""
        pixels = some_images(3)
        singles = [str(tmp_path), tmp_path, b"x", pixels[0], Image.fromarray(pixels[0])]
        assert [([one], True) for one in singles] == [request.pictures(one) for one in singles]
        assert (singles, False) == request.pictures(singles)
        assert (tuple(singles), False) == request.pictures(tuple(singles))
        assert ([], False) == request.pictures([])
        several, is_single = request.pictures(pixels)
        np.testing.assert_array_equal(pixels, np.stack(several))
        assert not is_single
        assert ([], False) == request.pictures(pixels[:0])

    @pytest.mark.parametrize(
        ("wrong", "match"),
        [
            (3, r"Received an object of type int\. Expected a path, the bytes of an image file, an array u8"),
            ({}, "Received an object of type dict"),
            ([b"x", None], "Received an object of type NoneType at place 1 of a list"),
            ([[b"x"]], "Received an object of type list at place 0 of a list"),
            (np.zeros((2, 2, 3), np.float32), r"type float32 and shape \(2, 2, 3\)\. Expected one image: RGB pixels"),
            (np.zeros((2, 2), np.uint8), r"shape \(2, 2\)"),
            (np.zeros((2, 2, 4), np.uint8), r"shape \(2, 2, 4\)"),
            (np.zeros((1, 2, 2, 1), np.uint8), r"shape \(1, 2, 2, 1\)"),
            (np.zeros((0, 2, 3), np.uint8), r"shape \(0, 2, 3\)"),
            (np.zeros((1, 0, 2, 3), np.uint8), r"shape \(1, 0, 2, 3\)"),
            ([np.zeros((1, 2, 2, 3), np.uint8)], r"\(1, 2, 2, 3\) at place 0 of a list. Expected one image"),
        ],
    )
    def test_what_is_no_image(self, wrong: object, match: str):
        """The sentence says what came, where, and what is expected."""
        with pytest.raises(LinceError, match=match):
            request.pictures(wrong)


class TestBatches:
    def test_files_are_sent_as_they_are(self, tmp_path: Path):
        """A path's bytes, whatever they are, and bytes."""
        (tmp_path / "a.jpg").write_bytes(b"abc")
        sent = [tmp_path / "a.jpg", str(tmp_path / "a.jpg"), b"", b"de"]
        assert [[b"abc", b"abc", b"", b"de"]] == list(request.batches(sent, ROOMY))

    def test_pixels_become_png(self):
        """An array, and a PIL image of each mode that PNG has, keep every pixel."""
        pixels = some_images(1)[0]
        grey = Image.fromarray(pixels[:, :, 0])
        deep = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 255)
        kept = [Image.fromarray(pixels), grey, grey.convert("1"), grey.convert("P"), grey.convert("LA"), deep]
        [files] = request.batches([pixels, *kept, Image.fromarray(pixels).convert("RGBA")], ROOMY)
        for expected, file in zip([pixels, *kept], files, strict=False):
            np.testing.assert_array_equal(np.asarray(expected), decoded(file))
        assert (4, 6, 4) == decoded(files[-1]).shape

    @pytest.mark.parametrize(
        ("mode", "base", "sent"),
        [
            *((mode, "RGB", "RGB") for mode in ("CMYK", "YCbCr", "HSV", "RGBX")),
            *(("LAB", "LAB", "RGB"), ("RGBa", "RGBA", "RGBA"), ("La", "LA", "LA"), ("PA", "PA", "RGBA")),
        ],
    )
    def test_other_modes_are_converted(self, mode: str, base: str, sent: str):
        """PNG does not have them; transparency is kept."""
        image = Image.new(base, (6, 4), tuple(range(60, 60 + 50 * len(base), 50))).convert(mode)
        [[file]] = request.batches([image], ROOMY)
        np.testing.assert_array_equal(np.asarray(image.convert(sent)), decoded(file))

    def test_a_mode_without_a_range_is_refused(self):
        """Nobody but the user knows which float is white."""
        with pytest.raises(
            LinceError, match=r"Received a PIL image of mode 'F'. Expected one of 1, CMYK, .*: convert it"
        ):
            list(request.batches([Image.new("F", (6, 4))], ROOMY))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_a_picture_that_was_turned(self, orientation: int, tmp_path: Path):
        """A PIL image and its file give the same pixels: the service turns both upright."""
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(some_images(1)[0]).save(tmp_path / "a.png", exif=exif)
        spec = ImageSpec(12, 12, "stretch")
        with Image.open(tmp_path / "a.png") as image:
            [[file, turned]] = request.batches([tmp_path / "a.png", image], ROOMY)
        np.testing.assert_array_equal(*(images.decode(one, spec) for one in (file, turned)))

    def test_a_file_that_is_not_there(self, tmp_path: Path):
        """Missing, a folder, and no path at all: the name and the reason."""
        for path in (tmp_path / "no.png", tmp_path, "a\0b"):
            with pytest.raises(LinceError, match=r"cannot be read \(.+\). Expected the path of an image file"):
                list(request.batches([path], ROOMY))

    def test_a_picture_that_cannot_be_read(self, png):
        """Pillow reads the pixels late, when they are sent."""
        image = Image.open(io.BytesIO(png()[:-1000]))
        with pytest.raises(LinceError, match=r"A PIL image cannot be read .*Expected a whole picture"):
            list(request.batches([image], ROOMY))

    def test_requests_hold_what_the_service_takes(self):
        """As many parts as it takes, and at most sixteen."""
        sizes = [
            [len(batch) for batch in request.batches([b"x"] * 20, Limits(parts, 10**6))] for parts in (1, 7, 16, 1000)
        ]
        assert [[1] * 20, [7, 7, 6], [16, 4], [16, 4]] == sizes

    def test_no_body_is_larger_than_the_service_takes(self):
        """The form around the images counts; everything is sent, in order, in few requests."""
        limits = Limits(16, 2_000)
        files = [bytes([65 + index]) * (index * 97 % 1_990) for index in range(100)]
        batches = list(request.batches(files, limits))
        bodies = [request.predict_request(batch, top=1, logits=False, model=None).content for batch in batches]
        assert files == [file for batch in batches for file in batch]
        assert max(map(len, bodies)) <= 2_000
        assert len(batches) < 80
        joined = [request.predict_request([*a, b[0]], top=1, logits=False, model=None) for a, b in pairwise(batches)]
        assert min(len(one.content) for one in joined) > 2_000

    def test_an_image_larger_than_a_request(self, tmp_path: Path):
        """It has the error that the service would give, in its place; of its file no more than that is read."""
        with (tmp_path / "large").open("wb") as file:
            os.truncate(file.fileno(), 2**40)
        found = list(request.batches([b"a", b"b" * 101, b"c" * 100, tmp_path / "large"], Limits(16, 100)))
        message = "The image has more than 100 bytes, the limit of a request. Scale it down."
        failure = Failure("body_too_large", message)
        assert [[b"a"], failure, [b"c" * 100], failure] == found


class TestRequests:
    def test_one_image_is_the_body(self):
        """The service reads the format from the bytes."""
        found = request.predict_request([b"abc"], top=2, logits=True, model="a b&c")
        assert ("POST", b"abc", "application/octet-stream") == (found.method, found.content, found.content_type)
        assert found.path == "/predict?top=2&logits=true&model=a+b%26c"

    def test_several_are_a_form(self):
        """Python's own parser of MIME reads it."""
        found = request.predict_request([b"a\r\n--b", b"", b"\0"], top=5, logits=False, model=None)
        head = f"Content-Type: {found.content_type}\r\n\r\n".encode()
        parts = list(email.message_from_bytes(head + found.content, policy=email.policy.HTTP).iter_parts())
        assert [b"a\r\n--b", b"", b"\0"] == [part.get_payload(decode=True) for part in parts]
        assert {"file"} == {part.get_param("name", header="content-disposition") for part in parts}
        assert "/predict" == found.path

    def test_questions_have_no_body(self):
        """What is served, and whether it is ready."""
        found = [request.model_request(None), request.model_request("pets"), request.READY]
        assert ["/model", "/model?model=pets", "/readyz"] == [one.path for one in found]
        assert {("GET", None)} == {(one.method, one.content) for one in found}
