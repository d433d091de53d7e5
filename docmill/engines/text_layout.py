"""The order in which a person reads the lines of a page.

A PDF draws its text in any order. Most programs draw it as it is read, so the order of drawing is kept
wherever it is plausible, and lines are moved only against what a reader would do: text that stands above
other text of the same column is read first, the left column of prose before the right one, and on one row the
left piece before the right one.

The pairwise relations are those of T. M. Breuel, 'High Performance Document Layout Analysis' (2003), put in
order by a topological sort in which ties keep the order of drawing.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

# A page with more blocks than this (a map, a drawing) is left in the order of drawing: relations are pairs.
MAX_BLOCKS = 400
# Blocks of at least this many lines, with at least this many characters in each, are columns of prose.
PROSE_LINES = 3
PROSE_CHARACTERS = 12
# The lines of a column of prose fill it to this part on average; the cells of a table seldom do.
FULL_COLUMN = 0.8


@dataclass(frozen=True, slots=True)
class Gap:
    """Wide white in a line, from `left` to `right`; its characters `start` to `end` are spaces."""

    left: float
    right: float
    start: int
    end: int


@dataclass(slots=True)
class Line:
    """A line of text as drawn: characters `start` to `end` of the page (end excluded) and its box.

    The box is in points in the frame in which the text is upright: x to the right, y downwards.
    """

    text: str
    start: int
    end: int
    x0: float
    y0: float
    x1: float
    y1: float
    angle: int = 0
    gaps: list[Gap] = field(default_factory=list)

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    def cut(self, gap: Gap) -> tuple[Line, Line]:
        """The line's parts before and after a gap."""
        before, after = gap.start - self.start, gap.end - self.start
        left = replace(self, text=self.text[:before], end=gap.start, x1=gap.left, gaps=[])
        gaps = [g for g in self.gaps if g.start >= gap.end]
        return left, replace(self, text=self.text[after:], start=gap.end, x0=gap.right, gaps=gaps)


def reading_order(lines: list[Line]) -> list[Line]:
    """The lines in reading order; lines of another angle are ordered among themselves."""
    angles = list(dict.fromkeys(line.angle for line in lines))
    if len(angles) <= 1:
        return _order(lines)
    return [line for angle in angles for line in _order([line for line in lines if line.angle == angle])]


def _order(lines: list[Line]) -> list[Line]:
    if all(_follows(a, b) for a, b in pairwise(lines)):
        return lines
    blocks = _drawn_blocks(lines)
    if len(blocks) > MAX_BLOCKS:
        return lines
    if not _contradicted(blocks):
        return lines
    blocks = _geometric_blocks(lines)
    if len(blocks) > MAX_BLOCKS:
        return lines
    return [line for block in _sorted(blocks) for line in block.lines]


def _follows(a: Line, b: Line) -> bool:
    """Whether b is plainly what is read after a: below it, or to its right on the same row."""
    middle = (b.y0 + b.y1) / 2
    return middle >= a.y1 or (b.x0 >= a.x1 - 1 and middle >= a.y0)


class _Block:
    """Lines that are read together, with the box around them."""

    __slots__ = ("lines", "x0", "x1", "y0", "y1")

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines
        self.x0 = min(line.x0 for line in lines)
        self.x1 = max(line.x1 for line in lines)
        self.y0 = min(line.y0 for line in lines)
        self.y1 = max(line.y1 for line in lines)

    @property
    def is_prose(self) -> bool:
        characters = sum(len(line.text) for line in self.lines)
        return len(self.lines) >= PROSE_LINES and characters >= PROSE_CHARACTERS * len(self.lines)


def _drawn_blocks(lines: Sequence[Line]) -> list[_Block]:
    """Runs of lines that were drawn one below the other."""
    runs: list[list[Line]] = []
    for line in lines:
        if runs and _continues(runs[-1][-1], line):
            runs[-1].append(line)
        else:
            runs.append([line])
    return [_Block(run) for run in runs]


def _geometric_blocks(lines: Sequence[Line]) -> list[_Block]:
    """Chains of lines each of which is the nearest below the one before, whatever the order of drawing."""
    by_top = sorted(range(len(lines)), key=lambda i: lines[i].y0)
    below: dict[int, int] = {}
    above: dict[int, int] = {}
    for place, i in enumerate(by_top):
        for j in by_top[place + 1 :]:
            if lines[j].y0 > lines[i].y1 + 2 * lines[i].height:
                break
            if _continues(lines[i], lines[j]) and j not in above:
                below[i], above[j] = j, i
                break
    blocks = []
    for i in range(len(lines)):
        if i not in above:
            chain = [i]
            while chain[-1] in below:
                chain.append(below[chain[-1]])
            blocks.append((min(chain), _Block([lines[k] for k in chain])))
    return [block for _, block in sorted(blocks, key=lambda pair: pair[0])]


def _continues(a: Line, b: Line) -> bool:
    """Whether b can be the line after a in one paragraph or column."""
    height = max(a.height, b.height)
    gap = b.y0 - a.y1
    overlap = min(a.x1, b.x1) - max(a.x0, b.x0)
    return -0.5 * height <= gap <= height and overlap > 0.5 * min(a.x1 - a.x0, b.x1 - b.x0)


def _precedes(a: _Block, b: _Block) -> bool:
    """Whether a is read before b for sure.

    Breuel lets a block left of another precede it also where it begins further down, unless something stands
    between. Here the two must stand side by side: a table under three balanced columns is not read before the
    second of them.
    """
    overlap_x = min(a.x1, b.x1) - max(a.x0, b.x0)
    overlap_y = min(a.y1, b.y1) - max(a.y0, b.y0)
    if overlap_x > 1:
        return a.y0 < b.y0 and a.y1 < b.y1 and overlap_y <= 0.5 * min(a.y1 - a.y0, b.y1 - b.y0)
    if a.x1 > b.x0 + 1:
        return False
    if len(a.lines) == len(b.lines) == 1:
        return overlap_y > 0.5 * min(a.y1 - a.y0, b.y1 - b.y0)
    return a.is_prose and b.is_prose and overlap_y > 1


def _contradicted(blocks: Sequence[_Block]) -> bool:
    """Whether some block was drawn after one that it is read before."""
    return any(_precedes(blocks[j], blocks[i]) for j in range(len(blocks)) for i in range(j))


def _sorted(blocks: Sequence[_Block]) -> list[_Block]:
    """Topological sort by `_precedes`; ties, and cycles that odd pages make, keep the given order."""
    after: list[list[int]] = [[] for _ in blocks]
    waiting = [0] * len(blocks)
    for i, a in enumerate(blocks):
        for j, b in enumerate(blocks):
            if i != j and _precedes(a, b):
                after[i].append(j)
                waiting[j] += 1
    ready = [i for i, count in enumerate(waiting) if not count]
    left = dict.fromkeys(range(len(blocks)))
    order: list[_Block] = []
    while left:
        i = heapq.heappop(ready) if ready else next(iter(left))
        if i not in left:
            continue
        del left[i]
        order.append(blocks[i])
        for j in after[i]:
            waiting[j] -= 1
            if not waiting[j] and j in left:
                heapq.heappush(ready, j)
    return order


def columns_apart(rows: list[Line]) -> list[Line]:
    """Rows of text that are really columns of prose side by side, cut apart: the left column, then the right.

    Some programs draw a page row by row across its columns. Two columns are told from the cells of a table by
    the white strip between them that goes through row after row, and by lines that fill the left column.
    """
    out: list[Line] = []
    first = 0
    while first < len(rows):
        cuts = _longest_strip(rows, first)
        if _is_gutter(rows[first : first + len(cuts)], cuts):
            strip = rows[first : first + len(cuts)]
            pairs = [row.cut(gap) for row, gap in zip(strip, cuts, strict=True)]
            out.extend(left for left, _ in pairs)
            out.extend(columns_apart([right for _, right in pairs]))
            first += len(cuts)
        else:
            out.append(rows[first])
            first += 1
    return out


def _longest_strip(rows: Sequence[Line], first: int) -> list[Gap]:
    """The gaps, one in each row from `first` on, that lie one above the other for the most rows."""
    return max((_white_strip(rows, first, gap) for gap in rows[first].gaps), key=len, default=[])


def _white_strip(rows: Sequence[Line], first: int, gap: Gap) -> list[Gap]:
    left, right, cuts = gap.left, gap.right, [gap]
    for above, row in pairwise(rows[first:]):
        best = max(row.gaps, key=lambda g: min(right, g.right) - max(left, g.left), default=None)
        if best is None or not _follows(above, row) or min(right, best.right) - max(left, best.left) <= 1:
            break
        left, right = max(left, best.left), min(right, best.right)
        cuts.append(best)
    return cuts


def _is_gutter(rows: Sequence[Line], cuts: Sequence[Gap]) -> bool:
    if len(cuts) < PROSE_LINES:
        return False
    left_edge = min(row.x0 for row in rows)
    width = max(cut.left for cut in cuts) - left_edge
    filled = sum(cut.left - left_edge for cut in cuts) / len(cuts)
    pieces = [row.cut(cut) for row, cut in zip(rows, cuts, strict=True)]
    shortest = min(sum(len(left.text) for left, _ in pieces), sum(len(right.text) for _, right in pieces))
    return filled >= FULL_COLUMN * width and shortest >= PROSE_CHARACTERS * len(cuts)
