"""The colour space that AVIF and HEIC name by code points (CICP, ITU-T H.273) in place of an ICC profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from docmill.pictures import picture_format

if TYPE_CHECKING:
    from PIL import Image

# The properties stand before the pixels. A colour box of this kind begins with primaries and transfer, of 16
# bits each (ISO 14496-12, 12.1.5).
_HEAD = 1 << 16
_CODED = b"colrnclx"
# Those of sRGB and BT.709, which readers do not tell from each other, and 2, which leaves it open.
_PRIMARIES = frozenset({1, 2})
_TRANSFERS = frozenset({1, 2, 6, 13, 14, 15})


def lost_color_note(path: Path, image: Image.Image) -> tuple[str, ...]:
    """What there is to tell of an open picture whose colours are taken for sRGB's, and are others."""
    if image.format not in ("AVIF", "HEIF") or image.info.get("icc_profile"):
        return ()
    with path.open("rb") as file:
        _, found, rest = file.read(_HEAD).partition(_CODED)
    if not found or len(rest) < 4:
        return ()
    primaries, transfer = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:4], "big")
    if primaries in _PRIMARIES and transfer in _TRANSFERS:
        return ()
    named = f"{picture_format(image).title}'s CICP (primaries {primaries}, transfer {transfer})"
    return (f"the colour space of {named} was left out",)
