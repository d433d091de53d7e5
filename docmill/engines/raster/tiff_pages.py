"""TIFF pages for PDF: copied, joined or re-encoded, whichever is the least work without loss."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from docmill.engines.base import EngineOptions
from docmill.engines.raster.decoded import decoded_page
from docmill.engines.raster.source import PageWork
from docmill.engines.raster.tiff_copy import deflate_page, group4_page
from docmill.engines.raster.tiff_decode import decode
from docmill.engines.raster.tiff_image import TiffImage, read_image
from docmill.engines.raster.tiff_jpeg import jpeg_page
from docmill.engines.raster.tiff_seams import page_budget
from docmill.errors import DocmillError, UnsupportedConversion
from docmill.pdf import PdfPage
from docmill.tiff import COMPRESSION_NAMES, Compression, Photometric, Tag, Tiff


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
        _refuse_unsupported(image)
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


def _refuse_unsupported(image: TiffImage) -> None:
    what = ""
    if image.compression not in COMPRESSION_NAMES:
        what = f"compression {image.compression}"
    elif image.compression in (Compression.OLD_JPEG, Compression.LZMA, Compression.ZSTD, Compression.WEBP):
        what = COMPRESSION_NAMES[image.compression]
    elif image.tiled:
        what = "tiles"
    elif image.planar != 1:
        what = "separate planes"
    elif image.bits not in (1, 2, 4, 8):
        what = f"{image.bits} bit samples"
    elif image.sample_format not in (1, 4):
        what = f"sample format {image.sample_format}"
    elif image.photometric > Photometric.YCBCR or image.photometric == Photometric.MASK:
        what = f"photometric interpretation {image.photometric}"
    elif image.directory.numbers(Tag.EXTRA_SAMPLES):
        what = "alpha or other extra samples"
    if what:
        raise UnsupportedConversion(
            f"page {image.page}: a TIFF with {what} cannot be converted yet", page=image.page
        )
