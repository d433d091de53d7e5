"""Name trees (ISO 32000-1, 7.9.6) as a whole: pikepdf's go one entry at a time, and without end through a
made tree whose nodes come again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, Object, String

ObjGen = tuple[int, int]
# Entries of one leaf.
_LEAF = 64


def entries(tree: Any) -> Iterator[tuple[bytes, Any]]:
    """The names, as they stand in the file, and what they name; each node of the tree once."""
    seen: set[ObjGen] = set()
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        if not isinstance(node, Dictionary) or (node.is_indirect and node.objgen in seen):
            continue
        seen.add(node.objgen)
        names, kids = node.get(Name.Names), node.get(Name.Kids)
        if isinstance(names, Array):
            listed = list(names)
            for key, value in zip(listed[::2], listed[1::2], strict=False):
                if isinstance(key, String):
                    yield bytes(key), value
        if isinstance(kids, Array):
            stack.extend(reversed(list(kids)))


def new_tree(pdf: pikepdf.Pdf, named: Mapping[bytes, Any]) -> Object:
    """A name tree of these entries, which are objects of `pdf`."""
    keys = sorted(named)
    leaves = []
    for first in range(0, len(keys), _LEAF):
        some = keys[first : first + _LEAF]
        names = Array([item for key in some for item in (String(key), named[key])])
        limits = Array([String(some[0]), String(some[-1])])
        leaves.append(pdf.make_indirect(Dictionary(Limits=limits, Names=names)))
    return pdf.make_indirect(Dictionary(Kids=Array(leaves)))
