"""Pages as PNG (W3C, third edition), by the predictor and the compressor that fit the page."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from docmill.engines.deflate import Filter
from docmill.engines.output import deflate
from docmill.engines.output.metadata import exif_block
from docmill.engines.output.page import Bytes, Color, PageImage, bytes_of
from docmill.facts import METRES_PER_INCH
from docmill.png import SIGNATURE

_INCHES_A_METRE = 1 / METRES_PER_INCH

# Chunks that a profile stands for.
_LIKE_A_PROFILE = frozenset({b"gAMA", b"cHRM", b"sRGB"})
_COLOR_TYPES = {
    (Color.GRAY, False): 0,
    (Color.RGB, False): 2,
    (Color.PALETTE, False): 3,
    (Color.GRAY, True): 4,
    (Color.RGB, True): 6,
}
# Paeth costs colour more time than it saves bytes.
_FILTERS_GRAY = (Filter.NONE, Filter.UP, Filter.PAETH)
_FILTERS_RGB = (Filter.NONE, Filter.SUB, Filter.UP, Filter.AVERAGE)


def write_png(page: PageImage, path: Path) -> None:
    """Write a page of gray, RGB (both with or without alpha) or palette, up to 16 bits a sample."""
    with path.open("wb") as file:
        file.write(SIGNATURE)
        kind = _COLOR_TYPES[page.color, page.alpha]
        _chunk(file, b"IHDR", struct.pack(">IIBBBBB", page.width, page.height, page.bits, kind, 0, 0, 0))
        if page.icc:
            _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(page.icc))
        for name, body in page.png_colors:
            if not page.icc or name not in _LIKE_A_PROFILE:
                _chunk(file, name, body)
        if page.dpi:
            x, y = (min(round(dpi * _INCHES_A_METRE), 0x7FFFFFFF) for dpi in page.dpi)
            _chunk(file, b"pHYs", struct.pack(">IIB", x, y, 1))
        elif page.pixel_shape:
            _chunk(file, b"pHYs", struct.pack(">IIB", *page.pixel_shape, 0))
        if page.exif:
            _chunk(file, b"eXIf", exif_block(page).removeprefix(b"Exif\0\0"))
        if page.xmp:
            _chunk(file, b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + page.xmp)
        if page.color is Color.PALETTE:
            _chunk(file, b"PLTE", page.palette)
        for part in _whole(page) if page.is_whole else _in_bands(page):
            if part:
                _chunk(file, b"IDAT", part)
        _chunk(file, b"IEND", b"")


def _whole(page: PageImage) -> Iterator[bytes]:
    rows = bytes_of(page.whole(), ">")
    if page.bits < 8 or page.color is Color.PALETTE:
        filters: tuple[Filter, ...] = (Filter.NONE,)
    else:
        filters = _FILTERS_GRAY if page.color is Color.GRAY else _FILTERS_RGB
    pixel_bytes = max(1, page.samples * page.bits // 8)
    filter, compress = deflate.choose(rows, pixel_bytes, filters)
    yield compress(_scanlines(deflate.predict(rows, pixel_bytes, filter), filter))


def _in_bands(page: PageImage) -> Iterator[bytes]:
    filter = Filter.UP if page.bits >= 8 and page.color is not Color.PALETTE else Filter.NONE

    def bands() -> Iterator[Bytes]:
        above = None
        for band in page.bands:
            rows = bytes_of(band, ">")
            yield _scanlines(deflate.predict(rows, 1, filter, above), filter)
            # A copy: the next band may come in the same memory.
            above = rows[-1].copy()

    return deflate.stream(bands())


def _scanlines(rows: Bytes, filter: Filter) -> Bytes:
    """Rows with the byte before them that names their predictor."""
    lines = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    lines[:, 0] = filter
    lines[:, 1:] = rows
    return lines


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
