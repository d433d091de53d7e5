"""The few functions of pdfium that the probe and the check before publishing need, bound directly.

Importing pypdfium2 makes ctypes prototypes of all 450 functions, which takes five times as long as loading
the library: too much for whoever asks how many pages a PDF has. Signatures are those of pdfium's
public/fpdfview.h, fpdf_doc.h, fpdf_edit.h and fpdf_formfill.h.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import Any

from docmill.errors import CorruptDocument, PasswordRequired, PasswordWrong
from docmill.qpdf import mended

# FPDF_GetLastError (fpdfview.h).
_ERROR_PASSWORD, _ERROR_SECURITY = 4, 5


class Opened:
    """A PDF that pdfium has opened: `document` is its handle. Close it.

    With `mend` one that pdfium cannot open is what qpdf makes of it, in memory. Raises `PasswordRequired`,
    `PasswordWrong` or `CorruptDocument`.
    """

    def __init__(self, path: Path, password: str | None, *, mend: bool = False) -> None:
        self._library = library()
        secret = password.encode() if password is not None else None
        self.document = self._library.FPDF_LoadDocument(os.fsencode(path), secret)
        self._data: bytes | None = None
        if self.document:
            return
        error = open_error(self._library.FPDF_GetLastError(), password)
        if mend and isinstance(error, CorruptDocument):
            # pdfium reads from it as long as the document is open.
            self._data = mended(path, password)
        if self._data:
            self.document = self._library.FPDF_LoadMemDocument64(self._data, len(self._data), None)
        if not self.document:
            raise error

    def close(self) -> None:
        self._library.FPDF_CloseDocument(self.document)
        self._data = None


def open_error(code: int | None, password: str | None) -> CorruptDocument | PasswordRequired | PasswordWrong:
    """What it means that FPDF_LoadDocument failed, by FPDF_GetLastError's code."""
    if code == _ERROR_PASSWORD and password is None:
        return PasswordRequired(
            "the PDF is encrypted and needs a password", hint="give it by --password-env or --password-file"
        )
    if code == _ERROR_PASSWORD:
        return PasswordWrong("the password does not open the PDF")
    if code == _ERROR_SECURITY:
        return CorruptDocument("the PDF is encrypted by a method that pdfium does not know")
    return CorruptDocument("the PDF cannot be opened", hint="it is damaged beyond what can be repaired")


@cache
def library() -> Any:
    """pdfium, initialised, with the prototypes of the functions below."""
    package = importlib.util.find_spec("pypdfium2_raw")
    folder = Path(((package and package.submodule_search_locations) or ["."])[0])
    try:
        library: Any = ctypes.CDLL(str(folder / "libpdfium.so"))
    except OSError:
        # A pypdfium2 that was built to use another libpdfium knows where that is.
        import pypdfium2.raw

        return pypdfium2.raw
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("FPDF_LoadDocument", pointer, (text, text)),
        ("FPDF_LoadMemDocument64", pointer, (text, ctypes.c_size_t, text)),
        ("FPDF_CloseDocument", None, (pointer,)),
        ("FPDF_GetLastError", ctypes.c_ulong, ()),
        ("FPDF_GetSecurityHandlerRevision", number, (pointer,)),
        ("FPDF_GetMetaText", ctypes.c_ulong, (pointer, text, pointer, ctypes.c_ulong)),
        ("FPDF_CreateNewDocument", pointer, ()),
        ("FPDFText_LoadStandardFont", pointer, (pointer, text)),
        ("FPDFFont_Close", None, (pointer,)),
        ("FPDF_GetPageCount", number, (pointer,)),
        ("FPDF_GetPageSizeByIndexF", number, (pointer, number, pointer)),
        ("FPDF_LoadPage", pointer, (pointer, number)),
        ("FPDF_ClosePage", None, (pointer,)),
        ("FPDFPage_GetRotation", number, (pointer,)),
        ("FPDFPage_SetRotation", None, (pointer, number)),
        ("FPDFBitmap_CreateEx", pointer, (number, number, number, pointer, number)),
        ("FPDF_RenderPageBitmap", None, (pointer, pointer, *(number,) * 6)),
        ("FPDFBitmap_Destroy", None, (pointer,)),
        ("FPDF_GetFormType", number, (pointer,)),
        ("FPDFDOC_InitFormFillEnvironment", pointer, (pointer, pointer)),
        ("FPDFDOC_ExitFormFillEnvironment", None, (pointer,)),
        ("FORM_OnAfterLoadPage", None, (pointer, pointer)),
        ("FORM_OnBeforeClosePage", None, (pointer, pointer)),
        ("FPDF_FFLDraw", None, (pointer, pointer, pointer, *(number,) * 6)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    # Does nothing where pypdfium2 has done it in this process.
    library.FPDF_InitLibraryWithConfig(ctypes.byref(_Config(version=2)))
    return library


def load() -> None:
    """Load the library, and have it list the fonts of the system.

    It does so in each process that meets a font which is not in its PDF (4 ms for 150 files); those that are
    forked from one that has the list need not.
    """
    pdfium = library()
    document = pdfium.FPDF_CreateNewDocument()
    pdfium.FPDFFont_Close(pdfium.FPDFText_LoadStandardFont(document, b"Helvetica"))
    pdfium.FPDF_CloseDocument(document)


class _Config(ctypes.Structure):
    _fields_ = (("version", ctypes.c_int), ("unused", ctypes.c_void_p * 4), ("renderer", ctypes.c_int))
