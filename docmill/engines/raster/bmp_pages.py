"""BMP pages for PDF: by Pillow, and by docmill's own decoder where Pillow gives up."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from docmill.bmp import read_bmp_header
from docmill.engines.base import EngineOptions
from docmill.engines.raster.bmp_decode import decode_bmp
from docmill.engines.raster.decoded import decoded_page
from docmill.engines.raster.picture_pages import PicturePages
from docmill.engines.raster.source import on_page
from docmill.errors import CorruptDocument, DocmillError, UnknownFormat
from docmill.facts import upright_size
from docmill.page_limits import check_pixels
from docmill.pdf import PdfPage
from docmill.pictures import decoding, open_picture

if TYPE_CHECKING:
    from docmill.engines.raster.source import PageSource


def open_bmp(path: Path, options: EngineOptions) -> PageSource:
    """The page of a BMP file; raises `CorruptDocument` where its header is broken."""
    try:
        with open_picture(path, formats=("BMP", "DIB")):
            return PicturePages(path, options)
    except (CorruptDocument, UnknownFormat):
        return BmpPages(path, options)


class BmpPages:
    """A BMP that Pillow does not read, as a `PageSource`."""

    damage: DocmillError | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._options = options
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._header = read_bmp_header(self._data)

    def __len__(self) -> int:
        return 1

    def page(self, number: int) -> PdfPage | Callable[[], PdfPage]:
        header, options = self._header, self._options
        check_pixels(header.width, header.height, options.max_page_pixels)
        try:
            with decoding():
                image = decode_bmp(self._data, header)
        except CorruptDocument as error:
            raise on_page(error, 1) from None
        default = options.options.dpi or options.default_dpi
        width_pt, height_pt = upright_size(image.size, (header.dpi_x, header.dpi_y), 1, default)
        return partial(
            decoded_page,
            image,
            width_pt=width_pt,
            height_pt=height_pt,
            how="decoded from BMP",
            options=options,
        )

    def close(self) -> None:
        self._data.close()
