"""Where pages come from: what `RasterToPdf` asks of each input format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from docmill.engines.base import EngineOptions
from docmill.errors import DocmillError
from docmill.facts import upright_size
from docmill.jpeg import JpegHeader
from docmill.pdf import PdfPage
from docmill.png import PngHeader

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


PageWork = Callable[[], PdfPage]


class PageSource(Protocol):
    """The pages of an open document. `damage` says why the file has fewer than it should, if so."""

    @property
    def damage(self) -> DocmillError | None: ...

    def __len__(self) -> int: ...

    def page(self, number: int) -> PdfPage | PageWork:
        """Page `number` (from 1), or the work that makes it where that is worth a thread.

        A page's data may be read from the source while it is written, so the source stays open until then.
        """
        ...

    def close(self) -> None: ...
