"""The engine that makes a PDF of images: a page each, copied or re-encoded without loss, streamed."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from docmill.engines.base import (
    A4,
    EngineOptions,
    EngineResult,
    PageFailure,
    PageResult,
    Progress,
)
from docmill.engines.page_notes import page_notes
from docmill.engines.raster.source import PageSource, PageWork
from docmill.engines.raster.sources import open_pages
from docmill.errors import DocmillError
from docmill.options import BadPage, OnError
from docmill.pdf import PdfImage, PdfPage, PdfWriter


class RasterToPdf:
    """Images to PDF. A page is the image at its resolution, `dpi` standing in where the file names none."""

    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult:
        with warnings.catch_warnings(), closing(open_pages(source, options)) as pages:
            warnings.simplefilter("ignore")  # Pillow's on odd metadata: nothing that a user could act on
            return _convert(source, pages, out_dir / f"{options.name}.pdf", options, progress)


def _convert(
    source: Path,
    pages: PageSource,
    output: Path,
    options: EngineOptions,
    progress: Callable[[Progress], None],
) -> EngineResult:
    job = options.options
    resume = job.on_error is OnError.RESUME
    if pages.damage and not resume:
        raise pages.damage
    numbers = options.page_numbers(len(pages))
    results: list[PageResult] = []
    failures: list[PageFailure] = []
    notes: dict[str, list[int]] = {}
    first_error: DocmillError | None = None
    lost = 0
    with PdfWriter(output, job.title or "") as pdf:
        for position, (number, page) in enumerate(_in_order(pages, numbers, options.workers), 1):
            progress(Progress(position, len(numbers)))
            try:
                made = page()
                pdf.add_page(made)
            except DocmillError as error:
                if not resume:
                    raise
                first_error = first_error or error
                failures.append(PageFailure(number, error.to_dict()))
                lost += 1
                if lost < len(numbers) and job.bad_page is BadPage.BLANK:
                    blank = _blank(source, number, options)
                    pdf.add_page(blank)
                    results.append(PageResult(number, blank.width_pt, blank.height_pt, how=blank.how))
            else:
                results.append(_result(number, made))
                for note in made.notes:
                    notes.setdefault(note, []).append(number)
                if made.damage:
                    failures.append(PageFailure(number, made.damage.to_dict()))
        if first_error and lost == len(numbers):
            raise first_error
    if pages.damage:
        failures.append(PageFailure(len(pages) + 1, pages.damage.to_dict()))
    return EngineResult((output,), tuple(results), tuple(failures), (*pages.notes, *page_notes(notes)))


def _blank(source: Path, number: int, options: EngineOptions) -> PdfPage:
    """A white page as large as that page, as far as its header can be read, else A4."""
    from docmill.engines.frames import PictureFile

    try:
        with closing(PictureFile(source, options)) as pictures:
            width, height = pictures.size_pt(number)
    except DocmillError:
        width, height = A4
    white = PdfImage(1, 1, 1, b"/DeviceGray", (b"\x80",))
    return PdfPage(white, width, height, how="blank, since the page failed")


def _result(number: int, page: PdfPage) -> PageResult:
    image = page.image
    size = (image.width, image.height) if page.orientation < 5 else (image.height, image.width)
    return PageResult(number, page.width_pt, page.height_pt, *size, page.how)


def _in_order(
    pages: PageSource, numbers: Iterable[int], workers: int
) -> Iterator[tuple[int, Callable[[], PdfPage]]]:
    """The pages in order, each as a call that returns it or raises; work runs in threads ahead of it.

    No more pages are held than there are threads, and one.
    """
    ahead: deque[tuple[int, Callable[[], PdfPage]]] = deque()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for number in numbers:
                ahead.append((number, _started(pages, number, pool, workers)))
                if len(ahead) > workers:
                    yield ahead.popleft()
            while ahead:
                yield ahead.popleft()
        finally:
            pool.shutdown(cancel_futures=True)


def _started(pages: PageSource, number: int, pool: ThreadPoolExecutor, workers: int) -> Callable[[], PdfPage]:
    try:
        page = pages.page(number)
    except DocmillError as error:
        failed: Future[PdfPage] = Future()
        failed.set_exception(error)
        return failed.result
    if isinstance(page, PdfPage):
        return lambda: page
    work: PageWork = page
    return pool.submit(work).result if workers > 1 else work
