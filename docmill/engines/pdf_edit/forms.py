"""Interactive forms (ISO 32000-1, 12.7) when pages are taken away."""

from __future__ import annotations

from collections.abc import Iterable

import pikepdf
from pikepdf import Array, Dictionary, Name, Object

ObjGen = tuple[int, int]
MAX_DEPTH = 100


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
    fields = [field for field in form.Fields if _keep(field, widgets, 0)]
    if not fields:
        del pdf.Root.AcroForm
        return
    form.Fields = Array(fields)
    if isinstance(form.get(Name.CO), Array):
        calculated = [field for field in form.CO if _has_widget(field, widgets, 0)]
        form.CO = Array(calculated)


def _keep(field: Object, widgets: set[ObjGen], depth: int) -> bool:
    """Whether a field stays; its children that do not are taken out of it."""
    if not isinstance(field, Dictionary) or depth > MAX_DEPTH:
        return False
    kids = field.get(Name.Kids)
    if isinstance(kids, Array) and len(kids):
        kept = [kid for kid in kids if _keep(kid, widgets, depth + 1)]
        field.Kids = Array(kept)
        return bool(kept)
    return field.objgen in widgets or field.get(Name.Subtype) != Name.Widget


def _has_widget(field: Object, widgets: set[ObjGen], depth: int) -> bool:
    if not isinstance(field, Dictionary) or depth > MAX_DEPTH:
        return False
    kids = field.get(Name.Kids)
    below = isinstance(kids, Array) and any(_has_widget(kid, widgets, depth + 1) for kid in kids)
    return below or field.objgen in widgets
