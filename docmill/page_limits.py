"""How many pages a document may have, and how many pixels each of them, as this installation allows."""

from __future__ import annotations

from docmill.errors import LimitExceeded
from docmill.settings import variable


def check_pixels(width: int, height: int, max_page_pixels: int, *, page: int = 1) -> None:
    """Raise `LimitExceeded` where a page has more pixels than the installation allows."""
    if width * height > max_page_pixels:
        raise LimitExceeded(
            f"page {page} has {width} x {height} pixels; at most {max_page_pixels} are allowed",
            limit="page pixels",
            setting=variable("max_page_pixels"),
            page=page,
        )


def check_page_count(count: int, max_pages: int) -> None:
    """Raise `LimitExceeded` where a document has more pages than the installation allows."""
    if count > max_pages:
        raise LimitExceeded(
            f"the document has {count} pages; at most {max_pages} are allowed",
            limit="pages",
            setting=variable("max_pages"),
        )
