"""What Exif metadata says of a picture's orientation and resolution (CIPA DC-008, IFD0 only)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _ORIENTATION = 0x011A, 0x011B, 0x0128, 0x0112
_CM_PER_INCH = 2.54


@dataclass(frozen=True, slots=True)
class Exif:
    """Orientation 1 to 8 (what is out of range counts as 1), and pixels per inch, 0 where not named."""

    orientation: int = 1
    dpi_x: float = 0.0
    dpi_y: float = 0.0


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
            if tag in (_ORIENTATION, _RESOLUTION_UNIT):
                values[tag] = struct.unpack_from(order + "H", data, entry + 8)[0] if kind == 3 else value
            elif tag in (_X_RESOLUTION, _Y_RESOLUTION) and kind == 5:
                numerator, denominator = struct.unpack_from(order + "II", data, value)
                values[tag] = numerator / denominator if denominator else 0.0
    except struct.error:
        pass  # what was read before the damage counts
    orientation = values.get(_ORIENTATION, 1)
    # 1: no absolute unit, 2: inch (the default), 3: centimetre
    factor = {1: 0.0, 3: _CM_PER_INCH}.get(int(values.get(_RESOLUTION_UNIT, 2)), 1.0)
    dpi_x, dpi_y = (values.get(tag, 0.0) * factor for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    return Exif(int(orientation) if 1 <= orientation <= 8 else 1, dpi_x or dpi_y, dpi_y or dpi_x)
