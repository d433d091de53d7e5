"""The loop that engines share which make pixels of pages: in processes, in order, past pages that fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from docmill.engines.base import EngineOptions, EngineResult, PageFailure, PageResult, Progress
from docmill.engines.not_drawn import NotDrawn, notes_on
from docmill.engines.output.collect import Collector, MadePage
from docmill.engines.output.page import PageImage
from docmill.engines.output.plan import OutputPlan
from docmill.engines.page_notes import page_notes
from docmill.errors import CorruptDocument, DocmillError, EngineCrashed, EngineFailed, LimitExceeded
from docmill.options import BadPage, OnError
from docmill.processes import map_in_children

# Limits that one page can reach while the others stay within them.
_LIMITS_OF_A_PAGE = frozenset({"page pixels", "memory", "page content", "form nesting"})


def convert_pages(
    numbers: Sequence[int],
    make: Callable[[int, Path], MadePage],
    blank: Callable[[int], PageImage],
    out_dir: Path,
    options: EngineOptions,
    progress: Callable[[Progress], None],
) -> EngineResult:
    """Make the pages `numbers` (from 1) and put them together as the job's target asks.

    `make(number, path)` encodes a page into `path`; it runs in processes of their own, as many as the options
    allow. `blank(number)` is an empty page as large as that one, for pages that fail where the job asks for
    it. Raises the error of the first page that fails, or with `on_error=resume` the last one's where no page
    is left.
    """
    plan = OutputPlan.of(options)
    resume = options.options.on_error is OnError.RESUME
    places = range(1, len(numbers) + 1)
    made = map_in_children(
        lambda place: make(numbers[place - 1], _scratch(out_dir, place)),
        places,
        workers=options.workers,
        page=lambda place: numbers[place - 1],
        errors="yield",
    )
    pages: list[PageResult] = []
    failures: list[PageFailure] = []
    not_drawn: list[tuple[int, NotDrawn]] = []
    notes: dict[str, list[int]] = {}
    lost = 0
    with Collector(options, out_dir, numbers) as collector:
        for place, number in zip(places, numbers, strict=True):
            progress(Progress(place, len(numbers)))
            page = next(made)
            if isinstance(page, DocmillError):
                _scratch(out_dir, place).unlink(missing_ok=True)
                if not (resume and _is_of_the_page(page)):
                    raise page
                failures.append(PageFailure(number, page.to_dict()))
                lost += 1
                if lost == len(numbers):
                    raise page
                if options.options.bad_page is BadPage.SKIP:
                    continue
                page = _blank_page(plan, blank(number), number, _scratch(out_dir, place))
            if page.damage:
                failures.append(PageFailure(number, page.damage.to_dict()))
            if page.not_drawn:
                not_drawn.append((number, page.not_drawn))
            for note in page.encoded.notes:
                notes.setdefault(note, []).append(number)
            pages.append(page.result)
            collector.add(page, number, place)
    all_notes = (*notes_on(not_drawn), *page_notes(notes))
    return EngineResult(collector.outputs, tuple(pages), tuple(failures), all_notes)


def page_result(number: int, page: PageImage, how: str) -> PageResult:
    """What the job's result says of a page; without a resolution a pixel is a point."""
    x, y = page.dpi or (72.0, 72.0)
    return PageResult(number, page.width / x * 72, page.height / y * 72, page.width, page.height, how)


def _blank_page(plan: OutputPlan, page: PageImage, number: int, path: Path) -> MadePage:
    encoded = plan.encode(page, path)
    return MadePage(encoded, page_result(number, page, f"blank, since the page failed ({encoded.how})"))


def _is_of_the_page(error: DocmillError) -> bool:
    if isinstance(error, LimitExceeded):
        return error.limit in _LIMITS_OF_A_PAGE
    return isinstance(error, CorruptDocument | EngineCrashed | EngineFailed)


def _scratch(out_dir: Path, place: int) -> Path:
    """Where the file of a page is until it is put in its place."""
    return out_dir / f".page-{place}"
