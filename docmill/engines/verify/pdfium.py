"""A PDF's pages as the check before publishing looks at them: how many, how large, and drawn small."""

from __future__ import annotations

import ctypes
from pathlib import Path

from docmill.errors import DocmillError, EngineFailed
from docmill.pdfium import Opened, library
from docmill.user_unit import user_units

_BGRX = 3
_ANNOTATIONS = 1
# More than the bytes of an FPDF_FORMFILLINFO.
_FORM_INFO = 1024


class PdfPages:
    """A PDF's pages as pdfium reads them; close it. Raises `EngineFailed` where it cannot be opened.

    A source may be damaged (`mend`), an output may not.
    """

    def __init__(self, path: Path, password: str | None = None, *, mend: bool = False) -> None:
        self._library = library()
        try:
            self._opened = Opened(path, password, mend=mend)
        except DocmillError:
            raise EngineFailed(f"{path.name} cannot be opened again by pdfium") from None
        self._document = self._opened.document
        self._path, self._password = path, password
        self._units: dict[int, float] | None = None
        self._form, self._form_info = None, ctypes.create_string_buffer(_FORM_INFO)
        if self._library.FPDF_GetFormType(self._document) and _form_can_be_drawn(path, password):
            # Its first field is the version, 2; callbacks that are null are not called.
            self._form_info[0] = b"\x02"
            self._form = self._library.FPDFDOC_InitFormFillEnvironment(self._document, self._form_info)

    def __len__(self) -> int:
        count: int = self._library.FPDF_GetPageCount(self._document)
        return max(0, count)

    def close(self) -> None:
        if self._form:
            self._library.FPDFDOC_ExitFormFillEnvironment(self._form)
        self._opened.close()

    def size_pt(self, index: int) -> tuple[float, float]:
        """Width and height of a page as it is shown, without UserUnit; (0, 0) where it cannot be read."""
        size = (ctypes.c_float * 2)()
        self._library.FPDF_GetPageSizeByIndexF(self._document, index, size)
        return size[0], size[1]

    def has(self, index: int) -> bool:
        """Whether a page is really there: the page tree may count more than it has."""
        page = self._library.FPDF_LoadPage(self._document, index)
        if page:
            self._library.FPDF_ClosePage(page)
        return bool(page)

    def user_units(self) -> dict[int, float]:
        """UserUnit by index, where it is not 1; read once, and only where it is asked for."""
        if self._units is None:
            self._units = user_units(self._path, self._password)
        return self._units

    def drawn(self, index: int, width: int, height: int, turned: int = 0) -> bytes | None:
        """A page with its form fields drawn on white, `turned` by so many degrees clockwise: rows of BGRX
        pixels without padding. None where it cannot be loaded."""
        page = self._library.FPDF_LoadPage(self._document, index)
        if not page:
            return None
        rotation = self._library.FPDFPage_GetRotation(page)
        if turned:
            # Not by the drawing call: that puts pictures a pixel beside where a page so rotated has them.
            self._library.FPDFPage_SetRotation(page, (rotation + turned // 90) % 4)
        if self._form:
            self._library.FORM_OnAfterLoadPage(page, self._form)
        try:
            pixels = ctypes.create_string_buffer(b"\xff" * (width * height * 4), width * height * 4)
            bitmap = self._library.FPDFBitmap_CreateEx(width, height, _BGRX, pixels, width * 4)
            place = (0, 0, width, height, 0, _ANNOTATIONS)
            self._library.FPDF_RenderPageBitmap(bitmap, page, *place)
            if self._form:
                self._library.FPDF_FFLDraw(self._form, bitmap, page, *place)
            self._library.FPDFBitmap_Destroy(bitmap)
            return pixels.raw
        finally:
            if self._form:
                self._library.FORM_OnBeforeClosePage(page, self._form)
            if turned:
                self._library.FPDFPage_SetRotation(page, rotation)
            self._library.FPDF_ClosePage(page)


def _form_can_be_drawn(path: Path, password: str | None) -> bool:
    # Imports qpdf's binding: only for a PDF that has a form.
    from docmill.engines.pdf_content import form_can_be_drawn

    return form_can_be_drawn(path, password)
