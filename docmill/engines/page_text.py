"""The lines and words of one PDF page with their boxes, as pdfium reads them.

Calls into pdfium go through its C interface, the boxes of a whole page into one array: a call costs about a
microsecond, and a page has thousands of characters, so only the ends of lines and words are asked for.
"""

from __future__ import annotations

import ctypes
import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import pypdfium2
import pypdfium2.raw as pdfium

from docmill.engines.bidi import RIGHT_TO_LEFT
from docmill.engines.flat_page import load_with_text
from docmill.engines.laid_text import LaidText, in_logical_order, rows_apart, without
from docmill.engines.text_boxes import Box, Room, on_page, runs_right, union, upright
from docmill.engines.text_layout import PROSE_CHARACTERS, Gap, Line, columns_apart, reading_order
from docmill.engines.text_lines import BREAK, shown, touching_joined, without_breaks

T = TypeVar("T")

# A line without the white around it; a hyphen at which a word breaks ends it.
_LINE = re.compile(rf"[^\s{BREAK}](?:[^\r\n{BREAK}]*(?:{BREAK}|[^\s{BREAK}]))?|{BREAK}")
_WORD = re.compile(r"\S+")
_SPACES = re.compile(r"(?<=\S)\s+(?=\S)")
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

    def __init__(self, document: pypdfium2.PdfDocument, number: int, unit: float = 1.0) -> None:
        self._unit = unit
        self._boxes = Room(_USUAL_BOXES)
        self._page, self._text_page, self._is_flattened = load_with_text(document, number)

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
            pieces = [self._characters[start:end] for start, end in self._spans]
        else:
            pieces = [line.text for line in self.lines]
        return without_breaks(pieces)

    def words(self) -> Iterator[Word]:
        """The page's words in reading order; a word that breaks at the end of a line is two words."""
        for number, line in enumerate(self.lines, start=1):
            found = list(_WORD.finditer(line.text))
            spans = [(line.start + word.start(), line.start + word.end()) for word in found]
            for word, span, (first, last) in zip(found, spans, self._end_boxes(spans), strict=True):
                box = union(first, last)
                if RIGHT_TO_LEFT.search(word[0]):
                    # Its first and last letter may be in the middle of it.
                    for letter, _ in self._end_boxes([(i, i + 1) for i in range(*span)]):
                        box = union(box, letter)
                x0, y0, x1, y1 = (self._unit * side for side in self._shown(box))
                yield Word(shown(word[0]), (x0, y0, x1, y1), number, line.angle)

    @cached_property
    def lines(self) -> list[Line]:
        """The page's lines in reading order, with boxes in the frame in which each is upright."""
        drawn = touching_joined(
            [self._line(*item) for item in zip(self._spans, self._line_ends(), strict=True)]
        )
        if self._has_wide_gaps(drawn):
            drawn = columns_apart([replace(line, gaps=self._gaps(line)) for line in drawn])
        return reading_order(drawn)

    # ---------------------------------------------------------------------------------- characters and words

    @property
    def _characters(self) -> str:
        """The page's characters: lines in the order of drawing, each in its logical order."""
        return self._laid.text

    @cached_property
    def _laid(self) -> LaidText:
        laid = LaidText(self._drawn)
        beyond = self._beyond_the_page()
        if beyond:
            # What a program that cuts pages by their boxes leaves of those beside, and what nobody sees.
            laid = without(laid, beyond, lambda place: not on_page(self._loose_box(place), self._frame))
        steps = self._lines_with_steps(laid)
        if steps:
            laid = rows_apart(laid, steps, self._upright_boxes)
        if RIGHT_TO_LEFT.search(laid.text):
            laid = in_logical_order(laid, _spans(laid.text), self._upright_boxes)
        return laid

    def _beyond_the_page(self) -> list[tuple[int, int]]:
        """The lines of which one end at least stands outside of the page."""
        values = self._drawn_ends
        if not values:
            return []
        # One test of all, since nearly always all are on the page.
        worst = max(values[0::4]), min(values[1::4]), min(values[2::4]), max(values[3::4])
        if on_page(worst, self._frame):
            return []
        return [
            line
            for line, (first, last) in zip(self._drawn_spans, _in_pairs(values), strict=True)
            if not (on_page(first, self._frame) and on_page(last, self._frame))
        ]

    def _lines_with_steps(self, laid: LaidText) -> list[tuple[int, int]]:
        """The lines that may go on above or below themselves: those whose ends stand in different rows, and
        all of a page with the text of fields and notes in it."""
        if laid.order is None:
            spans, values = self._drawn_spans, self._drawn_ends
        else:
            spans = _spans(laid.text)
            values = self._sides([self._looked_up(laid.order[p]) for a, b in spans for p in (a, b - 1)])
        return [
            span
            for span, i in zip(spans, range(0, len(values), 8), strict=True)
            if self._is_flattened or values[i + 1] <= values[i + 7] or values[i + 5] <= values[i + 3]
        ]

    def _loose_box(self, place: int) -> Box:
        """The box of a character by its place in pdfium's text: left, top, right, bottom on the page."""
        index = place if self._all_have_text else self._looked_up(place)
        return tuple(self._sides([index]))  # type: ignore[return-value]  # four

    @cached_property
    def _drawn(self) -> str:
        """The page's characters as pdfium orders them, with the spaces and line breaks that it sees."""
        count = pdfium.FPDFText_CountChars(self._text_page)
        if count <= 0:
            return ""
        # Room for two code units each: characters beyond U+FFFF are written as surrogates.
        buffer = (ctypes.c_ushort * (2 * count + 1))()
        written = pdfium.FPDFText_GetText(self._text_page, 0, count, buffer)
        units = bytes(memoryview(buffer).cast("B")[: 2 * max(written - 1, 0)])
        return units.decode("utf-16-le", "replace")

    @cached_property
    def _drawn_spans(self) -> list[tuple[int, int]]:
        return _spans(self._drawn)

    @cached_property
    def _drawn_ends(self) -> list[float]:
        """The sides of the first and the last character of each line, as pdfium orders them."""
        index = int if self._all_have_text else self._looked_up
        return self._sides([index(place) for start, end in self._drawn_spans for place in (start, end - 1)])

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        """Where each line begins and ends in the page's characters."""
        return self._drawn_spans if self._laid.order is None else _spans(self._characters)

    # ------------------------------------------------------------------------------------------------- boxes

    def _line(self, span: tuple[int, int], ends: tuple[Box, Box]) -> Line:
        start, end = span
        first, last = ends
        box, angle = union(first, last), self.rotation
        if not runs_right(first, last, box):
            angle = self._angle(self._index(start))
        return Line(self._characters[start:end], start, end, *upright(self._shown(box), angle), angle)

    def _angle(self, index: int) -> int:
        """0, 90, 180 or 270 degrees clockwise of a character on the page as it is shown."""
        degrees = math.degrees(pdfium.FPDFText_GetCharAngle(self._text_page, index))
        matrix = pdfium.FS_MATRIX()
        pdfium.FPDFText_GetMatrix(self._text_page, index, matrix)
        # Some programs have right-to-left text run so by mirroring it, where it is not seen.
        mirrored: bool = matrix.a * matrix.d < matrix.b * matrix.c
        return (self.rotation + round(degrees / 90) * 90 + 180 * int(mirrored)) % 360

    def _upright_boxes(self, places: Sequence[int]) -> list[Box]:
        """The boxes of characters by their places in pdfium's text, in the frame in which the first of them
        is upright."""
        angle = self._angle(self._looked_up(places[0]))
        return [upright(self._shown(self._loose_box(place)), angle) for place in places]

    def _is_drawn_downwards(self) -> bool:
        """Whether each line plainly stands below the one before, in one column; then the order of drawing is
        that of reading. True for most pages, so it looks at one character a line, to be quick."""
        if self.rotation:
            return False
        floor = math.inf
        if self._laid.order is None:
            values, step = self._drawn_ends, 8
        else:
            values, step = self._sides([self._index(start) for start, _ in self._spans]), 4
        for i in range(0, len(values), step):
            left, top, right, bottom = values[i : i + 4]
            # A box that is wider than high is of a letter that is not upright.
            if top + bottom > 2 * floor or right - left > top - bottom:
                return False
            floor = bottom
        long = [span for span in self._spans if span[1] - span[0] > 2 * PROSE_CHARACTERS]
        sample = [span for span in _sample(long) if self._pieces(*span) > 1]
        return not any(
            self._gaps(self._line(*item)) for item in zip(sample, self._end_boxes(sample), strict=True)
        )

    def _line_ends(self) -> Iterator[tuple[Box, Box]]:
        """For each line the boxes of its ends, in the page's own coordinates."""
        if self._laid.order is None:
            return _in_pairs(self._drawn_ends)
        ends, index = self._laid.ends, self._index
        indexes: list[int] = []
        for start, end in self._spans:
            if start in ends:
                indexes += map(self._looked_up, ends[start])
            else:
                indexes += index(start), index(end - 1)
        return _in_pairs(self._sides(indexes))

    def _end_boxes(self, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[Box, Box]]:
        """For each span of characters the boxes of its first and last, in the page's own coordinates."""
        index = self._index
        return _in_pairs(self._sides([index(place) for start, end in spans for place in (start, end - 1)]))

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
            left = upright(self._shown(before), line.angle)[2]
            right = upright(self._shown(after), line.angle)[0]
            if right - left > _WIDE * line.height:
                gaps.append(Gap(left, right, start, end))
        return gaps

    def _sides(self, indexes: Sequence[int]) -> list[float]:
        """Left, top, right and bottom on the page of each of pdfium's characters, one after the other."""
        if self._boxes.count < len(indexes):
            self._boxes = Room(2 * len(indexes))
        get, text_page = pdfium.FPDFText_GetLooseCharBox, self._text_page
        for index, reference in zip(indexes, self._boxes.references, strict=False):
            get(text_page, index, reference)
        return self._boxes.values(len(indexes))

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
        order = self._laid.order
        if order is not None:
            place = order[place]
        return place if self._all_have_text else self._looked_up(place)

    @cached_property
    def _all_have_text(self) -> bool:
        return not self._pairs and bool(pdfium.FPDFText_CountChars(self._text_page) == len(self._drawn))

    @cached_property
    def _pairs(self) -> list[int]:
        """The places in pdfium's text of characters beyond U+FFFF, which are two to pdfium."""
        if self._drawn.isascii() or max(self._drawn) <= "\uffff":
            return []
        return [place for place, letter in enumerate(self._drawn) if letter > "\uffff"]

    def _looked_up(self, place: int) -> int:
        """The same by the place in pdfium's text."""
        place += bisect_left(self._pairs, place)
        index: int = pdfium.FPDFText_GetCharIndexFromTextIndex(self._text_page, place)
        return max(0, index)


def _in_pairs(sides: Sequence[float]) -> Iterator[tuple[Box, Box]]:
    for i in range(0, len(sides), 8):
        yield tuple(sides[i : i + 4]), tuple(sides[i + 4 : i + 8])  # type: ignore[misc]  # four each


def _spans(text: str) -> list[tuple[int, int]]:
    """Where each line of a text begins and ends, without the white around it."""
    return [match.span() for match in _LINE.finditer(text)]


def _sample(lines: Sequence[T]) -> Sequence[T]:
    return lines[:: max(1, len(lines) // _SAMPLE)][:_SAMPLE]
