"""Appending one PDF to another, with its bookmarks, links, form fields, layers, labels, tags and attachments.

pikepdf's `add_pages_from` carries links and layers, and makes the named destinations that links use unique.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import PurePath

import pikepdf
from pikepdf import Dictionary, Name, NameTree, Object, String

from docmill.engines.pdf_edit.claims import drop_pdfa_claim, pdfa_claim
from docmill.engines.pdf_edit.copying import copied
from docmill.engines.pdf_edit.destinations import NamedDestinations
from docmill.engines.pdf_edit.form_merging import append_form, field_names
from docmill.engines.pdf_edit.forms import drop_xfa
from docmill.engines.pdf_edit.labels import Label, plain_labels, read_labels, write_labels
from docmill.engines.pdf_edit.name_trees import entries, names_of
from docmill.engines.pdf_edit.opening import OpenedPdf
from docmill.engines.pdf_edit.outlines import append_bookmarks, copied_bookmarks
from docmill.engines.pdf_edit.tags import append_tags


@dataclass(slots=True)
class Merge:
    """A document that others are appended to; call `finish` before it is saved."""

    opened: OpenedPdf
    notes: list[str] = field(default_factory=list)
    _labels: list[Label] = field(default_factory=list)
    _has_labels: bool = False
    _pdfa: str = ""
    _destinations: NamedDestinations = field(default_factory=NamedDestinations)
    _bookmarks: list[Object] = field(default_factory=list)
    _field_names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._add_labels(self.opened)
        self._pdfa = pdfa_claim(self.opened.pdf)
        self._field_names = field_names(self.opened.pdf)

    @property
    def page_count(self) -> int:
        """The pages so far."""
        return len(self._labels)

    def append(self, source: OpenedPdf, name: str) -> None:
        """Append a whole document; `source.pdf` is not to be closed before the result is saved, but may be
        dropped. `name` is for notes."""
        pdf = self.opened.pdf
        lost = {self.page_count + place: message for place, message in source.placeholders.items()}
        self.opened.placeholders = {**self.opened.placeholders, **lost}
        if self._pdfa and pdfa_claim(source.pdf) != self._pdfa:
            drop_pdfa_claim(pdf)
            self.notes.append(f"the output is not PDF/A-{self._pdfa} as the first document: {name} is not")
            self._pdfa = ""
        self.notes += drop_xfa(pdf)
        self.notes += [f"{name}: {note}" for note in drop_xfa(source.pdf)]
        form = source.pdf.Root.get(Name.AcroForm)
        if form is not None:
            del source.pdf.Root.AcroForm
        pdf.add_pages_from(source.pdf, outlines="ignore")
        new = [page.obj for page in islice(pdf.pages, self.page_count, None)]
        if Name.StructTreeRoot in source.pdf.Root:
            append_tags(pdf, source.pdf, new)
        copies = {page.objgen: copy for page, copy in zip(source.pages, new, strict=True)}
        self._bookmarks += copied_bookmarks(pdf, source.pdf, copies)
        self._destinations.add(source.pdf, copies)
        _append_attachments(pdf, source.pdf)
        self._add_labels(source)
        if isinstance(form, Dictionary):
            self.notes += [
                f"{name}: {note}" for note in append_form(pdf, source.pdf, form, new, self._field_names)
            ]
        names = source.pdf.Root.get(Name.Names)
        if isinstance(names, Dictionary) and Name.JavaScript in names:
            self.notes.append(f"{name}: its document-level JavaScript is left out")
        if Name.Threads in source.pdf.Root:
            self.notes.append(f"{name}: its article threads are left out")
            for page in new:
                if Name.B in page:
                    del page.B

    def finish(self) -> None:
        """Write what is made of all documents together."""
        self.opened.pages = [page.obj for page in self.opened.pdf.pages]
        self._destinations.write(self.opened.pdf)
        append_bookmarks(self.opened.pdf, self._bookmarks)
        write_labels(self.opened.pdf, self._labels if self._has_labels else None)

    def _add_labels(self, opened: OpenedPdf) -> None:
        labels = read_labels(opened.pdf, len(opened.pages))
        self._has_labels = self._has_labels or labels is not None
        self._labels += labels or plain_labels(len(opened.pages))


def _append_attachments(pdf: pikepdf.Pdf, source: pikepdf.Pdf) -> None:
    theirs = attachments(source)
    if theirs is None:
        return
    mine = attachments(pdf, create=True)
    assert mine is not None
    for name, specification in entries(theirs.obj):
        mine[_unused(str(String(name)), mine)] = copied(pdf, source, specification)


def attachments(pdf: pikepdf.Pdf, *, create: bool = False) -> NameTree | None:
    """The name tree of attachments; None where there is none, unless it is to be made."""
    names = pdf.Root.get(Name.Names)
    tree = names.get(Name.EmbeddedFiles) if isinstance(names, Dictionary) else None
    if isinstance(tree, Dictionary):
        return NameTree(tree)
    if not create:
        return None
    new = NameTree.new(pdf)
    names_of(pdf).EmbeddedFiles = new.obj
    return new


def _unused(name: str, tree: NameTree) -> str:
    """The name, with a number before its ending where it is taken: `data.csv`, `data (2).csv`."""
    if name not in tree:
        return name
    path = PurePath(name)
    return next(free for number in count(2) if (free := f"{path.stem} ({number}){path.suffix}") not in tree)
