"""The form (ISO 32000-1, 12.7) of a document that is appended to another.

Done here since qpdf copies a form page by page: a field that shows on three pages, or a group of buttons that
does, became three fields of different names, each with all of the widgets.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, Object, String

from docmill.engines.pdf_edit.copying import copied

ObjGen = tuple[int, int]


def field_names(pdf: pikepdf.Pdf) -> set[str]:
    """The names that the fields of a document have."""
    form = pdf.Root.get(Name.AcroForm)
    fields = form.get(Name.Fields) if isinstance(form, Dictionary) else None
    if not isinstance(fields, Array):
        return set()
    return {str(field.T) for field in fields if isinstance(field, Dictionary) and Name.T in field}


def append_form(
    pdf: pikepdf.Pdf, source: pikepdf.Pdf, theirs: Object, pages: Iterable[Object], taken: set[str]
) -> list[str]:
    """Append the fields of `theirs`, the form of `source`, whose pages have been copied as `pages`.

    A field whose name is `taken` gets a number; returns what a person should know of that.
    """
    for page in pages:
        _set_page(page)
    form = pdf.Root.get(Name.AcroForm)
    if not isinstance(form, Dictionary):
        form = pdf.Root.AcroForm = pdf.make_indirect(Dictionary(Fields=Array()))
    if not isinstance(form.get(Name.Fields), Array):
        form.Fields = Array()
    fields = _copies(pdf, source, theirs.get(Name.Fields))
    _bring_defaults(pdf, source, form, theirs, fields)
    renamed = _rename(fields, taken)
    form.Fields.extend(fields)
    order = _copies(pdf, source, theirs.get(Name.CO))
    if order:
        form.CO = Array([*form.get(Name.CO, Array()), *order])
    if theirs.get(Name.NeedAppearances):
        form.NeedAppearances = True
    flags = [each.get(Name.SigFlags) for each in (form, theirs)]
    if any(isinstance(value, int) for value in flags):
        form.SigFlags = functools.reduce(operator.or_, (v for v in flags if isinstance(v, int)))
    if not renamed:
        return []
    return [f"{len(renamed)} form fields renamed, e.g. {renamed[0][0]} to {renamed[0][1]}"]


def _set_page(page: Object) -> None:
    """Have the annotations of a copied page name it: those that were reached from an earlier page do not."""
    annotations = page.get(Name.Annots)
    for annotation in annotations if isinstance(annotations, Array) else ():
        if isinstance(annotation, Dictionary) and annotation.get(Name.Subtype) == Name.Widget:
            annotation.P = page


def _copies(pdf: pikepdf.Pdf, source: pikepdf.Pdf, fields: Any) -> list[Object]:
    if not isinstance(fields, Array):
        return []
    return [copied(pdf, source, field) for field in fields if isinstance(field, Dictionary)]


def _rename(fields: Iterable[Object], taken: set[str]) -> list[tuple[str, str]]:
    """Give each of `fields` whose name is `taken` another: `total+1`. Then theirs are taken as well."""
    own = {str(field.T) for field in fields if Name.T in field}
    renamed = []
    for field in fields:
        name = str(field.get(Name.T, ""))
        if name not in taken or Name.T not in field:
            continue
        number = 1
        while (new := f"{name}+{number}") in taken or new in own:
            number += 1
        field.T = String(new)
        own.add(new)
        renamed.append((name, new))
    taken |= own
    return renamed


def _bring_defaults(
    pdf: pikepdf.Pdf, source: pikepdf.Pdf, form: Object, theirs: Object, fields: Iterable[Object]
) -> None:
    """What fields take from their form: the default appearance and alignment, and the fonts that it names."""
    for field in fields:
        for key in (Name.DA, Name.Q):
            if key in theirs and key not in field:
                field[key] = copied(pdf, source, theirs[key])
    resources = theirs.get(Name.DR)
    if not isinstance(resources, Dictionary):
        return
    brought = copied(pdf, source, resources)
    if not isinstance(form.get(Name.DR), Dictionary):
        form.DR = brought
        return
    other_names = _join_resources(form.DR, brought)
    if other_names:
        for field in _tree(fields):
            appearance = field.get(Name.DA)
            if isinstance(appearance, String):
                field.DA = _with_fonts(appearance, other_names)


def _join_resources(mine: Object, theirs: Object) -> dict[str, str]:
    """Add resources to a form's; returns the fonts that had to be given another name."""
    other_names = {}
    for kind, added in theirs.items():
        if not isinstance(added, Dictionary):
            continue
        if not isinstance(mine.get(kind), Dictionary):
            mine[kind] = added
            continue
        for name, value in added.items():
            if name not in mine[kind]:
                mine[kind][name] = value
            elif kind == Name.Font and not _is_same_font(mine[kind][name], value):
                number = 1
                while (new := f"{name}+{number}") in mine[kind]:
                    number += 1
                mine[kind][new] = value
                other_names[name.removeprefix("/")] = new.removeprefix("/")
    return other_names


def _is_same_font(a: Object, b: Object) -> bool:
    """Whether two fonts are the same one of those that every viewer has."""
    if not all(isinstance(font, Dictionary) and Name.FontDescriptor not in font for font in (a, b)):
        return False
    return all(a.get(key) == b.get(key) for key in (Name.Subtype, Name.BaseFont, Name.Encoding))


def _with_fonts(appearance: String, other_names: dict[str, str]) -> String:
    """A default appearance, such as `/Helv 12 Tf 0 g`, with fonts by their other names."""

    def replaced(match: re.Match[bytes]) -> bytes:
        name = match[1].decode("latin-1")
        return b"/" + other_names.get(name, name).encode("latin-1") + match[2]

    return String(re.sub(rb"/([^\s/\[\]()<>]+)(\s+[-+.\d]+\s+Tf)", replaced, bytes(appearance)))


def _tree(fields: Iterable[Object]) -> Iterator[Object]:
    stack: list[Any] = list(fields)
    seen: set[ObjGen] = set()
    while stack:
        field = stack.pop()
        if not isinstance(field, Dictionary) or (field.is_indirect and field.objgen in seen):
            continue
        seen.add(field.objgen)
        yield field
        kids = field.get(Name.Kids)
        stack.extend(kids if isinstance(kids, Array) else ())
