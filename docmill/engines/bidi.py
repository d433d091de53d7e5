"""From the order in which right-to-left and left-to-right text of a line stands on the page to that in
which it is read: the Unicode Bidirectional Algorithm (UAX 9) the other way round.

A page has lost the paragraph's direction and the levels, so both are told from what stands there: the
resolution of numbers, neutrals and bracket pairs (rules W2 to W7, N0 to N2) is applied to the line as it is
seen. Where two texts look the same, as `45 USD` and `USD 45` do among Hebrew, what reads on to the right is
taken.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)

_BRACKETS = ("()", "[]", "{}", "«»", "‹›", "⟨⟩")
_KIND = {bracket: pair for pair in _BRACKETS for bracket in pair}
_SENTENCE_END = frozenset(".,:;!?،؛؟")


class _Class(StrEnum):
    LEFT = "L"  # to be read from left to right
    RIGHT = "R"
    NUMBER = "N"
    NEUTRAL = " "


_L, _R, _NUMBER, _NEUTRAL = _Class.LEFT, _Class.RIGHT, _Class.NUMBER, _Class.NEUTRAL
_CLASSES = {"L": _L, "R": _R, "AL": _R, "EN": _NUMBER, "AN": _NUMBER}


def logical_order(seen: Sequence[str], *, right_share: float) -> list[int]:
    """The places of the characters of a line, given from left to right as they are seen, in logical order.

    `right_share`, how much of the page's text is right-to-left, helps with a line that may be either. Of a
    letter with marks give the letter.
    """
    classes = _with_numbers(seen, [_CLASSES.get(unicodedata.bidirectional(c), _NEUTRAL) for c in seen])
    base = _R if _is_right(seen, classes, right_share) else _L
    levels = _levels(seen, classes, base)
    order = list(range(len(seen)))
    for level in range(max(levels, default=0), 0, -1):
        for start, end in _runs(levels, level):
            order[start:end] = reversed(order[start:end])
    return order


def brackets_turned(text: str) -> str:
    """A line in logical order whose brackets, each of which may have been mirrored or not, open and close."""
    letters = list(text)
    for pair in _BRACKETS:
        places = [place for place, letter in enumerate(text) if letter in pair]
        if _is_balanced((text[place] for place in places), pair):
            continue
        for number, place in enumerate(places):
            letters[place] = pair[number % 2] if len(places) % 2 == 0 else _alone(text, place, pair)
    return "".join(letters)


def _alone(text: str, place: int, pair: str) -> str:
    """A bracket whose other one is on another line, or nowhere: it opens or closes what it touches."""
    follows, precedes = text[place - 1 : place].strip(), text[place + 1 : place + 2].strip()
    if bool(follows) is bool(precedes):
        return text[place]
    return pair[1] if follows else pair[0]


def _is_balanced(brackets: Iterable[str], pair: str) -> bool:
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket == pair[0] else -1
        if depth < 0:
            return False
    return depth == 0


def _with_numbers(seen: Sequence[str], classes: Sequence[_Class]) -> list[_Class]:
    """One separator between digits, and signs such as % beside them, belong to the number (W4, W5); among
    Arabic no more than a point or a colon does (W2)."""
    out = list(classes)
    kinds = [unicodedata.bidirectional(letter) for letter in seen]
    arabic = "AL" in kinds
    for place, kind in enumerate(kinds[:-1]):
        # The sign of a number that stands for itself, as in a table.
        alone = place == 0 or kinds[place - 1] == "WS"
        if kind == "ES" and alone and out[place + 1] is _NUMBER:
            out[place] = _NUMBER
    for place in range(1, len(seen) - 1):
        joins = kinds[place] == "CS" or (kinds[place] == "ES" and not arabic)
        if joins and out[place - 1] is out[place + 1] is _NUMBER:
            out[place] = _NUMBER
    if arabic:
        return out
    for places in (range(1, len(seen)), range(len(seen) - 2, -1, -1)):
        for place in places:
            beside = out[place - places.step]
            if kinds[place] == "ET" and beside is _NUMBER:
                out[place] = _NUMBER
    return out


def _is_right(seen: Sequence[str], classes: Sequence[_Class], right_share: float) -> bool:
    """Whether the line is of a paragraph that runs to the left."""
    strong = [each for each in classes if each in (_L, _R)]
    if not strong or strong[0] is strong[-1]:
        return bool(strong) and strong[0] is _R
    ends = [seen[0] in _SENTENCE_END, seen[-1] in _SENTENCE_END]
    if ends[0] is not ends[1]:
        return ends[0]
    words = re.split(r"\s+", "".join(_R if c is _R else _L if c is _L else " " for c in classes))
    right = sum(_R in word for word in words)
    left = sum(_L in word for word in words)
    # More than half, since a page of both has more of such lines that run to the right.
    return right_share + right / (right + left) > 1.1


def _levels(seen: Sequence[str], classes: list[_Class], base: _Class) -> list[int]:
    """The embedding level of each character: 0 and 2 are read to the right, 1 to the left."""
    other = _L if base is _R else _R
    resolved = _with_brackets(seen, classes, base, other)
    levels = [1 if base is _R else 0] * len(seen)
    for start, end in _stretches(resolved, base):
        ends = (other, _NUMBER) if base is _R else (other,)
        places = [place for place in range(start, end) if resolved[place] in ends]
        # Of what is left of the first word only the numbers run to the right.
        first = next((place for place in places if resolved[place] is other), end)
        for place in range(start, places[-1] + 1 if places else start):
            if resolved[place] is _NUMBER and (base is _R or place > first):
                levels[place] = 2
            elif place >= first:
                levels[place] = 2 if base is _R else 1
    return levels


def _with_brackets(seen: Sequence[str], classes: list[_Class], base: _Class, other: _Class) -> list[_Class]:
    """Both brackets of a pair run as what is in it, if that is how the text before the pair runs; else as the
    paragraph (N0). What is before stands left of it where it runs to the right."""
    out = list(classes)
    for start, end in _stretches(classes, base):
        for opening, closing in _pairs(seen, start, end):
            before = classes[start:opening] if other is _L else classes[closing + 1 : end]
            goes_on = other in before
            inner = classes[opening + 1 : closing]
            within = other in inner or (_NUMBER in inner and goes_on)
            out[opening] = out[closing] = other if goes_on and within else base
    return out


def _pairs(seen: Sequence[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    waiting: dict[str, int] = {}
    for place in range(start, end):
        kind = _KIND.get(seen[place])
        if kind is None:
            continue
        if kind in waiting:
            yield waiting.pop(kind), place
        else:
            waiting[kind] = place


def _stretches(classes: Sequence[_Class], base: _Class) -> Iterator[tuple[int, int]]:
    """Where nothing runs as the paragraph does."""
    start = 0
    for place, each in enumerate([*classes, base]):
        if each is base:
            if place > start:
                yield start, place
            start = place + 1


def _runs(levels: Sequence[int], least: int) -> Iterator[tuple[int, int]]:
    """Where the level is at least this."""
    start = None
    for place, level in enumerate([*levels, 0]):
        if level >= least and start is None:
            start = place
        elif level < least and start is not None:
            yield start, place
            start = None
