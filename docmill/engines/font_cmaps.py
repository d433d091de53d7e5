"""What the fonts of a PDF say of their characters (/ToUnicode, ISO 32000-1, 9.10.3), mended for pdfium.

It passes over a section that says it has more or fewer entries than it has, and then takes the code of a
character for what it means. Other readers go by what is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pikepdf import Dictionary, Name, Object, Stream

from docmill.qpdf import decoded

ObjGen = tuple[int, int]
# Resources that are looked at: forms within forms have their own.
_MOST_RESOURCES = 10_000
# One that names 65,536 characters, three letters each, takes 3 MB.
_MOST_BYTES = 16 << 20

_SECTION = re.compile(rb"(\d+)(\s+begin(bfchar|bfrange)\b)(.*?)(?=end\3)", re.DOTALL)
_LIST = re.compile(rb"\[[^\]]*\]")
_VALUE = re.compile(rb"<[^<>]*>|/[^\s/<>\[\]]+|\[")


def mend_fonts(pages: Iterable[Object]) -> bool:
    """Mend the fonts of pages in their PDF; whether there was something to mend."""
    mended = False
    for font in _fonts(pages):
        cmap = font.get(Name.ToUnicode)
        if isinstance(cmap, Stream):
            data = decoded(cmap, _MOST_BYTES)
            right = _SECTION.sub(_counted, data) if len(data) <= _MOST_BYTES else data
            if right != data:
                cmap.write(right)
                mended = True
    return mended


def _counted(section: re.Match[bytes]) -> bytes:
    values = len(_VALUE.findall(_LIST.sub(b"[", section[4])))
    each = 2 if section[3] == b"bfchar" else 3
    count = section[1] if values % each else b"%d" % (values // each)
    return count + section[2] + section[4]


def _fonts(pages: Iterable[Object]) -> Iterator[Object]:
    seen: set[ObjGen] = set()
    stack: list[Any] = [page.get(Name.Resources) for page in pages]
    for _ in range(_MOST_RESOURCES):
        if not stack:
            return
        resources = stack.pop()
        if not isinstance(resources, Dictionary):
            continue
        for kind in (Name.Font, Name.XObject):
            listed = resources.get(kind)
            for _, value in listed.items() if isinstance(listed, Dictionary) else ():
                if not isinstance(value, Dictionary | Stream) or value.objgen in seen:
                    continue
                if value.is_indirect:
                    seen.add(value.objgen)
                if kind == Name.Font:
                    yield value
                elif value.get(Name.Subtype) == Name.Form:
                    stack.append(value.get(Name.Resources))
