"""Tags (ISO 32000-1, 14.7 and 14.8): the structure tree when pages are taken away or appended.

The tree says which pieces of which page are a heading, a paragraph, a cell. A page and its annotations name
their place in the parent tree by a number, which is shifted when two trees become one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, NumberTree, Object

from docmill.engines.pdf_edit.copying import copied
from docmill.engines.pdf_edit.name_trees import new_number_tree, numbered

ObjGen = tuple[int, int]
# A tree with more elements than this loses its tags when pages are taken away, rather than take minutes.
MAX_ELEMENTS = 1_000_000
_PARENT_KEYS = (Name.StructParents, Name.StructParent)


def drop_tags_without_page(pdf: pikepdf.Pdf, pages: Iterable[Object], alive: Collection[ObjGen]) -> bool:
    """Take the elements of pages that are gone out of the structure tree; False where it had to go whole."""
    root = pdf.Root.get(Name.StructTreeRoot)
    if not isinstance(root, Dictionary):
        return True
    if not _prune(root, alive):
        del pdf.Root.StructTreeRoot
        if Name.MarkInfo in pdf.Root:
            del pdf.Root.MarkInfo
        return False
    tree = root.get(Name.ParentTree)
    if isinstance(tree, Dictionary):
        used = {int(owner[key]) for owner in _tagged(pages) for key in _PARENT_KEYS if key in owner}
        root.ParentTree = new_number_tree(
            pdf, {number: value for number, value in numbered(tree) if number in used}
        )
    return True


def append_tags(pdf: pikepdf.Pdf, source: pikepdf.Pdf, new_pages: Iterable[Object]) -> None:
    """Join the structure tree of `source` to that of `pdf`, whose `new_pages` were copied from it."""
    theirs = source.Root.get(Name.StructTreeRoot)
    if not isinstance(theirs, Dictionary):
        return
    copy = copied(pdf, source, theirs)
    root = pdf.Root.get(Name.StructTreeRoot)
    if not isinstance(root, Dictionary):
        root = pdf.Root.StructTreeRoot = pdf.make_indirect(
            Dictionary(
                Type=Name.StructTreeRoot, K=Array(), ParentTree=NumberTree.new(pdf).obj, ParentTreeNextKey=0
            )
        )
    shift = _next_key(root)
    highest = shift - 1
    if isinstance(copy.get(Name.ParentTree), Dictionary):
        numbers = NumberTree(root.ParentTree)
        for number, value in numbered(copy.ParentTree):
            if not isinstance(value, Dictionary | Array):
                continue
            numbers[number + shift] = value
            highest = max(highest, number + shift)
    for owner in _tagged(new_pages):
        for key in _PARENT_KEYS:
            if key in owner:
                owner[key] = int(owner[key]) + shift
                highest = max(highest, int(owner[key]))
    root.ParentTreeNextKey = highest + 1
    kids = Array([*_kids(root), *_kids(copy)])
    for kid in _kids(copy):
        if isinstance(kid, Dictionary):
            kid.P = root
    root.K = kids
    for name in (Name.RoleMap, Name.ClassMap):
        _add_missing(root, copy, name)


def _next_key(root: Object) -> int:
    if not isinstance(root.get(Name.ParentTree), Dictionary):
        root.ParentTree = Dictionary(Nums=Array())
    return max([int(root.get(Name.ParentTreeNextKey, 0)), *(key + 1 for key, _ in numbered(root.ParentTree))])


def _add_missing(root: Object, copy: Object, name: Name) -> None:
    theirs = copy.get(name)
    if not isinstance(theirs, Dictionary):
        return
    if not isinstance(root.get(name), Dictionary):
        root[name] = theirs
        return
    for key, value in theirs.items():
        if key not in root[name]:
            root[name][key] = value


def _kids(element: Object) -> list[Any]:
    kids = element.get(Name.K)
    return list(kids) if isinstance(kids, Array) else [] if kids is None else [kids]


def _tagged(pages: Iterable[Object]) -> Iterator[Object]:
    """What of the pages can have a place in the parent tree: they, their annotations and form XObjects."""
    for page in pages:
        yield page
        if isinstance(page.get(Name.Annots), Array):
            yield from (annotation for annotation in page.Annots if isinstance(annotation, Dictionary))
        resources = page.get(Name.Resources)
        forms = resources.get(Name.XObject) if isinstance(resources, Dictionary) else None
        if isinstance(forms, Dictionary):
            yield from (form for _, form in forms.items() if isinstance(form, pikepdf.Stream))


def _prune(root: Object, alive: Collection[ObjGen]) -> bool:
    """Remove what belongs to pages that are gone, and elements that are empty then; False past the limit."""
    # Depth first, each element looked at again after its children: (element, page, its children are done).
    stack: list[tuple[Object, bool, bool]] = [(root, True, False)]
    seen: set[ObjGen] = set()
    empty: set[ObjGen] = set()
    while stack:
        element, inherited, done = stack.pop()
        page = element.get(Name.Pg)
        on_page = page.objgen in alive if isinstance(page, Dictionary) else inherited
        kids = _kids(element)
        if not done:
            seen.add(element.objgen)
            if len(seen) > MAX_ELEMENTS:
                return False
            stack.append((element, inherited, True))
            stack.extend((kid, on_page, False) for kid in kids if _is_element(kid) and kid.objgen not in seen)
            continue
        kept = [kid for kid in kids if _stays(kid, on_page, alive, empty)]
        if len(kept) < len(kids):
            element.K = Array(kept)
        if not kept and (kids or not on_page):
            empty.add(element.objgen)
    return True


def _is_element(kid: Any) -> bool:
    return isinstance(kid, Dictionary) and kid.get(Name.Type) not in (Name.MCR, Name.OBJR) and kid.is_indirect


def _stays(kid: Any, on_page: bool, alive: Collection[ObjGen], empty: set[ObjGen]) -> bool:
    if not isinstance(kid, Dictionary):
        return on_page
    if _is_element(kid):
        return kid.objgen not in empty
    page = kid.get(Name.Pg)
    return page.objgen in alive if isinstance(page, Dictionary) else on_page
