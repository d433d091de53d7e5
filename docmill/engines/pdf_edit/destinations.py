"""Where bookmarks and links lead, and their removal when the page they lead to is gone.

ISO 32000-1: destinations 12.3.2, the document outline 12.3.3, name trees 7.9.6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, NameTree, Object, Stream, String

from docmill.engines.pdf_edit.copying import plain
from docmill.engines.pdf_edit.name_trees import entries, names_of, new_name_tree

ObjGen = tuple[int, int]
# Bookmarks deeper than this are dropped: a person's have a few levels, and a made one may nest without end.
MAX_DEPTH = 100
_COMPOUND = (Array, Dictionary, Stream)
# Pieces of the structure tree that are looked at for the page of one.
_MOST_ELEMENTS = 1000


class Destinations:
    """Tells whether a destination's page is one of `alive`."""

    def __init__(self, pdf: pikepdf.Pdf, alive: Collection[ObjGen]) -> None:
        self._alive = alive
        self._root = pdf.Root
        names = pdf.Root.get(Name.Names)
        self.tree = named_destinations(pdf) if isinstance(names, Dictionary) else None
        self.dictionary: Any = pdf.Root.get(Name.Dests)

    def is_gone(self, destination: Any, depth: int = 0) -> bool:
        """Whether it leads to a page that is not alive; what leads nowhere that is known is left alone."""
        if depth > 5:
            return False
        if isinstance(destination, Array):
            page = destination[0] if len(destination) else None
            return page is None or (isinstance(page, Dictionary) and page.objgen not in self._alive)
        if isinstance(destination, Dictionary):
            return self.is_gone(destination.get(Name.D), depth + 1)
        found = self._named(destination)
        return found is not None and self.is_gone(found, depth + 1)

    def of_tree(self) -> Iterator[tuple[bytes, Any]]:
        """The destinations of the name tree."""
        names = self._root.get(Name.Names)
        return entries(names.get(Name.Dests)) if isinstance(names, Dictionary) else iter(())

    def of_dictionary(self) -> Iterator[tuple[str, Any]]:
        """The destinations of the older dictionary."""
        return iter(self.dictionary.items() if isinstance(self.dictionary, Dictionary) else ())

    def _named(self, name: Any) -> Any:
        if isinstance(name, String) and self.tree is not None:
            return self.tree.get(str(name))
        if isinstance(name, Name) and isinstance(self.dictionary, Dictionary):
            return self.dictionary.get(name)
        return None

    def leads_away(self, owner: Object) -> bool:
        """Whether a bookmark or link (its /Dest, the GoTo in its /A, else its /SE) leads to a page that is
        gone."""
        if Name.Dest in owner:
            return self.is_gone(owner.get(Name.Dest))
        action = owner.get(Name.A)
        if isinstance(action, Dictionary):
            return action.get(Name.S) == Name.GoTo and self.is_gone(action.get(Name.D))
        page = _page_of_element(owner.get(Name.SE))
        return page is not None and page.objgen not in self._alive

    def explicit(self, destination: Any, depth: int = 0) -> Array | None:
        """The array of a page and a view that a destination comes to, None where it is unknown."""
        if depth > 5 or isinstance(destination, Array):
            return destination if isinstance(destination, Array) else None
        if isinstance(destination, Dictionary):
            return self.explicit(destination.get(Name.D), depth + 1)
        return self.explicit(self._named(destination), depth + 1)

    def moved(self, destination: Any, pages: Mapping[ObjGen, Object]) -> Array | None:
        """It as an array that leads to the same place of the page that `pages` has for its page; None where
        that has none."""
        explicit = self.explicit(destination)
        page = explicit[0] if explicit is not None and len(explicit) else None
        new = pages.get(page.objgen) if isinstance(page, Dictionary) else None
        if explicit is None or new is None:
            return None
        view = [explicit[i] for i in range(1, len(explicit))]
        # A name and numbers; what else a made one has may not be taken to another document.
        return Array([new, *(None if isinstance(v, _COMPOUND) else plain(v) for v in view)])


def _page_of_element(element: Any) -> Object | None:
    """The page of a piece of the structure tree: its own, or that of the first thing in it that has one."""
    queue: list[Any] = [element]
    for _ in range(_MOST_ELEMENTS):
        if not queue:
            break
        value = queue.pop()
        if isinstance(value, Array):
            queue.extend(reversed(list(value)))
        elif isinstance(value, Dictionary):
            page = value.get(Name.Pg)
            if isinstance(page, Dictionary):
                return page
            queue.append(value.get(Name.K))
    return None


def named_destinations(pdf: pikepdf.Pdf) -> NameTree | None:
    """The name tree of destinations, where the document has one."""
    names = pdf.Root.get(Name.Names)
    tree = names.get(Name.Dests) if isinstance(names, Dictionary) else None
    return NameTree(tree) if isinstance(tree, Dictionary) else None


class NamedDestinations:
    """The named destinations that a merge brings besides those that links lead to: what is outside of the
    document (`#nameddest=` of an address, another PDF) knows them by name. Of two of a name the first
    stays."""

    def __init__(self) -> None:
        self._of_tree: dict[bytes, Array] = {}
        self._of_dictionary: dict[str, Array] = {}

    def add(self, source: pikepdf.Pdf, pages: Mapping[ObjGen, Object]) -> None:
        """Add those of a document that lead to one of its pages that `pages` has the copy of."""
        theirs = Destinations(source, ())
        for name, value in theirs.of_tree():
            destination = None if name in self._of_tree else theirs.moved(value, pages)
            if destination is not None:
                self._of_tree[name] = destination
        for key, value in theirs.of_dictionary():
            destination = None if key in self._of_dictionary else theirs.moved(value, pages)
            if destination is not None:
                self._of_dictionary[key] = destination

    def write(self, pdf: pikepdf.Pdf) -> None:
        """Put them beside those that a document has."""
        mine = Destinations(pdf, ())
        if self._of_tree:
            names_of(pdf).Dests = new_name_tree(pdf, {**self._of_tree, **dict(mine.of_tree())})
        if self._of_dictionary:
            both = {**self._of_dictionary, **dict(mine.of_dictionary())}
            pdf.Root.Dests = pdf.make_indirect(Dictionary(both))


def drop_dead_destinations(pdf: pikepdf.Pdf, pages: Iterable[Object], alive: Collection[ObjGen]) -> None:
    """Remove bookmarks, links, named destinations and an opening action that lead to pages not in `alive`.

    A bookmark that leads away and has one below it that does not stays, as a heading.
    """
    destinations = Destinations(pdf, alive)
    _prune_outline(pdf, destinations)
    for page in pages:
        _prune_links(page, destinations)
    if isinstance(pdf.Root.get(Name.OpenAction), Array | Dictionary):
        opening = pdf.Root.OpenAction
        gone = (
            destinations.is_gone(opening)
            if isinstance(opening, Array)
            else (opening.get(Name.S) == Name.GoTo and destinations.is_gone(opening.get(Name.D)))
        )
        if gone:
            del pdf.Root.OpenAction
    listed = dict(destinations.of_tree())
    stay = {name: value for name, value in listed.items() if not destinations.is_gone(value)}
    if len(stay) < len(listed):
        pdf.Root.Names.Dests = new_name_tree(pdf, stay)
    if isinstance(destinations.dictionary, Dictionary):
        for key in [key for key, value in destinations.dictionary.items() if destinations.is_gone(value)]:
            del destinations.dictionary[key]


def _prune_links(page: Object, destinations: Destinations) -> None:
    annotations = page.get(Name.Annots)
    if not isinstance(annotations, Array):
        return
    kept = [
        a
        for a in annotations
        if not (isinstance(a, Dictionary) and a.get(Name.Subtype) == Name.Link and destinations.leads_away(a))
    ]
    if len(kept) < len(annotations):
        page.Annots = Array(kept)


def _prune_outline(pdf: pikepdf.Pdf, destinations: Destinations) -> None:
    root = pdf.Root.get(Name.Outlines)
    if not isinstance(root, Dictionary):
        return
    seen: set[ObjGen] = set()
    items = _kept_items(root, destinations, seen, 0)
    if items:
        link_items(root, items)
    else:
        del pdf.Root.Outlines
        if pdf.Root.get(Name.PageMode) == Name.UseOutlines:
            del pdf.Root.PageMode


def _kept_items(parent: Object, destinations: Destinations, seen: set[ObjGen], depth: int) -> list[Object]:
    """The items below `parent` that stay, each linked to its own; a loop in the chain ends it."""
    kept: list[Object] = []
    item: Any = parent.get(Name.First)
    while isinstance(item, Dictionary) and item.objgen not in seen:
        seen.add(item.objgen)
        following = item.get(Name.Next)
        below = _kept_items(item, destinations, seen, depth + 1) if depth < MAX_DEPTH else []
        gone = destinations.leads_away(item)
        if below or not gone:
            for key in (Name.Dest, Name.A, Name.SE) if gone else ():
                if key in item:
                    del item[key]
            link_items(item, below)
            kept.append(item)
        item = following
    return kept


def link_items(parent: Object, items: list[Object]) -> None:
    """Make `items` the children of an outline item or of the outline itself."""
    was_open = int(parent.get(Name.Count, 0)) >= 0
    for key in (Name.First, Name.Last, Name.Count):
        if key in parent:
            del parent[key]
    if not items:
        return
    for before, item, after in zip([None, *items[:-1]], items, [*items[1:], None], strict=True):
        item.Parent = parent
        for key, neighbour in ((Name.Prev, before), (Name.Next, after)):
            if neighbour is not None:
                item[key] = neighbour
            elif key in item:
                del item[key]
    parent.First, parent.Last = items[0], items[-1]
    shown = len(items) + sum(max(0, int(item.get(Name.Count, 0))) for item in items)
    parent.Count = shown if was_open else -shown
