"""Whether a page of an output looks like that of its source, both drawn small, and large where they differ.

What draws pictures is imported where it is needed: of text only the pages are counted.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from docmill.engines.base import EngineOptions, PageResult
from docmill.engines.verify.expected import HINT, SourcePage
from docmill.engines.verify.pdfium import PdfPages
from docmill.errors import CorruptDocument, EngineFailed, LimitExceeded
from docmill.formats import BILEVEL, PDF, TIFF, Target

if TYPE_CHECKING:
    from docmill.engines.pdf_content import PageContents
    from docmill.engines.verify.images import ImagePages, SmallPicture

# A picture with more pixels (a second's work to decode) is compared only where its conversion took long.
QUICK_PIXELS = 64_000_000


class Comparison:
    """Compares pages, with the sources that they come from kept open until `stack` closes."""

    def __init__(self, options: EngineOptions, stack: ExitStack) -> None:
        self._options = options
        self._stack = stack
        self._pdfs: dict[int, PdfPages] = {}
        self._images: dict[int, ImagePages] = {}
        self._contents: dict[int, PageContents] = {}

    def with_pdf(self, output: PdfPages, place: int, made: PageResult, page: SourcePage) -> None:
        """Raise `EngineFailed` where a page of a PDF does not look like that of its source."""
        from docmill.engines.verify import compare

        pixels = self._pixels(page)
        size = compare.small_size(page.width_pt or 1, page.height_pt or 1, pixels)
        turned = self._options.options.rotate or 0
        source = self._small(page, size, turned) if size else None
        if size is None or source is None:
            return
        picture = _drawn(output, place, size)
        if picture is None:
            raise EngineFailed(
                f"page {made.source_page} of the output cannot be read", hint=HINT, page=made.source_page
            )
        if self._alike(source, picture):
            return
        # Thin lines and patterns look different where a page is drawn small: another look, at all pixels.
        if pixels:
            picture = _drawn(output, place, size, pixels)
            shown = self._small(page, size, turned, slowly=True)
        else:
            # A PDF of pictures: as for other pictures.
            has_pixels = self._options.target != Target(PDF) and made.width_px
            shown = self._large(page, size, (made.width_px, made.height_px)) if has_pixels else None
        if shown is None or picture is None or not self._alike(shown, picture):
            _refuse_damaged_source(page, self._options)
            raise _looks_other(made)

    def with_images(self, output: ImagePages, place: int, made: PageResult, page: SourcePage) -> None:
        """Raise `EngineFailed` where a page's picture does not have its size or does not look like it."""
        from docmill.engines.verify import compare

        pixels = (made.width_px, made.height_px)
        found = output.size_px(place)
        if found is None:
            raise EngineFailed(
                f"page {made.source_page} of the output cannot be read", hint=HINT, page=made.source_page
            )
        if found != pixels:
            raise EngineFailed(
                f"page {made.source_page} has {found[0]} x {found[1]} pixels in the output, not"
                f" {pixels[0]} x {pixels[1]}",
                hint=HINT,
                page=made.source_page,
            )
        self._same_resolution(output.resolution(place), made, page)
        size = compare.small_size(*pixels, pixels)
        if size is None:
            return
        source, picture = self._small(page, size), output.drawn(place, size, pixels)
        if source is None or picture is None or self._alike(source, picture):
            return
        # Thin lines, patterns and pictures within pictures look different where a page is drawn small. So it
        # is drawn as large as it was for the output: that takes as long, and is rarely needed.
        large = self._large(page, size, pixels)
        if large is None or not self._alike(large, picture):
            raise _looks_other(made)

    def frame_size_pt(self, page: SourcePage) -> tuple[float, float]:
        """The size of a frame that goes beyond the first, by which the facts go; (0, 0) if it is unknown."""
        found, pixels = self._frames(page).size_px(page.index), self._pixels(page)
        if not found or not pixels:
            return 0.0, 0.0
        return page.width_pt * found[0] / pixels[0], page.height_pt * found[1] / pixels[1]

    def _alike(self, source: SmallPicture, picture: SmallPicture) -> bool:
        from docmill.engines.verify import compare

        bits = self._options.target.bits_per_pixel
        if bits == 1 or self._options.target.compression in BILEVEL:
            return compare.same_ink(source.image, picture.image)
        a, b = source.image, picture.image
        tolerance = max(source.tolerance, picture.tolerance, key=lambda each: each.value)
        if bits == 8:
            a, b = a.convert("L").convert("RGB"), b.convert("L").convert("RGB")
            tolerance = compare.Tolerance.CLOSE
        if compare.same(a, b, tolerance):
            return True
        # Rarely needed, and NumPy takes longer to import than most checks.
        from docmill.engines.verify import colors

        # A profile may well say that red is green, and inks are not the light that they leave.
        others = colors.other_ways(source)
        if bits == 8:
            others = ((other.convert("L").convert("RGB"), near) for other, near in others)
        return any(compare.same(other, b, near) for other, near in others)

    def _large(self, page: SourcePage, size: tuple[int, int], pixels: tuple[int, int]) -> SmallPicture | None:
        """A page of a PDF at `size`, drawn with as many pixels as it has in the output; else None."""
        reader = self._pdfs.get(id(page.source))
        return _drawn(reader, page.index, size, pixels) if reader else None

    def _same_resolution(self, found: tuple[float, float] | None, made: PageResult, page: SourcePage) -> None:
        if found is None or not page.width_pt or self._options.options.size is not None:
            return
        sides = zip(found, (made.width_px, made.height_px), (page.width_pt, page.height_pt), strict=True)
        for dpi, pixels, points in sides:
            # Files keep whole numbers, or pixels a metre; and a page is a whole number of pixels.
            if not dpi or abs(pixels - points / 72 * dpi) > 2 + pixels * 0.6 / dpi:
                raise EngineFailed(
                    f"page {made.source_page} is {pixels} pixels at {dpi:g} dpi in the output, which is not"
                    f" the {points:.1f} points of the source",
                    hint=HINT,
                    page=made.source_page,
                )

    def _pixels(self, page: SourcePage) -> tuple[int, int] | None:
        if page.source.is_pdf:
            return None
        size = (page.facts.width_px, page.facts.height_px)
        return (size[1], size[0]) if (self._options.options.rotate or 0) % 180 else size

    def _small(
        self, page: SourcePage, size: tuple[int, int], turned: int = 0, *, slowly: bool = False
    ) -> SmallPicture | None:
        """A page of a source at `size`, turned clockwise; None where it cannot be drawn."""
        key = id(page.source)
        if page.source.is_pdf:
            if self._options.target == Target(PDF) and not self._can_be_drawn(page):
                return None
            if key not in self._pdfs:
                reader = PdfPages(page.source.path, page.source.password, mend=True)
                self._pdfs[key] = self._stack.enter_context(closing(reader))
            return _drawn(self._pdfs[key], page.index, size, turned=turned)
        upright = size if turned % 180 == 0 else (size[1], size[0])
        shown = (page.facts.width_px, page.facts.height_px)
        small = self._frames(page).drawn(page.index, upright, shown, slowly=slowly)
        if small is None or not turned:
            return small
        return small.turned(turned)

    def _can_be_drawn(self, page: SourcePage) -> bool:
        """Whether pdfium draws all of a page that was copied: of one whose forms double thirty times it does
        not come back. Where pages were drawn for the output, their engine has looked."""
        from docmill.engines.pdf_content import PageContents

        key, source = id(page.source), page.source
        if key not in self._contents:
            self._contents[key] = PageContents.of(
                source.path, replace(self._options, password=source.password), len(source.facts.pages)
            )
        try:
            self._contents[key].check(page.index + 1)
        except (CorruptDocument, LimitExceeded):
            return False
        return True

    def _frames(self, page: SourcePage) -> ImagePages:
        from docmill.engines.verify.images import ImagePages

        key = id(page.source)
        if key not in self._images:
            several = len(page.source.facts.pages) > 1
            pages = ImagePages([page.source.path], seeks=several)
            self._images[key] = self._stack.enter_context(closing(pages))
        return self._images[key]


def _drawn(
    reader: PdfPages,
    index: int,
    size: tuple[int, int],
    pixels: tuple[int, int] | None = None,
    *,
    turned: int = 0,
) -> SmallPicture | None:
    """A page of a PDF at `size`, drawn with so many `pixels` before; None where it cannot be."""
    from docmill.engines.verify import compare
    from docmill.engines.verify.images import SmallPicture

    if pixels is None:
        large = (size[0] * compare.OVERSAMPLE, size[1] * compare.OVERSAMPLE)
    else:
        scale = min(1.0, (QUICK_PIXELS / (pixels[0] * pixels[1])) ** 0.5)
        large = (max(1, round(pixels[0] * scale)), max(1, round(pixels[1] * scale)))
    drawn = reader.drawn(index, *large, turned)
    return SmallPicture(compare.from_bgrx(drawn, size, large if pixels else None)) if drawn else None


def _refuse_damaged_source(page: SourcePage, options: EngineOptions) -> None:
    """Raise `CorruptDocument` where a page that was copied without being decoded is damaged: then it is the
    source that two libraries show differently."""
    if page.source.facts.mime_type != TIFF.mime_type:
        return
    from docmill.engines.raster.tiff_pages import refuse_damaged

    refuse_damaged(page.source.path, page.index + 1, options)


def _looks_other(made: PageResult) -> EngineFailed:
    return EngineFailed(
        f"page {made.source_page} looks different in the output", hint=HINT, page=made.source_page
    )
