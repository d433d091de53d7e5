"""What the pages of an output are to be like, by the facts of the documents that went into it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from docmill.engines.base import EngineOptions, EngineResult
from docmill.engines.verify.pdfium import PdfPages
from docmill.errors import EngineFailed
from docmill.facts import DocumentFacts, PageFacts
from docmill.formats import BMP, JPEG, PDF, TIFF
from docmill.options import ConvertOptions

HINT = "set DOCMILL_VERIFY=warn to publish it all the same"
# Formats of which each frame is a page: of an animation a job may take the first frame only.
_ALL_PAGES = frozenset({PDF.mime_type, TIFF.mime_type, JPEG.mime_type, BMP.mime_type})


@dataclass(frozen=True, slots=True)
class Source:
    """A document that went into the output: its file and what was known of it before."""

    path: Path
    facts: DocumentFacts
    password: str | None = field(default=None, repr=False)

    @property
    def is_pdf(self) -> bool:
        return self.facts.mime_type == PDF.mime_type


@dataclass(frozen=True, slots=True)
class SourcePage:
    """Page `index` (from 0) of a source, and the size in points that it is to have in the output."""

    source: Source
    index: int
    width_pt: float
    height_pt: float
    facts: PageFacts


def source_pages(sources: Sequence[Source], options: EngineOptions) -> list[SourcePage]:
    """The pages of all sources in order: `PageResult.source_page` counts them from 1."""
    return [
        SourcePage(source, index, *_size(page, options), page)
        for source in sources
        for index, page in enumerate(source.facts.pages)
    ]


def check_page_count(
    sources: Sequence[Source], pages: Sequence[SourcePage], asked: ConvertOptions, result: EngineResult
) -> None:
    """Raise `EngineFailed` where pages are missing that are not told as failed."""
    if result.failures or any(source.facts.mime_type not in _ALL_PAGES for source in sources):
        return
    expected = len(asked.page_numbers(len(pages)))
    # More there may be: qpdf finds pages of a damaged PDF that pdfium, which read the facts, does not. And
    # pdfium believes a page tree that counts three pages and has one.
    if len(result.pages) < expected and not any(_counts_too_many(source) for source in sources):
        raise EngineFailed(f"the output has {len(result.pages)} of {expected} pages", hint=HINT)


def _counts_too_many(source: Source) -> bool:
    if not source.is_pdf:
        return False
    with closing(PdfPages(source.path, source.password, mend=True)) as reader:
        return not reader.has(len(reader) - 1)


def _size(page: PageFacts, options: EngineOptions) -> tuple[float, float]:
    asked = options.options
    width, height = page.width_pt, page.height_pt
    if asked.dpi is not None and page.width_px and not page.dpi_x:
        # The facts go by the installation's resolution, where a picture names none.
        width, height = (side * options.default_dpi / asked.dpi for side in (width, height))
    return (height, width) if (asked.rotate or 0) % 180 else (width, height)
