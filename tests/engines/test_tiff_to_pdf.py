"""TIFF to PDF: every compression comes out exact in an independent reader."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pypdfium2 as pdfium
import pytest
from PIL import Image, ImageDraw

from docmill.engines.base import EngineOptions, EngineResult
from docmill.engines.raster_to_pdf import RasterToPdf
from docmill.formats import PDF, Target
from docmill.options import ConvertOptions

MODES = ("1", "L", "RGB", "P")
SIZE = (203, 131)


def convert(path: Path, **options: object) -> EngineResult:
    job = EngineOptions(
        Target(PDF), ConvertOptions(**options), mime_type="image/tiff", workers=2, name=path.stem
    )
    result = RasterToPdf().convert(path, path.parent, job, lambda progress: None)
    subprocess.run(["qpdf", "--check", result.outputs[0]], check=True, capture_output=True)
    return result


def rendered(pdf: Path, page: int = 1, dpi: float = 100) -> Image.Image:
    """A page as pdfium draws it."""
    document = pdfium.PdfDocument(pdf)
    try:
        return document[page - 1].render(scale=dpi / 72).to_pil().convert("RGB")
    finally:
        document.close()


def drawing(mode: str) -> Image.Image:
    image = Image.linear_gradient("L").resize(SIZE).convert(mode)
    draw = ImageDraw.Draw(image)
    for n in range(0, 200, 7):
        draw.line((n, 0, 200 - n, 130), fill=image.getpixel((n, 5)))
    draw.rectangle((20, 20, 60, 90), fill=image.getpixel((20, 120)))
    return image


@pytest.mark.parametrize(
    "mode, compression",
    [
        (mode, c)
        for mode in ("1", "L", "RGB", "P")
        for c in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate")
    ]
    + [("1", c) for c in ("tiff_ccitt", "group3", "group4")],
)
def test_lossless_compressions_come_out_exact(tmp_path: Path, mode: str, compression: str) -> None:
    image = drawing(mode)
    source = tmp_path / "in.tif"
    image.save(source, compression=compression, dpi=(100, 100))
    result = convert(source)
    assert rendered(result.outputs[0]).tobytes() == image.convert("RGB").tobytes()
