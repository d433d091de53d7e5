"""A PDF as pdfium draws or reads it: itself, or what qpdf made of it where pdfium cannot open it or loses
content of pages."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pypdfium2
import pypdfium2.raw as pdfium

from docmill import qpdf
from docmill.engines.base import MENDED, MENDED_FONTS, REBUILT, EngineOptions
from docmill.engines.pdf_content import PageContents
from docmill.engines.pdfium_document import open_pdf, reading_notes, selected_pages
from docmill.errors import CorruptDocument

# Pages of a damaged PDF that are looked at for content that pdfium does not see.
_MOST_PAGES = 500


@dataclass(frozen=True, slots=True)
class ReadablePdf:
    """A file for pdfium, the options with which to read it, the pages asked for and what is to be noted."""

    path: Path
    options: EngineOptions
    numbers: list[int]
    contents: PageContents
    notes: tuple[str, ...]


@contextmanager
def readable_pdf(
    source: Path, options: EngineOptions, folder: Path, *, for_text: bool = False
) -> Iterator[ReadablePdf]:
    """`source`, or a mended copy that lies in `folder` until the end.

    A cross-reference table with a line that is none has pdfium read the objects before it and take all others
    for missing: an empty page, without a word. qpdf then looks for the objects itself. `for_text`: what fonts
    say of their characters is mended as well.
    """
    with ExitStack() as stack:
        try:
            pdf, mended = _looked_at(source, options, for_text)
        except CorruptDocument:
            data = qpdf.mended(source, options.password)
            if data is None:
                raise
            source = _scratch(folder, stack) / "rebuilt.pdf"
            source.write_bytes(data)
            options = replace(options, password=None)
            pdf, mended = _looked_at(source, options, for_text)
            pdf = replace(pdf, notes=(REBUILT, *pdf.notes))
        if mended:
            copy = _scratch(folder, stack) / "mended.pdf"
            pdf.contents.save(copy)
            notes = tuple(dict.fromkeys([*pdf.notes, *mended]))
            pdf = replace(pdf, path=copy, options=replace(options, password=None), notes=notes)
        yield pdf


def _looked_at(source: Path, options: EngineOptions, for_text: bool) -> tuple[ReadablePdf, list[str]]:
    """A PDF that pdfium can open, and what is to be mended in it before pdfium draws or reads its pages."""
    mended = []
    with open_pdf(source, options.password) as document:
        numbers = selected_pages(document, options)
        contents = PageContents.of(source, options, len(document))
        notes = reading_notes(source, document)
        if contents.damaged and _loses_content(document, contents, numbers[:_MOST_PAGES]):
            mended.append(MENDED)
    if for_text and contents.mend_fonts(numbers):
        mended.append(MENDED_FONTS)
    return ReadablePdf(source, options, numbers, contents, notes), mended


def _scratch(folder: Path, stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix=".mended-")))


def _loses_content(document: pypdfium2.PdfDocument, contents: PageContents, numbers: Sequence[int]) -> bool:
    for number in numbers:
        # pdfium is not asked to load what it would not come back from.
        if not contents.paints(number):
            continue
        page = pdfium.FPDF_LoadPage(document, number - 1)
        if not page:
            continue
        empty = not pdfium.FPDFPage_CountObjects(page)
        pdfium.FPDF_ClosePage(page)
        if empty:
            return True
    return False
