"""Opening a PDF with qpdf, which repairs what it can; what it cannot, pdfium may still rebuild."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2
from pikepdf import Array, Dictionary, Name

from docmill.engines.base import DAMAGED, REBUILT
from docmill.engines.pdf_edit.encrypted_files import decrypt_attachments, drop_attachments
from docmill.engines.pdfium_document import load_pdf, open_pdf
from docmill.errors import CorruptDocument, PasswordWrong
from docmill.page_limits import check_page_count
from docmill.qpdf import mended, open_with_qpdf


@dataclass(slots=True)
class OpenedPdf:
    """A PDF that can be edited, its page objects in order, and notes about what had to be repaired.

    `placeholders` are the pages that the page tree lists and that are no pages, by index (from 0), and what
    to say of them; an empty page stands in their place. `encrypted` says whether the file was.
    """

    pdf: pikepdf.Pdf
    pages: list[pikepdf.Object]
    notes: tuple[str, ...] = ()
    placeholders: Mapping[int, str] = field(default_factory=dict)
    encrypted: bool = False


def open_for_editing(source: Path, password: str | None, scratch: Path, max_pages: int) -> OpenedPdf:
    """Open a PDF; `scratch` is a folder for a rebuilt copy where one is needed.

    The caller closes `.pdf`. Raises `PasswordRequired`, `PasswordWrong`, `CorruptDocument` and
    `LimitExceeded`.
    """
    try:
        opened = _open(source, password)
    except pikepdf.PasswordError:
        opened = _without_attachments(source, password, scratch)
    except (pikepdf.PdfError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        opened = _rebuilt(source, password, scratch, error)
    if len(opened.pages) > max_pages:
        opened.pdf.close()
        check_page_count(len(opened.pages), max_pages)
    return opened


def _open(source: Path, password: str | None) -> OpenedPdf:
    pdf = open_with_qpdf(source, password)
    try:
        # Iterated once: `pdf.pages[i]` takes time in proportion to the number of pages.
        pages: list[pikepdf.Object] = [page.obj for page in pdf.pages]
        if not pages:
            raise ValueError("no pages")
    except BaseException:
        pdf.close()
        raise
    opened = OpenedPdf(pdf, pages, encrypted=pdf.is_encrypted)
    decrypt_attachments(pdf)
    warnings = [str(warning) for warning in pdf.get_warnings()]
    opened.notes = repair_notes(warnings, source)
    if _counted(source, password) > len(pages) or any("non-dictionary" in warning for warning in warnings):
        _put_placeholders(opened, _lost_pages(source, password))
    return opened


def repair_notes(warnings: Sequence[str], source: Path) -> tuple[str, ...]:
    """What a person should know of qpdf's warnings: that there were some, and the first."""
    if not warnings:
        return ()
    first = warnings[0].removeprefix(str(source)).lstrip(":, ")
    return (f"{DAMAGED} and was repaired: {first}",)


def _counted(source: Path, password: str | None) -> int:
    """The pages that the page tree claims to have: qpdf sets that right on opening, and of an object that is
    missing it does not warn."""
    with open_with_qpdf(source, password, inherit_page_attributes=False) as pdf:
        return int(pdf.Root.Pages.get(Name.Count, 0))


def _lost_pages(source: Path, password: str | None) -> list[int]:
    """The places in the page tree that hold no page, which qpdf takes out when it reads its pages."""
    lost = []
    with open_with_qpdf(source, password, inherit_page_attributes=False) as pdf:
        place = 0
        stack: list[Any] = [pdf.Root.Pages]
        while stack:
            node = stack.pop()
            kids = node.get(Name.Kids) if isinstance(node, Dictionary) else None
            if isinstance(kids, Array):
                stack.extend(reversed(list(kids)))
                continue
            if not isinstance(node, Dictionary):
                lost.append(place)
            place += 1
    return lost


def _put_placeholders(opened: OpenedPdf, places: list[int]) -> None:
    for place in places:
        like = opened.pages[min(max(place - 1, 0), len(opened.pages) - 1)]
        blank = Dictionary(Type=Name.Page, MediaBox=like.get(Name.MediaBox), Resources=Dictionary())
        opened.pages.insert(place, opened.pdf.make_indirect(blank))
        # qpdf's own list of pages has them too: a merge goes by it.
        opened.pdf.pages.insert(place, pikepdf.Page(opened.pages[place]))
    opened.placeholders = {place: f"page {place + 1} is missing from the PDF" for place in places}


def _without_attachments(source: Path, password: str | None, scratch: Path) -> OpenedPdf:
    """Where qpdf wants a password: it may be that of the attachments, which pdfium leaves alone.

    Raises `PasswordRequired` or `PasswordWrong` where it is not.
    """
    if password is not None:
        raise PasswordWrong("the password does not open the PDF, or not what is attached to it")
    copy = scratch / "open.pdf"
    with open_pdf(source) as with_pdfium:
        with_pdfium.save(copy, flags=pypdfium2.raw.FPDF_REMOVE_SECURITY)
    try:
        opened = _open(copy, None)
    except (pikepdf.PdfError, RuntimeError, ValueError) as error:
        raise CorruptDocument(
            "the PDF cannot be read", hint="it is damaged beyond what can be repaired"
        ) from error
    opened.encrypted = True
    if count := drop_attachments(opened.pdf):
        are = "1 attachment is" if count == 1 else f"{count:,} attachments are"
        note = f"{are} encrypted and left out: give the password of the PDF to keep what it has attached"
        opened.notes = (note, *opened.notes)
    return opened


def _rebuilt(source: Path, password: str | None, scratch: Path, reason: Exception) -> OpenedPdf:
    try:
        return _rebuilt_by_pdfium(source, password, scratch, reason)
    except CorruptDocument:
        data = mended(source, password)
        if data is None:
            raise
    copy = scratch / "mended.pdf"
    copy.write_bytes(data)
    opened = _open(copy, None)
    opened.notes = (REBUILT, *opened.notes)
    return opened


def _rebuilt_by_pdfium(source: Path, password: str | None, scratch: Path, reason: Exception) -> OpenedPdf:
    with_pdfium = load_pdf(source, password)
    copy = scratch / "rebuilt.pdf"
    try:
        if not len(with_pdfium):
            raise CorruptDocument("the PDF has no pages", hint="it is damaged beyond what can be repaired")
        with_pdfium.save(copy, flags=pypdfium2.raw.FPDF_REMOVE_SECURITY)
        encrypted = pypdfium2.raw.FPDF_GetSecurityHandlerRevision(with_pdfium) >= 0
        try:
            opened = _open(copy, None)
        except (pikepdf.PdfError, RuntimeError, ValueError):
            # Its root or page tree is beyond qpdf: the pages alone, under new ones.
            with pypdfium2.PdfDocument.new() as fresh:
                fresh.import_pages(with_pdfium)
                fresh.save(copy)
            opened = _open(copy, None)
    except (
        pypdfium2.PdfiumError,
        pikepdf.PdfError,
        pikepdf.PasswordError,
        RuntimeError,
        ValueError,
    ) as error:
        raise CorruptDocument(
            f"the PDF cannot be read: {str(reason).removeprefix(str(source)).strip(' :')}",
            hint="it is damaged beyond what can be repaired",
        ) from error
    finally:
        with_pdfium.close()
    opened.encrypted = encrypted
    opened.notes = (f"{DAMAGED} and was rebuilt; bookmarks and forms may be lost", *opened.notes)
    return opened
