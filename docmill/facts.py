"""What is known of a document before it is converted: type, pages, sizes, resolution, encoding."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

METRES_PER_INCH = 0.0254


@dataclass(frozen=True, slots=True)
class PageFacts:
    """One page: its size in pixels (0 where it has none, as in PDF) and in points (1/72 inch).

    `dpi_x` and `dpi_y` are pixels per inch, 0 where the file names none; `width_pt` and `height_pt` then
    follow the installation's default resolution. Sizes are those of the upright page: Orientation is applied.
    """

    width_px: int
    height_px: int
    width_pt: float
    height_pt: float
    dpi_x: float = 0.0
    dpi_y: float = 0.0
    bits_per_pixel: int = 0
    encoding: str = ""
    color: str = ""


def upright_size(
    size: tuple[int, int],
    dpi: tuple[float, float],
    orientation: int,
    default_dpi: float,
    aspect: float = 1.0,
) -> tuple[float, float]:
    """Width and height in points of the page of an image of `size` pixels, turned upright.

    `dpi` is that of each axis before it is turned. Where it is 0 the page follows `default_dpi`, by `aspect`:
    what files tell that name a pixel's shape but no unit.
    """
    x, y = dpi if dpi[0] and dpi[1] else axes_dpi(default_dpi, aspect)
    width, height = size[0] * 72 / x, size[1] * 72 / y
    return (height, width) if orientation >= 5 else (width, height)


def axes_dpi(dpi: float, aspect: float) -> tuple[float, float]:
    """Pixels an inch on each axis, the finer at `dpi`, so that a picture that is turned stays as large."""
    return (dpi, dpi * aspect) if aspect <= 1 else (dpi / aspect, dpi)


def plausible_aspect(x: float, y: float) -> float:
    """Vertical to horizontal density, 1 where it is not one that a device ever had."""
    return y / x if x > 0 and y > 0 and 0.1 <= y / x <= 10 else 1.0


@dataclass(frozen=True, slots=True)
class DocumentFacts:
    """What the probe reads from a file: its MIME type by content and its pages in order.

    `problems` are lines about damage that the probe saw and that a conversion with `on_error=resume` may get
    over.
    """

    mime_type: str
    pages: tuple[PageFacts, ...] = ()
    encrypted: bool = False
    title: str = ""
    problems: tuple[str, ...] = field(default=())

    @property
    def page_count(self) -> int:
        return len(self.pages)

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON-safe values."""
        return asdict(self)

    def to_runs(self) -> dict[str, Any]:
        """The facts as JSON-safe values, equal pages in a row as `[how many, the page]`: of 500 scans one."""
        return {
            "mime_type": self.mime_type,
            "pages": [[len(list(run)), asdict(page)] for page, run in groupby(self.pages)],
            "encrypted": self.encrypted,
            "title": self.title,
            "problems": list(self.problems),
        }

    @classmethod
    def from_runs(cls, data: dict[str, Any], most: int | None = None) -> DocumentFacts:
        """The facts that `to_runs` wrote, equal pages one object; raises `ValueError` over `most` pages."""
        runs = [(max(0, int(count)), PageFacts(**page)) for count, page in data["pages"]]
        if most is not None and sum(count for count, _ in runs) > most:
            raise ValueError(f"over {most} pages")
        pages = tuple(page for count, page in runs for _ in range(count))
        return cls(**data | {"pages": pages, "problems": tuple(data["problems"])})
