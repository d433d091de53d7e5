"""PDF to PDF: pages chosen, turned and split, metadata, encryption, linearization; merging of several.

Pages are moved as they are by qpdf, never drawn anew.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pikepdf

from docmill.engines.base import (
    EngineOptions,
    EngineResult,
    MergeSource,
    PageFailure,
    PageResult,
    Progress,
)
from docmill.engines.pdf_edit.claims import drop_pdfa_claim, pdfa_claim
from docmill.engines.pdf_edit.forms import drop_xfa, is_signed
from docmill.engines.pdf_edit.merging import Merge, attachments
from docmill.engines.pdf_edit.opening import OpenedPdf, open_for_editing, repair_notes
from docmill.engines.pdf_edit.saving import SaveOptions, save, set_metadata
from docmill.engines.pdf_edit.selection import select_pages
from docmill.engines.pdf_edit.sizes import rotation, shown_size
from docmill.errors import CorruptDocument, DocmillError
from docmill.formats import PDF
from docmill.options import BadPage, OnError, PageNames

# Files that are cut from one source at a time: each opens it again, in time that grows with its pages.
_SPLIT_AT_ONCE = 64
# Sources open at a time; each takes a file descriptor.
_MERGE_AT_ONCE = 200


class PdfToPdf:
    """Chooses, turns and splits the pages of a PDF, and merges several.

    Bookmarks, links, form fields, layers, attachments, page labels and tags go where their pages go.
    """

    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult:
        with tempfile.TemporaryDirectory(dir=out_dir, prefix=".edit-") as scratch:
            opened = open_for_editing(source, options.password, Path(scratch), options.max_pages)
            with opened.pdf, _damage_told():
                notes = _lost_by_rewriting(opened, options)
                return _Job(source, Path(scratch), out_dir, options, progress).run(opened, notes)

    def merge(
        self,
        sources: Sequence[MergeSource],
        out_dir: Path,
        options: EngineOptions,
        progress: Callable[[Progress], None],
    ) -> EngineResult:
        """Merge PDFs as `docmill.engines.base.Merger` says."""
        with (
            tempfile.TemporaryDirectory(dir=out_dir, prefix=".merge-") as folder,
            ExitStack() as stack,
            _damage_told(),
        ):
            scratch = Path(folder)
            failures: list[PageFailure] = []
            notes: list[str] = []
            merged = _merged(sources, scratch, options, failures, notes, stack)
            result = _Job(sources[0].path, scratch, out_dir, options, progress).run(merged, [])
            return EngineResult(
                result.outputs, result.pages, (*failures, *result.failures), (*notes, *result.notes)
            )


@contextmanager
def _damage_told() -> Iterator[None]:
    """What qpdf stumbles over once a document is open, as docmill's error."""
    try:
        yield
    except (pikepdf.PdfError, RuntimeError) as error:
        raise CorruptDocument(
            f"the PDF cannot be edited: {error}", hint="its structure is damaged; PDF to TIFF may still do"
        ) from error


class _Job:
    """One document on its way from opened to saved."""

    def __init__(
        self,
        source: Path,
        scratch: Path,
        out_dir: Path,
        options: EngineOptions,
        progress: Callable[[Progress], None],
    ) -> None:
        self._source = source
        self._scratch = scratch
        self._out_dir = out_dir
        self._options = options
        self._progress = progress
        self._save = SaveOptions.of(options)

    def run(self, opened: OpenedPdf, lost_by_rewriting: list[str]) -> EngineResult:
        asked = self._options.options
        numbers = self._options.page_numbers(len(opened.pages))
        numbers, failures = self._without_lost_pages(opened, numbers)
        notes = [*opened.notes, *lost_by_rewriting]
        lost = {failure.page for failure in failures}
        notes += select_pages(opened, [number - 1 for number in numbers])
        for page in opened.pages if asked.rotate else ():
            page.Rotate = (rotation(page) + (asked.rotate or 0)) % 360
        if self._save.encryption and pdfa_claim(opened.pdf):
            drop_pdfa_claim(opened.pdf)
            notes.append("the output is not PDF/A as the source was, since PDF/A must not be encrypted")
        set_metadata(opened.pdf, asked)
        pages = tuple(
            PageResult(number, *shown_size(page), how="blank" if number in lost else "copied")
            for number, page in zip(numbers, opened.pages, strict=True)
        )
        names = self._file_names(numbers)
        if len(names) == 1:
            save(opened.pdf, self._out_dir / names[0], self._save, self._percent(len(numbers)))
        else:
            if attachments(opened.pdf) is not None:
                notes.append("each of the files has the attachments")
            notes += drop_xfa(opened.pdf)
            self._split(opened, names)
        if not opened.notes:
            # An object that nothing looked at until it was written.
            late = [str(warning) for warning in opened.pdf.get_warnings()]
            notes += repair_notes(late, self._source)
        outputs = tuple(self._out_dir / name for name in names)
        return EngineResult(outputs, pages, tuple(failures), tuple(notes))

    def _without_lost_pages(
        self, opened: OpenedPdf, numbers: list[int]
    ) -> tuple[list[int], list[PageFailure]]:
        """The pages to write, and the failures for those that the document lists and does not have."""
        asked = self._options.options
        lost = [number for number in numbers if number - 1 in opened.placeholders]
        errors = [CorruptDocument(opened.placeholders[number - 1], page=number) for number in lost]
        if errors and (asked.on_error is not OnError.RESUME or len(lost) == len(numbers)):
            raise errors[0]
        if asked.bad_page is BadPage.SKIP:
            numbers = [number for number in numbers if number not in lost]
        return numbers, [
            PageFailure(number, error.to_dict()) for number, error in zip(lost, errors, strict=True)
        ]

    def _file_names(self, numbers: Sequence[int]) -> list[str]:
        """The names of the files, each by the place of its first page in the output."""
        name, extension = self._options.name, PDF.extension
        each = self._options.options.split
        if each is None or (each >= len(numbers) and self._options.options.page_names is None):
            return [f"{name}.{extension}"]
        template = self._options.options.page_names
        names = PageNames(template) if template else PageNames()
        return [names.name(name, place, extension) for place in range(1, len(numbers) + 1, each)]

    def _split(self, opened: OpenedPdf, names: Sequence[str]) -> None:
        whole = self._scratch / "whole.pdf"
        save(opened.pdf, whole, SaveOptions())
        count, each = len(opened.pages), self._options.options.split or 1
        parts = [range(first, min(first + each, count)) for first in range(0, count, each)]
        self._cut(whole, list(zip(parts, names, strict=True)), count, 0)

    def _cut(self, source: Path, parts: Sequence[tuple[range, str]], count: int, done: int) -> None:
        """Cut a file into parts; one with many first into files with some of them each, since opening a file
        takes time in proportion to its pages."""
        group = math.isqrt(len(parts)) if len(parts) > _SPLIT_AT_ONCE else 1
        for place in range(0, len(parts), group):
            some = parts[place : place + group]
            first, last = some[0][0].start, some[-1][0].stop
            self._progress(Progress(done + first + 1, count))
            opened = open_for_editing(source, None, self._scratch, self._options.max_pages)
            with opened.pdf:
                select_pages(opened, range(first, last))
                if group == 1:
                    save(opened.pdf, self._out_dir / some[0][1], self._save)
                    continue
                middle = self._scratch / f"from-{done + first}.pdf"
                save(opened.pdf, middle, SaveOptions())
            moved = [(range(pages.start - first, pages.stop - first), name) for pages, name in some]
            self._cut(middle, moved, count, done + first)
            middle.unlink()

    def _percent(self, count: int) -> Callable[[int], None]:
        self._progress(Progress(1, count))
        return lambda percent: self._progress(Progress(max(1, count * percent // 100), count))


def _lost_by_rewriting(opened: OpenedPdf, options: EngineOptions) -> list[str]:
    notes = []
    if opened.encrypted and not SaveOptions.of(options).encryption:
        notes.append("the source is encrypted, the output is not")
    if is_signed(opened.pdf):
        notes.append("the PDF was signed; its signatures do not hold for the output")
    return notes


def _merged(
    sources: Sequence[MergeSource],
    scratch: Path,
    options: EngineOptions,
    failures: list[PageFailure],
    notes: list[str],
    stack: ExitStack,
) -> OpenedPdf:
    """All sources as one document, open until `stack` closes. Their files stay open as long."""
    lost: dict[int, str] = {}
    if len(sources) > _MERGE_AT_ONCE:
        sources, lost = _in_groups(sources, scratch, options, failures, notes)
    merge: Merge | None = None
    for number, source in enumerate(sources):
        folder = scratch / f"source-{number}"
        folder.mkdir()
        try:
            opened = open_for_editing(source.path, options.password, folder, options.max_pages)
        except DocmillError as error:
            error.message = f"{source.name}: {error.message}"
            if options.options.on_error is not OnError.RESUME:
                raise
            failures.append(PageFailure(1 + (merge.page_count if merge else 0), error.to_dict()))
            continue
        opened.placeholders = {
            place: f"{source.name}: {message}" for place, message in opened.placeholders.items()
        }
        lost_by_rewriting = _lost_by_rewriting(opened, options)
        notes.extend(f"{source.name}: {note}" for note in (*opened.notes, *lost_by_rewriting))
        opened.notes = ()
        if merge is None:
            stack.enter_context(opened.pdf)
            merge = Merge(opened)
        else:
            # Not kept and not closed: what is copied holds on to the file that its streams are in, and the
            # rest of the source, as much again, is free.
            merge.append(opened, source.name)
    if merge is None:
        raise CorruptDocument("none of the documents to merge can be read")
    merge.finish()
    notes.extend(merge.notes)
    merge.opened.placeholders = {**lost, **merge.opened.placeholders}
    return merge.opened


def _in_groups(
    sources: Sequence[MergeSource],
    scratch: Path,
    options: EngineOptions,
    failures: list[PageFailure],
    notes: list[str],
) -> tuple[list[MergeSource], dict[int, str]]:
    """Fewer sources, each of them many merged; and the pages that are missing from them."""
    groups: list[MergeSource] = []
    lost: dict[int, str] = {}
    page_count = 0
    for first in range(0, len(sources), _MERGE_AT_ONCE):
        target = scratch / f"group-{first}.pdf"
        folder = scratch / f"group-{first}"
        folder.mkdir()
        with ExitStack() as stack:
            some = sources[first : first + _MERGE_AT_ONCE]
            merged = _merged(some, folder, options, failures, notes, stack)
            save(merged.pdf, target, SaveOptions())
            lost |= {page_count + place: message for place, message in merged.placeholders.items()}
            page_count += len(merged.pages)
        shutil.rmtree(folder)
        groups.append(MergeSource(target, f"documents {first + 1} to {first + len(some)}"))
    return groups, lost
