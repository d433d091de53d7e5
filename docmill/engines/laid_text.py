"""The characters of a page as they are read, where pdfium has others or another order.

pdfium turns right-to-left text round by drawn piece and knows no bracket pairs, so of mixed lines, and of
Arabic that Chromium draws glyph by glyph, it makes an order that nobody reads. Where characters stand tells.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from docmill.engines.bidi import RIGHT_TO_LEFT, brackets_turned, logical_order
from docmill.engines.text_boxes import Box


@dataclass(frozen=True, slots=True)
class LaidText:
    """A page's characters, lines in the order of drawing, each in its logical order.

    `order` has the place in pdfium's text of each, none where that is its own. `ends` has for the beginning
    of each line that was put in order the places in pdfium's text of its leftmost and rightmost character.
    """

    text: str
    order: Sequence[int] | None = None
    ends: dict[int, tuple[int, int]] = field(default_factory=dict)


def without(laid: LaidText, lines: Iterable[tuple[int, int]], goes: Callable[[int], bool]) -> LaidText:
    """The text without those characters of some lines that go, by their places in it."""
    gone = {place for start, end in lines for place in range(start, end) if goes(place)}
    order = [place for place in range(len(laid.text)) if place not in gone]
    return LaidText("".join(laid.text[place] for place in order), order)


def rows_apart(
    laid: LaidText, lines: Iterable[tuple[int, int]], boxes: Callable[[Sequence[int]], list[Box]]
) -> LaidText:
    """The text with a line break wherever one of these lines goes on above or below itself: pdfium compares
    where forms within a page have their text by the coordinates of each, so that the fields of a form, one
    below the other, are one line to it. `boxes` as in `in_logical_order`."""
    before = laid.order if laid.order is not None else range(len(laid.text))
    breaks: set[int] = set()
    for start, end in lines:
        breaks.update(start + step for step in _steps(laid.text[start:end], boxes(before[start:end])))
    if not breaks:
        return laid
    letters: list[str] = []
    order: list[int] = []
    for place, letter in enumerate(laid.text):
        if place in breaks:
            letters.append("\n")
            order.append(before[place])
        letters.append(letter)
        order.append(before[place])
    return LaidText("".join(letters), order)


def _steps(line: str, boxes: Sequence[Box]) -> list[int]:
    """The letters of a line that stand in another row than the one before; none where nearly each one does,
    as in vertical writing."""
    letters = [
        place
        for place, (letter, box) in enumerate(zip(line, boxes, strict=True))
        if letter != " " and not unicodedata.combining(letter) and box[1] != box[3]
    ]
    steps = [
        after
        for before, after in pairwise(letters)
        if min(boxes[before][3], boxes[after][3]) <= max(boxes[before][1], boxes[after][1])
    ]
    return steps if len(steps) <= len(letters) / 3 else []


def in_logical_order(
    laid: LaidText, lines: Iterable[tuple[int, int]], boxes: Callable[[Sequence[int]], list[Box]]
) -> LaidText:
    """The text of a page; `lines` are where each begins and ends, `boxes` gives the boxes of the characters
    of one, by their places in pdfium's text, in the frame in which it is upright."""
    letters = list(laid.text)
    before = laid.order if laid.order is not None else range(len(letters))
    order = list(before)
    ends: dict[int, tuple[int, int]] = {}
    right_share = len(RIGHT_TO_LEFT.findall(laid.text)) / max(1, sum(map(str.isalpha, laid.text)))
    for start, end in lines:
        line = laid.text[start:end]
        if not RIGHT_TO_LEFT.search(line):
            continue
        around = boxes(before[start:end])
        rows = list(_rows(line, around))
        for first, last in rows:
            glyphs = _from_left(line[first:last], around[first:last])
            seen = [line[first + glyph[0]] for glyph in glyphs]
            places = [
                first + place for i in logical_order(seen, right_share=right_share) for place in glyphs[i]
            ]
            row = slice(start + first, start + last)
            letters[row] = brackets_turned("".join(line[place] for place in places))
            order[row] = [before[start + place] for place in places]
        if len(rows) == 1:
            ends[start] = before[start + glyphs[0][0]], before[start + glyphs[-1][0]]
    return LaidText("".join(letters), order, ends)


def _rows(line: str, boxes: Sequence[Box]) -> Iterator[tuple[int, int]]:
    """The parts of a line that stand in one row: pdfium makes one line of the fields of a form, one below the
    other, where their letters overlap."""
    first = 0
    row: Box | None = None
    for place, letter in enumerate(line):
        box = boxes[place]
        if letter == " " or unicodedata.combining(letter) or box[1] == box[3]:
            continue
        if row is not None and min(row[3], box[3]) - max(row[1], box[1]) <= 0:
            yield first, place
            first, row = place, None
        row = row or box
    yield first, len(line)


def _from_left(line: str, boxes: Sequence[Box]) -> list[list[int]]:
    """The places of a line's letters as they stand from the left, each with those of its marks."""
    middle = [(box[0] + box[2]) / 2 for box in boxes]
    # Spaces that pdfium has made up, not always where the white is.
    made_up = [
        place for place, letter in enumerate(line) if letter == " " and boxes[place][0] == boxes[place][2]
    ]
    letters = [
        place
        for place, letter in enumerate(line)
        if place not in made_up and not unicodedata.combining(letter)
    ]
    glyphs = {place: [place] for place in letters or range(len(line))}
    for place in range(len(line)):
        if place in glyphs or place in made_up:
            continue
        # Drawn before or after the letter that it stands on.
        after = bisect(letters, place)
        beside = letters[max(0, after - 1) : after + 1]
        glyphs[min(beside, key=lambda letter: abs(middle[letter] - middle[place]))].append(place)
    # The letters of a ligature have one box and come in either order; nearly all of them begin with lam.
    from_left = sorted(glyphs, key=lambda place: (middle[place], line[place] == "ل"))
    return [glyphs.get(place, [place]) for place in _spaced(line, from_left, made_up, boxes)]


def _spaced(line: str, places: Sequence[int], spaces: Sequence[int], boxes: Sequence[Box]) -> list[int]:
    """Letters from the left with as many spaces put where the most white is between them."""
    white = [
        0.0 if line[before] == " " or line[after] == " " else boxes[after][0] - boxes[before][2]
        for before, after in pairwise(places)
    ]
    widest = sorted(range(len(white)), key=lambda gap: white[gap], reverse=True)[: len(spaces)]
    left = list(spaces)
    out: list[int] = []
    for gap, place in enumerate(places):
        out.append(place)
        if gap in widest:
            out.append(left.pop())
    return out + left
