"""A page's strips and tags for TIFF (TIFF 6.0; CCITT by T.4 and T.6; JPEG by Technical Note 2)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from docmill.engines.deflate import Compress, Filter
from docmill.engines.output import deflate
from docmill.engines.output.libtiff import encode_bilevel, encode_bytes
from docmill.engines.output.metadata import resolution_fields, sized
from docmill.engines.output.page import Bytes, Color, PageImage, Rows, bytes_of
from docmill.engines.output.pillow_file import jpeg_bytes
from docmill.formats import BILEVEL, Compression, Subsampling
from docmill.tiff_fields import BYTE, LONG, RATIONAL, SHORT, UNDEFINED, Ifd, TiffField
from docmill.tiff_tags import ALIGNED_FAX, ALIGNED_FAX_END, Photometric, Tag
from docmill.tiff_tags import Compression as Code

CODES = {
    Compression.NONE: Code.NONE,
    Compression.PACKBITS: Code.PACKBITS,
    Compression.CCITT_RLE: Code.CCITT_RLE,
    Compression.CCITT_G3_1D: Code.CCITT_G3,
    Compression.CCITT_G3_2D: Code.CCITT_G3,
    Compression.CCITT_G4: Code.CCITT_G4,
    Compression.LZW: Code.LZW,
    Compression.DEFLATE: Code.DEFLATE,
    Compression.JPEG: Code.JPEG,
}
_FACTORS = {Subsampling.FULL: (1, 1), Subsampling.HALF: (2, 1), Subsampling.QUARTER: (2, 2)}
# What a reader holds at a time of a page that is not in CCITT or JPEG.
_STRIP_BYTES = 1 << 20
# JPEG's frame header has 16 bits for the height; whole blocks of the coarsest subsampling.
_JPEG_ROWS = 65_520
_HORIZONTAL = 2
_UNASSOCIATED_ALPHA = 2
_INTEGER, _FLOAT = 2, 3


@dataclass(frozen=True, slots=True)
class TiffPage:
    """An encoded page: the file that has its strips one after the other, their sizes, its fields but those
    that say where strips lie, and the directories that hang on its own."""

    path: Path
    strip_sizes: tuple[int, ...]
    fields: Mapping[int, TiffField]
    hanging: Mapping[int, Ifd] = field(default_factory=dict)


def write_tiff_page(
    page: PageImage,
    path: Path,
    compression: Compression,
    *,
    quality: int,
    subsampling: Subsampling,
    one_strip: bool = False,
) -> TiffPage:
    """Encode a page's strips into `path`; bilevel compressions want 1 bit gray, JPEG 8 bits a sample.

    `one_strip` wants a page that is whole.
    """
    described = sized(page)
    fields = dict(described.fields)
    fields |= _pixel_fields(page, compression)
    fields |= resolution_fields(page)
    if page.xmp:
        fields[Tag.XMP] = TiffField(BYTE, len(page.xmp), page.xmp)
    if page.icc:
        fields[Tag.ICC_PROFILE] = TiffField(UNDEFINED, len(page.icc), page.icc)
    rows = page.height if one_strip else _rows_per_strip(page, compression)
    fields[Tag.ROWS_PER_STRIP] = _long(rows)
    if compression is Compression.JPEG:
        strips = _jpeg_strips(page, rows, quality, subsampling, fields)
    elif compression in BILEVEL:
        end = ALIGNED_FAX_END if CODES[compression] in ALIGNED_FAX else b""
        strips = (
            encode_bilevel(np.bitwise_not(strip), page.width, compression) + end
            for strip in _bytes(page, rows)
        )
    elif compression is Compression.DEFLATE:
        strips = _deflate_strips(page, rows, fields)
    elif compression is Compression.NONE:
        strips = (strip.tobytes() for strip in _bytes(page, rows))
    else:
        strips = _libtiff_strips(page, rows, compression, fields)
    sizes = []
    with path.open("wb") as file:
        for strip in strips:
            file.write(strip)
            sizes.append(len(strip))
    return TiffPage(path, tuple(sizes), fields, described.hanging)


def _rows_per_strip(page: PageImage, compression: Compression) -> int:
    if compression in BILEVEL:
        # Strips begin without the row above: one strip is smallest, and what fax readers expect.
        return min(page.height, page.band_rows)
    if compression is Compression.JPEG:
        return min(page.height, _JPEG_ROWS if page.is_whole else page.band_rows)
    rows = 1 << max(0, (_STRIP_BYTES // max(1, page.row_bytes)).bit_length() - 1)
    return min(page.height, rows if page.is_whole else math.gcd(rows, page.band_rows))


def _pixel_fields(page: PageImage, compression: Compression) -> dict[int, TiffField]:
    fields: dict[int, TiffField] = {
        Tag.IMAGE_WIDTH: _long(page.width),
        Tag.IMAGE_LENGTH: _long(page.height),
        Tag.BITS_PER_SAMPLE: _shorts(*[page.bits] * page.samples),
        Tag.COMPRESSION: _shorts(CODES[compression]),
        Tag.PHOTOMETRIC: _shorts(_photometric(page, compression)),
        Tag.ORIENTATION: _shorts(page.orientation),
        Tag.SAMPLES_PER_PIXEL: _shorts(page.samples),
        Tag.PLANAR_CONFIGURATION: _shorts(1),
    }
    if compression is Compression.CCITT_G3_2D:
        fields[Tag.T4_OPTIONS] = _long(1)
    if page.alpha:
        fields[Tag.EXTRA_SAMPLES] = _shorts(_UNASSOCIATED_ALPHA)
    if page.bits == 32:
        fields[Tag.SAMPLE_FORMAT] = _shorts(*[_FLOAT if page.is_float else _INTEGER] * page.samples)
    if page.color is Color.PALETTE:
        fields[Tag.COLOR_MAP] = _color_map(page)
    return fields


def _photometric(page: PageImage, compression: Compression) -> Photometric:
    if compression in BILEVEL:
        # Runs of white are what the code tables of T.4 are made for; white is 0 there.
        return Photometric.MIN_IS_WHITE
    if page.color is Color.RGB and compression is Compression.JPEG:
        return Photometric.YCBCR
    return {
        Color.GRAY: Photometric.MIN_IS_BLACK,
        Color.RGB: Photometric.RGB,
        Color.PALETTE: Photometric.PALETTE,
        Color.CMYK: Photometric.SEPARATED,
    }[page.color]


def _color_map(page: PageImage) -> TiffField:
    """All reds, then greens, then blues, of 16 bits each (TIFF 6.0, section 5)."""
    entries = 1 << page.bits
    colors = np.zeros((entries, 3), np.uint16)
    palette = np.frombuffer(page.palette, np.uint8).reshape(-1, 3)[:entries]
    colors[: len(palette)] = palette.astype(np.uint16) * 257
    return _shorts(*colors.T.ravel().tolist())


def _deflate_strips(page: PageImage, rows: int, fields: dict[int, TiffField]) -> Iterator[bytes]:
    """Strips by the predictor and compressor that suit the first band of the page."""
    choice: tuple[Filter, Compress] | None = None
    for strip, differences in _with_differences(page, rows):
        if choice is None:
            choice = _choose(page, strip, differences)
            fields |= _predictor_field(choice[0])
        chosen = strip if choice[0] is Filter.NONE else differences()
        yield choice[1](chosen)


def _libtiff_strips(
    page: PageImage, rows: int, compression: Compression, fields: dict[int, TiffField]
) -> Iterator[bytes]:
    """LZW and PackBits; the predictor, which only LZW may have, by what Deflate would make of the rows."""
    choice = Filter.NONE
    for number, (strip, differences) in enumerate(_with_differences(page, rows)):
        if compression is Compression.LZW and number == 0:
            choice, _ = _choose(page, strip, differences)
            fields |= _predictor_field(choice)
        chosen = strip if choice is Filter.NONE else differences()
        yield encode_bytes(chosen, compression)


def _with_differences(page: PageImage, rows: int) -> Iterator[tuple[Bytes, Callable[[], Bytes]]]:
    """Each strip as bytes, and how to get it with each sample less that of the pixel before (section 14)."""
    for strip in page.strips(rows):

        def differences(strip: Rows = strip) -> Bytes:
            less = strip.copy()
            less[:, page.samples :] -= strip[:, : -page.samples]
            return bytes_of(less, "<")

        yield bytes_of(strip, "<"), differences


def _choose(page: PageImage, strip: Bytes, differences: Callable[[], Bytes]) -> tuple[Filter, Compress]:
    plain, compress = deflate.choose(strip, 1, (Filter.NONE,))
    if page.bits not in (8, 16) or page.color is Color.PALETTE:
        return plain, compress
    less = differences()
    _, compress_less = deflate.choose(less, 1, (Filter.NONE,))
    if len(compress_less(less)) < len(compress(strip)):
        return Filter.SUB, compress_less
    return plain, compress


def _predictor_field(filter: Filter) -> dict[int, TiffField]:
    return {Tag.PREDICTOR: _shorts(_HORIZONTAL)} if filter is Filter.SUB else {}


def _jpeg_strips(
    page: PageImage, rows: int, quality: int, subsampling: Subsampling, fields: dict[int, TiffField]
) -> Iterator[bytes]:
    if page.color is Color.RGB:
        fields[Tag.YCBCR_SUBSAMPLING] = _shorts(*_FACTORS[subsampling])
        values = struct.pack("<12I", *(part for v in (0, 255, 128, 255, 128, 255) for part in (v, 1)))
        fields[Tag.REFERENCE_BLACK_WHITE] = TiffField(RATIONAL, 6, values)
    for strip in page.strips(rows):
        if page.color is Color.CMYK:
            # Pillow inverts CMYK, as Photoshop does in JPEG files; in TIFF 0 is no ink.
            strip = np.bitwise_not(strip)
        yield jpeg_bytes(_image(page, strip), quality, subsampling)


def _image(page: PageImage, strip: Rows) -> Image.Image:
    mode = {Color.GRAY: "L", Color.RGB: "RGB", Color.CMYK: "CMYK"}[page.color]
    return Image.frombuffer(mode, (page.width, len(strip)), np.ascontiguousarray(strip), "raw", mode, 0, 1)


def _bytes(page: PageImage, rows: int) -> Iterator[Bytes]:
    return (bytes_of(strip, "<") for strip in page.strips(rows))


def _shorts(*values: int) -> TiffField:
    return TiffField(SHORT, len(values), struct.pack(f"<{len(values)}H", *values))


def _long(value: int) -> TiffField:
    return TiffField(LONG, 1, struct.pack("<I", value))
