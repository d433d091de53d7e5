"""A page of pixels, as bands of rows from the top, so that it need not be in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from docmill.tiff_fields import Ifd

# Of uint8, uint16, int32 or float32.
Rows: TypeAlias = NDArray[Any]
Bytes: TypeAlias = NDArray[np.uint8]


class Color(StrEnum):
    """What the samples of a pixel mean."""

    GRAY = "gray"
    RGB = "RGB"
    PALETTE = "palette"
    CMYK = "CMYK"


CHANNELS = {Color.GRAY: 1, Color.RGB: 3, Color.PALETTE: 1, Color.CMYK: 4}


@dataclass(slots=True, kw_only=True)
class PageImage:
    """A page of pixels.

    A band is an array of rows x samples, pixel by pixel; samples of 1, 2 and 4 bits are packed into bytes
    from the high bit, each row from a new byte on. Gray is 0 for black, CMYK 0 for no ink; alpha comes last
    and is not multiplied in. Samples of 32 bits are floats with `is_float`, else signed. `aspect` is vertical
    to horizontal resolution where there is no `dpi`. `exif` has what describes the page in TIFF's fields and
    Exif's, `xmp` is an XMP packet, and `png_colors` are chunks of PNG that say what the colours are; `notes`
    say what of the page was lost on the way. All bands but the last have `band_rows` rows; a band is valid
    until the next is asked for.
    """

    width: int
    height: int
    color: Color
    bits: int
    bands: Iterable[Rows]
    band_rows: int
    alpha: bool = False
    is_float: bool = False
    palette: bytes = b""
    dpi: tuple[float, float] | None = None
    aspect: float = 1.0
    icc: bytes = b""
    exif: Ifd = field(default_factory=Ifd)
    orientation: int = 1
    xmp: bytes = b""
    png_colors: tuple[tuple[bytes, bytes], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """Samples of a pixel."""
        return CHANNELS[self.color] + self.alpha

    @property
    def row_bytes(self) -> int:
        return (self.width * self.samples * self.bits + 7) // 8

    @property
    def pixel_shape(self) -> tuple[int, int] | None:
        """Horizontal and vertical resolution without a unit, in small numbers; None where they are the same
        or known in dpi."""
        ratio = Fraction(self.aspect).limit_denominator(1000)
        return None if self.dpi or ratio == 1 else (ratio.denominator, ratio.numerator)

    @property
    def is_whole(self) -> bool:
        """If the page is one band."""
        return self.band_rows >= self.height

    def whole(self) -> Rows:
        """All rows of a page that is one band."""
        (band,) = self.bands
        return band

    def strips(self, rows: int) -> Iterator[Rows]:
        """The rows in runs of `rows`, which divides `band_rows` where there are several bands."""
        for band in self.bands:
            for top in range(0, len(band), rows):
                yield band[top : top + rows]


def pack_bits(samples: Bytes, bits: int) -> Bytes:
    """Rows of samples (0 to 2^bits - 1), a byte each, packed into bytes from the high bit."""
    if bits == 8:
        return samples
    if bits == 1:
        return np.packbits(samples, axis=1)
    per_byte = 8 // bits
    height, width = samples.shape
    padded = np.zeros((height, -(-width // per_byte) * per_byte), np.uint8)
    padded[:, :width] = samples
    packed = np.left_shift(padded[:, 0::per_byte], 8 - bits, dtype=np.uint8)
    for position in range(1, per_byte):
        packed |= np.left_shift(padded[:, position::per_byte], 8 - bits * (position + 1), dtype=np.uint8)
    return packed


def bytes_of(rows: Rows, order: Literal["<", ">"]) -> Bytes:
    """Rows as bytes, samples of several bytes in the given order (`<`, `>`)."""
    if rows.dtype != np.uint8:
        rows = rows.astype(rows.dtype.newbyteorder(order), copy=False)
    return np.ascontiguousarray(rows).view(np.uint8)
