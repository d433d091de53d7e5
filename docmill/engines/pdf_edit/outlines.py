"""Bookmarks (ISO 32000-1, 12.3.3) of a document that is appended to another.

Done here since pikepdf takes along those only that lead to a page: not those that lead to a piece of the
structure tree (/SE), to the web or to another file, nor headings that lead nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pikepdf
from pikepdf import Dictionary, Name, Object, String

from docmill.engines.pdf_edit.copying import copied
from docmill.engines.pdf_edit.destinations import MAX_DEPTH, Destinations, ObjGen, link_items


def copied_bookmarks(pdf: pikepdf.Pdf, source: pikepdf.Pdf, pages: Mapping[ObjGen, Object]) -> list[Object]:
    """The bookmarks of `source` as objects of `pdf`; `pages` has the new page for each of its pages.

    Its structure tree is to have been appended before.
    """
    theirs = source.Root.get(Name.Outlines)
    return _Copier(pdf, source, pages).copies(theirs, 0) if isinstance(theirs, Dictionary) else []


def append_bookmarks(pdf: pikepdf.Pdf, items: Sequence[Object]) -> None:
    """Put bookmarks after those that a document has."""
    if not items:
        return
    root = pdf.Root.get(Name.Outlines)
    if not isinstance(root, Dictionary):
        root = pdf.Root.Outlines = pdf.make_indirect(Dictionary(Type=Name.Outlines))
    link_items(root, [*_children(root), *items])


class _Copier:
    def __init__(self, pdf: pikepdf.Pdf, source: pikepdf.Pdf, pages: Mapping[ObjGen, Object]) -> None:
        self._pdf = pdf
        self._source = source
        self._pages = pages
        self._destinations = Destinations(source, ())
        self._has_tags = isinstance(source.Root.get(Name.StructTreeRoot), Dictionary)
        self._seen: set[ObjGen] = set()

    def copies(self, parent: Object, depth: int) -> list[Object]:
        """What is below `parent`, copied; a loop in the chain ends it."""
        made: list[Object] = []
        item: Any = parent.get(Name.First)
        while isinstance(item, Dictionary) and item.objgen not in self._seen:
            self._seen.add(item.objgen)
            copy = self._pdf.make_indirect(self._copy(item))
            below = self.copies(item, depth + 1) if depth < MAX_DEPTH else []
            copy.Count = int(item.get(Name.Count, 0))
            link_items(copy, below)
            made.append(copy)
            item = item.get(Name.Next)
        return made

    def _copy(self, item: Object) -> Dictionary:
        copy = Dictionary(Title=String(""))
        for key in (Name.Title, Name.C, Name.F):
            value = item.get(key)
            if value is not None:
                copy[key] = copied(self._pdf, self._source, value)
        action = item.get(Name.A)
        # A name is resolved, since it may be that of another one here.
        if Name.Dest in item:
            destination = self._destinations.moved(item.Dest, self._pages)
            if destination is not None:
                copy.Dest = destination
        elif isinstance(action, Dictionary) and action.get(Name.S) == Name.GoTo:
            destination = self._destinations.moved(action.get(Name.D), self._pages)
            if destination is not None:
                copy.A = Dictionary(S=Name.GoTo, D=destination)
        elif isinstance(action, Dictionary):
            copy.A = copied(self._pdf, self._source, action)
        if self._has_tags and isinstance(item.get(Name.SE), Dictionary) and item.SE.is_indirect:
            copy.SE = self._pdf.copy_foreign(item.SE)
        return copy


def _children(root: Object) -> list[Object]:
    found: list[Object] = []
    seen: set[ObjGen] = set()
    item: Any = root.get(Name.First)
    while isinstance(item, Dictionary) and item.objgen not in seen:
        seen.add(item.objgen)
        found.append(item)
        item = item.get(Name.Next)
    return found
