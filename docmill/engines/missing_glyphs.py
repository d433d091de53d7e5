"""Characters that pdfium draws nothing for, or others, since their font is neither in the PDF nor installed.

It draws what it has and says nothing. Only the box of a character tells that it has no glyph.
"""

from __future__ import annotations

import ctypes
import unicodedata
from dataclasses import dataclass
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from docmill.engines.flat_page import load_with_text
from docmill.engines.not_drawn import NotDrawn
from docmill.engines.page_fonts import DoubtfulFonts, plain_name
from docmill.errors import CorruptDocument

# Characters that are not seen: controls, formats and white.
_UNSEEN = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_HIDDEN = frozenset({pdfium.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium.FPDF_TEXTRENDERMODE_CLIP})
# The box of a character without a glyph is as wide as the character and a thousandth of an em high. A dash is
# twenty times as high.
_FLAT = 0.008
_NAME = 256


@dataclass(frozen=True, slots=True)
class _Font:
    name: str
    embedded: bool
    hidden: bool
    # Whether what it is drawn with is that font, found on the machine.
    found: bool


def missing_fonts(document: pypdfium2.PdfDocument, number: int, doubt: DoubtfulFonts) -> NotDrawn:
    """What is missing of page `number` (from 1), whose fonts give rise to doubt.

    What is drawn over the page becomes part of it in `document`: to be called when the page is drawn.
    """
    try:
        page, text_page, _ = load_with_text(document, number)
    except CorruptDocument:
        return NotDrawn()
    try:
        return _missing(page, text_page, doubt)
    finally:
        pdfium.FPDFText_ClosePage(text_page)
        pdfium.FPDF_ClosePage(page)


def _missing(page: Any, text_page: Any, doubt: DoubtfulFonts) -> NotDrawn:
    missing, alien = set(), set()
    fonts: dict[int | None, _Font | None] = {}
    frame = pdfium.FS_RECTF()
    pdfium.FPDF_GetPageBoundingBox(page, frame)
    sides = [ctypes.c_double() for _ in range(4)]
    places = [ctypes.byref(side) for side in sides]
    for index in range(pdfium.FPDFText_CountChars(text_page)):
        pdfium.FPDFText_GetCharBox(text_page, index, *places)
        left, right, bottom, top = (side.value for side in sides)
        width, height = right - left, top - bottom
        flat = min(width, height) <= _FLAT * max(width, height)
        if not (flat or doubt.alien) or not _touches(frame, left, right, bottom, top):
            continue
        if unicodedata.category(chr(pdfium.FPDFText_GetUnicode(text_page, index))) in _UNSEEN:
            continue
        drawn = pdfium.FPDFText_GetTextObject(text_page, index)
        place = ctypes.cast(drawn, ctypes.c_void_p).value
        if place not in fonts:
            fonts[place] = _font(drawn) if place else None
        font = fonts[place]
        if font is None or font.embedded or font.hidden:
            continue
        if font.name in doubt.alien:
            if not font.found:
                alien.add(font.name)
        elif flat:
            missing.add(font.name)
    return NotDrawn(frozenset(missing), frozenset(alien))


def _touches(frame: Any, left: float, right: float, bottom: float, top: float) -> bool:
    return bool(left <= frame.right and right >= frame.left and bottom <= frame.top and top >= frame.bottom)


def _font(text_object: Any) -> _Font | None:
    font = pdfium.FPDFTextObj_GetFont(text_object)
    if not font:
        return None
    name = plain_name(_text(pdfium.FPDFFont_GetBaseFontName, font))
    family = _text(pdfium.FPDFFont_GetFamilyName, font)
    return _Font(
        name,
        embedded=bool(pdfium.FPDFFont_GetIsEmbedded(font)),
        hidden=pdfium.FPDFTextObj_GetTextRenderMode(text_object) in _HIDDEN,
        found=bool(family) and _letters(name).startswith(_letters(family)),
    )


def _text(ask: Any, font: Any) -> str:
    buffer = ctypes.create_string_buffer(_NAME)
    ask(font, buffer, _NAME)
    return buffer.value.decode(errors="replace")


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()
