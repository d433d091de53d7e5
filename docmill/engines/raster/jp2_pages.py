"""JPEG 2000 pages for PDF: the codestream copied where every reader sees the same in it, else decoded."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from docmill.engines.base import EngineOptions
from docmill.engines.raster.decoded import DEVICE_SPACES, icc_fits
from docmill.engines.raster.picture_pages import PicturePages
from docmill.engines.raster.source import RESUME_HINT, on_page
from docmill.errors import CorruptDocument, DocmillError
from docmill.facts import upright_size
from docmill.jp2 import CODESTREAM, GRAY, SRGB, Jp2, read_jp2, wrapped
from docmill.options import OnError
from docmill.page_limits import check_pixels
from docmill.pdf import PdfImage, PdfPage
from docmill.pictures import open_picture, resolution

_PART = 1 << 20


class Jp2Pages:
    """The picture of a JPEG 2000 file or codestream, as a `PageSource`."""

    damage: DocmillError | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._options = options
        self._path = path
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return 1

    def page(self, number: int) -> PdfPage | Callable[[], PdfPage]:
        job = self._options.options
        try:
            picture = read_jp2(self._data)
        except CorruptDocument as error:
            # OpenJPEG decodes what there is of a codestream and does not tell that there should be more.
            if job.on_error is not OnError.RESUME:
                raise on_page(error, 1, RESUME_HINT) from None
            page = self._decoded()
            made = page() if callable(page) else page
            return replace(made, damage=made.damage or on_page(error, 1))
        check_pixels(picture.width, picture.height, self._options.max_page_pixels)
        if job.quality is not None or not _fits_pdf(picture):
            return self._decoded()
        return self._copied(picture)

    def close(self) -> None:
        self._data.close()

    def _copied(self, picture: Jp2) -> PdfPage:
        with open_picture(self._path, formats=("JPEG2000",)) as image:
            dpi = resolution(image)
        default = self._options.options.dpi or self._options.default_dpi
        profile = picture.icc_profile
        count = len(picture.bits)
        pdf_image = PdfImage(
            picture.width,
            picture.height,
            picture.bits[0],
            DEVICE_SPACES[count],
            self._stream(picture),
            filter=b"/JPXDecode",
            components=count,
            icc_profile=profile if profile and icc_fits(profile, count) else None,
        )
        size = picture.width, picture.height
        return PdfPage(pdf_image, *upright_size(size, dpi, 1, default), how="copied (JPEG 2000)")

    def _stream(self, picture: Jp2) -> Iterator[bytes]:
        if self._data[:4] == CODESTREAM:
            yield from wrapped(self._data, picture)
            return
        for start in range(0, len(self._data), _PART):
            yield self._data[start : start + _PART]

    def _decoded(self) -> PdfPage | Callable[[], PdfPage]:
        pages = PicturePages(self._path, self._options)
        try:
            return pages.page(1)  # which has decoded it
        finally:
            pages.close()


def _fits_pdf(picture: Jp2) -> bool:
    """Whether PDF's JPXDecode and its readers take the samples for what they are (ISO 32000-1, 7.4.9)."""
    if not picture.plain or set(picture.bits) != {8} or len(picture.bits) not in (1, 3):
        return False
    space = SRGB if len(picture.bits) == 3 else GRAY
    return picture.color == space or (picture.color is None)
