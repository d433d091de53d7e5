"""Opening PDFs with qpdf by a password that a person typed.

Up to 128 bits passwords are in PDFDocEncoding, much like Latin-1; AES-256 takes UTF-8, the first 127 bytes of
it (ISO 32000-2, 7.6.4.3). pdfium tries both; qpdf takes what it is given.
"""

from __future__ import annotations

import io
import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pikepdf

# Of a longer password for AES-256 the rest does not count.
MAX_PASSWORD_BYTES = 127
# A PDF that is larger is not mended: the copy is in memory.
_MOST_MENDED = 512 << 20
# What the catalogue says that it is, and the beginning of an object, which may stand so far before that.
_CATALOG = re.compile(rb"/Type\s{0,9}/Catalog\b")
_OBJECT = re.compile(rb"(\d{1,10})\s{1,9}(\d{1,5})\s{1,9}obj\b")
_BEFORE = 2000


def open_with_qpdf(source: Path | io.BytesIO, password: str | None, **how: Any) -> pikepdf.Pdf:
    """`pikepdf.open`, which raises `pikepdf.PasswordError` only where no form of the password fits."""
    import pikepdf

    *others, last = _forms(password or "")
    for form in others:
        try:
            return pikepdf.open(source, password=form, **how)
        except pikepdf.PasswordError:
            continue
    return pikepdf.open(source, password=last, **how)


def decoded(stream: pikepdf.Object, most: int) -> bytes:
    """A stream without its filters, of which none may make more than `most` bytes: longer than `most` where
    one does. Raises `pikepdf.PdfError` for what cannot be decoded.

    The limit is the process's for that time, not the thread's.
    """
    import pikepdf
    from pikepdf.settings import set_qpdf_limits

    before: dict[str, Any] = set_qpdf_limits(flate_max_memory=most + 1, run_length_max_memory=most + 1)
    try:
        # At the level that is the default qpdf leaves out RunLength, which every viewer knows.
        return stream.read_bytes(pikepdf.StreamDecodeLevel.specialized)
    except (pikepdf.PdfError, RuntimeError) as error:
        if "memory limit exceeded" in str(error):  # qpdf has no error of its own for it
            return bytes(most + 1)
        raise
    finally:
        set_qpdf_limits(**before)


def mended(source: Path, password: str | None) -> bytes | None:
    """A PDF as qpdf writes it once it has looked for the objects itself, not encrypted; None where it finds
    no page. One that was cut off, or whose trailer is lost, is found by its catalogue."""
    if source.stat().st_size > _MOST_MENDED:
        return None
    copy = _rewritten(source, password)
    if copy is not None:
        return copy
    data = source.read_bytes()
    # The new trailer would not name the encryption, by a certificate for one, and all would be garbage.
    if b"/Encrypt" not in data and (catalog := _catalog(data)):
        trailer = b"\ntrailer\n<</Root %s %s R>>\nstartxref\n0\n%%%%EOF\n" % catalog
        copy = _rewritten(io.BytesIO(data + trailer), password)
    return copy


def _catalog(data: bytes) -> tuple[bytes, bytes] | None:
    """The number and generation of the last object that says that it is the catalogue."""
    said = deque(_CATALOG.finditer(data), maxlen=1)
    before = data[max(0, said[0].start() - _BEFORE) : said[0].start()] if said else b""
    begun = deque(_OBJECT.finditer(before), maxlen=1)
    return (begun[0][1], begun[0][2]) if begun else None


def _rewritten(source: Path | io.BytesIO, password: str | None) -> bytes | None:
    import pikepdf

    try:
        with open_with_qpdf(source, password) as pdf:
            if not len(pdf.pages):
                return None
            target = io.BytesIO()
            pdf.save(target)
            return target.getvalue()
    except (pikepdf.PdfError, pikepdf.PasswordError, RuntimeError, ValueError, TypeError, AttributeError):
        return None


def _forms(password: str) -> list[bytes]:
    utf8 = password.encode()
    forms = [utf8, utf8[:MAX_PASSWORD_BYTES]]
    for encoding in () if password.isascii() else ("pdfdoc", "latin-1"):
        try:
            forms.append(password.encode(encoding))
        except UnicodeEncodeError:
            continue
    return list(dict.fromkeys(forms))
