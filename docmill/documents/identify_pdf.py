"""What a PDF is, read by pdfium: its pages' sizes, whether it is encrypted, its title.

Importing this loads pdfium: what is forked from a process that has done so need not.
"""

from __future__ import annotations

import ctypes
from contextlib import closing
from pathlib import Path
from typing import Any

from docmill.errors import CorruptDocument
from docmill.facts import DocumentFacts, PageFacts
from docmill.formats import PDF
from docmill.page_limits import check_page_count
from docmill.pdfium import Opened, library
from docmill.user_unit import user_units

_PDFIUM = library()


def identify_pdf(path: Path, *, password: str | None, max_pages: int) -> DocumentFacts:
    """Read a PDF's facts.

    Raises `PasswordRequired` or `PasswordWrong` for an encrypted one, `CorruptDocument` for one that pdfium
    cannot open, nor as qpdf mends it.
    """
    with closing(Opened(path, password, mend=True)) as opened:
        document = opened.document
        count = _PDFIUM.FPDF_GetPageCount(document)
        check_page_count(count, max_pages)
        if count <= 0:
            raise CorruptDocument("the PDF has no pages")
        units = user_units(path, password)
        return DocumentFacts(
            PDF.mime_type,
            tuple(_page(document, index, units.get(index, 1.0)) for index in range(count)),
            encrypted=_PDFIUM.FPDF_GetSecurityHandlerRevision(document) >= 0,
            title=_title(document),
        )


def _page(document: Any, index: int, unit: float) -> PageFacts:
    size = (ctypes.c_float * 2)()
    if not _PDFIUM.FPDF_GetPageSizeByIndexF(document, index, size):
        # One bad page is the engine's to report, by the job's on_error.
        return PageFacts(0, 0, 0.0, 0.0)
    return PageFacts(0, 0, size[0] * unit, size[1] * unit)


def _title(document: Any) -> str:
    length = _PDFIUM.FPDF_GetMetaText(document, b"Title", None, 0)
    text = ctypes.create_string_buffer(length)
    _PDFIUM.FPDF_GetMetaText(document, b"Title", text, length)
    return text.raw.decode("utf-16-le", errors="replace").rstrip("\0")
