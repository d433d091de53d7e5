"""What there is to note of pages, in a line for a person: a job's status takes 200 characters of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

_MOST_RANGES = 4


def page_notes(pages: Mapping[str, Iterable[int]]) -> tuple[str, ...]:
    """Each note once, with the pages (in order) that it is of: `pages 1-3, 7: note`."""
    return tuple(f"{named(numbers)}: {note}" for note, numbers in pages.items())


def named(numbers: Iterable[int]) -> str:
    """Numbers in order as people write them: `page 3` or `pages 1-4, 7`."""
    ranges: list[list[int]] = []
    for before, number in pairwise([-1, *dict.fromkeys(numbers)]):
        if number != before + 1:
            ranges.append([number, number])
        ranges[-1][1] = number
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    more = len(shown) - _MOST_RANGES
    listed = ", ".join(shown[:_MOST_RANGES]) + (f" and {more} more places" if more > 0 else "")
    return f"{'page' if len(ranges) == 1 and ranges[0][0] == ranges[0][1] else 'pages'} {listed}"
