"""Keeping some of a document's pages, in any order, and what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence

from pikepdf import Array, Dictionary, Name, Object

from docmill.engines.pdf_edit.destinations import drop_dead_destinations
from docmill.engines.pdf_edit.forms import drop_fields_without_page, drop_xfa
from docmill.engines.pdf_edit.labels import read_labels, write_labels
from docmill.engines.pdf_edit.opening import OpenedPdf
from docmill.engines.pdf_edit.tags import drop_tags_without_page
from docmill.engines.pdf_edit.threads import drop_threads_without_page


def select_pages(opened: OpenedPdf, indexes: Sequence[int]) -> list[str]:
    """Keep the pages of these indexes (from 0), in this order; returns what a person should know.

    A page taken twice is there twice, its form fields once. Bookmarks and links to pages that are gone go,
    as do their form fields and tags; page labels stay with their pages. The page list of `opened` is the new
    one; `opened.pdf.pages` is not to be used any more, since qpdf does not see the change.
    """
    if list(indexes) == list(range(len(opened.pages))) and not opened.placeholders:
        return []
    pdf, before = opened.pdf, opened.pages
    labels = read_labels(pdf, len(before))
    pages: list[Object] = []
    taken: set[int] = set()
    for index in indexes:
        pages.append(_second_copy(opened, before[index]) if index in taken else before[index])
        taken.add(index)
    root = pdf.Root.Pages
    root.Kids = Array(pages)
    root.Count = len(pages)
    for page in pages:
        page.Parent = root
    opened.pages = pages

    notes = []
    gone = [page for index, page in enumerate(before) if index not in taken]
    if gone:
        alive = {page.objgen for page in pages}
        drop_dead_destinations(pdf, pages, alive)
        notes += drop_xfa(pdf)
        drop_fields_without_page(pdf, pages)
        notes += drop_threads_without_page(pdf, pages, alive)
        if not drop_tags_without_page(pdf, pages, alive):
            notes.append("the tags were too many to be sorted by page and are gone")
    write_labels(pdf, labels and [labels[index] for index in indexes])
    for page in gone:
        # Whatever still names the page finds it empty, so that its content does not stay in the file.
        for key in list(page.keys()):
            del page[key]
    return notes


def _second_copy(opened: OpenedPdf, page: Object) -> Object:
    copy = Dictionary(dict(page.items()))
    if isinstance(copy.get(Name.Annots), Array):
        copy.Annots = Array([a for a in copy.Annots if a.get(Name.Subtype) != Name.Widget])
    return opened.pdf.make_indirect(copy)
