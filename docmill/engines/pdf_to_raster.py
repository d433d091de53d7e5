"""PDF pages to pixels, by pdfium: as a viewer shows them, with annotations and form fields, over white."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from docmill.engines.base import A4, EngineOptions, EngineResult, PageResult, Progress
from docmill.engines.missing_glyphs import missing_fonts
from docmill.engines.not_drawn import NotDrawn
from docmill.engines.output.collect import MadePage
from docmill.engines.output.convert import convert_pages
from docmill.engines.output.page import Color, PageImage
from docmill.engines.output.plan import OutputPlan
from docmill.engines.pdf_content import PageContents
from docmill.engines.pdfium_document import open_pdf
from docmill.engines.readable_pdf import readable_pdf
from docmill.errors import CorruptDocument
from docmill.formats import PDF
from docmill.options import PixelBox
from docmill.page_limits import check_pixels
from docmill.user_unit import user_units

_POINTS = 72
# pdfium keeps sizes as 32 bit floats: 594.96 points are 2479.00009 pixels at 300 dpi, and mean 2479.
_ROUNDING = 0.01
# Above it a page is rendered and encoded in bands: 120 MB of colour at a time. A3 at 400 dpi is below. Not
# for PDF, where an image is one stream.
_WHOLE_PIXELS = 40_000_000
# Bands end where JPEG's blocks and TIFF's strips do.
_BAND_STEP = 64
_WHITE = 0xFFFFFFFF


class PdfToRaster:
    """Renders the pages of a PDF at a resolution (`dpi`, else the installation's) or to a `size` in pixels.

    Each page in a process of its own, as many at a time as the options allow, since pdfium has no threads.
    """

    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult:
        with readable_pdf(source, options, out_dir) as pdf:
            renderer = _Renderer(pdf.path, pdf.options, pdf.contents)
            result = convert_pages(pdf.numbers, renderer.make, renderer.blank, out_dir, options, progress)
        return replace(result, notes=(*pdf.notes, *pdf.contents.notes, *result.notes))


class _Renderer:
    """Renders pages of one document, which each process opens for itself: they must not share a file."""

    def __init__(self, source: Path, options: EngineOptions, contents: PageContents) -> None:
        self.source = source
        self.contents = contents
        self.options = options
        self.plan = OutputPlan.of(options)
        self.box = PixelBox.parse(options.options.size) if options.options.size else None
        self.dpi = options.options.dpi or options.default_dpi
        self.units = user_units(source, options.password)
        self._opened: AbstractContextManager[pypdfium2.PdfDocument] | None = None
        self._document: pypdfium2.PdfDocument | None = None
        self._buffer: NDArray[np.uint8] = np.empty(0, np.uint8)

    def make(self, number: int, path: Path) -> MadePage:
        """Render a page (from 1) and encode it into `path`; raises `CorruptDocument`, `LimitExceeded`."""
        self.contents.check(number)
        document = self._open()
        page = pdfium.FPDF_LoadPage(document, number - 1)
        if not page:
            raise CorruptDocument(f"page {number} cannot be read", hint="it is damaged", page=number)
        form = document.formenv
        try:
            if form:
                pdfium.FORM_OnAfterLoadPage(page, form)
            unit = self.units.get(number - 1, 1.0)
            points = pdfium.FPDF_GetPageWidthF(page) * unit, pdfium.FPDF_GetPageHeightF(page) * unit
            image = self._image(number, points)
            image.bands = self._bands(page, form, image)
            encoded = self.plan.encode(image, path)
        finally:
            if form:
                pdfium.FORM_OnBeforeClosePage(page, form)
            pdfium.FPDF_ClosePage(page)
        not_drawn = self._not_drawn(document, number)
        dpi = "" if self.box else f" at {self.dpi:g} dpi"
        how = f"rendered{dpi} ({encoded.how})"
        result = PageResult(number, *points, image.width, image.height, how)
        return MadePage(encoded, result, not_drawn=not_drawn)

    def _not_drawn(self, document: pypdfium2.PdfDocument, number: int) -> NotDrawn:
        """What is missing of a page that has been drawn; other things of it are then part of its content."""
        doubt = self.contents.doubtful_fonts(number)
        fonts = missing_fonts(document, number, doubt) if doubt else NotDrawn()
        return replace(fonts, annotations=self.contents.annotations_without_look(number))

    def blank(self, number: int) -> PageImage:
        """A white page as large as that page, as far as its size can be told."""
        size = pdfium.FS_SIZEF()
        known = pdfium.FPDF_GetPageSizeByIndexF(self._open(), number - 1, size)
        unit = self.units.get(number - 1, 1.0)
        points = size.width * unit, size.height * unit
        image = self._image(number, points if known and size.width > 0 else A4)
        tops = range(0, image.height, image.band_rows)
        image.bands = (
            np.full((min(image.band_rows, image.height - top), image.row_bytes), 0xFF, np.uint8)
            for top in tops
        )
        return image

    def _open(self) -> pypdfium2.PdfDocument:
        if self._document is None:
            self._opened = open_pdf(self.source, self.options.password)
            self._document = self._opened.__enter__()
            if self.contents.form_can_be_drawn:
                self._document.init_forms()
        return self._document

    def _image(self, number: int, points: tuple[float, float]) -> PageImage:
        """A page's size in pixels and how its samples are to be, without bands."""
        width, height = self._pixels(points)
        check_pixels(width, height, self.options.max_page_pixels, page=number)
        rows = height
        if width * height > _WHOLE_PIXELS and self.plan.format is not PDF:
            rows = max(_BAND_STEP, _WHOLE_PIXELS // width // _BAND_STEP * _BAND_STEP)
        dpi = self.dpi, self.dpi
        if self.box:
            dpi = width / points[0] * _POINTS, height / points[1] * _POINTS
        color = Color.GRAY if self.plan.bits in (1, 8) else Color.RGB
        bits = 1 if self.plan.bits == 1 else 8
        return PageImage(
            width=width, height=height, color=color, bits=bits, bands=(), band_rows=rows, dpi=dpi
        )

    def _pixels(self, points: tuple[float, float]) -> tuple[int, int]:
        if self.box:
            return self.box.fit(*points)
        width, height = (max(1, math.ceil(side * self.dpi / _POINTS - _ROUNDING)) for side in points)
        return width, height

    def _bands(self, page: pdfium.FPDF_PAGE, form: object, image: PageImage) -> Iterator[NDArray[np.uint8]]:
        for top in range(0, image.height, image.band_rows):
            rows = min(image.band_rows, image.height - top)
            pixels = self._render(page, form, image, top, rows)
            yield self.plan.bilevel(pixels) if image.bits == 1 else pixels

    def _render(
        self, page: pdfium.FPDF_PAGE, form: object, image: PageImage, top: int, rows: int
    ) -> NDArray[np.uint8]:
        """The rows from `top` on, valid until the next call: fresh memory costs more than drawing on it."""
        kind, channels, flags = pdfium.FPDFBitmap_Gray, 1, pdfium.FPDF_ANNOT
        if image.color is Color.RGB:
            # Not for gray: reversing the one byte of its pixels ends the process.
            kind, channels, flags = pdfium.FPDFBitmap_BGR, 3, flags | pdfium.FPDF_REVERSE_BYTE_ORDER
        stride = image.width * channels
        if len(self._buffer) < rows * stride:
            self._buffer = np.empty(rows * stride, np.uint8)
        pixels = self._buffer[: rows * stride].reshape(rows, stride)
        pixels.fill(255)
        bitmap = pdfium.FPDFBitmap_CreateEx(
            image.width, rows, kind, pixels.ctypes.data_as(ctypes.c_void_p), stride
        )
        if not bitmap:
            raise MemoryError(f"no bitmap of {image.width} x {rows} pixels")
        place = (0, -top, image.width, image.height, 0, flags)
        try:
            pdfium.FPDF_RenderPageBitmap(bitmap, page, *place)
            if form:
                pdfium.FPDF_FFLDraw(form, bitmap, page, *place)
        finally:
            pdfium.FPDFBitmap_Destroy(bitmap)
        return pixels
