"""The engine protocol and the values that cross it; all picklable, to travel to the sandbox and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from docmill.errors import LimitExceeded
from docmill.formats import Target
from docmill.options import ConvertOptions
from docmill.settings import variable

# The size in points of a blank page in the place of one whose own size cannot be read.
A4 = (595.276, 841.89)


@dataclass(frozen=True, slots=True)
class Progress:
    """Page `page` (from 1) of `page_count` is being worked on; `message` where there is more to say."""

    page: int
    page_count: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class PageResult:
    """A page of the output: its source page, size, and how it came about, e.g. `copied (CCITT Group 4)`."""

    source_page: int
    width_pt: float
    height_pt: float
    width_px: int = 0
    height_px: int = 0
    how: str = ""


@dataclass(frozen=True, slots=True)
class PageFailure:
    """A page that could not be converted, with the reason in the words of `DocmillError`."""

    page: int
    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine is asked for: the job's options, the target, and what the installation allows.

    `password` opens the source, the other two are set on the output; they are the secrets that the job's
    references name, resolved just before the engine runs and never logged.
    """

    target: Target
    options: ConvertOptions = field(default_factory=ConvertOptions)
    default_dpi: float = 300.0
    max_page_pixels: int = 500_000_000
    max_content_bytes: int = 256 << 20
    max_pages: int = 100_000
    workers: int = 1
    name: str = "document"
    mime_type: str = ""
    password: str | None = field(default=None, repr=False)
    encrypt_user_password: str | None = field(default=None, repr=False)
    encrypt_owner_password: str | None = field(default=None, repr=False)

    def page_numbers(self, page_count: int) -> list[int]:
        """The pages to convert of a document of so many, from 1 and in the order asked for.

        Raises `InvalidJobData` where one is beyond the last, and `LimitExceeded` where they are too many, as
        of a job that asks for a page more than once.
        """
        numbers = self.options.page_numbers(page_count)
        if len(numbers) > self.max_pages:
            raise LimitExceeded(
                f"{len(numbers)} pages are to be converted; at most {self.max_pages} are allowed",
                limit="pages",
                setting=variable("max_pages"),
            )
        return numbers


# How a note begins that tells of a PDF that was mended: what it looked like before is then no measure.
DAMAGED = "the PDF was damaged"
# The note of one that was mended before pdfium drew it.
MENDED = f"{DAMAGED} and was repaired: its objects were not where it says"
REBUILT = f"{DAMAGED} and was repaired: its structure could not be read, and pages may be missing"
MENDED_FONTS = f"{DAMAGED} and was repaired: its fonts say wrongly how many characters they name"
# And where its pages are not what Acrobat shows.
DYNAMIC_XFA = "the PDF is a dynamic XFA form: its page only stands in for it and is all that is converted"


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What an engine made: its files in order, the pages in them, and what went wrong on the way."""

    outputs: tuple[Path, ...]
    pages: tuple[PageResult, ...] = ()
    failures: tuple[PageFailure, ...] = ()
    notes: tuple[str, ...] = ()


class Engine(Protocol):
    """Converts one document into one or more files.

    Pure: it reads `source`, writes into `out_dir` only, calls `progress` before each page, and raises
    `DocmillError`. With `options.options.on_error` at `resume` a page that fails is a `PageFailure`, else it
    is raised with its page. It runs in a sandbox process of its own and may be killed at any moment.
    """

    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult: ...


@dataclass(frozen=True, slots=True)
class MergeSource:
    """A document to merge: where it lies, and its name for a person."""

    path: Path
    name: str


class Merger(Protocol):
    """Makes one document of several of its own format, in their order.

    Pure as `Engine` is. `options.options.pages` counts over the merged document. With `on_error` at `resume`
    a source that cannot be read is left out: a `PageFailure` with the page at which it would have begun.
    """

    def merge(
        self,
        sources: Sequence[MergeSource],
        out_dir: Path,
        options: EngineOptions,
        progress: Callable[[Progress], None],
    ) -> EngineResult: ...
