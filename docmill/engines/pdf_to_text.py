"""PDF to plain text, and to a JSON with the words and where they are.

Text is UTF-8 with a form feed after each page, as `pdftotext` writes it. The JSON is one object:

    {"pages": [{"page": 1, "width": 595.28, "height": 841.89, "rotation": 0,
                "words": [{"text": "Title", "box": [72.0, 71.3, 101.5, 84.2], "line": 1}]}]}

`page` is the number in the source; `width`, `height` and `box` (x0, y0, x1, y1) are in points (1/72 inch) of
the page as it is shown, the origin at its top left and y downwards; `rotation` is what the page's /Rotate has
turned it by. Words come in reading order and `line` counts the lines of the page from 1. A word that is not
upright has its `angle`, in degrees clockwise. A word that breaks at the end of a line is two words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2

from docmill.engines.base import EngineOptions, EngineResult, PageFailure, PageResult, Progress
from docmill.engines.page_text import PageText
from docmill.engines.pdf_content import PageContents
from docmill.engines.pdfium_document import load_pdf
from docmill.engines.readable_pdf import ReadablePdf, readable_pdf
from docmill.errors import DocmillError
from docmill.formats import JSON
from docmill.options import OnError
from docmill.processes import map_in_children
from docmill.user_unit import user_units

# The most pages that a process reads at a time: handing over costs 0.1 ms, a page of text 1 to 10 ms. And how
# many such turns each process gets at least, so that they end together.
MAX_CHUNK = 8
TURNS = 10


class PdfToText:
    """The text of a PDF's pages by reading order, from its text operators: pictures of text have none.

    With `on_error=resume` a page that cannot be read is empty, so that the others keep their place.
    """

    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult:
        with readable_pdf(source, options, out_dir, for_text=True) as pdf:
            return _convert(pdf, out_dir, options, progress)


def _convert(
    pdf: ReadablePdf, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
) -> EngineResult:
    resume = options.options.on_error is OnError.RESUME
    as_json = options.target.format is JSON
    output = out_dir / f"{options.name}.{options.target.format.extension}"
    pages: list[PageResult] = []
    failures: list[PageFailure] = []
    has_text = False
    reader = _Reader(pdf.path, pdf.options.password, as_json, pdf.contents)
    with output.open("w", encoding="utf-8", newline="") as out:
        out.write('{"pages": [' if as_json else "")
        for done, page in enumerate(_pages(reader, pdf.numbers, options.workers, resume), start=1):
            progress(Progress(done, len(pdf.numbers)))
            if isinstance(page, DocmillError):
                if not resume:
                    raise page
                failures.append(PageFailure(pdf.numbers[done - 1], page.to_dict()))
                page = _empty_page(pdf.numbers[done - 1], as_json)
            else:
                pages.append(PageResult(page.number, page.width_pt, page.height_pt, how="text"))
                has_text |= page.has_text
            out.write(("\n" if done == 1 else ",\n") + page.text if as_json else page.text + "\f")
        out.write("\n]}\n" if as_json else "")
    notes = pdf.notes
    if pages and not has_text:
        notes += ("no page has text: pictures of text are not read",)
    return EngineResult((output,), tuple(pages), tuple(failures), notes)


@dataclass(frozen=True, slots=True)
class _Page:
    """A page as it is written: plain text, or its JSON object."""

    number: int
    width_pt: float
    height_pt: float
    text: str
    has_text: bool = False


def _pages(
    reader: _Reader, numbers: Sequence[int], workers: int, resume: bool
) -> Iterator[_Page | DocmillError]:
    """The pages in order, read in up to `workers` processes."""
    size = max(1, min(MAX_CHUNK, len(numbers) // (TURNS * workers)))
    chunks = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    if not resume:
        for pages in map_in_children(reader.read, chunks, workers=workers, page=lambda chunk: chunk[0]):
            yield from pages
        return
    for chunk, result in zip(
        chunks, map_in_children(reader.read, chunks, workers=workers, errors="yield"), strict=True
    ):
        if isinstance(result, list):
            yield from result
            continue
        # The process died over one of these pages: each in turn, to find which.
        singles = map_in_children(
            reader.read, [[n] for n in chunk], workers=1, page=lambda c: c[0], errors="yield"
        )
        for single in singles:
            yield single[0] if isinstance(single, list) else single


class _Reader:
    """Reads pages in whichever process it is called; each opens the document for itself, since processes that
    share a file descriptor would move each other's place in the file."""

    def __init__(self, source: Path, password: str | None, as_json: bool, contents: PageContents) -> None:
        self._source = source
        self._password = password
        self._as_json = as_json
        self._contents = contents
        self._units = user_units(source, password)
        self._opened: tuple[int, pypdfium2.PdfDocument] | None = None

    def read(self, numbers: Sequence[int]) -> list[_Page | DocmillError]:
        """The pages of these numbers, or what is wrong with them."""
        document = self._document()
        return [self._page(document, number) for number in numbers]

    def _page(self, document: pypdfium2.PdfDocument, number: int) -> _Page | DocmillError:
        try:
            self._contents.check(number)
            with PageText(document, number, self._units.get(number - 1, 1.0)) as page:
                if self._as_json:
                    words = _json_words(page)
                    return _Page(number, *page.size, _json_page(number, page, words), bool(words))
                text = page.plain()
                return _Page(number, *page.size, text, bool(text.strip()))
        except DocmillError as error:
            return error

    def _document(self) -> pypdfium2.PdfDocument:
        if self._opened is None or self._opened[0] != os.getpid():
            document = load_pdf(self._source, self._password)
            if self._contents.form_can_be_drawn:
                document.init_forms()
            self._opened = os.getpid(), document
        return self._opened[1]


def _empty_page(number: int, as_json: bool) -> _Page:
    text = json.dumps({"page": number, "width": 0, "height": 0, "rotation": 0, "words": []})
    return _Page(number, 0, 0, text if as_json else "")


def _json_page(number: int, page: PageText, words: list[dict[str, Any]]) -> str:
    width, height = page.size
    head = {"page": number, "width": round(width, 3), "height": round(height, 3), "rotation": page.rotation}
    return json.dumps(head | {"words": words}, ensure_ascii=False)


def _json_words(page: PageText) -> list[dict[str, Any]]:
    words: list[dict[str, Any]] = []
    for word in page.words():
        entry: dict[str, Any] = {"text": word.text, "box": [round(v, 2) for v in word.box], "line": word.line}
        words.append(entry | {"angle": word.angle} if word.angle else entry)
    return words
