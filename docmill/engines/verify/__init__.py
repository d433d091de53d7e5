"""Checks an output before it is published: against its source, and with another library than wrote it.

Pages are counted and their sizes compared, which takes both resolutions and the rotation in; then a few pages
are drawn small from the source and from the output, and compared. PDFs, which docmill's own writer and qpdf
make, are read by pdfium; images, which are made of what pdfium drew, by Pillow.

Small pictures of about 120 by 160 squares tell a page that is turned, mirrored, inverted, shifted, cut,
discoloured or another one. They do not tell a single wrong pixel: that needs both pages decoded in full,
which for copied pages takes ten times as long as the conversion. Comparing may take a tenth of the
conversion's time, but one page is always looked at: the first, since to reach a later one of a TIFF Pillow
walks through all before it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

from docmill.engines.base import DAMAGED, MENDED, EngineOptions, EngineResult, PageResult
from docmill.engines.verify.appearance import QUICK_PIXELS, Comparison
from docmill.engines.verify.expected import HINT, Source, SourcePage, check_page_count, source_pages
from docmill.engines.verify.pdfium import PdfPages
from docmill.errors import EngineFailed
from docmill.formats import GIF, JPEG, PDF, PNG, TIFF, WEBP

__all__ = ["Source", "verify"]

# The part of the conversion's time that comparing pages may take, and the most pages that are compared.
SHARE = 0.1
MAX_SAMPLES = 8
# Pages of one output whose sizes are compared.
MAX_SIZES = 2000
_IMAGES = frozenset({TIFF, PNG, JPEG, WEBP, GIF})


def verify(sources: Sequence[Source], options: EngineOptions, result: EngineResult, seconds: float) -> None:
    """Compare an output with its sources; `seconds` is what the conversion took.

    Raises `EngineFailed`, with the page of the source where there is one, and `CorruptDocument` where that is
    what is damaged.
    """
    pages = source_pages(sources, options)
    check_page_count(sources, pages, options.options, result)
    pairs = [
        (place, made, pages[made.source_page - 1] if 0 < made.source_page <= len(pages) else None)
        for place, made in enumerate(result.pages)
    ]
    failed = {failure.page for failure in result.failures}
    whole = [
        (place, made, page)
        for place, made, page in pairs
        if page and made.source_page not in failed and not made.how.startswith("blank")
    ]
    if options.target.archive:
        return
    if options.target.format is PDF:
        _verify_pdf(whole, options, result, seconds)
    elif options.target.format in _IMAGES:
        _verify_images(whole, options, result, seconds)


Pair = tuple[int, PageResult, SourcePage]


def _verify_pdf(pairs: Sequence[Pair], options: EngineOptions, result: EngineResult, seconds: float) -> None:
    password = options.encrypt_user_password
    if password is None and options.encrypt_owner_password is not None:
        password = options.encrypt_owner_password
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(PdfPages(path, password))) for path in result.outputs[:1]]
        if len(result.outputs) == 1:
            _same_count(len(readers[0]), len(result.pages))
            reached = pairs
        else:
            # Of many files the first stands for all; each has been made in the same way.
            reached = [pair for pair in pairs if pair[0] < len(readers[0])]
        comparison = Comparison(options, stack)
        for place, made, page in reached[:: max(1, len(reached) // MAX_SIZES)]:
            _same_size(readers[0], place, page, made, comparison)
        if any(DAMAGED in note for note in result.notes):
            return
        for place, made, page in _samples([pair for pair in reached if _is_quick(pair[2], seconds)], seconds):
            comparison.with_pdf(readers[0], place, made, page)


def _verify_images(
    pairs: Sequence[Pair], options: EngineOptions, result: EngineResult, seconds: float
) -> None:
    from docmill.engines.verify.images import ImagePages

    with ExitStack() as stack:
        reader = stack.enter_context(closing(ImagePages(result.outputs)))
        if len(result.outputs) > 1:
            _same_count(len(result.outputs), len(result.pages))
        if MENDED in result.notes:
            return  # pdfium does not see what it drew
        comparison = Comparison(options, stack)
        for place, made, page in _samples(pairs, seconds):
            comparison.with_images(reader, place, made, page)


def _same_count(found: int, expected: int) -> None:
    if found != expected:
        raise EngineFailed(f"the output has {found} pages where it should have {expected}", hint=HINT)


def _same_size(
    output: PdfPages, place: int, page: SourcePage, made: PageResult, comparison: Comparison
) -> None:
    found, expected = output.size_pt(place), (page.width_pt, page.height_pt)
    if not all(expected) or _is_size(found, expected):
        return
    unit = output.user_units().get(place, 1.0)
    if _is_size((found[0] * unit, found[1] * unit), expected):
        return
    if page.source.facts.mime_type == GIF.mime_type and _is_size(found, comparison.frame_size_pt(page)):
        return
    raise EngineFailed(
        f"page {made.source_page} is {_points(found)} in the output, {_points(expected)} in the source",
        hint=HINT,
        page=made.source_page,
    )


def _is_size(found: tuple[float, float], expected: tuple[float, float]) -> bool:
    return all(abs(a - b) <= max(0.6, 0.003 * b) for a, b in zip(found, expected, strict=True))


def _points(size: tuple[float, float]) -> str:
    return f"{size[0]:.1f} x {size[1]:.1f} points"


def _is_quick(page: SourcePage, seconds: float) -> bool:
    """Whether to decode a page takes little, in itself or beside its conversion."""
    pixels = page.facts.width_px * page.facts.height_px
    return pixels < QUICK_PIXELS or pixels / QUICK_PIXELS < SHARE * seconds


def _samples(pairs: Sequence[Pair], seconds: float) -> Iterator[Pair]:
    """Pages to compare, while there is time: the first, the last, the middle, and some others."""
    if not pairs:
        return
    last = len(pairs) - 1
    chosen = [
        0,
        last,
        last // 2,
        *random.Random(last).sample(range(len(pairs)), min(len(pairs), MAX_SAMPLES)),
    ]
    started = time.monotonic()
    for index in list(dict.fromkeys(chosen))[:MAX_SAMPLES]:
        yield pairs[index]
        if time.monotonic() - started > SHARE * seconds:
            return
