"""What is known of a document before it is converted: type, pages, sizes, resolution, encoding."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


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

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DocumentFacts:
        """The facts that `to_dict` wrote."""
        pages = tuple(PageFacts(**page) for page in data["pages"])
        return cls(**data | {"pages": pages, "problems": tuple(data.get("problems", ()))})
