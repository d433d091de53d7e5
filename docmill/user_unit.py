"""UserUnit: how many points a PDF page's unit is (ISO 32000-1, table 30), 1 unless the page says otherwise.

pdfium leaves it out of every size that it tells, so that a map of 300 inches came out as a page of 150.
"""

from __future__ import annotations

import math
import mmap
import zlib
from pathlib import Path
from typing import Any

from docmill.qpdf import open_with_qpdf

_NAME = b"/UserUnit"
# Object streams are inflated to look for the name, at most so many bytes of them in all.
_MOST_INFLATED = 256 << 20


def user_units(path: Path, password: str | None = None) -> dict[int, float]:
    """UserUnit by the index of the page (from 0), where it is not 1.

    The PDF is opened, with qpdf, only where the name occurs in it; one that qpdf cannot read has none.
    """
    if not _may_have_it(path):
        return {}
    import pikepdf

    try:
        with open_with_qpdf(path, password) as pdf:
            units = ((index, unit_of(page.obj)) for index, page in enumerate(pdf.pages))
            return {index: unit for index, unit in units if unit != 1}
    except (pikepdf.PdfError, pikepdf.PasswordError, RuntimeError, ValueError, TypeError, AttributeError):
        return {}


def unit_of(page: Any) -> float:
    """A page dictionary's UserUnit; 1 where it is none that a page can have."""
    try:
        unit = float(page.get("/UserUnit", 1))
    except (TypeError, ValueError):
        return 1.0
    return unit if math.isfinite(unit) and unit > 0 else 1.0


def _may_have_it(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(_NAME) >= 0:
            return True
        at = data.find(b"/ObjStm")
        if at >= 0 and data.find(b"/Encrypt") >= 0:
            return True
        left = _MOST_INFLATED
        while at >= 0 and left > 0:
            start, end = data.find(b"stream", at), data.find(b"endstream", at)
            if 0 <= start < end:
                inflated = _inflated(data[start + 6 : end].lstrip(b"\r\n"), left)
                if _NAME in inflated:
                    return True
                left -= len(inflated)
            at = data.find(b"/ObjStm", at + 1)
    return False


def _inflated(packed: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error:
        return b""
