"""The lines and words of one PDF page with their boxes, as pdfium reads them.

Calls into pdfium go through its C interface, the boxes of a whole page into one array: a call costs about a
microsecond, and a page has thousands of characters, so only the ends of lines and words are asked for.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import pypdfium2.raw as pdfium

from docmill.engines.text_layout import PROSE_CHARACTERS, Gap, Line, columns_apart, reading_order
from docmill.engines.text_lines import BREAK, shown, touching_joined, without_breaks
from docmill.errors import CorruptDocument

T = TypeVar("T")
Box = tuple[float, float, float, float]

_LINE = re.compile(rf"[^\r\n{BREAK}]+{BREAK}?|{BREAK}")
_WORD = re.compile(r"\S+")
_SPACES = re.compile(r"(?<=\S)\s+(?=\S)")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_WITH_TEXT = frozenset({pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_STAMP, pdfium.FPDF_ANNOT_WIDGET})
# A gap this wide, in heights of the line, may be the white between two columns.
_WIDE = 0.9
# Boxes of a page of text that are asked for at a time: the ends of its lines.
_USUAL_BOXES = 128
# Lines of a page that are looked at for such a gap; the rest only where one of these has it.
_SAMPLE = 3


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its box (x0, y0, x1, y1) in points, from the top left of the page as it is shown.

    `line` counts from 1 in reading order; `angle` is 0, 90, 180 or 270 degrees clockwise.
    """

    text: str
    box: Box
    line: int
    angle: int


class PageText:
    """The text of one page; use it as a context manager, since it holds pdfium's handles.

    `unit` is the page's UserUnit, by which pdfium does not scale what it tells.
    Raises `CorruptDocument` with the page where pdfium cannot load it.
    """

    def __init__(self, document: Any, number: int, unit: float = 1.0) -> None:
        self._unit = unit
        self._boxes = _Room(_USUAL_BOXES)
        self._page = pdfium.FPDF_LoadPage(document, number - 1)
        if not self._page:
            raise CorruptDocument(f"page {number} cannot be read", page=number)
        if _has_text_annotation(self._page):
            _flatten(self._page)
            pdfium.FPDF_ClosePage(self._page)
            self._page = pdfium.FPDF_LoadPage(document, number - 1)
        self._text_page = pdfium.FPDFText_LoadPage(self._page)
        if not self._text_page:
            pdfium.FPDF_ClosePage(self._page)
            raise CorruptDocument(f"the text of page {number} cannot be read", page=number)

    def __enter__(self) -> PageText:
        return self

    def __exit__(self, *exception: object) -> None:
        pdfium.FPDFText_ClosePage(self._text_page)
        pdfium.FPDF_ClosePage(self._page)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in points of the page as it is shown: its crop box, turned by /Rotate."""
        width, height = pdfium.FPDF_GetPageWidthF(self._page), pdfium.FPDF_GetPageHeightF(self._page)
        return width * self._unit, height * self._unit

    @cached_property
    def rotation(self) -> int:
        """/Rotate: 0, 90, 180 or 270 degrees clockwise."""
        quarters: int = pdfium.FPDFPage_GetRotation(self._page)
        return 90 * max(0, quarters)

    def plain(self) -> str:
        """The page as plain text in reading order, lines kept, words that break at a hyphen joined."""
        if self._is_drawn_downwards():
            pieces = [(self._characters[start:end], start) for start, end in self._spans]
        else:
            pieces = [(line.text, line.start) for line in self.lines]
        if _RIGHT_TO_LEFT.search(self._characters):
            pieces = [(self._in_logical_order(text, start), start) for text, start in pieces]
        return without_breaks([text for text, _ in pieces])

    def words(self) -> Iterator[Word]:
        """The page's words in reading order; a word that breaks at the end of a line is two words."""
        for number, line in enumerate(self.lines, start=1):
            found = list(_WORD.finditer(line.text))
            spans = [(line.start + word.start(), line.start + word.end()) for word in found]
            for word, span, (first, last) in zip(found, spans, self._end_boxes(spans), strict=True):
                text = self._logical(word[0], *span) if _RIGHT_TO_LEFT.search(word[0]) else word[0]
                x0, y0, x1, y1 = (self._unit * side for side in self._shown(_union(first, last)))
                yield Word(shown(text), (x0, y0, x1, y1), number, line.angle)

    @cached_property
    def lines(self) -> list[Line]:
        """The page's lines in reading order, with boxes in the frame in which each is upright."""
        ends = self._end_boxes(self._spans)
        drawn = touching_joined([self._line(*item) for item in zip(self._spans, ends, strict=True)])
        if self._has_wide_gaps(drawn):
            drawn = columns_apart([replace(line, gaps=self._gaps(line)) for line in drawn])
        return reading_order(drawn)

    # ---------------------------------------------------------------------------------- characters and words

    @cached_property
    def _characters(self) -> str:
        """The page's characters in the order of drawing, with the spaces and line breaks that pdfium sees."""
        count = pdfium.FPDFText_CountChars(self._text_page)
        if count <= 0:
            return ""
        # Room for two code units each: characters beyond U+FFFF are written as surrogates.
        buffer = (ctypes.c_ushort * (2 * count + 1))()
        written = pdfium.FPDFText_GetText(self._text_page, 0, count, buffer)
        units = bytes(memoryview(buffer).cast("B")[: 2 * max(written - 1, 0)])
        return units.decode("utf-16-le", "replace")

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        """Where each line of the characters begins and ends, without the white around it."""
        return [_trimmed(match) for match in _LINE.finditer(self._characters) if not match[0].isspace()]

    def _in_logical_order(self, line: str, start: int) -> str:
        return _WORD.sub(lambda w: self._logical(w[0], start + w.start(), start + w.end()), line)

    def _logical(self, word: str, start: int, end: int) -> str:
        """A word in its logical order.

        pdfium turns right-to-left text round by drawn piece, and so leaves Arabic words that Chromium's
        Skia draws glyph by glyph in the order of the page, from the left. Their boxes tell.
        """
        if len(word) < 2 or not all(_RIGHT_TO_LEFT.match(letter) for letter in word):
            return word
        first, last = next(self._end_boxes([(start, end)]))
        return word[::-1] if first[0] < last[0] else word

    # ------------------------------------------------------------------------------------------------- boxes

    def _line(self, span: tuple[int, int], ends: tuple[Box, Box]) -> Line:
        start, end = span
        first, last = ends
        box, angle = _union(first, last), self.rotation
        if not _runs_right(first, last, box):
            radians = pdfium.FPDFText_GetCharAngle(self._text_page, self._index(start))
            angle = (angle + round(math.degrees(radians) / 90) * 90) % 360
        return Line(self._characters[start:end], start, end, *_upright(self._shown(box), angle), angle)

    def _is_drawn_downwards(self) -> bool:
        """Whether each line plainly stands below the one before, in one column; then the order of drawing is
        that of reading. True for most pages, so it looks at one character a line, to be quick."""
        if self.rotation:
            return False
        room = self._room(len(self._spans))
        get, text_page = pdfium.FPDFText_GetLooseCharBox, self._text_page
        for (start, _), reference in zip(self._spans, room.references, strict=False):
            get(text_page, self._index(start), reference)
        floor = math.inf
        values = iter(room.values(len(self._spans)))
        for left, top, right, bottom in zip(values, values, values, values, strict=True):
            # A box that is wider than high is of a letter that is not upright.
            if top + bottom > 2 * floor or right - left > top - bottom:
                return False
            floor = bottom
        long = [span for span in self._spans if span[1] - span[0] > 2 * PROSE_CHARACTERS]
        sample = [span for span in _sample(long) if self._pieces(*span) > 1]
        return not any(
            self._gaps(self._line(*item)) for item in zip(sample, self._end_boxes(sample), strict=True)
        )

    def _end_boxes(self, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[Box, Box]]:
        """For each span of characters the boxes of its first and last, in the page's own coordinates."""
        room = self._room(2 * len(spans))
        get, text_page, index = pdfium.FPDFText_GetLooseCharBox, self._text_page, self._index
        for i, (start, end) in enumerate(spans):
            get(text_page, index(start), room.references[2 * i])
            get(text_page, index(end - 1), room.references[2 * i + 1])
        values = room.values(2 * len(spans))
        for i in range(0, len(values), 8):
            yield tuple(values[i : i + 4]), tuple(values[i + 4 : i + 8])  # type: ignore[misc]  # four each

    def _has_wide_gaps(self, lines: Sequence[Line]) -> bool:
        long = [line for line in lines if len(line.text) > 2 * PROSE_CHARACTERS]
        return any(self._pieces(line.start, line.end) > 1 and self._gaps(line) for line in _sample(long))

    def _pieces(self, start: int, end: int) -> int:
        """How many text objects a line was drawn as: one has no gap in it."""
        first, last = self._index(start), self._index(end - 1)
        count: int = pdfium.FPDFText_CountRects(self._text_page, first, last + 1 - first)
        return count

    def _gaps(self, line: Line) -> list[Gap]:
        spaces = [(line.start + s.start(), line.start + s.end()) for s in _SPACES.finditer(line.text)]
        around = self._end_boxes([(start - 1, end + 1) for start, end in spaces])
        gaps = []
        for (start, end), (before, after) in zip(spaces, around, strict=True):
            left = _upright(self._shown(before), line.angle)[2]
            right = _upright(self._shown(after), line.angle)[0]
            if right - left > _WIDE * line.height:
                gaps.append(Gap(left, right, start, end))
        return gaps

    def _room(self, count: int) -> _Room:
        """Room for so many boxes, which the next call writes over."""
        if self._boxes.count < count:
            self._boxes = _Room(2 * count)
        return self._boxes

    def _shown(self, box: Box) -> Box:
        """From (left, top, right, bottom) on the page, y upwards, to the page as it is shown, y downwards."""
        left, top, right, bottom = box
        x0, y1, x1, y0 = self._frame
        if self.rotation == 90:
            return bottom - y0, left - x0, top - y0, right - x0
        if self.rotation == 180:
            return x1 - right, bottom - y0, x1 - left, top - y0
        if self.rotation == 270:
            return y1 - top, x1 - right, y1 - bottom, x1 - left
        return left - x0, y1 - top, right - x0, y1 - bottom

    @cached_property
    def _frame(self) -> Box:
        frame = pdfium.FS_RECTF()
        pdfium.FPDF_GetPageBoundingBox(self._page, frame)
        return frame.left, frame.top, frame.right, frame.bottom

    def _index(self, place: int) -> int:
        """pdfium's index of a character by its place in the text, which leaves some characters out."""
        return place if self._all_have_text else self._looked_up(place)

    @cached_property
    def _all_have_text(self) -> bool:
        return bool(pdfium.FPDFText_CountChars(self._text_page) == len(self._characters))

    def _looked_up(self, place: int) -> int:
        index: int = pdfium.FPDFText_GetCharIndexFromTextIndex(self._text_page, place)
        return max(0, index)


class _Room:
    """An array of boxes for pdfium to write into, with a reference to each made once."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._boxes = (pdfium.FS_RECTF * count)()
        self._floats = memoryview(self._boxes).cast("B").cast("f")
        self.references = [ctypes.byref(box) for box in self._boxes]

    def values(self, count: int) -> list[float]:
        values: list[float] = self._floats[: 4 * count].tolist()  # type: ignore[assignment]  # cast to "f"
        return values


def _has_text_annotation(page: Any) -> bool:
    """Whether a form field, a stamp or a text that was typed on the page is drawn over it."""
    for index in range(pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium.FPDFPage_GetAnnot(page, index)
        kind = pdfium.FPDFAnnot_GetSubtype(annotation)
        pdfium.FPDFPage_CloseAnnot(annotation)
        if kind in _WITH_TEXT:
            return True
    return False


def _flatten(page: Any) -> None:
    """Make annotations part of the content of a page, as it is when it is next loaded."""
    own = [ctypes.c_float() for _ in range(4)]
    frame = pdfium.FS_RECTF()
    if not pdfium.FPDFPage_GetMediaBox(page, *own) and pdfium.FPDF_GetPageBoundingBox(page, frame):
        # Flattening takes a page that inherits its box for 612 by 792 points.
        pdfium.FPDFPage_SetMediaBox(page, frame.left, frame.bottom, frame.right, frame.top)
    pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)


def _sample(lines: Sequence[T]) -> Sequence[T]:
    return lines[:: max(1, len(lines) // _SAMPLE)][:_SAMPLE]


def _trimmed(match: re.Match[str]) -> tuple[int, int]:
    text = match[0]
    return match.start() + len(text) - len(text.lstrip()), match.start() + len(text.rstrip())


def _union(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), min(a[3], b[3])


def _runs_right(first: Box, last: Box, both: Box) -> bool:
    """Whether a line plainly runs to the right on the unturned page; where it does, its angle need not be
    asked for."""
    height = both[1] - both[3]
    return last[0] > first[0] and both[2] - both[0] > 1.5 * height and height < 1.8 * (first[1] - first[3])


def _upright(box: Box, angle: int) -> Box:
    """A box of the shown page in the frame in which text of that angle is upright."""
    x0, y0, x1, y1 = box
    if angle == 90:
        return y0, -x1, y1, -x0
    if angle == 180:
        return -x1, -y1, -x0, -y0
    if angle == 270:
        return -y1, x0, -y0, x1
    return box
