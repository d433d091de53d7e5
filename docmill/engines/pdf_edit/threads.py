"""Article threads: the way through a document that its beads mark on the pages (ISO 32000-1, 12.4.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

import pikepdf
from pikepdf import Array, Dictionary, Name, Object

# Beads of a thread that are followed; they are a ring.
_MOST_BEADS = 100_000


def drop_threads_without_page(
    pdf: pikepdf.Pdf, pages: Sequence[Object], alive: Set[tuple[int, int]]
) -> list[str]:
    """Take out the threads that lead over pages that are gone; returns what a person should know."""
    threads = pdf.Root.get(Name.Threads)
    if not isinstance(threads, Array):
        return []
    broken = [
        thread
        for thread in threads
        if isinstance(thread, Dictionary)
        and any(page is None or page.objgen not in alive for page in _pages_of(thread))
    ]
    if not broken:
        return []
    dead = {bead.objgen for thread in broken for bead in _beads(thread)}
    gone = {thread.objgen for thread in broken}
    pdf.Root.Threads = _without(threads, gone)
    for page in pages:
        beads = page.get(Name.B)
        if isinstance(beads, Array):
            page.B = _without(beads, dead)
    count = len(broken)
    which = "1 article thread that leads" if count == 1 else f"{count:,} article threads that lead"
    return [f"{which} over pages that are not in the output {'is' if count == 1 else 'are'} left out"]


def _without(listed: Object, gone: Set[tuple[int, int]]) -> Array:
    kept = (one for one in listed if isinstance(one, Dictionary))
    return Array([one for one in kept if one.objgen not in gone])


def _pages_of(thread: Object) -> Iterator[Object | None]:
    for bead in _beads(thread):
        page = bead.get(Name.P)
        yield page if isinstance(page, Dictionary) else None


def _beads(thread: Object) -> Iterator[Object]:
    seen: set[tuple[int, int]] = set()
    bead = thread.get(Name.F)
    while isinstance(bead, Dictionary) and bead.objgen not in seen and len(seen) < _MOST_BEADS:
        seen.add(bead.objgen)
        yield bead
        bead = bead.get(Name.N)
