"""Pictures of more than 8 bits a sample in formats of which Pillow keeps 8: all of their bits, or how many
they are."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from docmill.engines.raster.coded_colors import lost_color_note
from docmill.engines.raster.libavif import wide_avif
from docmill.engines.raster.openjpeg import wide_jp2
from docmill.engines.raster.pnm_samples import wide_pnm
from docmill.engines.raster.sgi_samples import is_wide_sgi, wide_sgi
from docmill.engines.raster.wide import Wide, full_range
from docmill.errors import CorruptDocument
from docmill.jp2 import read_jp2
from docmill.pictures import picture_format

if TYPE_CHECKING:
    from PIL import Image

_CHANNELS = {"L": 1, "I;16": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_SGI_HEAD = 4
# The configuration of the codec stands among the properties, before the pixels; its third byte has the flags
# for 10 bits or more, and for 12 (AV1 Codec ISO Media File Format Binding, 2.3.3).
_AVIF_HEAD = 1 << 16
_AV1_CONFIGURATION, _HIGH, _TWELVE = b"av1C\x81", 0x40, 0x20


def wide_picture(path: Path, image: Image.Image) -> NDArray[np.uint16] | None:
    """Rows x pixels x samples, 0 to 65535, of an open picture as gray or RGB, alpha last.

    None where Pillow has all of its bits, and where nobody has them: `loss_notes` tells these apart.
    """
    channels = _CHANNELS.get(image.mode)
    if image.format == "PPM":
        return wide_pnm(path, image)
    if channels is None or not _stored_bits(path, image) > 8:
        return None
    match image.format:
        case "JPEG2000":
            return wide_jp2(path, image.size, channels)
        case "AVIF" if getattr(image, "n_frames", 1) == 1:
            return wide_avif(path, image.size, channels)
        case "HEIF":
            return _wide_heif(path, image, channels)
        case "SGI":
            return wide_sgi(path, image.size, channels)
    return None


def loss_notes(path: Path, image: Image.Image, *, has_all_bits: bool) -> tuple[str, ...]:
    """What of an open picture is lost as it is decoded: `has_all_bits` where `wide_picture` had it."""
    bits = () if has_all_bits else _lost_bits_note(path, image)
    return (*bits, *lost_color_note(path, image))


def as_wide(samples: NDArray[np.uint16]) -> Wide:
    """Samples of `wide_picture` as what they are."""
    count = samples.shape[2]
    alpha = samples[:, :, -1] if count in (2, 4) else None
    colors = samples if alpha is None else samples[:, :, :-1]
    return Wide(colors, "RGB" if count > 2 else "L", alpha)


def _lost_bits_note(path: Path, image: Image.Image) -> tuple[str, ...]:
    """How many bits Pillow cuts to 8, where it does."""
    bits = _stored_bits(path, image)
    if bits <= 8 or image.mode.startswith(("I", "F")):
        return ()
    title = picture_format(image).title
    return (f"{bits} bits a sample became 8, which are all that can be decoded of this {title}",)


def _stored_bits(path: Path, image: Image.Image) -> int:
    """Bits of a sample of the formats that Pillow reads in part; 0 of others."""
    if image.format not in ("JPEG2000", "AVIF", "HEIF", "SGI"):
        return 0
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    with path.open("rb") as file:
        if image.format == "SGI":
            return 16 if is_wide_sgi(file.read(_SGI_HEAD)) else 8
        if image.format == "AVIF":
            _, found, rest = file.read(_AVIF_HEAD).partition(_AV1_CONFIGURATION)
            flags = rest[1] if found and len(rest) > 1 else 0
            return 8 if not flags & _HIGH else 12 if flags & _TWELVE else 10
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return max(read_jp2(data).bits)
            except CorruptDocument:  # where what can be decoded of a damaged file is asked for
                return 8


def _wide_heif(path: Path, image: Any, channels: int) -> NDArray[np.uint16] | None:
    import pi_heif

    picture = pi_heif.open_heif(path, convert_hdr_to_8bit=False)[image.tell()]
    if picture.size != image.size or ";16" not in picture.mode:
        return None
    # It comes shifted up to 16 bits.
    bits = picture.info["bit_depth"]
    values = np.asarray(picture).reshape(image.height, image.width, channels) >> (16 - bits)
    return full_range(values, (1 << bits) - 1)
