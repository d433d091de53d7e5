"""Pictures to other pictures: TIFF to PNG, photographs to one TIFF, one compression to another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from docmill.engines.base import A4, EngineOptions, EngineResult, PageFailure, PageResult, Progress
from docmill.engines.frames import PictureFile
from docmill.engines.output.collect import MadePage
from docmill.engines.output.convert import convert_pages
from docmill.engines.output.page import Color, PageImage
from docmill.engines.output.plan import Encoded, OutputPlan
from docmill.engines.pixels import page_of
from docmill.errors import CorruptDocument
from docmill.facts import upright_size
from docmill.formats import JPEG
from docmill.options import OnError, PixelBox
from docmill.page_limits import check_pixels

_POINTS = 72
# Options that leave the pixels of a JPEG as they are.
_HARMLESS = frozenset({"pages", "on_error", "bad_page", "page_names", "alpha", "frames"})


class RasterToRaster:
    """Writes the pages of a picture file in another format or compression, with resolution, colour profile
    and descriptions kept. A JPEG that is to stay one is copied."""

    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult:
        pictures = PictureFile(source, options)
        resume = options.options.on_error is OnError.RESUME
        try:
            if pictures.damage and not resume:
                raise pictures.damage
            numbers = options.page_numbers(pictures.count)
            maker = _Maker(source, pictures, options)
            result = convert_pages(numbers, maker.make, maker.blank, out_dir, options, progress)
            result = replace(result, notes=(*pictures.notes, *result.notes))
        finally:
            pictures.close()
        if pictures.damage:
            # Pages after it there may be, as many as nobody can tell.
            lost = PageFailure(pictures.count + 1, pictures.damage.to_dict())
            result = replace(result, failures=(*result.failures, lost))
        return result


class _Maker:
    """Makes the pages of one file."""

    def __init__(self, source: Path, pictures: PictureFile, options: EngineOptions) -> None:
        self.source = source
        self.pictures = pictures
        self.options = options
        self.plan = OutputPlan.of(options)
        self.box = PixelBox.parse(options.options.size) if options.options.size else None

    def make(self, number: int, path: Path) -> MadePage:
        """Decode a page (from 1) and encode it into `path`; raises `CorruptDocument`, `LimitExceeded`."""
        asked = self.options.options
        frame = self.pictures.frame(number, salvage=asked.on_error is OnError.RESUME)
        is_copied = self._is_copied() and frame.damage is None
        page = page_of(frame, self.plan, self.options, number)
        if is_copied:
            shutil.copyfile(self.source, path)
            encoded = Encoded(path, None, "copied", page.notes)
        else:
            encoded = self.plan.encode(page, path, narrows=False)
        default = asked.dpi or self.options.default_dpi
        size = upright_size(
            (page.width, page.height), page.dpi or (0, 0), page.orientation, default, page.aspect
        )
        how = "copied" if is_copied else f"decoded{' in part' if frame.damage else ''} ({encoded.how})"
        pixels = (page.width, page.height) if page.orientation < 5 else (page.height, page.width)
        return MadePage(encoded, PageResult(number, *size, *pixels, how), frame.damage)

    def blank(self, number: int) -> PageImage:
        """A white page as large as that page, as far as its header can be read, else A4."""
        try:
            size = self.pictures.size_pt(number)
        except CorruptDocument:
            size = A4
        dpi = self.options.options.dpi or self.options.default_dpi
        width, height = self.box.fit(*size) if self.box else (round(side * dpi / _POINTS) for side in size)
        bits = 1 if self.plan.bits == 1 else 8
        color = Color.RGB if self.plan.bits == 24 else Color.GRAY
        width, height = max(1, width), max(1, height)
        check_pixels(width, height, self.options.max_page_pixels, page=number)
        page = PageImage(width=width, height=height, color=color, bits=bits, bands=(), band_rows=height)
        page.bands = (np.full((height, page.row_bytes), 0xFF, np.uint8),)
        page.dpi = (dpi, dpi)
        return page

    def _is_copied(self) -> bool:
        target, asked = self.options.target, self.options.options
        return (
            target.format is JPEG
            and self.options.mime_type == JPEG.mime_type
            and target.bits_per_pixel is None
            and target.subsampling is None
            and asked.changed().keys() <= _HARMLESS
        )
