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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2

from docmill.engines.base import EngineOptions, EngineResult, PageFailure, PageResult, Progress
from docmill.engines.page_text import PageText
from docmill.engines.pdfium_document import open_pdf, selected_pages
from docmill.errors import DocmillError
from docmill.formats import JSON
from docmill.options import OnError


class PdfToText:
    """The text of a PDF's pages by reading order, from its text operators: pictures of text have none.

    With `on_error=resume` a page that cannot be read is empty, so that the others keep their place.
    """

    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult:
        as_json = options.target.format is JSON
        output = out_dir / f"{options.name}.{options.target.format.extension}"
        pages: list[PageResult] = []
        failures: list[PageFailure] = []
        with (
            open_pdf(source, options.password) as document,
            output.open("w", encoding="utf-8", newline="") as out,
        ):
            numbers = selected_pages(document, options)
            out.write('{"pages": [' if as_json else "")
            for done, page in enumerate(_pages(document, numbers, as_json), start=1):
                progress(Progress(done, len(numbers)))
                if isinstance(page, DocmillError):
                    if options.options.on_error is not OnError.RESUME:
                        raise page
                    failures.append(PageFailure(numbers[done - 1], page.to_dict()))
                    page = _empty_page(numbers[done - 1], as_json)
                else:
                    pages.append(PageResult(page.number, page.width_pt, page.height_pt, how="text"))
                out.write(("\n" if done == 1 else ",\n") + page.text if as_json else page.text + "\f")
            out.write("\n]}\n" if as_json else "")
        return EngineResult((output,), tuple(pages), tuple(failures))


@dataclass(frozen=True, slots=True)
class _Page:
    """A page as it is written: plain text, or its JSON object."""

    number: int
    width_pt: float
    height_pt: float
    text: str


def _pages(
    document: pypdfium2.PdfDocument, numbers: Sequence[int], as_json: bool
) -> Iterator[_Page | DocmillError]:
    for number in numbers:
        try:
            with PageText(document.raw, number) as page:
                text = _json_page(number, page) if as_json else page.plain()
                yield _Page(number, *page.size, text)
        except DocmillError as error:
            yield error


def _empty_page(number: int, as_json: bool) -> _Page:
    text = json.dumps({"page": number, "width": 0, "height": 0, "rotation": 0, "words": []})
    return _Page(number, 0, 0, text if as_json else "")


def _json_page(number: int, page: PageText) -> str:
    words: list[dict[str, Any]] = []
    for word in page.words():
        entry: dict[str, Any] = {"text": word.text, "box": [round(v, 2) for v in word.box], "line": word.line}
        words.append(entry | {"angle": word.angle} if word.angle else entry)
    width, height = page.size
    head = {"page": number, "width": round(width, 3), "height": round(height, 3), "rotation": page.rotation}
    return json.dumps(head | {"words": words}, ensure_ascii=False)
