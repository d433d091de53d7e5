"""PDFs of pictures: each compression that the wire's raster PDF formats name, read by two other programs."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pikepdf
import pypdfium2
import pytest
from PIL import Image
from reportlab.pdfgen import canvas

from docmill.engines.base import EngineOptions, EngineResult
from docmill.engines.registry import load, plan_merge, plan_route
from docmill.errors import InvalidJobData, UnsupportedConversion
from docmill.formats import RasterImageFormat, target_from_name
from docmill.options import ConvertOptions
from docmill.wire_formats import target_of_raster_format

RASTER_PDFS = [format for format in RasterImageFormat if format.name.startswith("RAS_PDF") and format != 188]
FILTERS = {
    "none": "",
    "packbits": "RunLength",
    "ccitt": "CCITTFax",
    "g3": "CCITTFax",
    "g3-2d": "CCITTFax",
    "g4": "CCITTFax",
    "lzw": "LZW",
    "zip": "Flate",
    "jpeg": "DCT",
}


def convert(source: Path, mime_type: str, to: str, out_dir: Path, **asked: object) -> EngineResult:
    """Along the only step of the route that the registry plans."""
    target, options = target_from_name(to), ConvertOptions(**asked)
    (step,) = plan_route(mime_type, target, options).steps
    out_dir.mkdir()
    engine = EngineOptions(target=target, options=options, name="doc", mime_type=mime_type)
    return load(step.engine).convert(source, out_dir, engine, lambda at: None)


def by_poppler(path: Path, page: int, dpi: int = 72) -> np.ndarray:
    command = ["pdftoppm", "-r", str(dpi), "-f", str(page), "-l", str(page), path]
    done = subprocess.run(command, capture_output=True, check=True)
    assert not done.stderr
    return np.asarray(Image.open(io.BytesIO(done.stdout)).convert("RGB")).astype(int)


def by_pdfium(path: Path, page: int, dpi: int = 72) -> np.ndarray:
    with pypdfium2.PdfDocument(path) as pdf:
        return np.asarray(pdf[page - 1].render(scale=dpi / 72).to_pil().convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("book") / "book.pdf"
    drawing = canvas.Canvas(str(path), pagesize=(300.4, 200))
    drawing.setFont("Times-Roman", 24)
    drawing.drawString(20, 150, "Black on white")
    drawing.showPage()
    drawing.setPageSize((100, 260))
    drawing.setFillColorRGB(0.8, 0.2, 0.1)
    drawing.rect(10, 20, 60, 90, stroke=0, fill=1)
    drawing.showPage()
    drawing.save()
    return path


@pytest.mark.parametrize("compression", FILTERS)
def test_pages_in_every_compression(book, tmp_path, compression):
    """At 72 dpi a pixel is a pixel: what readers show is the picture that a PNG of the page is."""
    result = convert(book, "application/pdf", f"pdf-{compression}", tmp_path / "pdf", dpi=72)
    (made,) = result.outputs
    is_bilevel = FILTERS[compression] == "CCITTFax"
    png = convert(book, "application/pdf", f"png{'-1bit' * is_bilevel}", tmp_path / "png", dpi=72)
    subprocess.run(["qpdf", "--check", made], capture_output=True, check=True)
    with pikepdf.open(made) as pdf:
        for page, size in zip(pdf.pages, ((300.4, 200), (100, 260)), strict=True):
            assert [float(side) for side in page.MediaBox[2:]] == pytest.approx(size, abs=0.01)
            image = page.Resources.XObject.Im0
            assert str(image.get("/Filter", "")) == (f"/{FILTERS[compression]}Decode").removeprefix("/Decode")
    for number in (1, 2):
        expected = np.asarray(Image.open(png.outputs[number - 1]).convert("RGB")).astype(int)
        with pypdfium2.PdfDocument(made) as pdf:
            (image,) = pdf[number - 1].get_objects()
            stored = np.asarray(image.get_bitmap().to_pil().convert("RGB")).astype(int)
        off = 3 if compression == "jpeg" else 0
        assert np.abs(stored - expected).mean() <= off
        shown = by_poppler(made, number)
        assert np.abs(shown - by_pdfium(made, number)).mean() < 3 + off
        assert shown.min() < 60 < 250 < shown.max()


@pytest.mark.parametrize("format", RASTER_PDFS)
@pytest.mark.parametrize("source", ["application/pdf", "image/tiff", "image/jpeg"])
def test_every_raster_pdf_of_the_wire_has_an_engine_that_makes_pictures(source, format):
    route = plan_route(source, target_of_raster_format(format), ConvertOptions(title="T"))
    assert route.steps[0].engine != "pdf-to-pdf"


def test_a_raster_pdf_of_a_picture_is_a_copy_and_bits_are_honoured(tmp_path):
    scan = tmp_path / "scan.tif"
    ramp = np.tile(np.arange(256, dtype=np.uint8), (40, 1))
    Image.fromarray(np.dstack([ramp, ramp[:, ::-1], ramp])).save(scan, dpi=(128, 64))
    (color,) = convert(scan, "image/tiff", "pdf-raster", tmp_path / "a").outputs
    (gray,) = convert(scan, "image/tiff", "pdf-raster-8bit", tmp_path / "b").outputs
    with pikepdf.open(color) as a, pikepdf.open(gray) as b:
        for pdf, space in ((a, "/DeviceRGB"), (b, "/DeviceGray")):
            size = [float(side) for side in pdf.pages[0].MediaBox[2:]]
            assert size == pytest.approx([144, 45], abs=0.001)
            assert str(pdf.pages[0].Resources.XObject.Im0.ColorSpace) == space


def test_a_palette_and_inks_show_as_in_the_source(tmp_path):
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    picture = Image.fromarray(np.dstack([ramp, ramp.T, np.full_like(ramp, 90)]))
    picture.quantize(64).save(tmp_path / "p.png", dpi=(72, 72))
    picture.convert("CMYK").save(tmp_path / "c.tif", dpi=(72, 72))
    for name, mime_type in (("p.png", "image/png"), ("c.tif", "image/tiff")):
        expected = np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)
        for to in ("pdf-lzw", "pdf-packbits"):
            (made,) = convert(tmp_path / name, mime_type, to, tmp_path / f"{name}-{to}").outputs
            # Without a profile each program has its own idea of ink.
            assert np.abs(by_poppler(made, 1) - expected).mean() < (25 if name == "c.tif" else 3)


def test_merging_into_a_raster_pdf_makes_pictures_of_pdfs_too():
    route = plan_merge(["application/pdf", "image/tiff"], target_from_name("pdf-g4"))
    assert [part.steps[0].engine for part in route.parts] == ["pdf-to-raster-pdf", "raster-to-raster-pdf"]
    assert plan_merge(["application/pdf"], target_from_name("pdf")).parts[0].steps == ()


def test_only_pdf_is_raster_by_name():
    assert target_from_name("pdf-raster-8bit").name == "pdf-raster-8bit"
    with pytest.raises(InvalidJobData, match="only PDF"):
        target_from_name("png-raster")


def test_a_refusal_of_bits_names_those_that_go():
    with pytest.raises(UnsupportedConversion, match="to webp-8bit") as refused:
        plan_route("application/pdf", target_from_name("webp-8bit"))
    assert refused.value.hint == "PDF converts to webp, webp-24bit"
