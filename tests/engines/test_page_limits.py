"""A job may ask for a page more than once, but not for more pages than an installation allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from docmill.engines.base import EngineOptions
from docmill.engines.registry import load
from docmill.errors import LimitExceeded
from docmill.formats import target_from_name
from docmill.options import ConvertOptions


@pytest.mark.parametrize(
    ("engine", "source", "to"),
    [
        ("raster-to-pdf", "tiff", "pdf"),
        ("raster-to-raster", "tiff", "png"),
        ("pdf-to-pdf", "pdf", "pdf"),
        ("pdf-to-raster", "pdf", "png"),
        ("pdf-to-text", "pdf", "text"),
    ],
)
def test_of_every_engine(engine: str, source: str, to: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan.{source}"
    Image.new("L", (8, 8)).save(path, save_all=True, append_images=[Image.new("L", (8, 8))])
    mime_type = {"tiff": "image/tiff", "pdf": "application/pdf"}[source]

    def convert(pages: str) -> int:
        options = EngineOptions(
            target_from_name(to), ConvertOptions(pages=pages), max_pages=3, mime_type=mime_type
        )
        return len(load(engine).convert(path, tmp_path, options, lambda progress: None).pages)

    assert convert("1,2,1") == 3
    with pytest.raises(LimitExceeded, match="4 pages are to be converted; at most 3 are allowed") as caught:
        convert("1-2,1-2")
    assert caught.value.setting == "DOCMILL_MAX_PAGES"
