"""Whether joined JPEG strips would look other than strips that are decoded one by one.

Where chroma is subsampled vertically a decoder interpolates it between rows: joined across a seam,
in strips up to their edge. A row at the seam then differs by a quarter of the chroma's step across it. A step
of 4 comes to at most 2 of 255 in RGB.

Decoding all strips takes ten times as long as copying them, so the check has a budget: short documents and
small pages are looked at in full, of the pages of long ones the seams between the largest strips, where most
goes on, and some in between.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from docmill.engines.raster.tiff_image import TiffImage

if TYPE_CHECKING:
    from PIL import Image

# 1.772 (Cb to B) of a quarter of 4, rounded, is 2.
_LARGEST_STEP = 4
# Pixels that are decoded for the check: of a document, and of each page at least.
_DOCUMENT_BUDGET, _PAGE_BUDGET = 20_000_000, 400_000


def page_budget(page_count: int) -> int:
    """The pixels of each page that may be decoded for the check, in a document of so many pages."""
    return max(_PAGE_BUDGET, _DOCUMENT_BUDGET // page_count)


def seams_show(image: TiffImage, strip: Callable[[int], bytes], tables: bytes, budget: int) -> bool:
    """Whether some seam has a step in its chroma that joining would change by over 2 of 255.

    `strip` gives the bytes of one, `tables` are the marker segments that the strips leave to the JPEGTables
    tag, `budget` is `page_budget`.
    """

    @cache
    def edges(index: int) -> tuple[Image.Image, Image.Image]:
        return _chroma_edges(strip(index), tables)

    return any(_step(edges(seam)[1], edges(seam + 1)[0]) > _LARGEST_STEP for seam in _seams(image, budget))


def _seams(image: TiffImage, budget: int) -> list[int]:
    """The seams to look at, each by the strip above it."""
    sizes = [size for _, size in image.segments]
    count = len(sizes) - 1
    most = max(1, budget // (2 * image.width * image.rows_per_strip))
    if count <= 2 * most:  # neighbours share a strip
        return list(range(count))
    by_size = sorted(range(count), key=lambda seam: sizes[seam] + sizes[seam + 1], reverse=True)
    largest = by_size[: -(-most // 2)]
    spread = [count * (2 * i + 1) // (2 * (most // 2)) for i in range(most // 2)]
    return sorted({*largest, *spread})


def _chroma_edges(strip: bytes, tables: bytes) -> tuple[Image.Image, Image.Image]:
    """The first and last row of a strip's chroma, as an image of two bands."""
    from PIL import Image

    jpeg = Image.open(io.BytesIO(strip[:2] + tables + strip[2:]), formats=("JPEG",))
    # At half size chroma that is subsampled comes out as it is coded.
    jpeg.draft("YCbCr", (jpeg.width // 2, jpeg.height // 2))
    bands = Image.merge("LA", (jpeg.getchannel("Cb"), jpeg.getchannel("Cr")))
    width, height = bands.size
    return bands.crop((0, 0, width, 1)), bands.crop((0, height - 1, width, height))


def _step(above: Image.Image, below: Image.Image) -> int:
    from PIL import ImageChops

    if above.size != below.size:
        return 255
    extrema = ImageChops.difference(above, below).getextrema()
    return max(int(high) for _, high in extrema)  # type: ignore[misc]  # of several bands
