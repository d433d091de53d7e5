"""Opening PDFs with qpdf by a password that a person typed.

Up to 128 bits passwords are in PDFDocEncoding, much like Latin-1; AES-256 takes UTF-8, the first 127 bytes of
it (ISO 32000-2, 7.6.4.3). pdfium tries both; qpdf takes what it is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pikepdf

# Of a longer password for AES-256 the rest does not count.
MAX_PASSWORD_BYTES = 127


def open_with_qpdf(source: Path, password: str | None, **how: Any) -> pikepdf.Pdf:
    """`pikepdf.open`, which raises `pikepdf.PasswordError` only where no form of the password fits."""
    import pikepdf

    *others, last = _forms(password or "")
    for form in others:
        try:
            return pikepdf.open(source, password=form, **how)
        except pikepdf.PasswordError:
            continue
    return pikepdf.open(source, password=last, **how)


def _forms(password: str) -> list[bytes]:
    utf8 = password.encode()
    forms = [utf8, utf8[:MAX_PASSWORD_BYTES]]
    for encoding in () if password.isascii() else ("pdfdoc", "latin-1"):
        try:
            forms.append(password.encode(encoding))
        except UnicodeEncodeError:
            continue
    return list(dict.fromkeys(forms))
