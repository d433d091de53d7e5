"""Telling by small pictures whether two pages are the same."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The longer side of the pictures that are compared, and how much larger a PDF page is drawn before it is
# shrunk to that: thin strokes keep their weight so.
SIDE = 160
OVERSAMPLE = 4
# What pdfium shows of overprinted inks, in the order of binary numbers: none, K, Y, YK, M, ..., CMYK.
_OVERPRINTS = (
    (255, 255, 255), (35, 31, 32), (255, 241, 1), (25, 26, 0),
    (237, 2, 140), (21, 0, 0), (238, 29, 35), (23, 0, 0),
    (0, 174, 239), (0, 4, 36), (0, 165, 79), (0, 4, 0),
    (46, 48, 146), (0, 0, 1), (54, 53, 57), (0, 0, 0),
)  # fmt: skip


class Tolerance(Enum):
    """How far colours may differ (of 255), and in what part of the picture they may differ more."""

    # The same colours on both sides: what is left is how each library shrinks.
    CLOSE = (40, 0.003)
    # CMYK: `from_cmyk` is up to 65 off what pdfium shows.
    INK = (68, 0.003)
    # Colours that each library turns into RGB by its own rules, such as those of ICC profiles.
    WIDE = (96, 0.05)


def small_size(width: float, height: float, pixels: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """The size of the small picture of a page with these proportions; None where the page has too few
    `pixels` for it to tell anything."""
    scale = SIDE / max(width, height)
    size = [max(1, round(side * scale)) for side in (width, height)]
    if pixels:
        # Each square is the mean of at least 4 by 4 pixels: enlarging differs between libraries.
        size = [min(side, count // 4) for side, count in zip(size, pixels, strict=True)]
    return (size[0], size[1]) if min(size) >= 4 else None


def from_bgrx(pixels: bytes, size: tuple[int, int], drawn: tuple[int, int] | None = None) -> Image.Image:
    """What pdfium has `drawn` larger (`OVERSAMPLE` times, if nothing is said), at `size`."""
    large = drawn or (size[0] * OVERSAMPLE, size[1] * OVERSAMPLE)
    picture = Image.frombuffer("RGB", large, pixels, "raw", "BGRX", large[0] * 4, 1)
    return picture.reduce(OVERSAMPLE) if drawn is None else picture.resize(size, Image.Resampling.BOX)


def from_cmyk(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A picture in CMYK at `size`, in RGB as a PDF reader shows inks, where Pillow shows light.

    By the colours of all overprints of solid inks, each by its share of the area (Neugebauer 1937).
    """
    import numpy as np

    large = picture.resize((size[0] * OVERSAMPLE, size[1] * OVERSAMPLE), Image.Resampling.BOX, reducing_gap=2)
    inks = np.asarray(large, float) / 255
    colors: NDArray[np.float64] = np.broadcast_to(_OVERPRINTS, (*inks.shape[:2], 16, 3))
    for ink in (3, 2, 1, 0):
        share = inks[:, :, ink, None, None]
        colors = colors[:, :, ::2] * (1 - share) + colors[:, :, 1::2] * share
    rgb = Image.fromarray(colors[:, :, 0].round().astype(np.uint8), "RGB")
    return rgb.reduce(OVERSAMPLE)


def same(a: Image.Image, b: Image.Image, tolerance: Tolerance) -> bool:
    """Whether two pictures show the same page. The outermost squares are left out: where a page's size is no
    whole number of pixels, they are partly of the paper around it."""
    level, share = tolerance.value
    inner = (1, 1, a.width - 1, a.height - 1)
    red, green, blue = ImageChops.difference(a.crop(inner), b.crop(inner)).split()
    counts = ImageChops.lighter(ImageChops.lighter(red, green), blue).histogram()
    return sum(counts[level + 1 :]) <= share * sum(counts)


def same_ink(page: Image.Image, bilevel: Image.Image) -> bool:
    """Whether a picture in black and white can be of a page: what is plainly white or black there is so here.
    Between them a threshold decides."""
    inner = (1, 1, page.width - 1, page.height - 1)
    gray, other = page.convert("L").crop(inner), bilevel.convert("L").crop(inner)
    white = ImageChops.darker(gray.point(_at_least(250)), other.point(_at_most(200)))
    black = ImageChops.darker(gray.point(_at_most(5)), other.point(_at_least(55)))
    wrong = ImageChops.lighter(white, black).histogram()[255]
    return wrong <= 0.01 * gray.width * gray.height


def _at_least(level: int) -> list[int]:
    return [0] * level + [255] * (256 - level)


def _at_most(level: int) -> list[int]:
    return [255] * (level + 1) + [0] * (255 - level)
