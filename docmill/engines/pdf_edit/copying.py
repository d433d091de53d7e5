"""Values of one PDF for another."""

from __future__ import annotations

from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, Stream, String


def copied(pdf: pikepdf.Pdf, source: pikepdf.Pdf, value: Any) -> Any:
    """A value of `source` as one of `pdf`: also a string or name that is an object of its own there."""
    if isinstance(value, Dictionary | Array | Stream):
        return pdf.copy_foreign(value if value.is_indirect else source.make_indirect(value))
    return plain(value)


def plain(value: Any) -> Any:
    """A string, name, number or the like that belongs to no document."""
    if isinstance(value, String):
        return String(bytes(value))
    return Name(str(value)) if isinstance(value, Name) else value
