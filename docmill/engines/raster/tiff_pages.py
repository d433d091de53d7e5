"""TIFF pages for PDF: copied, joined or re-encoded, whichever is the least work without loss."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from docmill.engines.base import EngineOptions
from docmill.engines.raster.decoded import decoded_page
from docmill.engines.raster.source import PageWork
from docmill.engines.raster.tiff_copy import deflate_page, group4_page
from docmill.engines.raster.tiff_decode import decode, refuse_unknown
from docmill.engines.raster.tiff_image import TiffImage, read_image
from docmill.engines.raster.tiff_jpeg import jpeg_page
from docmill.engines.raster.tiff_seams import page_budget
from docmill.errors import DocmillError
from docmill.pdf import PdfPage
from docmill.tiff import Tiff
from docmill.tiff_tags import COMPRESSION_NAMES, Compression


class TiffPages:
    """The pages of a TIFF file, as a `PageSource`."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._tiff = Tiff(path, options.max_pages)
        self._options = options
        self._seam_budget = page_budget(len(self._tiff))

    @property
    def damage(self) -> DocmillError | None:
        return self._tiff.damage

    def __len__(self) -> int:
        return len(self._tiff)

    def page(self, number: int) -> PdfPage | PageWork:
        image = read_image(self._tiff.page(number), self._options)
        refuse_unknown(image)
        if image.compression == Compression.CCITT_G4 and (page := group4_page(image)):
            return page
        return partial(self._make, image)

    def _make(self, image: TiffImage) -> PdfPage:
        return self._copied(image) or decoded_page(
            decode(image),
            width_pt=image.width_pt,
            height_pt=image.height_pt,
            orientation=image.orientation,
            how=f"{COMPRESSION_NAMES[image.compression]} re-encoded",
            options=self._options,
            icc_profile=image.icc_profile(),
        )

    def _copied(self, image: TiffImage) -> PdfPage | None:
        """The page with its stream copied where it is of a kind that has to be read in full for that."""
        if self._options.options.quality is not None:
            return None
        if image.compression in (Compression.DEFLATE, Compression.OLD_DEFLATE):
            return deflate_page(image)
        return jpeg_page(image, self._seam_budget) if image.compression == Compression.JPEG else None

    def close(self) -> None:
        self._tiff.close()
