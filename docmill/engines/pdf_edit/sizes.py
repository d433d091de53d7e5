"""The size of a page as it is shown."""

from __future__ import annotations

from typing import Any

from pikepdf import Array, Name, Object

from docmill.user_unit import unit_of

# What a page without a usable box is, as pdfium and qpdf take it: US Letter.
_LETTER = (0.0, 0.0, 612.0, 792.0)


def shown_size(page: Object) -> tuple[float, float]:
    """Width and height in points: the crop box within the media box, turned by /Rotate, by UserUnit
    (ISO 32000-1, 14.11.2)."""
    media = _box(page.get(Name.MediaBox)) or _LETTER
    crop = _box(page.get(Name.CropBox)) or media
    x0, y0, x1, y1 = (
        max(media[0], crop[0]),
        max(media[1], crop[1]),
        min(media[2], crop[2]),
        min(media[3], crop[3]),
    )
    if x0 >= x1 or y0 >= y1:
        x0, y0, x1, y1 = media
    unit = unit_of(page)
    size = ((x1 - x0) * unit, (y1 - y0) * unit)
    return size if rotation(page) % 180 == 0 else (size[1], size[0])


def rotation(page: Object) -> int:
    """/Rotate as 0, 90, 180 or 270 degrees clockwise."""
    try:
        return round(int(page.get(Name.Rotate, 0)) / 90) * 90 % 360
    except (TypeError, ValueError):
        return 0


def _box(value: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(value, Array) or len(value) != 4:
        return None
    try:
        a, b, c, d = (float(v) for v in value)
    except (TypeError, ValueError):
        return None
    box = (min(a, c), min(b, d), max(a, c), max(b, d))
    return box if box[0] < box[2] and box[1] < box[3] else None
