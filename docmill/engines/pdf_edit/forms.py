"""Interactive forms (ISO 32000-1, 12.7): whether they are signed, what stays when pages are taken away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, Object

from docmill.engines.base import DYNAMIC_XFA

ObjGen = tuple[int, int]
MAX_DEPTH = 100


def is_signed(pdf: pikepdf.Pdf) -> bool:
    """Whether a PDF has a signature; an empty field for one is none."""
    form = pdf.Root.get(Name.AcroForm)
    stack: list[Any] = [form.get(Name.Fields)] if isinstance(form, Dictionary) else []
    seen: set[ObjGen] = set()
    while stack:
        value = stack.pop()
        if isinstance(value, Array):
            stack.extend(value)
        elif isinstance(value, Dictionary) and (not value.is_indirect or value.objgen not in seen):
            if value.get(Name.FT) == Name.Sig and Name.V in value:
                return True
            seen.add(value.objgen)
            stack.append(value.get(Name.Kids))
    return False


def drop_xfa(pdf: pikepdf.Pdf) -> list[str]:
    """Take out the description of a form in XFA, which some viewers show in place of the pages: it is of the
    document as it was. Returns what a person should know."""
    form = pdf.Root.get(Name.AcroForm)
    if not isinstance(form, Dictionary) or Name.XFA not in form:
        return []
    del form.XFA
    if Name.NeedsRendering not in pdf.Root:
        return ["the XFA of its form is left out; the form fields stay"]
    del pdf.Root.NeedsRendering
    return [DYNAMIC_XFA]


def drop_fields_without_page(pdf: pikepdf.Pdf, pages: Iterable[Object]) -> None:
    """Remove the fields whose every widget was on a page that is not among `pages`."""
    form = pdf.Root.get(Name.AcroForm)
    if not isinstance(form, Dictionary) or not isinstance(form.get(Name.Fields), Array):
        return
    widgets = {
        annotation.objgen
        for page in pages
        if isinstance(page.get(Name.Annots), Array)
        for annotation in page.Annots
        if isinstance(annotation, Dictionary) and annotation.get(Name.Subtype) == Name.Widget
    }
    alive: dict[ObjGen, bool] = {}
    fields = [field for field in form.Fields if _keep(field, widgets, alive, 0)]
    if not fields:
        del pdf.Root.AcroForm
        return
    form.Fields = Array(fields)
    if isinstance(form.get(Name.CO), Array):
        form.CO = Array([field for field in form.CO if _keep(field, widgets, alive, 0)])


def _keep(field: Object, widgets: set[ObjGen], alive: dict[ObjGen, bool], depth: int) -> bool:
    """Whether a field stays; its children that do not are taken out of it. `alive` has the answers so far:
    a made form reaches the same field in a thousand million ways, or from itself."""
    if not isinstance(field, Dictionary) or depth > MAX_DEPTH:
        return False
    if field.is_indirect and field.objgen in alive:
        return alive[field.objgen]
    kids = field.get(Name.Kids)
    if isinstance(kids, Array) and len(kids):
        if field.is_indirect:
            alive[field.objgen] = False
        kept = [kid for kid in kids if _keep(kid, widgets, alive, depth + 1)]
        field.Kids = Array(kept)
        stays = bool(kept)
    else:
        stays = field.objgen in widgets or field.get(Name.Subtype) != Name.Widget
    if field.is_indirect:
        alive[field.objgen] = stays
    return stays
