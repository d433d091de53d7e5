"""What Exif metadata says of a picture's orientation and resolution (CIPA DC-008, IFD0 only), and XMP."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from docmill.facts import plausible_aspect

_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _ORIENTATION = 0x011A, 0x011B, 0x0128, 0x0112
_TAGS = frozenset({_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _ORIENTATION})
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_CM_PER_INCH = 2.54
# Pixels are at most so much higher than wide, or wider than high; a fax is 204 x 98 dpi.
_MOST_OBLONG = 4
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([1-8])")


@dataclass(frozen=True, slots=True)
class Exif:
    """Orientation 1 to 8 (what is out of range counts as 1), and pixels per inch, 0 where not named; then
    `is_unitless` says whether that is on purpose, and `aspect` is their ratio, vertical to horizontal."""

    orientation: int = 1
    dpi_x: float = 0.0
    dpi_y: float = 0.0
    is_unitless: bool = False
    aspect: float = 1.0


def read_exif(data: bytes) -> Exif:
    """The facts in an Exif block, with or without its `Exif\\0\\0` prefix.

    Never raises: metadata that is broken says nothing about the pixels, so it counts as absent.
    """
    if data[:4] == b"Exif":
        data = data[6:]
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return Exif()
    values: dict[int, float] = {}
    try:
        (offset,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHII", data, entry)
            if tag not in _TAGS:
                continue
            if kind == _RATIONAL:
                numerator, denominator = struct.unpack_from(order + "II", data, value)
                values[tag] = numerator / denominator if denominator else 0.0
            elif kind in (_SHORT, _LONG):
                values[tag] = struct.unpack_from(order + "H", data, entry + 8)[0] if kind == _SHORT else value
    except struct.error:
        pass  # what was read before the damage counts
    orientation = values.get(_ORIENTATION, 1)
    # 1: no absolute unit, 2: inch (the default), 3: centimetre
    unit = int(values.get(_RESOLUTION_UNIT, 2))
    factor = {1: 0.0, 3: _CM_PER_INCH}.get(unit, 1.0)
    bare_x, bare_y = values.get(_X_RESOLUTION, 0.0), values.get(_Y_RESOLUTION, 0.0)
    x, y = bare_x * factor, bare_y * factor
    aspect = plausible_aspect(bare_x, bare_y) if unit == 1 else 1.0
    # Some cameras write one of the two and leave rubbish in the other: 44 x 300 dpi of square pixels.
    if not _is_plausible(y) or not 1 / _MOST_OBLONG <= y / (x or y) <= _MOST_OBLONG:
        y = x
    x, y = (x, y) if _is_plausible(x) else (y, y)
    dpi_x, dpi_y = (x, y) if _is_plausible(x) else (0.0, 0.0)
    return Exif(int(orientation) if 1 <= orientation <= 8 else 1, dpi_x, dpi_y, unit == 1, aspect)


def xmp_orientation(data: bytes) -> int:
    """The `tiff:Orientation` of an XMP packet, 1 where there is none; Exif goes before it."""
    match = _XMP_ORIENTATION.search(data)
    return int(match[1]) if match else 1


def upright_xmp(data: bytes) -> bytes:
    """An XMP packet for pixels that have been turned upright."""
    return _XMP_ORIENTATION.sub(lambda match: match[0][:-1] + b"1", data)


def _is_plausible(dpi: float) -> bool:
    return 1.0 < dpi < 100_000.0
