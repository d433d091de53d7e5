"""Page labels (ISO 32000-1, 12.4.2): the `iii` or `A-7` that a viewer shows for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pikepdf
from pikepdf import Dictionary, Name, String

from docmill.engines.pdf_edit.name_trees import numbered


@dataclass(frozen=True, slots=True)
class Label:
    """A page's label: its style (`/D`, `/r` ... or none), prefix, and number in that style."""

    style: str
    prefix: str
    number: int


def read_labels(pdf: pikepdf.Pdf, page_count: int) -> list[Label] | None:
    """The label of each page, or None where the document has none."""
    tree = pdf.Root.get(Name.PageLabels)
    if not isinstance(tree, Dictionary):
        return None
    starts = sorted(
        ((k, v) for k, v in numbered(tree) if isinstance(v, Dictionary)), key=lambda pair: pair[0]
    )
    labels = plain_labels(page_count)
    for place, (start, entry) in enumerate(starts):
        end = starts[place + 1][0] if place + 1 < len(starts) else page_count
        first = int(entry.get(Name.St, 1))
        style, prefix = str(entry.get(Name.S, "")), str(entry.get(Name.P, ""))
        for index in range(max(0, start), min(end, page_count)):
            labels[index] = Label(style, prefix, first + index - start)
    return labels


def plain_labels(page_count: int) -> list[Label]:
    """The labels of a document that names none: 1, 2, 3."""
    return [Label("/D", "", number) for number in range(1, page_count + 1)]


def write_labels(pdf: pikepdf.Pdf, labels: Sequence[Label] | None) -> None:
    """Give the document these labels, an entry for each run of consecutive ones."""
    if labels is None or list(labels) == plain_labels(len(labels)):
        if Name.PageLabels in pdf.Root:
            del pdf.Root.PageLabels
        return
    entries: list[pikepdf.Object | int] = []
    before: Label | None = None
    for index, label in enumerate(labels):
        if before is None or label != Label(before.style, before.prefix, before.number + 1):
            entries += [index, _entry(label)]
        before = label
    pdf.Root.PageLabels = pdf.make_indirect(Dictionary(Nums=pikepdf.Array(entries)))


def _entry(label: Label) -> Dictionary:
    entry = Dictionary()
    if label.style:
        entry.S = Name(label.style)
    if label.prefix:
        entry.P = String(label.prefix)
    if label.number != 1:
        entry.St = label.number
    return entry
