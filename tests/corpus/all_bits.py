"""Pictures of more than 8 bits a sample by imagecodecs: Pillow keeps 8, and gets these wrong."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from docmill.jp2 import read_jp2


def of_all_bits(source: Path, pixels: Image.Image) -> Image.Image:
    """The pixels of a JPEG 2000 or AVIF, anew where it has more than 8 bits in colour: of the one Pillow
    makes white black, of the other it makes colours of what it has cut to 8 bits before, up to 5 beside."""
    data = source.read_bytes()
    if pixels.mode not in ("RGB", "RGBA"):
        return pixels
    if data[4:8] == b"ftyp":
        samples = imagecodecs.avif_decode(data)
        bits = 10 if samples.max() < 1024 else 12
    else:
        samples, bits = imagecodecs.jpeg2k_decode(data), max(read_jp2(data).bits)
    if samples.dtype.itemsize == 1 or samples.shape != (*pixels.size[::-1], len(pixels.getbands())):
        return pixels
    lowest = 1 << (bits - 1) if samples.dtype.kind == "i" else 0
    scaled = (samples.astype(float) + lowest) * 255 / ((1 << bits) - 1)
    rounded = Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))
    rounded.info = pixels.info
    return rounded
