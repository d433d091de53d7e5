"""Encoded pages put together: one TIFF or PDF of all, a file a page, or either of them in a ZIP archive."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from docmill.engines.base import EngineOptions, PageResult
from docmill.engines.not_drawn import NotDrawn
from docmill.engines.output.pdf_file import PictureDocument
from docmill.engines.output.plan import Encoded
from docmill.engines.output.tiff_file import TiffFile
from docmill.errors import DocmillError
from docmill.formats import PDF, TIFF, ZIP
from docmill.options import PageNames

# ZIP's first day, so that the same pages make the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)
_COPY = 1 << 20
# File systems hold 255 bytes; the page's number and the ending need some of them.
_NAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class MadePage:
    """A page that came out: its file with what of it was lost on the way, what the job's result says of it,
    what of it could not be read and what is not drawn."""

    encoded: Encoded
    result: PageResult
    damage: DocmillError | None = None
    not_drawn: NotDrawn = NotDrawn()


class Collector:
    """Takes the pages of a job in order; a context manager, whose `outputs` are complete after its end.

    A page's own file is named by the job's template, with its number in the source, or with its place in the
    output where the job takes a page twice. TIFF and PDF hold all pages, unless the job gives a template.
    The only page of a job without template has the document's name.
    """

    def __init__(self, options: EngineOptions, out_dir: Path, numbers: Sequence[int]) -> None:
        template = options.options.page_names
        self._format = options.target.format
        self._out_dir = out_dir
        self._name = _file_name(options.name)
        self._names = PageNames(template) if template else PageNames()
        self._by_place = max(Counter(numbers).values()) > 1
        self._is_alone = len(numbers) == 1 and template is None
        self._archive = out_dir / f"{self._name}.{ZIP.extension}" if options.target.archive else None
        self._all_in_one = (
            out_dir / f"{self._name}.{self._format.extension}"
            if self._format in (TIFF, PDF) and template is None
            else None
        )
        self._stack = ExitStack()
        self._files: list[Path] = []

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files made, in order."""
        return (self._archive,) if self._archive else tuple(self._files)

    def __enter__(self) -> Collector:
        with ExitStack() as stack:
            self._zip = None
            if self._archive:
                self._zip = stack.enter_context(zipfile.ZipFile(self._archive, "w"))
            self._file: TiffFile | PictureDocument | None = None
            if self._all_in_one:
                if self._zip:
                    stack.callback(self._put_away, self._all_in_one)
                self._file = self._opened(self._all_in_one)
                stack.enter_context(self._file)
                self._files.append(self._all_in_one)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, page: MadePage, number: int, place: int) -> None:
        """Take over a page's file: page `number` of the source, the `place`th (from 1) of the output."""
        if self._file:
            self._add_to(self._file, page)
            return
        path = self._out_dir / self._page_name(place if self._by_place else number)
        if page.encoded.tiff:
            with self._opened(path) as file:
                self._add_to(file, page)
        else:
            page.encoded.path.replace(path)
        self._files.append(path)
        self._put_away(path)

    def _opened(self, path: Path) -> TiffFile | PictureDocument:
        return PictureDocument(path) if self._format is PDF else TiffFile(path)

    def _add_to(self, file: TiffFile | PictureDocument, page: MadePage) -> None:
        assert page.encoded.tiff
        if isinstance(file, PictureDocument):
            file.add(page.encoded.tiff, page.result)
        else:
            file.add(page.encoded.tiff)
        page.encoded.path.unlink()

    def _page_name(self, page: int) -> str:
        if self._is_alone:
            return f"{self._name}.{self._format.extension}"
        return self._names.name(self._name, page, self._format.extension)

    def _put_away(self, path: Path) -> None:
        """Move a finished file into the archive, if there is one; it is compressed as it is."""
        if not self._zip:
            return
        # A ZIP archive's names are UTF-8.
        entry = zipfile.ZipInfo(re.sub("[\udc80-\udcff]", "_", path.name), _DATE)
        entry.external_attr = 0o644 << 16
        entry.file_size = path.stat().st_size
        with path.open("rb") as source, self._zip.open(entry, "w") as target:
            shutil.copyfileobj(source, target, _COPY)
        path.unlink()


def _file_name(name: str) -> str:
    """A document's name as the stem of a file in one folder."""
    plain = re.sub(r"[/\\\0-\x1f]", "_", name).lstrip(".") or "document"
    # Names of files need not be UTF-8.
    while len(os.fsencode(plain)) > _NAME_BYTES:
        plain = plain[:-1]
    return plain
