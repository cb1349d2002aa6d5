"""Images by name: cheap to send and costly to decode (COSTLY), and ordinary ones that must be answered (ORDINARY).

    python benchmarks/hostile_images.py NAME > picture

All are generated, with the same bytes each time. A COSTLY one is refused or answered within the bounds of the service.
"""

import sys
from collections.abc import Callable
from functools import partial

import hostile_avif as avif
import hostile_exif
import hostile_jpeg as jpeg
import hostile_others as others
import hostile_png as png
import hostile_tiff as tiff
from ordinary_images import ORDINARY

Generator = Callable[[], bytes]

_MB = 10**6
_SIDE = 5_000  # 25 megapixels, the limit
_FULL = (_SIDE, _SIDE)
_SMALL = (1_600, 1_200)  # below what counts as large
_LIMIT = 25_000_000

_JPEG: dict[str, Generator] = {
    "jpeg_refined_25mp": partial(jpeg.refined, *_FULL, 700),
    "jpeg_refined_25mp_10": partial(jpeg.refined, *_FULL, 10),
    "jpeg_refined_2mp": partial(jpeg.refined, *_SMALL, 2_000),
    "jpeg_refined_colour": partial(jpeg.refined_colour, 2_500, 2_500, 600),
    "jpeg_refined_cmyk": partial(jpeg.refined_colour, 2_500, 2_500, 600, sampling=(0x11,) * 4),
    "jpeg_refined_no_data": partial(jpeg.refined_without_data, *_FULL, 2_000),
    "jpeg_refined_8_pixels": partial(jpeg.refined_without_data, 8, 8, 500_000),
    "jpeg_restarted": partial(jpeg.restarted, *_FULL, 2_000),
    "jpeg_sequential_scans": partial(jpeg.sequential_scans, *_FULL, 2_000),
    "jpeg_arithmetic": partial(jpeg.arithmetic, *_FULL),
    "jpeg_arithmetic_scans": partial(jpeg.arithmetic_scans, *_FULL, 2_000),
    "jpeg_cmyk_progressive": partial(jpeg.whole, *_FULL),
    "jpeg_444_progressive": partial(jpeg.whole, *_FULL, components=3),
    "jpeg_cmyk_wide": partial(jpeg.whole, 65_000, 384, progressive=False),
    "jpeg_cmyk_tall": partial(jpeg.whole, 384, 65_000),
    "jpeg_exif_pieces": partial(jpeg.exif_pieces, 2 * _MB),
    "jpeg_exif_pieces_100": partial(jpeg.exif_pieces, 10 * _MB, 100),
    "jpeg_comments": partial(jpeg.segments, 0xFE, b"", 10 * _MB),
    "jpeg_comments_60": partial(jpeg.segments, 0xFE, bytes(60), 10 * _MB),
    "jpeg_app_empty": partial(jpeg.segments, 0xE5, b"", 10 * _MB),
    "jpeg_icc_pieces": partial(jpeg.segments, 0xE2, b"ICC_PROFILE\0\1\1", 10 * _MB),
    "jpeg_xmp_pieces": partial(jpeg.segments, 0xE1, b"http://ns.adobe.com/xap/1.0/\0", 10 * _MB),
    "jpeg_huffman_tables": partial(jpeg.segments, 0xC4, b"\0\1" + bytes(16), 10 * _MB),
    "jpeg_restart_intervals": partial(jpeg.segments, 0xDD, b"\0\0", 10 * _MB),
    "jpeg_quantization": partial(jpeg.quantization, 10 * _MB),
    "jpeg_photoshop": partial(jpeg.photoshop, 10 * _MB),
    "jpeg_fill_ff": partial(jpeg.filler, b"\xff", 10 * _MB),
    "jpeg_fill_ff00": partial(jpeg.filler, b"\xff\0", 10 * _MB),
    "jpeg_fill_junk": partial(jpeg.filler, b"\0", 10 * _MB),
    "jpeg_fill_restarts": partial(jpeg.filler, b"\xff\xd0", 10 * _MB),
}


def _exif_in(carrier: Callable[[bytes], bytes], make: Callable[..., bytes], *sizes: int) -> bytes:
    return carrier(make(*sizes))


# Pillow reads these when it opens a JPEG without density, and after the pixels otherwise.
_BLOCKS: dict[str, tuple] = {
    "shared": (hostile_exif.shared_block, 5_000, 60_000),
    "rationals": (hostile_exif.rationals, 8 * _MB),
    "long_orientation": (hostile_exif.long_orientation, 8 * _MB),
    "entries": (hostile_exif.many_small,),
    "warnings": (hostile_exif.many_warnings,),
}
_CARRIERS = {"jpeg": jpeg.exif, "png": png.exif, "webp": others.webp_exif}
_EXIF: dict[str, Generator] = {
    f"{carrier}_exif_{name}": partial(_exif_in, _CARRIERS[carrier], *block)
    for name, block in _BLOCKS.items()
    for carrier in _CARRIERS
}
_EXIF |= {
    "png_exif_text_shared": partial(_exif_in, png.exif_text, hostile_exif.shared_block, 10_000, 300_000),
    "png_exif_text_rationals": partial(_exif_in, png.exif_text, hostile_exif.long_orientation, 500_000),
    "jpeg_mpf_shared": partial(_exif_in, jpeg.multi_picture, hostile_exif.shared_block, 2_000, 40_000),
    "jpeg_mpf_count": jpeg.deep_multi_picture,
}

_PNG: dict[str, Generator] = {
    "png_one_column": partial(png.plain, 1, _LIMIT, png.GREY),
    "png_one_column_grey16": partial(png.tall_grey, 1, _LIMIT),
    "png_one_row": partial(png.plain, _LIMIT, 1, png.RGBA),
    "png_one_row_grey16": partial(png.tall_grey, _LIMIT, 1),
    "png_16384_tall_grey16": partial(png.tall_grey, 1_525, 16_384),
    "png_rgba_paeth": partial(png.plain, *_FULL, png.RGBA, filter_type=4),
    "png_rgba_16_bit": partial(png.plain, *_FULL, png.RGBA, depth=16, filter_type=4),
    "png_grey_16_transparent": partial(png.tall_grey, *_FULL),
    "png_rgb_transparent": partial(png.transparent_level, *_FULL),
    "png_palette_alpha": partial(png.palette, *_FULL),
    "png_palette_1_bit": partial(png.palette, *_FULL, depth=1),
    "png_grey_alpha": partial(png.plain, *_FULL, png.GREY_ALPHA),
    "png_interlaced": partial(png.plain, *_FULL, png.RGBA, filter_type=4, interlaced=True),
    "png_interlaced_tall": partial(png.plain, 1, _LIMIT, png.GREY, interlaced=True),
    "png_animated": partial(png.animation, *_FULL),
    "png_frame_controls": partial(png.frame_controls, 10 * _MB),
    "png_iccp": partial(png.inflating, b"iCCP", _MB),
    "png_iccp_late": partial(png.inflating, b"iCCP", _MB, late=True),
    "png_ztxt": partial(png.inflating, b"zTXt", _MB),
    "png_ztxt_late": partial(png.inflating, b"zTXt", _MB, late=True),
    "png_itxt": partial(png.inflating, b"iTXt", _MB),
    "png_idat_empty": partial(png.empty_data, 10 * _MB),
    "png_idat_empty_late": partial(png.empty_data, 10 * _MB, late=True),
    "png_idat_of_one_byte": partial(png.sliced_data, 500, 500),
    "png_private": partial(png.flood, b"prVt", b"", 10 * _MB),
    "png_private_late": partial(png.flood, b"prVt", b"", 10 * _MB, late=True),
    "png_unknown": partial(png.flood, b"pRVt", b"", 10 * _MB),
    "png_text": partial(png.flood, b"tEXt", b"a\0b", 10 * _MB),
    "png_text_late": partial(png.flood, b"tEXt", b"a\0b", 10 * _MB, late=True),
    "png_gamma": partial(png.flood, b"gAMA", bytes(4), 10 * _MB),
    "png_palettes": partial(png.flood, b"PLTE", bytes(3), 10 * _MB),
    "png_exifs": partial(png.flood, b"eXIf", bytes(8), 10 * _MB),
    "png_deflate_blocks": partial(png.deflate_blocks, 10 * _MB),
}

_OTHERS: dict[str, Generator] = {
    "bmp_rle8_padded_wide": partial(others.padded, _LIMIT, 1),
    "bmp_rle8_padded_tall": partial(others.padded, *_FULL),
    "bmp_rle8_padded_2mp": partial(others.padded, *_SMALL),
    "bmp_rle8_deltas": partial(others.deltas, *_FULL),
    "bmp_rle4_runs": partial(others.runs, *_FULL),
    "bmp_rle4_absolute": partial(others.absolute, 4_000, 4_000),
    "bmp_rle8_lines": partial(others.no_progress, b"\0\0", 10 * _MB),
    "bmp_rle8_jumps_nowhere": partial(others.no_progress, b"\0\2\0\0", 10 * _MB),
    "bmp_rle8_past_the_row": partial(others.no_progress, b"\1\1", 10 * _MB),
    "bmp_one_bit": partial(others.uncompressed, *_FULL),
    "bmp_one_bit_tall": partial(others.uncompressed, 32, 781_250),
    "gif_25mp": partial(others.gif, *_FULL),
    "gif_interlaced": partial(others.gif, *_FULL, interlaced=True),
    "gif_wide": partial(others.gif, 65_535, 381),
    "gif_tall": partial(others.gif, 381, 65_535),
    "gif_frame_beyond_canvas": partial(others.gif, *_FULL, canvas=(1, 1)),
    "gif_frame_of_one_pixel": partial(others.gif, 1, 1, canvas=_FULL),
    "gif_disposed": partial(others.gif_disposed, *_FULL),
    "gif_sub_blocks_of_one": partial(others.gif, *_FULL, sub_block=1),
    "gif_comment_255": partial(others.gif_comment, 10 * _MB, 255),
    "gif_comment_1": partial(others.gif_comment, 10 * _MB, 1),
    "gif_comment_2": partial(others.gif_comment, 10 * _MB, 2),
    "gif_comments": partial(others.gif_flood, b"!\xfe\1c\0", 10 * _MB),
    "gif_graphic_controls": partial(others.gif_flood, b"!\xf9\4\0\0\0\0\0", 10 * _MB),
    "gif_applications": partial(others.gif_flood, b"!\xff\1a\0", 10 * _MB),
    "gif_junk": partial(others.gif_flood, b"\0", 10 * _MB),
    "webp_lossless": partial(others.webp_lossless, *_FULL),
    "webp_lossless_wide": partial(others.webp_lossless, 16_384, 1_525),
    "webp_transformed": partial(others.webp_transformed, *_FULL),
    "webp_animated": partial(others.webp_animated, *_FULL),
    "webp_animated_full": partial(others.webp_animated, *_FULL, frame=_FULL),
    "webp_animated_frames": partial(others.webp_animated, 1_000, 1_000, frames=100_000),
    "webp_chunks": partial(others.webp_flood, b"abcd", b"", 10 * _MB),
}

_TIFF: dict[str, Generator] = {
    "tiff_deflate_one_strip": partial(tiff.deflated, *_FULL),
    "tiff_deflate_strips": partial(tiff.deflated, *_FULL, rows=8),
    "tiff_deflate_16_bit": partial(tiff.deflated, *_FULL, rows=64, samples=4, bits=16),
    "tiff_deflate_grey_16": partial(tiff.deflated, *_FULL, samples=1, bits=16, colours=1),
    "tiff_deflate_cmyk": partial(tiff.deflated, *_FULL, rows=100, samples=4, colours=5),
    "tiff_raw_rows": partial(tiff.raw_rows, 1_525, 16_384),
    "tiff_raw_rows_wide": partial(tiff.raw_rows, 16_384, 1_525),
    "tiff_shared_strip": partial(tiff.shared_strip, _MB, 1_000),
    "tiff_deflate_blocks": partial(tiff.blocks, 10 * _MB),
    "tiff_tile_of_16384": partial(tiff.tiles, 1, 1, 16_384, 1),
    "tiff_tiles_of_4096": partial(tiff.tiles, 64, 64, 4_096, 1),
    "tiff_tiles_shared": partial(tiff.tiles, 1_024, 1_024, 64, 16_000),
    "tiff_entries": partial(tiff.entries, 65_535),
    "tiff_values": partial(tiff.values, 273, 2_000_000),
    "tiff_exif": partial(_exif_in, tiff.exif, hostile_exif.rationals, 8 * _MB),
}

_AVIF: dict[str, Generator] = {
    "avif_25mp": partial(avif.plain, *_FULL),
    "avif_9mp": partial(avif.plain, 3_000, 3_000),
    "avif_8mp_444": partial(avif.plain, 4_000, 2_000, subsampling="4:4:4"),
    "avif_5mp_alpha": partial(avif.plain, 2_500, 2_000, "RGBA"),
    "avif_lying": partial(avif.lying, *_FULL),
    "avif_film": partial(avif.film, 1_000, 50),
    "avif_repeated": partial(avif.repeated, 2_000, 2_000, 2_000),
    "avif_boxes": partial(avif.boxes, 10 * _MB),
    "avif_exif": partial(_exif_in, avif.exif, hostile_exif.rationals, 8 * _MB),
}

COSTLY: dict[str, Generator] = _JPEG | _EXIF | _PNG | _OTHERS | _TIFF | _AVIF
"""Cheap to send and costly to decode: at most 10 MB each."""


if __name__ == "__main__":
    sys.stdout.buffer.write((COSTLY | ORDINARY)[sys.argv[1]]())
