"""TIFF pages for PDF: copied, joined or re-encoded, whichever is the least work without loss."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from docmill.engines.base import EngineOptions
from docmill.engines.raster.decoded import decoded_page
from docmill.engines.raster.source import PageWork
from docmill.engines.raster.tiff_copy import deflate_page, group4_page
from docmill.engines.raster.tiff_decode import decode, refuse_unknown, salvage
from docmill.engines.raster.tiff_image import TiffImage, read_image
from docmill.engines.raster.tiff_jpeg import jpeg_page
from docmill.engines.raster.tiff_seams import page_budget
from docmill.engines.raster.tiff_single import refuse_damaged_fax
from docmill.errors import CorruptDocument, DocmillError
from docmill.options import OnError
from docmill.pdf import PdfPage
from docmill.tiff import Tiff
from docmill.tiff_tags import COMPRESSION_NAMES, Compression

if TYPE_CHECKING:
    from PIL import Image

    from docmill.engines.raster.wide import Wide

# Group 4 pages that are copied are decoded as well, to see whether they are whole, in documents of so many
# pages. In longer ones, where that would take thirty times as long as copying, only if the job is to go on
# behind damaged pages; else a hole of zeros is seen, and what the check before publishing comes upon.
_FEW_PAGES = 16


class TiffPages:
    """The pages of a TIFF file, as a `PageSource`."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._tiff = Tiff(path, options.max_pages)
        self._options = options
        self._seam_budget = page_budget(len(self._tiff))
        self._resumes = options.options.on_error is OnError.RESUME
        self._looks_into_all = self._resumes or len(self._tiff) <= _FEW_PAGES

    @property
    def damage(self) -> DocmillError | None:
        return self._tiff.damage

    def __len__(self) -> int:
        return len(self._tiff)

    def page(self, number: int) -> PdfPage | PageWork:
        image = read_image(self._tiff.page(number), self._options)
        refuse_unknown(image)
        copy_only = image.compression == Compression.CCITT_G4 and not self._looks_into_all
        if copy_only and (page := group4_page(image)) is not None:
            return page  # nothing that would be worth a thread
        return partial(self._made, image)

    def _made(self, image: TiffImage) -> PdfPage:
        try:
            return self._copied(image) or self._decoded(image, decode(image))
        except CorruptDocument as error:
            pixels = salvage(image) if self._resumes else None
            if pixels is None:
                raise
            return replace(self._decoded(image, pixels), how="decoded in part", damage=error)

    def _decoded(self, image: TiffImage, pixels: Image.Image | Wide) -> PdfPage:
        return decoded_page(
            pixels,
            width_pt=image.width_pt,
            height_pt=image.height_pt,
            orientation=image.orientation,
            how=f"{COMPRESSION_NAMES[image.compression]} re-encoded",
            options=self._options,
            icc_profile=image.icc_profile(),
        )

    def _copied(self, image: TiffImage) -> PdfPage | None:
        """The page with its stream copied where it is of a kind that has to be read in full for that."""
        if image.compression == Compression.CCITT_G4:
            if (page := group4_page(image)) is not None:
                refuse_damaged_fax(image)
            return page
        if self._options.options.quality is not None:
            return None
        if image.compression in (Compression.DEFLATE, Compression.OLD_DEFLATE):
            return deflate_page(image)
        return jpeg_page(image, self._seam_budget) if image.compression == Compression.JPEG else None

    def close(self) -> None:
        self._tiff.close()


def refuse_damaged(path: Path, number: int, options: EngineOptions) -> None:
    """Raise `CorruptDocument` where a page of a TIFF does not decode in full."""
    with Tiff(path, options.max_pages) as tiff:
        decode(read_image(tiff.page(number), options))
