"""What is told of pages of which something is not drawn: lost fonts, annotations without a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from docmill.engines.page_notes import named

# Names in a note.
_MOST_NAMES = 3
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
            where = named(sorted({number for number, _ in found}))
            notes.append(f"{what.format(shown)} on {where}{why}")
    return tuple(notes)
