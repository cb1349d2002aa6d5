"""TIFF and AVIF: the first picture, in the layouts that are read; all others are refused by name, before decoding."""

import io
import struct
import threading

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image, TiffImagePlugin

from lince import encoded_image
from lince.errors import ImageError
from lince.images import decode
from lince.types import ImageLimits, ImageSpec

SPEC = ImageSpec(12, 20)
PIXELS = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).resize(
        (94, 66), Image.Resampling.BICUBIC
    )
)


def picture(mode: str = "RGB") -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 256 + 7)
    image = Image.fromarray(PIXELS)
    if mode in ("RGBA", "LA"):
        image = image.convert(mode[:-1])
        image.putalpha(Image.fromarray(PIXELS[:, :, 1]))
        return image
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def refusal(data: bytes, limits: ImageLimits = ImageLimits()) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, SPEC, limits)
    return caught.value


def tiff(tags: dict[int, tuple[int, tuple[int, ...]]], data: bytes, *, order: str = "<") -> bytes:
    """Data at byte 8, behind it one directory; values of more than four bytes behind that."""
    start = 8 + len(data)
    behind, rows, values = start + 6 + 12 * len(tags), b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}{ {3: 'H', 4: 'I'}[kind] }", *numbers)
        where = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", behind + len(values))
        values += packed if len(packed) > 4 else b""
        rows += struct.pack(order + "HHI", tag, kind, len(numbers)) + where
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", start)
    return head + data + struct.pack(order + "H", len(tags)) + rows + bytes(4) + values


def pixels_last(data: bytes) -> bytes:
    """The same picture with its directory, and what that points to, before the pixels."""
    with Image.open(io.BytesIO(data)) as image:
        entries = dict(image.tag_v2)
    strips = [data[start : start + size] for start, size in zip(entries[273], entries[279], strict=True)]
    kept = {tag: value if isinstance(value, tuple) else (value,) for tag, value in entries.items() if tag in WHOLE}
    head = tiff({tag: (4, value) for tag, value in kept.items()}, b"")
    places = [len(head) + len(b"".join(strips[:index])) for index in range(len(strips))]
    return tiff({tag: (4, value) for tag, value in (kept | {273: tuple(places)}).items()}, b"") + b"".join(strips)


WHOLE = (256, 257, 258, 259, 262, 273, 277, 278, 279, 317, 320, 338)


def tags(**more: tuple[int, tuple[int, ...]]) -> dict[int, tuple[int, tuple[int, ...]]]:
    """Of a picture of 16 × 16 grey pixels in one strip; `t259=…` replaces or adds one."""
    plain = {256: (4, (16,)), 257: (4, (16,)), 258: (3, (8,)), 259: (3, (1,)), 262: (3, (1,)), 273: (4, (8,))}
    plain |= {277: (3, (1,)), 278: (4, (16,)), 279: (4, (256,))}
    return plain | {int(name[1:]): value for name, value in more.items()}


GREY = bytes(range(256))


class TestTiff:
    @pytest.mark.parametrize("packing", [None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"])
    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"])
    def test_pixels_are_those_of_the_picture(self, mode: str, packing: str):
        """Whatever the mode and the packing."""
        image = picture(mode)
        data = saved(image, "TIFF", compression=packing)
        reference = image.convert("RGB") if mode == "CMYK" else image
        assert decode(saved(reference, "PNG"), SPEC).tolist() == decode(data, SPEC).tolist()

    @pytest.mark.parametrize("packing", ["group3", "group4"])
    def test_fax(self, packing: str):
        """Scanned pages."""
        data = saved(picture("1"), "TIFF", compression=packing)
        assert decode(saved(picture("1"), "PNG"), SPEC).tolist() == decode(data, SPEC).tolist()

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_both_orders_of_bytes(self, order: str):
        """Intel's and Motorola's."""
        decoded = decode(tiff(tags(), GREY, order=order), ImageSpec(16, 16))
        assert list(GREY) == decoded[:, :, 0].ravel().tolist()

    def test_tiles(self):
        """A picture of 16 × 16 in one tile."""
        tiled = {tag: value for tag, value in tags().items() if tag not in (273, 278, 279)}
        tiled |= {322: (3, (16,)), 323: (3, (16,)), 324: (4, (8,)), 325: (4, (256,))}
        assert list(GREY) == decode(tiff(tiled, GREY), ImageSpec(16, 16))[:, :, 0].ravel().tolist()

    def test_first_page(self):
        """The others are not looked at."""
        data = saved(picture(), "TIFF", save_all=True, append_images=[Image.new("RGB", (500, 500))])
        assert decode(saved(picture(), "PNG"), SPEC).tolist() == decode(data, SPEC).tolist()

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, orientation: int):
        """As in a JPEG."""
        data = saved(picture(), "TIFF", tiffinfo={274: orientation})
        expected = decode(saved(picture(), "PNG", exif=turned(orientation)), SPEC)
        assert expected.tolist() == decode(data, SPEC).tolist()

    @pytest.mark.parametrize(
        "more",
        [
            {"t34665": (4, (2**32 - 1,))},  # Exif outside of the file
            {"t34665": (4, (8,))},
            {"t34853": (4, (3,))},
            {"t34675": (4, (1, 2, 3))},
            {"t700": (3, (7,))},
            {"t274": (3, (99,))},
            {"t274": (4, tuple(range(5_000)))},
            {"t282": (4, (0,))},
            {"t65000": (4, tuple(range(1_000)))},
        ],
    )
    def test_metadata_costs_nothing(self, more: dict):
        """Exif, GPS, profiles, XMP, resolutions and private tags are not shown to the decoder."""
        assert list(GREY) == decode(tiff(tags(**more), GREY), ImageSpec(16, 16))[:, :, 0].ravel().tolist()

    def test_directories_in_a_ring(self):
        """The next directory is not followed."""
        data = bytearray(tiff(tags(), GREY))
        end = 264 + 2 + 12 * len(tags())
        data[end : end + 4] = struct.pack("<I", 264)
        assert list(GREY) == decode(bytes(data), ImageSpec(16, 16))[:, :, 0].ravel().tolist()

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (
                saved(picture(), "TIFF", compression="jpeg"),
                r"This is a TIFF compressed by JPEG\. Expected grey of up to",
            ),
            (saved(picture(), "TIFF", compression="zstd"), r"This is a TIFF compressed by Zstandard\."),
            (saved(picture(), "TIFF", compression="lzma"), r"This is a TIFF compressed by LZMA\."),
            (saved(picture("F"), "TIFF"), r"with 1 samples of 32 floating-point bits a pixel\. .* save it as PNG"),
            (saved(picture("I"), "TIFF"), r"This is a TIFF of grey with 1 samples of 32 signed bits"),
            (saved(picture("LAB"), "TIFF"), r"This is a TIFF of Lab with 3 samples of 8 bits"),
            (tiff(tags(t262=(3, (6,)), t277=(3, (3,)), t258=(3, (8,) * 3)), GREY), r"This is a TIFF of YCbCr with"),
            (tiff(tags(t259=(3, (999,))), GREY), r"compressed by method 999"),
            (tiff(tags(t259=(3, (8,)), t317=(3, (3,))), GREY), r"with predictor 3"),
            (tiff(tags(t259=(3, (7, 1))), GREY), r"compressed by JPEG"),
            (
                tiff(tags(t262=(3, (0,)), t258=(3, (16,))), GREY * 2),
                r"of grey where 0 is white with 1 samples of 16 bits",
            ),
            (
                tiff(tags(t284=(3, (2,)), t262=(3, (2,)), t277=(3, (3,)), t258=(3, (16,) * 3)), GREY),
                r"16 bits a pixel, in separate planes",
            ),
            (tiff(tags(t254=(4, (1,))), GREY), r"This is a camera's raw file, or begins with a preview"),
            (tiff(tags(t50706=(4, (1,))), GREY), r"This is a camera's raw file"),
            (tiff(tags(t262=(3, (32803,))), GREY), r"This is a camera's raw file"),
            (tiff(tags(t259=(3, (34713,))), GREY), r"This is a camera's raw file"),
            (tiff(tags(t259=(3, (6,)), t271=(3, (1,))), GREY), r"This is a camera's raw file"),
            (tiff(tags(), b"CR\2\0" + GREY), r"This is a camera's raw file"),
        ],
    )
    def test_layouts_that_are_not_read_are_named(self, data: bytes, message: str):
        """What it is, what is read, what to do."""
        with pytest.raises(ImageError, match=message) as refused:
            decode(data, SPEC)
        assert "unsupported_format" == refused.value.code

    @pytest.mark.parametrize(
        "changed",
        [
            {"t256": (4, (20_000,))},
            {"t256": (4, (2**32 - 1,)), "t257": (4, (2**32 - 1,))},
        ],
    )
    def test_sizes_are_bounded(self, changed: dict):
        """By the directory, before anything is decoded."""
        assert "image_too_large" == refusal(tiff(tags(**changed), GREY)).code

    @pytest.mark.parametrize(
        "changed",
        [
            {"t273": (4, (8,) * 20_000), "t279": (4, (256,) * 20_000)},
            {"t273": (4, (8,) * 16), "t279": (4, (256,) * 16), "t278": (4, (1,))},
            {"t322": (4, (8_192,)), "t323": (4, (8_192,)), "t324": (4, (8,)), "t325": (4, (256,))},
        ],
        ids=["strips", "one strip many times", "a large tile"],
    )
    def test_pieces_are_bounded(self, changed: dict):
        """More strips than rows, the same bytes for all, tiles far larger than the picture."""
        assert "image_too_complex" == refusal(tiff(tags(**changed, t259=(3, (8,))), GREY * 5)).code

    @pytest.mark.parametrize(
        "data",
        [
            tiff(tags(t273=(4, (5_000,))), GREY),
            tiff(tags(t273=(4, (5_000,)), t259=(3, (5,))), GREY),
            tiff(tags(t278=(4, (4,))), GREY),  # one strip of four
            tiff({tag: value for tag, value in tags().items() if tag != 273}, GREY),
            tiff({tag: value for tag, value in tags().items() if tag != 256}, GREY),
            b"II*\0\xff\xff\0\0",
            b"II+\0\x08\0\0\0" + b"\xff" * 8,
            b"MM\0+\0\x08\0\0" + struct.pack(">QQHHQQ", 16, 1, 273, 16, 2, 2**64 - 1),
        ],
    )
    def test_pixels_that_are_missing_are_missed(self, data: bytes):
        """Strips outside of the file, fewer than there must be, no size, and a directory that is none."""
        assert "corrupt_image" == refusal(data).code

    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
    @pytest.mark.parametrize("packing", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
    def test_cut_anywhere_in_its_pixels(self, mode: str, packing: str):
        """Behind a directory at the beginning: not a byte may be missing, whatever is put behind the file."""
        whole = saved(picture(mode), "TIFF", compression=packing)
        data = pixels_last(whole)
        assert decode(whole, SPEC).tolist() == decode(data, SPEC).tolist()
        for length in (len(data) - 1, len(data) - 2, len(data) - 100, len(data) - 130):
            assert "corrupt_image" == refusal(data[:length]).code

    @pytest.mark.parametrize("kind", [2, 5, 6, 7, 8, 9, 12, 18])
    @pytest.mark.parametrize("tag", [256, 258, 259, 262, 273, 277])
    def test_numbers_of_other_types_are_damage(self, tag: int, kind: int):
        """Where pixels need them: no decoder sees a number that was not understood here."""
        data = bytearray(tiff(tags(), GREY))
        entry = 264 + 2 + 12 * sorted(tags()).index(tag)
        assert struct.pack("<H", tag) == data[entry : entry + 2]
        data[entry + 2 : entry + 4] = struct.pack("<H", kind)
        with pytest.raises(ImageError, match=rf"entry {tag} of its directory holds no whole numbers"):
            decode(bytes(data), SPEC)

    @pytest.mark.parametrize("without", [(279,), (278,), (277,), (259,), (262,), (278, 279), (259, 262, 277, 278, 279)])
    def test_what_many_leave_out(self, without: tuple[int, ...]):
        """One strip, one sample, not packed, 0 is black."""
        left = {tag: value for tag, value in tags().items() if tag not in without}
        assert list(GREY) == decode(tiff(left, GREY), ImageSpec(16, 16))[:, :, 0].ravel().tolist()

    @pytest.mark.parametrize(
        "more",
        [
            {"t279": (4, (0,))},
            {"t279": (4, (2**32 - 1,))},
            {"t339": (3, (4,))},
            {"t320": (3, (1, 2, 3))},
            {"t338": (3, (99,))},
            {"t266": (3, (9,))},
            {"t284": (3, (7,))},
            {"t317": (3, (2,))},
            {"t292": (4, (2**32 - 1,))},
            {"t322": (4, (0,))},
        ],
    )
    def test_entries_without_a_meaning_cost_nothing(self, more: dict):
        """Of a picture that is not packed, without a palette, of one sample."""
        assert list(GREY) == decode(tiff(tags(**more), GREY), ImageSpec(16, 16))[:, :, 0].ravel().tolist()

    @pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "I;16"])
    def test_big(self, mode: str):
        """BigTIFF has wider numbers, which all fit here."""
        data = saved(picture(mode), "TIFF", big_tiff=True)
        assert b"II+\0" == data[:4]
        assert decode(saved(picture(mode), "PNG"), SPEC).tolist() == decode(data, SPEC).tolist()

    def test_palette_of_8_bits(self):
        """Old programs write it so: were it one of 16 bits, all would be black."""
        ramp = tuple(range(256)) * 3
        for palette in (ramp, tuple(257 * level for level in ramp)):
            data = tiff(tags(t262=(3, (3,)), t320=(3, palette)), GREY)
            assert list(GREY) == decode(data, ImageSpec(16, 16))[:, :, 0].ravel().tolist()

    def test_the_strip_counts_as_memory(self):
        """A packed strip is unpacked as a whole, beside the picture."""
        data = saved(Image.new("RGB", (2_000, 2_000)), "TIFF", compression="tiff_lzw", tiffinfo={278: 2_000})
        assert "image_too_large" == refusal(data, ImageLimits(max_decoder_bytes=20_000_000)).code


class TestAvif:
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
    def test_pixels_are_nearly_those_of_the_picture(self, mode: str):
        """It is lossy."""
        decoded = decode(saved(picture(mode), "AVIF", quality=95), SPEC).astype(int)
        assert np.abs(decoded - decode(saved(picture(mode), "PNG"), SPEC)).max() < 16

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, orientation: int):
        """By the properties of the item, which stand for Exif's."""
        expected = decode(saved(picture(), "PNG", exif=turned(orientation)), SPEC).astype(int)
        data = saved(picture(), "AVIF", quality=95, exif=turned(orientation))
        assert np.abs(decode(data, SPEC) - expected).max() < 16
        assert orientation == encoded_image.inspect(data).orientation

    def test_a_film_shows_its_cover(self):
        """The decoder sees no film."""
        frames = [Image.new("RGB", (94, 66), (index, 0, 0)) for index in range(5)]
        data = saved(picture(), "AVIF", quality=95, save_all=True, append_images=frames)
        assert np.abs(decode(data, SPEC).astype(int) - decode(saved(picture(), "PNG"), SPEC)).max() < 16
        seen = encoded_image.inspect(data).without_metadata(data)
        assert 1 == Image.open(io.BytesIO(seen)).n_frames

    @pytest.mark.parametrize("exif", [b"", b"garbage" * 50, b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 600])
    def test_metadata_costs_nothing(self, exif: bytes):
        """Broken Exif and XMP are items that the decoder does not see."""
        block = b"II*\0\x08\0\0\0" + bytes(700)
        data = saved(picture(), "AVIF", exif=b"Exif\0\0" + block, xmp=b"<x/>" * 50, icc_profile=b"no profile")
        broken = data.replace(block[: len(exif)], exif, 1)
        assert (broken == data) == (exif == b"")
        assert decode(saved(picture(), "AVIF"), SPEC).tolist() == decode(broken, SPEC).tolist()
        seen = Image.open(io.BytesIO(encoded_image.inspect(broken).without_metadata(broken)))
        assert {"exif", "xmp"}.isdisjoint(seen.info)

    def test_boxes_that_lie_about_the_size(self):
        """What counts is the frame's own header."""
        data = saved(Image.new("RGB", (3_000, 3_000)), "AVIF", speed=10)
        lying = data.replace(struct.pack(">II", 3_000, 3_000), struct.pack(">II", 64, 64))
        assert lying != data
        assert "image_too_large" == refusal(lying, ImageLimits(max_decoder_bytes=50_000_000)).code

    def test_one_frame_an_item(self):
        """Hidden frames would be decoded for nothing."""
        data = saved(picture(), "AVIF")
        start = data.index(b"mdat") + 4
        frame = data[start:]
        where = data.index(struct.pack(">I", len(frame)), data.index(b"iloc"))
        longer = data[:where] + struct.pack(">I", 2 * len(frame)) + data[where + 4 :] + frame
        assert "image_too_complex" == refusal(longer).code

    def test_one_thread(self):
        """A service of one thread stays one."""
        before = threading.active_count(), len(list(AvifImagePlugin.__dict__))
        decode(saved(picture(), "AVIF"), SPEC)
        assert 1 == AvifImagePlugin.DEFAULT_MAX_THREADS
        assert before == (threading.active_count(), len(list(AvifImagePlugin.__dict__)))

    def test_half_a_file(self):
        """Cut anywhere: damaged, and nothing else."""
        data = saved(picture(), "AVIF")
        for length in range(40, len(data) - 1, 7):
            assert refusal(data[:length]).code == "corrupt_image"


def test_pillow_has_both():
    """The figures above are of its own wheels."""
    assert AvifImagePlugin.SUPPORTED
    assert TiffImagePlugin.TiffImageFile.format == "TIFF"
