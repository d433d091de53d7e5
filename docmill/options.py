"""The options of a job: what a client asks for. Each is declared once, here.

The command line, the HTTP schema and the flow's parameters derive from these declarations. An option that is
not set (None, or its default) means that docmill chooses, losslessly; one that is set is honoured or refused
by name, never ignored.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from docmill.errors import InvalidJobData

E = TypeVar("E", bound=StrEnum)
# Of a file's name, on every common file system and in ZIP archives that are unpacked there.
_MAX_NAME = 255


class BadPage(StrEnum):
    """What stands for a page that could not be converted, where the job goes on without it."""

    SKIP = "skip"
    BLANK = "blank"


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


class Group(StrEnum):
    """What an option is about: the headings of a list of them, in this order."""

    PAGES = "pages"
    PIXELS = "pixels"
    DESCRIPTION = "description"
    PDF = "PDF output"
    FILES = "several output files"


PERMISSIONS = frozenset({"print", "print-low", "copy", "edit", "annotate", "fill", "assemble"})


def option(
    group: Group, default: Any, description: str, *, metavar: str = "", choices: Iterable[str] = ()
) -> Any:
    """Declare an option: its group, default and description, and how the command line shows it."""
    meta = {"group": group, "metavar": metavar, "choices": tuple(choices)}
    return field(default=default, metadata=meta | in_form(description))


_positions = itertools.count()


def in_form(description: str) -> dict[str, Any]:
    """The metadata of a field by which the Prefect UI's form says what it is, in the order of declaration.

    pydantic takes them into the schema; PostgreSQL keeps no order of a JSON object's names, which is why
    Prefect gives its own parameters positions as well.
    """
    return {"description": description, "json_schema_extra": {"position": next(_positions)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What a client may ask of a conversion, beside its source and target."""

    pages: str | None = option(Group.PAGES, None, "pages to convert, e.g. 2-5 or 1,3,8-", metavar="RANGES")
    dpi: float | None = option(
        Group.PIXELS, None, "resolution of rendered pages, and of images that name none", metavar="DPI"
    )
    quality: int | None = option(
        Group.PIXELS, None, "JPEG or WebP quality, 1 to 100; not set: lossless", metavar="N"
    )
    title: str | None = option(Group.DESCRIPTION, None, "title of the output document", metavar="TEXT")
    author: str | None = option(Group.DESCRIPTION, None, "author of the output document", metavar="TEXT")
    subject: str | None = option(Group.DESCRIPTION, None, "subject of the output document", metavar="TEXT")
    keywords: str | None = option(Group.DESCRIPTION, None, "keywords of the output document", metavar="TEXT")
    rotate: int | None = option(
        Group.PDF, None, "degrees to turn each page by, clockwise: 90, 180 or 270", metavar="DEGREES"
    )
    split: int | None = option(
        Group.FILES, None, "pages a file: more of them go to a further file", metavar="N"
    )
    linearize: bool = option(Group.PDF, False, "write the PDF for page-by-page download (fast web view)")
    encrypt_user_password: str | None = option(
        Group.PDF,
        None,
        "where the password is that opens the output: env:NAME, file:PATH or block:NAME",
        metavar="REF",
    )
    encrypt_owner_password: str | None = option(
        Group.PDF, None, "where the password is that lifts the output's permissions", metavar="REF"
    )
    permissions: str | None = option(
        Group.PDF,
        None,
        "what the user password allows: none, or of print, print-low, copy, edit, annotate, fill, assemble",
        metavar="LIST",
    )
    alpha: Alpha = option(
        Group.PIXELS, Alpha.KEEP, "transparency: keep it, or lay the picture on white", choices=Alpha
    )
    frames: Frames = option(
        Group.PAGES,
        Frames.AUTO,
        "frames of an animation; auto: all of GIF and FLI, the first of WebP, AVIF and PNG",
        choices=Frames,
    )
    size: str | None = option(
        Group.PIXELS,
        None,
        "pixels that a page is to fit into, e.g. 1240x1754, 1240x (width) or x1754 (height)",
        metavar="WxH",
    )
    threshold: int | None = option(
        Group.PIXELS,
        None,
        "gray level, 1 to 255, from which a pixel of a 1-bit page is white; not set: 128",
        metavar="N",
    )
    dither: bool = option(
        Group.PIXELS, False, "give grays in 1-bit pages by scattered dots (error diffusion)"
    )
    page_names: str | None = option(
        Group.FILES,
        None,
        "names of the files where each page is one; not set: ##name##_Page(##page##).##extension##",
        metavar="TEMPLATE",
    )
    on_error: OnError = option(
        Group.PAGES,
        OnError.ABORT,
        "at a page that cannot be converted: stop, or go on with the rest",
        choices=OnError,
    )
    bad_page: BadPage = option(
        Group.PAGES,
        BadPage.SKIP,
        "what stands for a page that failed where on-error is resume",
        choices=BadPage,
    )

    def __post_init__(self) -> None:
        if self.pages is not None:
            PageRanges.parse(self.pages)
        if self.dpi is not None and not 1 <= self.dpi <= 9600:
            raise InvalidJobData(f"dpi {self.dpi:g} is not between 1 and 9600")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InvalidJobData(f"quality {self.quality} is not between 1 and 100")
        self._check_pdf_options()
        object.__setattr__(self, "alpha", _member(Alpha, "alpha", self.alpha))
        object.__setattr__(self, "frames", _member(Frames, "frames", self.frames))
        if self.size is not None:
            PixelBox.parse(self.size)
            if self.dpi is not None:
                raise InvalidJobData(
                    "dpi and size cannot both be set", hint="each of them decides the pixels"
                )
        if self.threshold is not None and not 1 <= self.threshold <= 255:
            raise InvalidJobData(f"threshold {self.threshold} is not between 1 and 255")
        if self.threshold is not None and self.dither:
            raise InvalidJobData("threshold and dither cannot both be set", hint="dither spreads around 128")
        if self.page_names is not None:
            PageNames(self.page_names)
        object.__setattr__(self, "bad_page", _member(BadPage, "bad_page", self.bad_page))
        object.__setattr__(self, "on_error", _member(OnError, "on_error", self.on_error))
        if self.bad_page is not BadPage.SKIP and self.on_error is not OnError.RESUME:
            raise InvalidJobData(
                f"bad_page {self.bad_page} has no meaning where a failed page ends the job",
                hint="set on_error to resume as well",
            )

    def _check_pdf_options(self) -> None:
        if self.rotate is not None and self.rotate not in (0, 90, 180, 270):
            raise InvalidJobData(f"rotate {self.rotate} is not 0, 90, 180 or 270")
        if self.split is not None and self.split < 1:
            raise InvalidJobData(f"split {self.split} is not a number of pages", hint="1 or more")
        for name in ("encrypt_user_password", "encrypt_owner_password"):
            refuse_plain_secret(name, getattr(self, name))
        if self.permissions is not None:
            if self.encrypt_owner_password is None:
                raise InvalidJobData(
                    "permissions need an owner password", hint="set encrypt_owner_password as well"
                )
            names = [name.strip() for name in self.permissions.split(",")]
            unknown = sorted(set(names) - PERMISSIONS)
            if names != ["none"] and unknown:
                raise InvalidJobData(
                    f"permissions knows no '{unknown[0]}'",
                    hint=f"none, or of {', '.join(sorted(PERMISSIONS))}",
                )
            object.__setattr__(self, "permissions", ",".join(names))

    def changed(self) -> dict[str, Any]:
        """The options that were set, by name: what the engine's specification must honour."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    def page_numbers(self, page_count: int) -> list[int]:
        """The pages to convert of so many, from 1 and in the order asked for: all where `pages` is not set.

        Raises `InvalidJobData` where one is beyond the last.
        """
        if self.pages is None:
            return list(range(1, page_count + 1))
        return PageRanges.parse(self.pages).select(page_count)


OPTION_NAMES = tuple(f.name for f in fields(ConvertOptions))


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
                    f"page {max(first, end)} is beyond the last",
                    hint=f"the document has {page_count} page{'s' * (page_count != 1)}",
                )
            pages.extend(range(first, end + 1))
        return pages


@dataclass(frozen=True, slots=True)
class PixelBox:
    """The pixels that a page is to fit into; an axis that is None is free."""

    width: int | None
    height: int | None

    @classmethod
    def parse(cls, text: str) -> PixelBox:
        """Read `1240x1754`, `1240x` and `x1754`; raises `InvalidJobData`."""
        match = re.fullmatch(r"\s*(\d{0,6})\s*[xX]\s*(\d{0,6})\s*", text, re.ASCII)
        width, height = (int(part) if part else None for part in match.groups()) if match else (None, None)
        if (width is None and height is None) or width == 0 or height == 0:
            raise InvalidJobData(
                f"'{text}' is no size in pixels", hint="for example 1240x1754, 1240x or x1754"
            )
        return cls(width, height)

    def fit(self, width: float, height: float) -> tuple[int, int]:
        """The largest size in the box that has the proportions of `width` to `height`."""
        scale = min(
            self.width / width if self.width else math.inf, self.height / height if self.height else math.inf
        )
        return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True, slots=True)
class PageNames:
    """The template for the names of files that hold a page each.

    `##name##`, `##page##` and `##extension##` stand for the document's name, the page's number and the
    format's file name ending. Raises `InvalidJobData` for a template that names all pages the same, or a
    file elsewhere.
    """

    template: str = "##name##_Page(##page##).##extension##"

    def __post_init__(self) -> None:
        fields = re.findall("##(.*?)##", self.template)
        unknown = sorted(set(fields) - {"name", "page", "extension"})
        if unknown:
            raise InvalidJobData(
                f"page_names knows no ##{unknown[0]}##", hint="it knows ##name##, ##page## and ##extension##"
            )
        if "page" not in fields:
            raise InvalidJobData("page_names has no ##page##, so all pages would have the same name")
        if re.search(r"[/\\\0-\x1f]", self.template) or self.template.startswith("."):
            raise InvalidJobData("page_names must be a plain file name, without a folder")

    def name(self, name: str, page: int, extension: str) -> str:
        """The name of a page's file."""
        values = {"name": name, "page": str(page), "extension": extension}
        made = re.sub("##(name|page|extension)##", lambda match: values[match[1]], self.template)
        if len(os.fsencode(made)) > _MAX_NAME:
            raise InvalidJobData(
                f"the name of page {page}'s file would be longer than {_MAX_NAME} bytes",
                hint="set page_names to a shorter template",
            )
        return made


def refuse_plain_secret(name: str, reference: str | None) -> None:
    """Raise `InvalidJobData` unless it is a reference; what is given may be the secret, and is not told."""
    if reference is not None and not re.fullmatch("(env|file|block):.+", reference):
        raise InvalidJobData(
            f"{name} is not a reference to a secret", hint="env:NAME, file:PATH or block:NAME"
        )


def _member(enum: type[E], name: str, value: Any) -> E:
    try:
        return enum(value)
    except ValueError:
        raise InvalidJobData(f"{name} '{value}' is not one of {', '.join(enum)}") from None
