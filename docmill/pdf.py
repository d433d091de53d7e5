"""The streaming PDF writer: pages of one image each, written as they come, memory flat in their number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PdfImage:
    """An image XObject (ISO 32000-1, 8.9.5): its dictionary's entries in PDF syntax and its encoded stream.

    `color_space` is e.g. `b"/DeviceGray"` or an Indexed array; with `icc_profile` set it is the alternate of
    an ICCBased space of `components` components. `data` yields the encoded bytes in order.
    """

    width: int
    height: int
    bits_per_component: int
    color_space: bytes
    data: Iterable[bytes]
    filter: bytes = b""
    decode_parms: bytes = b""
    decode: bytes = b""
    components: int = 1
    icc_profile: bytes | None = None
    soft_mask: PdfImage | None = None


@dataclass(frozen=True, slots=True)
class PdfPage:
    """A page of one image. The size is that of the upright page in points; `orientation` is the TIFF and EXIF
    Orientation (1 to 8) by which the image is turned onto it; `how` says how its stream came about, e.g.
    `copied (CCITT Group 4)`."""

    image: PdfImage
    width_pt: float
    height_pt: float
    orientation: int = 1
    how: str = ""
