"""The options of a job: what a client asks for. Each is declared once, here.

The command line, the HTTP schema and the flow's parameters derive from these declarations. An option that is
not set (None, or its default) means that docmill chooses, losslessly; one that is set is honoured or refused
by name, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from docmill.errors import InvalidJobData

E = TypeVar("E", bound=StrEnum)


class OnError(StrEnum):
    """What becomes of a job when a page cannot be converted."""

    ABORT = "abort"
    RESUME = "resume"


class Alpha(StrEnum):
    """What becomes of a picture's transparency."""

    KEEP = "keep"
    WHITE = "white"


class Frames(StrEnum):
    """Which frames of an animated picture become pages."""

    AUTO = "auto"
    ALL = "all"
    FIRST = "first"


def option(default: Any, help: str, *, metavar: str = "", choices: Iterable[str] = ()) -> Any:
    """Declare an option: its default, its help, and how the command line shows it."""
    meta = {"help": help, "metavar": metavar, "choices": tuple(choices)}
    return field(default=default, metadata=meta)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What a client may ask of a conversion, beside its source and target."""

    pages: str | None = option(None, "pages to convert, e.g. 2-5 or 1,3,8-", metavar="RANGES")
    dpi: float | None = option(
        None, "resolution of rendered pages, and of images that name none", metavar="DPI"
    )
    quality: int | None = option(None, "JPEG or WebP quality, 1 to 100; not set: lossless", metavar="N")
    title: str | None = option(None, "title of the output document", metavar="TEXT")
    alpha: Alpha = option(Alpha.KEEP, "transparency: keep it, or lay the picture on white", choices=Alpha)
    frames: Frames = option(
        Frames.AUTO,
        "frames of an animation; auto: all of GIF and FLI, the first of WebP, AVIF and PNG",
        choices=Frames,
    )
    on_error: OnError = option(
        OnError.ABORT, "at a page that cannot be converted: stop, or go on with the rest", choices=OnError
    )

    def __post_init__(self) -> None:
        if self.pages is not None:
            PageRanges.parse(self.pages)
        if self.dpi is not None and not 1 <= self.dpi <= 9600:
            raise InvalidJobData(f"dpi {self.dpi:g} is not between 1 and 9600")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InvalidJobData(f"quality {self.quality} is not between 1 and 100")
        object.__setattr__(self, "alpha", _member(Alpha, "alpha", self.alpha))
        object.__setattr__(self, "frames", _member(Frames, "frames", self.frames))
        object.__setattr__(self, "on_error", _member(OnError, "on_error", self.on_error))

    def changed(self) -> dict[str, Any]:
        """The options that were set, by name: what the engine's specification must honour."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}


@dataclass(frozen=True, slots=True)
class PageRanges:
    """Pages by number, from 1, e.g. `1,3,8-`; an open end reaches the last page."""

    ranges: tuple[tuple[int, int | None], ...]

    @classmethod
    def parse(cls, text: str) -> PageRanges:
        """Read `2-5`, `7`, `8-`, `-3` and lists of these by comma; raises `InvalidJobData`."""
        ranges = []
        for part in text.split(","):
            match = re.fullmatch(r"\s*(\d*)\s*(-?)\s*(\d*)\s*", part, re.ASCII)
            if not match or not (match[1] or match[3]):
                raise InvalidJobData(f"'{text}' is no page range", hint="for example 2-5 or 1,3,8-")
            first = int(match[1] or 1)
            last = first if not match[2] else int(match[3]) if match[3] else None
            if first < 1 or (last is not None and last < first):
                raise InvalidJobData(f"'{part.strip()}' is no page range", hint="pages count from 1, upwards")
            ranges.append((first, last))
        return cls(tuple(ranges))

    def select(self, page_count: int) -> list[int]:
        """The page numbers in the order asked for; raises `InvalidJobData` where one is beyond the last."""
        pages: list[int] = []
        for first, last in self.ranges:
            end = page_count if last is None else last
            if first > page_count or end > page_count:
                raise InvalidJobData(
                    f"page {max(first, end)} is beyond the last", hint=f"the document has {page_count} pages"
                )
            pages.extend(range(first, end + 1))
        return pages


def _member(enum: type[E], name: str, value: Any) -> E:
    try:
        return enum(value)
    except ValueError:
        raise InvalidJobData(f"{name} '{value}' is not one of {', '.join(enum)}") from None
