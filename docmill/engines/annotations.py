"""Annotations of which a PDF does not say how they look (/AP; ISO 32000-1, 12.5.5).

Viewers draw them by what they are. So does pdfium with most kinds, and leaves out others.
"""

from __future__ import annotations

from pikepdf import Array, Dictionary, Name, Object

_LEFT_OUT = frozenset({"/Line", "/Polygon", "/PolyLine", "/Stamp", "/Caret", "/FileAttachment"})
# Flags of annotations that are not shown on a screen: hidden, no view.
_UNSEEN = 2 | 32


def annotations_without_look(page: Object) -> frozenset[str]:
    """The kinds that are to be seen on a page and are not drawn."""
    listed = page.get(Name.Annots)
    return frozenset(
        str(annotation.get(Name.Subtype))[1:]
        for annotation in (listed if isinstance(listed, Array) else ())
        if isinstance(annotation, Dictionary) and _is_left_out(annotation)
    )


def _is_left_out(annotation: Object) -> bool:
    if str(annotation.get(Name.Subtype)) not in _LEFT_OUT or int(annotation.get(Name.F, 0)) & _UNSEEN:
        return False
    looks = annotation.get(Name.AP)
    return not isinstance(looks, Dictionary) or looks.get(Name.N) is None
