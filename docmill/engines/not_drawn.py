"""What is told of pages of which something is not drawn: lost fonts, annotations without a look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

# In a note: names, and ranges of pages. A job's status takes 200 characters of each.
_MOST_NAMES, _MOST_RANGES = 3, 4
_NAME = 24
_NO_FONT = ": neither in the PDF nor on this machine"


@dataclass(frozen=True, slots=True)
class NotDrawn:
    """The fonts of a page of which characters are missing, those that another one stands in for, and the
    kinds of annotations that are left out."""

    missing: frozenset[str] = frozenset()
    alien: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.missing or self.alien or self.annotations)


def notes_on(pages: Sequence[tuple[int, NotDrawn]]) -> tuple[str, ...]:
    """What a person should know of pages by their numbers, a line for each kind of thing."""
    notes = []
    for kind, what, why in (
        ("missing", "characters of {} are missing", _NO_FONT),
        ("alien", "another font stands in for {}, and its characters may be others", _NO_FONT),
        ("annotations", "annotations ({}) are not drawn", ": the PDF does not say how they look"),
    ):
        found = [(number, getattr(one, kind)) for number, one in pages if getattr(one, kind)]
        if found:
            names = sorted({name for _, some in found for name in some})
            shown = ", ".join(name[:_NAME] for name in names[:_MOST_NAMES])
            if len(names) > _MOST_NAMES:
                shown += f" and {len(names) - _MOST_NAMES} more"
            where = _pages(sorted({number for number, _ in found}))
            notes.append(f"{what.format(shown)} on {where}{why}")
    return tuple(notes)


def _pages(numbers: Iterable[int]) -> str:
    """Numbers in order as `page 3` or `pages 1-4, 7`."""
    ranges: list[list[int]] = []
    for before, number in pairwise([-1, *numbers]):
        if number != before + 1:
            ranges.append([number, number])
        ranges[-1][1] = number
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in ranges]
    more = len(shown) - _MOST_RANGES
    listed = ", ".join(shown[:_MOST_RANGES]) + (f" and {more} more places" if more > 0 else "")
    return f"{'page' if len(ranges) == 1 and ranges[0][0] == ranges[0][1] else 'pages'} {listed}"
