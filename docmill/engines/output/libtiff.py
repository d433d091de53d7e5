"""libtiff's encoders, by Pillow, as functions from rows to the bytes of one strip."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from docmill.errors import EngineFailed
from docmill.formats import Compression
from docmill.tiff_tags import Compression as Code
from docmill.tiff_tags import Photometric, Tag

_CCITT = {
    Compression.CCITT_RLE: Code.CCITT_RLE,
    Compression.CCITT_G3_1D: Code.CCITT_G3,
    Compression.CCITT_G3_2D: Code.CCITT_G3,
    Compression.CCITT_G4: Code.CCITT_G4,
}
_OTHER = {Compression.LZW: Code.LZW, Compression.PACKBITS: Code.PACKBITS}


def encode_bilevel(rows: NDArray[np.uint8], width: int, compression: Compression) -> bytes:
    """Rows of packed bits, 0 for white, in one of the CCITT codes."""
    tags = {
        Tag.IMAGE_WIDTH: width,
        Tag.BITS_PER_SAMPLE: 1,
        Tag.COMPRESSION: int(_CCITT[compression]),
        Tag.PHOTOMETRIC: int(Photometric.MIN_IS_WHITE),
    }
    if compression is Compression.CCITT_G3_2D:
        tags[Tag.T4_OPTIONS] = 1
    return _encode(rows, tags)


def encode_bytes(rows: NDArray[np.uint8], compression: Compression) -> bytes:
    """Rows of bytes in LZW or PackBits."""
    tags = {
        Tag.IMAGE_WIDTH: rows.shape[1],
        Tag.BITS_PER_SAMPLE: 8,
        Tag.COMPRESSION: int(_OTHER[compression]),
        Tag.PHOTOMETRIC: int(Photometric.MIN_IS_BLACK),
    }
    return _encode(rows, tags)


def _encode(rows: NDArray[np.uint8], tags: dict[Tag, int]) -> bytes:
    """The one strip of a TIFF that libtiff makes of these bytes.

    Pillow's encoder is called with the bytes as they are, as pixels of 8 bits: handed a 1 bit image it spends
    13 ms an A4 page on packing the pixels that it keeps as a byte each, twice as much as on Group 4.

    `_getencoder` is private to Pillow, but there is no public way of the same speed: `Image.save` sets
    BitsPerSample from the mode, so that only a 1 bit image becomes CCITT, and takes 19 to 21 ms for a page of
    text where this takes 6.7. Should Pillow change it, the tests of TIFF output fail at once.
    """
    height, row_bytes = rows.shape
    image = Image.frombuffer("L", (row_bytes, height), np.ascontiguousarray(rows), "raw", "L", 0, 1)
    tags |= {Tag.IMAGE_LENGTH: height, Tag.SAMPLES_PER_PIXEL: 1, Tag.ROWS_PER_STRIP: height}
    encoder: Any = Image._getencoder("L", "libtiff", ("L", 0, "", sorted(tags.items()), {}), ())
    parts = []
    try:
        encoder.setimage(image.im, (0, 0, row_bytes, height))
        status = 0
        while not status:
            _, status, part = encoder.encode(1 << 20)
            parts.append(part)
    finally:
        encoder.cleanup()
    if status < 0:
        raise EngineFailed(f"libtiff cannot encode a strip of {row_bytes} x {height} bytes (error {status})")
    tiff = b"".join(parts)
    with TiffImagePlugin.TiffImageFile(io.BytesIO(tiff)) as made:
        (offset,), (size,) = made.tag_v2[Tag.STRIP_OFFSETS], made.tag_v2[Tag.STRIP_BYTE_COUNTS]
    return tiff[offset : offset + size]
