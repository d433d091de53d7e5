"""Opening a PDF with pdfium, with pdfium's refusals told as docmill's errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pypdfium2

from docmill.engines.base import DYNAMIC_XFA, EngineOptions
from docmill.errors import CorruptDocument
from docmill.pdfium import open_error

# Where readers look for a PDF's header, and for the place of its cross-reference table.
_HEAD = 1024
_TAIL = 2048


@contextmanager
def open_pdf(source: Path, password: str | None = None) -> Iterator[pypdfium2.PdfDocument]:
    """Open a PDF for reading; it is closed at the end. Raises as `load_pdf` does."""
    document = load_pdf(source, password)
    try:
        yield document
    finally:
        document.close()


def load_pdf(source: Path, password: str | None = None) -> pypdfium2.PdfDocument:
    """A PDF for reading, which the caller closes.

    Raises `PasswordRequired`, `PasswordWrong` or `CorruptDocument`.
    """
    try:
        return pypdfium2.PdfDocument(source, password=password)
    except pypdfium2.PdfiumError as error:
        raise open_error(getattr(error, "err_code", None), password) from None


def selected_pages(document: pypdfium2.PdfDocument, options: EngineOptions) -> list[int]:
    """The page numbers (from 1) that the job asks for, in its order.

    Raises `CorruptDocument` where the file has no page, `InvalidJobData` where one is beyond the last and
    `LimitExceeded` where they are too many.
    """
    count = len(document)
    if not count:
        raise CorruptDocument("the PDF has no pages", hint="it is damaged beyond what can be repaired")
    return options.page_numbers(count)


def reading_notes(source: Path, document: pypdfium2.PdfDocument) -> tuple[str, ...]:
    """What a person should know of a PDF whose pages are drawn or read."""
    form_type = pypdfium2.raw.FPDF_GetFormType(document)
    dynamic = form_type == pypdfium2.raw.FORMTYPE_XFA_FULL
    return (*_repair_notes(source), *((DYNAMIC_XFA,) if dynamic else ()))


def _repair_notes(source: Path) -> tuple[str, ...]:
    """That pdfium had to find the objects of a PDF by itself, which it does not tell: where the last
    `startxref` does not lead to a cross-reference table or stream (ISO 32000-1, 7.5.5)."""
    with source.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        found = re.findall(rb"startxref\s+(\d{1,15})", file.read())
        file.seek(0)
        shift = max(0, file.read(_HEAD).find(b"%PDF-"))
        for offset in (int(found[-1]), int(found[-1]) + shift) if found else ():
            file.seek(offset)
            if re.match(rb"\s*(xref|\d+\s+\d+\s+obj)", file.read(64)):
                return ()
    return ("the PDF was damaged and was repaired: its cross-reference table is not where it should be",)
