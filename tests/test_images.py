"""One picture, many encodings: the same pixels; damaged bytes: an ImageError and nothing else."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from lince.encoded_image import Structure, decoding
from lince.errors import ImageError
from lince.images import decode
from lince.types import ImageLimits, ImageSpec

SPEC = ImageSpec(height=8, width=8)
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int = 8, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height: int = 64, width: int = 64) -> np.ndarray:
    """Gradients survive lossy compression."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // height, columns * 255 // width, 128 + 0 * rows], axis=2).astype(np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds no pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = struct.pack(">I", zlib.crc32(head)) + b"\0\0\1\0IDAT"
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + end


def outcome(data: bytes) -> str:
    try:
        return "pixels" if decode(data, SPEC).shape == SPEC.shape else "other pixels"
    except ImageError as error:
        return error.code


OUTCOMES = ("pixels", "corrupt_image", "unsupported_format", "image_too_large", "image_too_complex")


def refused(data: bytes, limits: ImageLimits = ImageLimits()) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, SPEC, limits)
    return caught.value


class TestFormats:
    @pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
    def test_lossless_formats_give_the_very_pixels(self, kind, options):
        """What was saved is what comes out."""
        pixels = noise()
        decoded = decode(encode(Image.fromarray(pixels), kind, **options), SPEC)
        assert pixels.tolist() == decoded.tolist()
        assert (np.uint8, (8, 8, 3)) == (decoded.dtype, decoded.shape)

    @pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
    def test_lossy_formats_come_close(self, kind):
        """At high quality a gradient moves by a few levels only."""
        pixels = smooth()
        decoded = decode(encode(Image.fromarray(pixels), kind, quality=95), ImageSpec(64, 64))
        assert np.abs(decoded.astype(int) - pixels).mean() < 2

    def test_gif_gives_its_first_frame(self):
        """The second frame of an animation is not looked at."""
        frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
        data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
        assert [[list(RED)] * 8] * 8 == decode(data, SPEC).tolist()

    def test_grey_becomes_three_equal_channels(self):
        """Grey level 77 is (77, 77, 77)."""
        assert {(77, 77, 77)} == colours(encode(Image.new("L", (8, 8), 77), "PNG"))

    def test_two_levels_become_black_and_white(self):
        """A one-bit picture is decoded to 0 and 255."""
        pixels = np.tile(np.array([0, 255], np.uint8), (8, 4))
        assert {(0, 0, 0), WHITE} == colours(encode(Image.fromarray(pixels).convert("1"), "PNG"))

    def test_palette_is_looked_up(self):
        """Palette indices become their colours."""
        image = Image.new("RGB", (8, 8), RED)
        image.paste(BLUE, (0, 0, 4, 8))
        assert {RED, BLUE} == colours(encode(image.quantize(2), "PNG"))

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_transparency_shows_white(self, mode):
        """What is fully transparent is white, whatever colour lies under it."""
        assert {WHITE} == colours(encode(Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode), "PNG"))

    def test_half_transparent_black_is_grey(self):
        """Alpha blends with white in proportion."""
        assert {(127, 127, 127)} == colours(encode(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG"))

    def test_transparent_palette_entry_shows_white(self):
        """A GIF's transparent colour is no colour."""
        image = Image.new("P", (8, 8), 0)
        image.putpalette([*RED, *BLUE])
        assert {WHITE} == colours(encode(image, "GIF", transparency=0))

    def test_cmyk_becomes_rgb(self):
        """No ink is white, all yellow and magenta is red (within JPEG's rounding)."""
        for ink, colour in (((0, 0, 0, 0), WHITE), ((0, 255, 255, 0), RED)):
            decoded = decode(encode(Image.new("CMYK", (8, 8), ink), "JPEG", quality=100), SPEC)
            assert np.abs(decoded.astype(int) - colour).max() <= 2

    def test_16_bit_grey_keeps_the_high_byte(self):
        """0x1234 is 0x12, and nothing is clipped at 255."""
        for sample in (0x0012, 0x1234, 0xFFFF):
            data = encode(Image.fromarray(np.full((8, 8), sample, np.uint16)), "PNG")
            assert {(sample >> 8,) * 3} == colours(data)

    def test_16_bit_rgb_keeps_the_high_byte(self):
        """Pillow cannot write such a PNG, so it is put together by hand."""
        row = b"\0" + struct.pack(">HHH", 0x1234, 0xABCD, 0x00FF) * 8
        head = b"IHDR" + struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
        body = b"IDAT" + zlib.compress(row * 8)
        chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, body, b"IEND")]
        assert {(0x12, 0xAB, 0x00)} == colours(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_undone(self, orientation):
        """All eight ways of holding a camera give the upright picture."""
        pixels = noise()
        undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
        # Image.Transpose: 0 mirror, 1 flip, 2 turn 90° left, 3 turn 180°, 4 turn 90° right, 5 transpose, 6 transverse
        held = Image.fromarray(pixels)
        held = held if undo is None else held.transpose(Image.Transpose(undo))
        exif = Image.Exif()
        exif[0x0112] = orientation
        assert pixels.tolist() == decode(encode(held, "PNG", exif=exif), SPEC).tolist()


def colours(data: bytes) -> set[tuple[int, ...]]:
    return set(map(tuple, decode(data, SPEC).reshape(-1, 3).tolist()))


class TestSizes:
    @pytest.mark.parametrize("size", [(1, 1), (8, 1), (1, 500), (640, 480), (3, 2000), (31, 33)])
    @pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
    @pytest.mark.parametrize("kind", ["PNG", "JPEG"])
    def test_any_size_comes_out_as_wanted(self, size, resize, kind):
        """An even colour stays what it is at every size and shape; beside it, padding is grey."""
        decoded = decode(encode(Image.new("RGB", size, (90, 90, 90)), kind), ImageSpec(12, 20, resize))
        assert decoded.shape == (12, 20, 3)
        assert {90} == set(decoded.ravel().tolist()) - ({128} if resize == "pad" else set())

    def test_crop_keeps_the_centre_and_stretch_keeps_all(self):
        """Of a red bar between blue ones, cropping leaves red alone, stretching leaves blue at the sides."""
        image = Image.new("RGB", (24, 8), BLUE)
        image.paste(RED, (8, 0, 16, 8))
        data = encode(image, "PNG")
        assert [[list(RED)] * 8] * 8 == decode(data, ImageSpec(8, 8, "crop")).tolist()
        assert [list(BLUE), list(BLUE)] == decode(data, ImageSpec(8, 8, "stretch"))[0, [0, -1]].tolist()

    @pytest.mark.parametrize(("size", "rows", "columns"), [((24, 8), (2, 5), (0, 8)), ((8, 24), (0, 8), (2, 5))])
    def test_pad_keeps_all_in_the_middle_of_grey(self, size, rows, columns):
        """A picture three times as wide as tall has a third of the rows, and the one too many stays below."""
        decoded = decode(encode(Image.new("RGB", size, RED), "PNG"), ImageSpec(8, 8, "pad"))
        expected = np.full((8, 8, 3), 128, np.uint8)
        expected[slice(*rows), slice(*columns)] = RED
        assert expected.tolist() == decoded.tolist()

    def test_pad_begins_as_stretch_where_nothing_is_left_over(self):
        """A picture of the wanted shape is brought to size and no more."""
        data = encode(Image.fromarray(smooth(60, 60)), "PNG")
        assert decode(data, ImageSpec(8, 8, "stretch")).tolist() == decode(data, ImageSpec(8, 8, "pad")).tolist()

    def test_grey_of_the_padding_is_no_part_of_the_picture(self):
        """Transparency shows white inside of the picture, up to its edge."""
        decoded = decode(encode(Image.new("RGBA", (80, 40), (0, 0, 0, 0)), "PNG"), ImageSpec(8, 8, "pad"))
        assert [128, 128, 255, 255, 255, 255, 128, 128] == decoded[:, 0, 0].tolist()

    @pytest.mark.parametrize("orientation", range(2, 9))
    @pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
    def test_turned_picture_is_fitted_as_it_is_seen(self, orientation, resize):
        """A picture held in any of eight ways comes out as the upright one would, also where a pixel is left over."""
        upright = Image.fromarray(smooth(45, 90))
        undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        held = encode(upright.transpose(Image.Transpose(undo)), "PNG", exif=exif)
        spec = ImageSpec(9, 9, resize)
        assert np.abs(decode(held, spec).astype(int) - decode(encode(upright, "PNG"), spec)).max() <= 1

    @pytest.mark.parametrize("size", [(1000, 1000), (1023, 1023), (641, 479), (257, 2000)])
    @pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
    def test_large_jpeg_is_as_if_decoded_whole(self, size, resize):
        """The decoder's own scaling, taken for speed, changes hardly a level, at sizes too that it does not divide."""
        image = Image.fromarray(noise(24, 24)).resize(size, Image.Resampling.BICUBIC)
        data = encode(image, "JPEG", quality=95)
        whole = encode(Image.open(io.BytesIO(data)), "PNG")  # scaled by nothing but the resampling
        spec = ImageSpec(resize=resize)
        difference = np.abs(decode(data, spec).astype(int) - decode(whole, spec))
        assert difference.max() <= 3
        assert difference.mean() < 0.3

    def test_turned_picture_is_cropped_as_it_is_seen(self):
        """A tall picture held sideways comes out as the upright one would, in a shape that is not square."""
        upright = Image.fromarray(smooth(90, 40))
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned 90° right
        sideways = upright.transpose(Image.Transpose.ROTATE_90)
        spec = ImageSpec(12, 20)
        seen = decode(encode(sideways, "PNG", exif=exif), spec).astype(int)
        assert np.abs(seen - decode(encode(upright, "PNG"), spec)).max() <= 1

    def test_transparency_is_resampled_as_if_over_white(self):
        """Laying over white after the resampling, which saves memory, gives what laying before would."""
        alpha = Image.fromarray(smooth()[:, :, 0])
        image = Image.fromarray(smooth()[:, ::-1])
        image.putalpha(alpha)
        over_white = Image.new("RGB", image.size, WHITE)
        over_white.paste(image, mask=alpha)
        decoded = decode(encode(image, "PNG"), SPEC).astype(int)
        assert np.abs(decoded - decode(encode(over_white, "PNG"), SPEC)).max() <= 2

    def test_hidden_colours_do_not_bleed(self):
        """What lies under full transparency has no part in the pixels beside it."""
        image = Image.new("RGBA", (64, 64), (0, 255, 0, 0))
        image.paste((255, 0, 0, 255), (0, 0, 30, 64))
        red, green, blue = decode(encode(image, "PNG"), SPEC).reshape(-1, 3).T.astype(int)
        assert set(red.tolist()) == {255}
        assert np.abs(green - blue).max() <= 1

    @pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16"])
    @pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
    @pytest.mark.parametrize("size", [(150, 210), (183, 99)])
    def test_strips_give_the_same_picture(self, mode, resize, size, monkeypatch):
        """Large pictures are resampled in strips: their height changes nothing, and the picture is that of Pillow."""
        if mode == "I;16":
            image = Image.fromarray(smooth(*size)[:, :, 0].astype(np.uint16) * 256)
        else:
            image = Image.fromarray(np.dstack([smooth(*size), smooth(*size)[::-1, :, 1]])).convert(mode)
        data = encode(image, "JPEG" if mode == "CMYK" else "PNG")
        spec = ImageSpec(12, 20, resize)
        at_once = decode(data, spec).astype(int)
        monkeypatch.setattr(decoding, "_STRIP_PIXELS", 1_000)
        strips = decode(data, spec)
        assert np.abs(strips - at_once).max() <= 2
        monkeypatch.setattr(decoding, "_STRIP_PIXELS", 3_000)
        assert strips.tolist() == decode(data, spec).tolist()

    @pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
    @pytest.mark.parametrize("mode", ["RGBA", "RGB", "LA", "P"])
    def test_large_picture_is_held_once(self, mode, tmp_path):
        """As decoded, 36 MB at most at 9 megapixels; other modes on the way to RGB are made in strips."""
        path = tmp_path / "large.png"
        Image.new(mode, (3000, 3000)).save(path, compress_level=1)
        peak_bytes = int(subprocess.check_output([sys.executable, "-c", PEAK_OF_DECODING, path], text=True))
        assert peak_bytes < 1.5 * 3000 * 3000 * 4


# In a process of its own, because a peak never falls again. A small picture first loads what is loaded at first need.
PEAK_OF_DECODING = """
import io, re, sys
from pathlib import Path
from PIL import Image
from lince.images import decode
from lince.types import ImageSpec

def peak_bytes():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

data = Path(sys.argv[1]).read_bytes()
small = io.BytesIO()
Image.new(Image.open(io.BytesIO(data)).mode, (64, 64)).save(small, "PNG")
decode(small.getvalue(), ImageSpec())
before = peak_bytes()
decode(data, ImageSpec())
print(peak_bytes() - before)
"""


class TestRefusals:
    def test_empty(self):
        """No bytes, no image."""
        assert refused(b"").code == "empty_image"

    @pytest.mark.parametrize(
        "data",
        [
            b"hello, this is text",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"\x89PNG",
            b"%PDF-1.4",
        ],
        ids=["text", "svg", "half a signature", "pdf"],
    )
    def test_what_is_no_image_we_read(self, data):
        """The answer lists what we do read."""
        error = refused(data)
        assert error.code == "unsupported_format"
        assert "Expected JPEG, PNG, WEBP, BMP, GIF, TIFF, AVIF." in str(error)

    def test_too_many_bytes(self):
        """Counted before anything is parsed."""
        error = refused(encode(Image.fromarray(noise()), "PNG"), ImageLimits(max_bytes=100))
        assert error.code == "image_too_large"
        assert "Expected at most 100" in str(error)

    @pytest.mark.parametrize("side", [8_000, 9_500, 20_000, 65_535, 2**31 - 1])
    def test_too_many_pixels_by_the_header_alone(self, side):
        """64 MP to 4.6 EP in 41 bytes: below, between and above Pillow's own warning and error."""
        assert refused(png_header(side, side)).code == "image_too_large"

    def test_a_picture_that_states_two_sizes(self):
        """What was told from the structure bounds the decoder: a picture that turns out larger is refused."""
        data = encode(Image.fromarray(noise()), "PNG")
        with pytest.raises(ImageError, match="states two sizes"):
            decode(data, SPEC, structure=Structure("PNG", width=1, height=1))

    def test_no_pixels(self):
        """A width of 0 is damaged or nothing we read, depending on who notices first."""
        assert refused(png_header(0, 5)).code in ("corrupt_image", "unsupported_format")

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
    def test_truncated_at_every_length(self, kind):
        """Whatever is missing, it is an ImageError, or the few bytes that carried nothing."""
        data = encode(Image.fromarray(noise(16, 16)), kind)
        for length in range(1, len(data) - 2):
            assert outcome(data[:length]) in ("pixels", "corrupt_image", "unsupported_format")

    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # about damaged EXIF; the pixels are read all the same
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
    def test_damaged_bytes_raise_nothing_else(self, kind):
        """500 files with some bytes changed: pixels or an ImageError."""
        rng = np.random.default_rng(0)
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {} if kind in ("BMP", "GIF", "TIFF") else {"exif": exif}
        original = np.frombuffer(encode(Image.fromarray(noise(16, 16)), kind, **options), np.uint8)
        for _ in range(500):
            data = original.copy()
            # mostly in the head, where the fields lie that a parser believes
            where = rng.integers(0, rng.choice([40, 120, len(data)]), rng.integers(1, 6)).clip(max=len(data) - 1)
            data[where] = rng.integers(0, 256, len(where))
            assert outcome(data.tobytes()) in OUTCOMES
