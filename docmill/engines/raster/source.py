"""Where pages come from: what `RasterToPdf` asks of each input format."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from docmill.engines.base import EngineOptions
from docmill.errors import CorruptDocument, DocmillError
from docmill.facts import upright_size
from docmill.formats import AVIF, HEIC, PNG, WEBP, Format
from docmill.jpeg import JpegHeader
from docmill.options import Frames
from docmill.page_limits import check_page_count
from docmill.pdf import PdfPage
from docmill.pictures import decoding, frame_count
from docmill.png import PngHeader

if TYPE_CHECKING:
    from PIL import Image

_ANIMATIONS = frozenset({WEBP, AVIF, PNG, HEIC})
# What to do about a page that decodes in part.
RESUME_HINT = "--on-error resume converts what can be decoded"


def page_size(header: JpegHeader | PngHeader, options: EngineOptions) -> tuple[float, float]:
    """The upright page in points, at the job's dpi where the file names none."""
    return upright_size(
        (header.width, header.height),
        (header.dpi_x, header.dpi_y),
        header.orientation,
        options.options.dpi or options.default_dpi,
        header.aspect,
    )


def on_page(error: CorruptDocument, number: int, hint: str = "") -> CorruptDocument:
    """The same damage, told of page `number`; `hint` instead of its own, where given."""
    return CorruptDocument(f"page {number}: {error.message}", hint=hint or error.hint, page=number)


def count_pages(image: Image.Image, options: EngineOptions) -> int:
    """The frames of an open picture that the job takes for pages.

    Raises `CorruptDocument` where they cannot be counted, `LimitExceeded` where there are too many.
    """
    frames = options.options.frames
    with decoding():
        count = frame_count(image, every_frame=frames is Frames.ALL)
    count = 1 if frames is Frames.FIRST else count
    check_page_count(count, options.max_pages)
    return count


def left_frames(format: Format, count: int, options: EngineOptions) -> tuple[str, ...]:
    """What there is to tell of an animation of so many frames of which nobody asked for the first alone."""
    if count < 2 or options.options.frames is not Frames.AUTO or format not in _ANIMATIONS:
        return ()
    return (f"only the first of {count} frames was converted (--frames all converts all)",)


PageWork = Callable[[], PdfPage]


class PageSource(Protocol):
    """The pages of an open document. `damage` says why the file has fewer than it should, if so, and `notes`
    what else there is to tell of it."""

    notes: tuple[str, ...]

    @property
    def damage(self) -> DocmillError | None: ...

    def __len__(self) -> int: ...

    def page(self, number: int) -> PdfPage | PageWork:
        """Page `number` (from 1), or the work that makes it where that is worth a thread.

        A page's data may be read from the source while it is written, so the source stays open until then.
        """
        ...

    def close(self) -> None: ...
