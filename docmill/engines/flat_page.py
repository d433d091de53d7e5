"""A page with the text of form fields, stamps and typed notes, made part of its content."""

from __future__ import annotations

import ctypes
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from docmill.errors import CorruptDocument

_WITH_TEXT = frozenset({pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_STAMP, pdfium.FPDF_ANNOT_WIDGET})


def load_with_text(document: pypdfium2.PdfDocument, number: int) -> tuple[Any, Any, bool]:
    """pdfium's handles of page `number` (from 1) and of its text, which the caller closes, the text first;
    and whether there was something to make part of the content.

    Where the document's forms are initialised, what fields hold is there also if the PDF does not say how
    they look.

    Raises `CorruptDocument` with the page where pdfium cannot load them.
    """
    page = pdfium.FPDF_LoadPage(document, number - 1)
    if not page:
        raise CorruptDocument(f"page {number} cannot be read", page=number)
    has_more = _has_text_annotation(page)
    if has_more:
        if document.formenv:
            # Makes the looks that are missing.
            pdfium.FORM_OnAfterLoadPage(page, document.formenv)
            pdfium.FORM_OnBeforeClosePage(page, document.formenv)
        _flatten(page)
        pdfium.FPDF_ClosePage(page)
        page = pdfium.FPDF_LoadPage(document, number - 1)
    text_page = pdfium.FPDFText_LoadPage(page)
    if not text_page:
        pdfium.FPDF_ClosePage(page)
        raise CorruptDocument(f"the text of page {number} cannot be read", page=number)
    return page, text_page, has_more


def _has_text_annotation(page: Any) -> bool:
    """Whether a form field, a stamp or a text that was typed on the page is drawn over it."""
    for index in range(pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium.FPDFPage_GetAnnot(page, index)
        kind = pdfium.FPDFAnnot_GetSubtype(annotation)
        pdfium.FPDFPage_CloseAnnot(annotation)
        if kind in _WITH_TEXT:
            return True
    return False


def _flatten(page: Any) -> None:
    """Make annotations part of the content of a page, as it is when it is next loaded."""
    own = [ctypes.c_float() for _ in range(4)]
    frame = pdfium.FS_RECTF()
    if not pdfium.FPDFPage_GetMediaBox(page, *own) and pdfium.FPDF_GetPageBoundingBox(page, frame):
        # Flattening takes a page that inherits its box for 612 by 792 points.
        pdfium.FPDFPage_SetMediaBox(page, frame.left, frame.bottom, frame.right, frame.top)
    pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)
