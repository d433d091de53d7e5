"""Name trees and number trees (ISO 32000-1, 7.9.6 and 7.9.7) as a whole: pikepdf's go one entry at a time,
and without end through a made tree whose nodes come again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, Object, String

ObjGen = tuple[int, int]
# Entries of one leaf.
_LEAF = 64


def names_of(pdf: pikepdf.Pdf) -> Object:
    """The dictionary of a document's name trees (7.7.4), made where there is none."""
    names = pdf.Root.get(Name.Names)
    if not isinstance(names, Dictionary):
        names = pdf.Root.Names = pdf.make_indirect(Dictionary())
    return names


def entries(tree: Any) -> Iterator[tuple[bytes, Any]]:
    """The names of a name tree, as they stand in the file, and what they name."""
    return ((bytes(key), value) for key, value in _pairs(tree, Name.Names) if isinstance(key, String))


def numbered(tree: Any) -> Iterator[tuple[int, Any]]:
    """The numbers of a number tree and what they stand for."""
    return ((key, value) for key, value in _pairs(tree, Name.Nums) if isinstance(key, int))


def _pairs(tree: Any, kind: Name) -> Iterator[tuple[Any, Any]]:
    """What the leaves list, two by two; each node of the tree once."""
    seen: set[ObjGen] = set()
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        if not isinstance(node, Dictionary) or (node.is_indirect and node.objgen in seen):
            continue
        seen.add(node.objgen)
        listed, kids = node.get(kind), node.get(Name.Kids)
        if isinstance(listed, Array):
            items = list(listed)
            yield from zip(items[::2], items[1::2], strict=False)
        if isinstance(kids, Array):
            stack.extend(reversed(list(kids)))


def new_name_tree(pdf: pikepdf.Pdf, named: Mapping[bytes, Any]) -> Object:
    """A name tree of these entries, which are objects of `pdf`."""
    return _new_tree(pdf, Name.Names, [(String(key), named[key]) for key in sorted(named)])


def new_number_tree(pdf: pikepdf.Pdf, by_number: Mapping[int, Any]) -> Object:
    """A number tree of these entries, which are objects of `pdf`."""
    return _new_tree(pdf, Name.Nums, [(key, by_number[key]) for key in sorted(by_number)])


def _new_tree(pdf: pikepdf.Pdf, kind: Name, pairs: list[tuple[Any, Any]]) -> Object:
    if len(pairs) <= _LEAF:
        return pdf.make_indirect(_leaf(kind, pairs))
    leaves = []
    for first in range(0, len(pairs), _LEAF):
        some = pairs[first : first + _LEAF]
        leaf = _leaf(kind, some)
        leaf.Limits = Array([some[0][0], some[-1][0]])
        leaves.append(pdf.make_indirect(leaf))
    return pdf.make_indirect(Dictionary(Kids=Array(leaves)))


def _leaf(kind: Name, pairs: Sequence[tuple[Any, Any]]) -> Dictionary:
    leaf = Dictionary()
    leaf[kind] = Array([item for pair in pairs for item in pair])
    return leaf
