"""RGB of more than 8 bits in PNM, of which Pillow keeps 8."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from docmill.engines.raster.wide import full_range

if TYPE_CHECKING:
    from PIL import Image


def wide_pnm(path: Path, image: Image.Image) -> NDArray[np.uint16] | None:
    """Rows x pixels x samples, 0 to 65535, of an open PNM of RGB; None of others.

    None too where there are fewer samples than the header says, or text that is none: Pillow tells why.
    """
    if image.format != "PPM" or image.mode != "RGB":
        return None
    ((decoder, _, offset, how),) = image.tile  # type: ignore[attr-defined]  # of an image that is a file's
    if decoder not in ("ppm", "ppm_plain") or how[1] <= 255:
        return None
    most = how[1]
    count = 3 * image.width * image.height
    with path.open("rb") as file:
        file.seek(offset)
        if decoder == "ppm_plain":
            tokens = file.read().split()
            if len(tokens) < count or not all(token.isdigit() for token in tokens[:count]):
                return None
            samples: NDArray[Any] = np.array(tokens[:count], np.uint32)
        else:
            data = file.read(2 * count)
            if len(data) < 2 * count:
                return None
            samples = np.frombuffer(data, ">u2")
    return full_range(samples.reshape(image.height, image.width, 3), most)
