"""What a PDF is, read by pdfium: its pages' sizes, whether it is encrypted, its title."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docmill.errors import CorruptDocument, PasswordRequired, PasswordWrong
from docmill.facts import DocumentFacts, PageFacts
from docmill.formats import PDF
from docmill.pictures import check_page_count
from docmill.user_unit import user_units

_ERROR_PASSWORD, _ERROR_SECURITY = 4, 5


def identify_pdf(path: Path, *, password: str | None, max_pages: int) -> DocumentFacts:
    """Read a PDF's facts.

    Raises `PasswordRequired` or `PasswordWrong` for an encrypted one, `CorruptDocument` for one that pdfium
    cannot open.
    """
    import pypdfium2 as pdfium
    import pypdfium2.raw as pdfium_c

    try:
        document = pdfium.PdfDocument(path, password=password)
    except pdfium.PdfiumError as error:
        if error.err_code == _ERROR_PASSWORD:
            if password is None:
                raise PasswordRequired(
                    "the PDF is encrypted and needs a password",
                    hint="give it by --password-env or --password-file",
                ) from None
            raise PasswordWrong("the password does not open the PDF") from None
        if error.err_code == _ERROR_SECURITY:
            raise CorruptDocument("the PDF is encrypted by a method that pdfium does not know") from None
        raise CorruptDocument("the PDF cannot be opened", hint="the file seems to be damaged") from None
    with document:
        count = len(document)
        check_page_count(count, max_pages)
        if count == 0:
            raise CorruptDocument("the PDF has no pages")
        units = user_units(path, password)
        return DocumentFacts(
            PDF.mime_type,
            tuple(_page(document, number, units.get(number, 1.0)) for number in range(count)),
            encrypted=pdfium_c.FPDF_GetSecurityHandlerRevision(document) >= 0,
            title=document.get_metadata_value("Title"),
        )


def _page(document: Any, index: int, unit: float) -> PageFacts:
    import pypdfium2 as pdfium

    try:
        width, height = document.get_page_size(index)
    except pdfium.PdfiumError:
        # One bad page is the engine's to report, by the job's on_error.
        width, height = 0.0, 0.0
    return PageFacts(0, 0, width * unit, height * unit)
