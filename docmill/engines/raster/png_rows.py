"""PNG's compressed rows (W3C PNG, clauses 8 to 10): checked, salvaged, and as samples without Pillow."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import TYPE_CHECKING

from isal import igzip_lib, isal_zlib

from docmill.errors import CorruptDocument
from docmill.png import ADAM7, GRAY_ALPHA, RGB_ALPHA, PngHeader

if TYPE_CHECKING:
    from PIL import Image

Buffer = bytes | mmap

# Deflate makes at most 1032 bytes of one: a part of the input stays small when it is inflated.
_PART = 1 << 15
_LAST_FILTER = 4


@dataclass(frozen=True, slots=True)
class Alpha:
    """The opacity of each pixel, rows from the top; 8 or 16 bit, big-endian."""

    samples: bytes
    bits: int


@dataclass(frozen=True, slots=True)
class _Pass:
    """A pass of the image: its size, and where its pixels belong."""

    width: int
    height: int
    x: int = 0
    y: int = 0
    dx: int = 1
    dy: int = 1

    def stride(self, header: PngHeader) -> int:
        """The bytes of a row with its filter byte."""
        return 1 + (self.width * header.channels * header.bits + 7) // 8


def check(data: Buffer, header: PngHeader) -> None:
    """Inflate the image's data, keeping none of it, and check its length, checksum and filter types.

    Raises `CorruptDocument`. A stream that has all rows but lacks its end is whole enough.
    """
    missing = sum(part.height * part.stride(header) for part in _passes(header))
    stride = 0 if header.interlaced else 1 + header.row_bytes
    position = 0
    for rows in _inflated(data, header):
        if missing <= 0:
            break
        rows = rows[:missing]
        if stride and max(rows[-position % stride :: stride], default=0) > _LAST_FILTER:
            raise CorruptDocument("the PNG has a row of an unknown filter type")
        position += len(rows)
        missing -= len(rows)
    if missing > 0:
        raise CorruptDocument(
            f"the PNG's data ends {missing} bytes early", hint="the file seems to be truncated"
        )


def salvage(data: Buffer, header: PngHeader) -> bytes:
    """The rows of a broken image that is not interlaced, filter bytes included, with white for the rest."""
    stride = 1 + header.row_bytes
    rows = bytearray()
    try:
        for part in _inflated(data, header):
            rows += part
            if len(rows) >= stride * header.height:
                break
    except CorruptDocument:
        pass
    whole = min(len(rows) // stride, header.height)
    bad = next((row for row in range(whole) if rows[row * stride] > _LAST_FILTER), whole)
    white = b"\0" + b"\xff" * header.row_bytes
    return bytes(rows[: bad * stride]) + white * (header.height - bad)


def samples(data: Buffer, header: PngHeader) -> tuple[bytes, Alpha | None]:
    """The colour samples of an image of 16 bit, without filters, passes and alpha, and the alpha."""
    pixel = header.channels * 2
    raw = b"".join(_inflated(data, header))
    canvas = bytearray(header.width * header.height * pixel)
    start = 0
    for part in _passes(header):
        size = part.height * part.stride(header)
        _place(canvas, header, part, _unfiltered(raw[start : start + size], header, part))
        start += size
    if header.color_type in (GRAY_ALPHA, RGB_ALPHA):
        color = bytearray(len(canvas) // pixel * (pixel - 2))
        for byte in range(pixel - 2):
            color[byte :: pixel - 2] = canvas[byte::pixel]
        alpha = bytearray(header.width * header.height * 2)
        alpha[0::2], alpha[1::2] = canvas[pixel - 2 :: pixel], canvas[pixel - 1 :: pixel]
        return bytes(color), None if alpha.count(255) == len(alpha) else Alpha(bytes(alpha), 16)
    if header.transparency is not None:
        return bytes(canvas), _keyed(canvas, header)
    return bytes(canvas), None


def _passes(header: PngHeader) -> Iterator[_Pass]:
    if not header.interlaced:
        yield _Pass(header.width, header.height)
        return
    for x, y, dx, dy in ADAM7:
        width, height = -(-(header.width - x) // dx), -(-(header.height - y) // dy)
        if width > 0 and height > 0:
            yield _Pass(width, height, x, y, dx, dy)


def _inflated(data: Buffer, header: PngHeader) -> Iterator[bytes]:
    inflate = isal_zlib.decompressobj()
    try:
        for start, end in header.idat:
            for at in range(start, end, _PART):
                if rows := inflate.decompress(data[at : min(at + _PART, end)]):
                    yield rows
                if inflate.eof:
                    return
        if rows := inflate.flush():
            yield rows
    except igzip_lib.IsalError:  # type: ignore[misc]  # its stub has an instance
        raise CorruptDocument("the PNG's data is damaged: it cannot be inflated") from None


def _unfiltered(rows: bytes, header: PngHeader, part: _Pass) -> bytes:
    """Rows without their filters, by qpdf: Python is too slow for it, and Pillow knows no 16 bit colour."""
    import pikepdf

    document = pikepdf.new()  # must outlive its stream
    stream = pikepdf.Stream(document, zlib.compress(rows, 0))
    stream.Filter = pikepdf.Name.FlateDecode
    stream.DecodeParms = pikepdf.Dictionary(
        Predictor=15, Colors=header.channels, BitsPerComponent=header.bits, Columns=part.width
    )
    return bytes(stream.read_bytes())


def _place(canvas: bytearray, header: PngHeader, part: _Pass, raw: bytes) -> None:
    if part.dx == 1 and part.dy == 1:
        canvas[:] = raw
        return
    pixel = header.channels * 2
    stride, width = header.width * pixel, part.width * pixel
    for row in range(part.height):
        line = raw[row * width : (row + 1) * width]
        start = (part.y + row * part.dy) * stride
        for byte in range(pixel):
            canvas[start + part.x * pixel + byte : start + stride : part.dx * pixel] = line[byte::pixel]


def _keyed(canvas: bytearray, header: PngHeader) -> Alpha | None:
    """The mask of the one transparent colour, put together from the bytes of a pixel."""
    from PIL import Image, ImageChops

    pixel, key = header.channels * 2, header.transparency or b""
    equal: Image.Image | None = None
    for byte in range(pixel):
        table = bytearray(256)
        table[key[byte]] = 255
        plane = Image.frombytes("L", (header.width, header.height), canvas[byte::pixel].translate(table))
        equal = plane if equal is None else ImageChops.darker(equal, plane)
    if equal is None or equal.getextrema() == (0, 0):
        return None
    return Alpha(ImageChops.invert(equal).tobytes(), 8)
