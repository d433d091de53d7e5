"""Which fonts a PDF's pages use that are not in the PDF, and for which pdfium may have no stand-in.

A font that is not embedded is drawn with another one: of the machine's, or of those that pdfium has, which
are Latin, Symbol and ZapfDingbats (ISO 32000-1, 9.6.2.2 and 9.9).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pikepdf import Array, Dictionary, Name, Object, Stream

ObjGen = tuple[int, int]
# Forms within each other whose fonts are looked at; pdfium draws no more.
_DEEPEST = 40

_PROGRAMS = (Name.FontFile, Name.FontFile2, Name.FontFile3)
# Of these pdfium has its own, or letters as good.
_OWN = re.compile(r"Symbol|ZapfDingbats|Helvetica|Arial|Times|Courier")
# Fonts of pictures that claim an encoding of letters, as Word has it of Wingdings.
_PICTURES = re.compile(r"wingdings|webdings|dingbats", re.IGNORECASE)
_SUBSET = re.compile(r"^[A-Z]{6}\+")
# A font's flags (ISO 32000-1, table 123).
_SYMBOLIC, _NONSYMBOLIC = 4, 32
# Collections of characters of which pdfium knows what they mean; of others a code is but a glyph's number.
_COLLECTIONS = frozenset({"Japan1", "GB1", "CNS1", "Korea1", "KR", "Japan2"})


@dataclass(frozen=True, slots=True)
class DoubtfulFonts:
    """What pages use: whether a stand-in may lack characters, and fonts whose codes another one shows as
    others, by their names."""

    may_lack: bool = False
    alien: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.may_lack or bool(self.alien)

    def __or__(self, other: DoubtfulFonts) -> DoubtfulFonts:
        return DoubtfulFonts(self.may_lack or other.may_lack, self.alien | other.alien)


_NONE = DoubtfulFonts()


class FontsNotEmbedded:
    """Looks at the fonts of pages of one PDF, at each of its objects once."""

    def __init__(self) -> None:
        self._known: dict[ObjGen, DoubtfulFonts] = {}

    def of(self, page: Object) -> DoubtfulFonts:
        """Those of a page and of what is drawn over it."""
        found = _NONE
        for resources in _resources(page):
            found |= self._once(resources, self._in_resources, 0)
        return found

    def _in_resources(self, resources: Object, depth: int) -> DoubtfulFonts:
        fonts = self._once(resources.get(Name.Font), self._in_fonts, depth)
        return fonts | self._once(resources.get(Name.XObject), self._in_forms, depth)

    def _in_fonts(self, fonts: Object, depth: int) -> DoubtfulFonts:
        found = _NONE
        for font in dict(fonts.items()).values():
            found |= self._once(font, lambda font, _: _doubt(font), depth)
        return found

    def _in_forms(self, drawn: Object, depth: int) -> DoubtfulFonts:
        found = _NONE
        for _, form in drawn.items() if depth < _DEEPEST else ():
            if isinstance(form, Stream) and form.get(Name.Subtype) == Name.Form:
                found |= self._once(form, self._in_form, depth + 1)
        return found

    def _in_form(self, form: Object, depth: int) -> DoubtfulFonts:
        return self._once(form.get(Name.Resources), self._in_resources, depth)

    def _once(self, value: Any, look: Callable[[Object, int], DoubtfulFonts], depth: int) -> DoubtfulFonts:
        if not isinstance(value, Dictionary | Stream):
            return _NONE
        if not value.is_indirect:
            return look(value, depth)
        place = value.objgen
        if place not in self._known:
            self._known[place] = _NONE
            self._known[place] = look(value, depth)
        return self._known[place]


def plain_name(name: str) -> str:
    """A font's name without the mark of a subset: `ABCDEF+Arial` is `Arial`."""
    return _SUBSET.sub("", name.removeprefix("/"))


def _resources(page: Object) -> Iterator[Any]:
    yield page.get(Name.Resources)
    annotations = page.get(Name.Annots)
    for annotation in annotations if isinstance(annotations, Array) else ():
        looks = annotation.get(Name.AP) if isinstance(annotation, Dictionary) else None
        normal = looks.get(Name.N) if isinstance(looks, Dictionary) else None
        if isinstance(normal, Stream):
            yield normal.get(Name.Resources)
        elif isinstance(normal, Dictionary):
            yield from (look.get(Name.Resources) for _, look in normal.items() if isinstance(look, Stream))


def _doubt(font: Object) -> DoubtfulFonts:
    kind, name = font.get(Name.Subtype), plain_name(str(font.get(Name.BaseFont, "")))
    if kind == Name.Type3:
        return _NONE
    if kind == Name.Type0:
        return _doubt_of_composite(font, name)
    described = font.get(Name.FontDescriptor)
    if _has_program(described):
        return _NONE
    encoding = font.get(Name.Encoding)
    own_codes = not isinstance(encoding, Name | Dictionary) and _is_symbolic(described)
    if (own_codes or _PICTURES.search(name)) and not _OWN.match(name):
        return DoubtfulFonts(alien=frozenset({name}))
    return DoubtfulFonts(may_lack=isinstance(encoding, Dictionary) and Name.Differences in encoding)


def _doubt_of_composite(font: Object, name: str) -> DoubtfulFonts:
    listed = font.get(Name.DescendantFonts)
    below = listed[0] if isinstance(listed, Array) and len(listed) else None
    if not isinstance(below, Dictionary) or _has_program(below.get(Name.FontDescriptor)):
        return _NONE
    system = below.get(Name.CIDSystemInfo)
    collection = system.get(Name.Ordering) if isinstance(system, Dictionary) else None
    if str(collection) in _COLLECTIONS or Name.ToUnicode in font:
        return DoubtfulFonts(may_lack=True)
    return DoubtfulFonts(alien=frozenset({name, plain_name(str(below.get(Name.BaseFont, "")))}))


def _has_program(described: Any) -> bool:
    return isinstance(described, Dictionary) and any(key in described for key in _PROGRAMS)


def _is_symbolic(described: Any) -> bool:
    flags: Any = described.get(Name.Flags) if isinstance(described, Dictionary) else None
    try:
        return int(flags) & (_SYMBOLIC | _NONSYMBOLIC) == _SYMBOLIC
    except (TypeError, ValueError):
        return False
