"""PDF to raster: what a viewer shows, at the resolution asked for, in every format; limits, not hangs."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pikepdf
import pytest
import tifffile
from PIL import Image, ImageSequence
from reportlab.lib.colors import Color
from reportlab.pdfgen import canvas

from docmill.engines import pdf_to_raster
from docmill.engines.base import EngineOptions, EngineResult, Progress
from docmill.engines.pdf_to_raster import PdfToRaster
from docmill.errors import (
    CorruptDocument,
    InvalidJobData,
    LimitExceeded,
    PasswordRequired,
    PasswordWrong,
    UnsupportedConversion,
)
from docmill.formats import Compression, target_from_name
from docmill.options import ConvertOptions

sys.path.insert(0, str(Path(__file__).parent))
import bad_pdfs


def convert(
    source: Path,
    to: str,
    out_dir: Path,
    *,
    workers: int = 1,
    seen: list[Progress] | None = None,
    **asked: object,
) -> EngineResult:
    limits = ("password", "max_page_pixels", "max_content_bytes", "max_pages")
    engine = {name: asked.pop(name) for name in limits if name in asked}
    options = EngineOptions(
        target=target_from_name(to), options=ConvertOptions(**asked), workers=workers, name="doc", **engine
    )
    out_dir.mkdir(exist_ok=True)
    result = PdfToRaster().convert(source, out_dir, options, (seen if seen is not None else []).append)
    assert sorted(result.outputs) == sorted(out_dir.iterdir())
    return result


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    """Three pages: text in black, shapes in colour with transparency, gray text on a page of another size."""
    path = tmp_path_factory.mktemp("book") / "book.pdf"
    drawing = canvas.Canvas(str(path), pagesize=(400, 300))
    drawing.setFont("Times-Roman", 14)
    for line in range(12):
        drawing.drawString(30, 260 - 20 * line, f"Line {line} of a page of text, in black on white.")
    drawing.showPage()
    drawing.setFillColor(Color(0, 0, 1, alpha=0.4))
    drawing.rect(50, 50, 200, 150, stroke=0, fill=1)
    drawing.setFillColor(Color(1, 0, 0, alpha=0.4))
    drawing.rect(150, 100, 200, 150, stroke=0, fill=1)
    drawing.showPage()
    drawing.setPageSize((200.5, 500))
    drawing.setFillColor(Color(0.5, 0.5, 0.5))
    drawing.setFont("Helvetica-Bold", 30)
    drawing.drawString(20, 250, "Gray")
    drawing.showPage()
    drawing.save()
    return path


def poppler(source: Path, page: int, dpi: float, *more: str) -> np.ndarray:
    """What poppler makes of a page, as RGB."""
    done = subprocess.run(
        ["pdftoppm", "-r", str(dpi), "-f", str(page), "-l", str(page), *more, source],
        capture_output=True,
        check=True,
    )
    return np.asarray(Image.open(io.BytesIO(done.stdout)).convert("RGB")).astype(int)


def rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def frames(path: Path) -> list[Image.Image]:
    with Image.open(path) as image:
        return [frame.copy() for frame in ImageSequence.Iterator(image)]


def assert_alike(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 6) -> None:
    """Two renderings differ in how they smooth edges, not in what is where: blurred they are the same."""
    assert ours.shape == theirs.shape
    blurred = [
        np.asarray(Image.fromarray(pixels.astype(np.uint8)).reduce(4), dtype=int) for pixels in (ours, theirs)
    ]
    assert np.abs(blurred[0] - blurred[1]).mean() < tolerance
    assert np.abs(ours - theirs).mean() < 2 * tolerance


@pytest.mark.parametrize("dpi", [72, 150, 300])
def test_pages_look_as_in_poppler(book, tmp_path, dpi):
    result = convert(book, "png", tmp_path / "out", dpi=dpi)
    assert [path.name for path in result.outputs] == [f"doc_Page({page}).png" for page in (1, 2, 3)]
    for page, path in enumerate(result.outputs, start=1):
        with Image.open(path) as image:
            assert image.info["dpi"] == pytest.approx((dpi, dpi), abs=0.02)
            assert_alike(rgb(image), poppler(book, page, dpi))
    assert [(p.source_page, p.width_pt, p.height_pt) for p in result.pages] == [
        (1, 400, 300), (2, 400, 300), (3, 200.5, 500),
    ]  # fmt: skip


def test_pixels_are_those_of_pdfium(book, tmp_path):
    import pypdfium2

    outputs = convert(book, "png", tmp_path / "out", dpi=144, workers=2).outputs
    with pypdfium2.PdfDocument(book) as document:
        for page, path in zip(document, outputs, strict=True):
            theirs = page.render(scale=2, rev_byteorder=True).to_numpy()
            assert np.array_equal(rgb(Image.open(path)), theirs)


def test_pages_take_no_more_bits_than_they_need(book, tmp_path):
    outputs = convert(book, "png", tmp_path / "out", dpi=100).outputs
    assert [Image.open(path).mode for path in outputs] == ["L", "P", "L"]
    assert [frame.mode for frame in frames(convert(book, "tiff", tmp_path / "t", dpi=100).outputs[0])] == [
        "L", "RGB", "L",
    ]  # fmt: skip


@pytest.mark.parametrize("compression", Compression)
def test_tiff_of_every_compression(book, tmp_path, compression):
    (path,) = convert(book, f"tiff-{compression}", tmp_path / "out", dpi=96, workers=2).outputs
    assert path.name == "doc.tif"
    info = subprocess.run(["tiffinfo", "-D", path], capture_output=True, text=True, check=True)
    assert info.stderr == ""
    assert info.stdout.count("Resolution: 96, 96 pixels/inch") == 3
    with tifffile.TiffFile(path) as tiff:
        assert [page.shape[:2] for page in tiff.pages] == [(400, 534), (400, 534), (667, 268)]
        read = [page.asarray() for page in tiff.pages]
    for frame, other, number in zip(frames(path), read, (1, 2, 3), strict=True):
        if frame.mode == "1":
            # Pillow turns white-is-0 around, tifffile does not.
            assert np.array_equal(np.asarray(frame), ~other)
            assert_alike(rgb(frame), poppler(book, number, 96, "-mono"), 40 if number == 2 else 12)
        else:
            if compression is not Compression.JPEG:
                assert np.array_equal(np.asarray(frame), other)
            assert_alike(rgb(frame), poppler(book, number, 96))


@pytest.mark.parametrize(
    ("to", "mode"),
    [
        ("tiff-8bit", "L"), ("tiff-24bit", "RGB"), ("tiff-1bit", "1"), ("png-8bit", "L"),
        ("png-24bit", "RGB"), ("png-1bit", "1"), ("jpeg-8bit", "L"), ("jpeg-24bit", "RGB"),
        ("webp-24bit", "RGB"), ("bmp-1bit", "1"), ("bmp-8bit", "L"), ("gif-8bit", "L"), ("pcx-24bit", "RGB"),
        ("jp2-24bit", "RGB"), ("j2k-8bit", "L"),
    ],
)  # fmt: skip
def test_bits_that_are_asked_for(book, tmp_path, to, mode):
    (path,) = convert(book, to, tmp_path / "out", dpi=60, pages="2").outputs
    with Image.open(path) as image:
        # GIF and BMP call a palette of grays a palette.
        assert (image.convert("L").mode if mode == "L" and image.mode == "P" else image.mode) == mode
        assert image.size == (334, 250)
        if mode == "RGB":
            assert_alike(rgb(image), poppler(book, 2, 60))
        if mode == "L":
            gray = np.asarray(Image.fromarray(poppler(book, 2, 60).astype(np.uint8)).convert("L"))
            assert np.abs(np.asarray(image.convert("L")).astype(int) - gray).mean() < 6


@pytest.mark.parametrize("to", ["webp", "bmp", "jp2", "j2k", "pcx", "tiff", "png"])
def test_without_quality_nothing_is_lost(book, tmp_path, to):
    (path,) = convert(book, to, tmp_path / "out", dpi=60, pages="2").outputs
    (reference,) = convert(book, "png-24bit", tmp_path / "png", dpi=60, pages="2").outputs
    assert np.array_equal(rgb(Image.open(path)), rgb(Image.open(reference)))


def test_quality(book, tmp_path):
    for to in ("jpeg", "webp", "jp2", "tiff-jpeg"):
        sizes = []
        for quality in (20, 95):
            out = tmp_path / f"{to}-{quality}"
            (path,) = convert(book, to, out, dpi=100, pages="1", quality=quality).outputs
            assert_alike(rgb(Image.open(path)), poppler(book, 1, 100), 14)
            sizes.append(path.stat().st_size)
        assert sizes[0] < sizes[1], to
    with pytest.raises(InvalidJobData, match="png is without loss"):
        convert(book, "png", tmp_path / "refused", quality=50)


@pytest.mark.parametrize(("to", "expected"), [("jpeg-420", 2), ("jpeg-422", 1), ("jpeg-444", 0), ("jpeg", 0)])
def test_jpeg_subsampling(book, tmp_path, to, expected):
    from PIL import JpegImagePlugin

    (path,) = convert(book, to, tmp_path / "out", dpi=60, pages="2").outputs
    with Image.open(path) as image:
        assert JpegImagePlugin.get_sampling(image) == expected
        assert image.info["dpi"] == (60, 60)


def test_threshold_and_dither(book, tmp_path):
    def black(**asked: object) -> float:
        name = "-".join(map(str, asked.values())) or "plain"
        (path,) = convert(book, "png-1bit", tmp_path / name, dpi=60, pages="2", **asked).outputs
        return float((~np.asarray(Image.open(path))).mean())

    gray = np.asarray(Image.fromarray(poppler(book, 2, 60).astype(np.uint8)).convert("L"))
    assert black() < 0.1  # the colours are light
    assert black(threshold=250) == pytest.approx((gray < 250).mean(), abs=0.02)
    assert black(dither=True) == pytest.approx(1 - gray.mean() / 255, abs=0.02)
    with pytest.raises(InvalidJobData, match="png-1bit"):
        convert(book, "png", tmp_path / "refused", dither=True)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("200x", (200, 150)), ("x75", (100, 75)), ("200x75", (100, 75)), ("100x5000", (100, 75))],
)
def test_a_size_in_pixels(book, tmp_path, size, expected):
    (path,) = convert(book, "png", tmp_path / "out", size=size, pages="1").outputs
    with Image.open(path) as image:
        assert image.size == expected
        assert image.info["dpi"][0] == pytest.approx(expected[0] / 400 * 72, abs=0.05)


def test_page_ranges_and_names(book, tmp_path):
    def names(out: str, **asked: object) -> list[str]:
        return [path.name for path in convert(book, "png", tmp_path / out, dpi=30, **asked).outputs]

    assert names("a", pages="3,1") == ["doc_Page(3).png", "doc_Page(1).png"]
    assert names("b", pages="2") == ["doc.png"]
    assert names("c", pages="2,2") == ["doc_Page(1).png", "doc_Page(2).png"]
    assert names("d", pages="2-", page_names="##page##-##name##.##extension##") == ["2-doc.png", "3-doc.png"]
    assert names("e", pages="2", page_names="p##page##.x") == ["p2.x"]
    out = convert(book, "tiff", tmp_path / "f", dpi=30, page_names="p##page##.##extension##").outputs
    assert [path.name for path in out] == ["p1.tif", "p2.tif", "p3.tif"]
    assert [len(frames(path)) for path in out] == [1, 1, 1]
    with pytest.raises(InvalidJobData, match="beyond the last"):
        names("g", pages="4")


@pytest.mark.parametrize("template", ["x.png", "../##page##", "a/##page##", "##page####what##", ".##page##"])
def test_templates_that_are_refused(template):
    with pytest.raises(InvalidJobData, match="page_names"):
        ConvertOptions(page_names=template)


def test_a_zip_of_pages(book, tmp_path):
    (path,) = convert(book, "png+zip", tmp_path / "out", dpi=30).outputs
    assert path.name == "doc.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"doc_Page({page}).png" for page in (1, 2, 3)]
        with archive.open("doc_Page(2).png") as file:
            assert Image.open(file).size == (167, 125)
    (path,) = convert(book, "tiff-g4+zip", tmp_path / "t", dpi=30).outputs
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["doc.tif"]
        with archive.open("doc.tif") as file:
            assert Image.open(io.BytesIO(file.read())).n_frames == 3


def test_rotation_and_crop_box(book, tmp_path):
    turned = tmp_path / "turned.pdf"
    with pikepdf.open(book) as pdf:
        pdf.pages[0].Rotate = 90
        pdf.pages[1].CropBox = [60, 70, 290, 190.5]
        pdf.pages[2].Rotate = 270
        pdf.pages[2].MediaBox = [-50, 0, 150.5, 500]
        pdf.save(turned)
    outputs = convert(turned, "png", tmp_path / "out", dpi=72).outputs
    assert [Image.open(path).size for path in outputs] == [(300, 400), (230, 121), (500, 201)]
    for page, path in enumerate(outputs, start=1):
        assert_alike(rgb(Image.open(path)), poppler(turned, page, 72, "-cropbox"))


def test_annotations_and_form_fields_are_drawn(tmp_path):
    path = tmp_path / "form.pdf"
    drawing = canvas.Canvas(str(path), pagesize=(300, 200))
    drawing.acroForm.textfield(name="t", x=20, y=150, width=180, height=30, value="Typed")
    drawing.acroForm.checkbox(name="c", x=20, y=100, size=24, checked=True)
    drawing.showPage()
    drawing.save()
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        box = pikepdf.Dictionary(Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Form, BBox=[0, 0, 100, 50])
        look = pdf.make_stream(b"1 0 0 rg 0 0 100 50 re f", box)
        pdf.pages[0].Annots.append(
            pdf.make_indirect(
                pikepdf.Dictionary(
                    Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Square, Rect=[150, 20, 250, 70], F=4,
                    AP=pikepdf.Dictionary(N=look),
                )
            )
        )  # fmt: skip
        pdf.save(path)
    (output,) = convert(path, "png", tmp_path / "out", dpi=72).outputs
    pixels = rgb(Image.open(output))
    assert pixels[150, 200].tolist() == [255, 0, 0]
    assert (pixels[20:50, 20:200] < 128).any()  # the text in the field
    assert (pixels[76:100, 20:44] < 128).all(axis=2).sum() > 20  # the tick
    assert_alike(pixels, poppler(path, 1, 72))


def test_annotations_that_pdfium_does_not_draw_are_told(tmp_path):
    path = tmp_path / "notes.pdf"
    with pikepdf.new() as pdf:
        for kinds in ({"Line": 4, "Square": 4}, {"Stamp": 2, "Link": 4}, {"Caret": 4}, {"Line": 32}):
            pdf.add_blank_page(page_size=(200, 100))
            pdf.pages[-1].obj.Annots = pikepdf.Array()
            for kind, flags in kinds.items():
                entries = {"Type": pikepdf.Name.Annot, "Subtype": pikepdf.Name("/" + kind), "F": flags}
                line = {"L": [20, 20, 180, 80], "C": [1, 0, 0], "Rect": [10, 10, 190, 90]}
                pdf.pages[-1].obj.Annots.append(pikepdf.Dictionary(**entries, **line))
        pdf.save(path)
    result = convert(path, "png", tmp_path / "out", dpi=72)
    assert (rgb(Image.open(result.outputs[0])) != 255).any()  # the square
    assert result.notes == (
        "annotations (Caret, Line) are not drawn on pages 1, 3: the PDF does not say how they look",
    )


@pytest.mark.parametrize(
    "to", ["png-24bit", "png-8bit", "png-1bit", "tiff-lzw-24bit", "tiff-g4", "tiff-jpeg", "jpeg", "tiff-zip"]
)
def test_large_pages_are_rendered_in_bands(book, tmp_path, monkeypatch, to):
    (whole,) = convert(book, to, tmp_path / "whole", dpi=150, pages="2").outputs
    monkeypatch.setattr(pdf_to_raster, "_WHOLE_PIXELS", 100_000)
    (bands,) = convert(book, to, tmp_path / "bands", dpi=150, pages="2").outputs
    ours, theirs = rgb(Image.open(bands)), rgb(Image.open(whole))
    if "jpeg" in to:
        assert np.abs(ours - theirs).mean() < 2
    else:
        # The edges of shapes are smoothed a little differently where a band begins.
        assert (ours != theirs).mean() < 1e-3
    if to.startswith("tiff"):
        assert subprocess.run(["tiffinfo", "-D", bands], capture_output=True, check=True).stderr == b""


def test_limits(book, tmp_path):
    with pytest.raises(LimitExceeded, match="417 x 313 pixels") as caught:
        convert(book, "png", tmp_path / "a", dpi=75, max_page_pixels=130_520)
    assert caught.value.setting == "DOCMILL_MAX_PAGE_PIXELS"
    assert caught.value.page == 1
    with pytest.raises(LimitExceeded, match="3 pages"):
        convert(book, "png", tmp_path / "b", max_pages=2)
    with pytest.raises(UnsupportedConversion, match="16383"):
        convert(book, "webp", tmp_path / "c", size="16384x", pages="3", max_page_pixels=10**10)


def test_encryption(book, tmp_path):
    locked = tmp_path / "locked.pdf"
    with pikepdf.open(book) as pdf:
        pdf.save(locked, encryption=pikepdf.Encryption(user="tür", owner="o", R=6))
    with pytest.raises(PasswordRequired):
        convert(locked, "png", tmp_path / "a")
    with pytest.raises(PasswordWrong):
        convert(locked, "png", tmp_path / "b", password="tur")
    result = convert(locked, "png", tmp_path / "c", password="tür", dpi=72, workers=2)
    assert_alike(rgb(Image.open(result.outputs[0])), poppler(book, 1, 72))


def test_progress(book, tmp_path):
    seen: list[Progress] = []
    convert(book, "tiff", tmp_path / "out", dpi=20, pages="1,3", seen=seen)
    assert seen == [Progress(1, 2), Progress(2, 2)]


@pytest.fixture
def damaged(tmp_path) -> Path:
    path = tmp_path / "damaged.pdf"
    path.write_bytes(bad_pdfs.page_without_content())
    return path


def test_a_page_that_fails_stops_the_job(damaged, tmp_path):
    with pytest.raises(CorruptDocument) as caught:
        convert(damaged, "png", tmp_path / "out", dpi=72)
    assert caught.value.page == 2


def test_a_page_that_fails_is_left_out(damaged, tmp_path):
    result = convert(damaged, "png", tmp_path / "out", dpi=72, on_error="resume")
    assert [path.name for path in result.outputs] == ["doc_Page(1).png", "doc_Page(3).png"]
    assert [page.source_page for page in result.pages] == [1, 3]
    (failure,) = result.failures
    assert failure.page == 2
    assert failure.error["code"] == "CorruptDocument"


def test_a_page_that_fails_is_blank(damaged, tmp_path):
    asked = {"dpi": 72, "on_error": "resume", "bad_page": "blank"}
    result = convert(damaged, "tiff-g4", tmp_path / "out", **asked)
    first, blank, third = frames(result.outputs[0])
    assert np.asarray(blank).all()
    assert np.array_equal(np.asarray(first), np.asarray(third))
    assert not np.asarray(first).all()
    assert [failure.page for failure in result.failures] == [2]


def test_a_page_too_large_is_the_failure_of_that_page(book, tmp_path):
    result = convert(
        book, "png", tmp_path / "out", dpi=72, max_page_pixels=110_000, pages="1-3", on_error="resume"
    )
    assert [failure.page for failure in result.failures] == [1, 2]
    assert [path.name for path in result.outputs] == ["doc_Page(3).png"]


def test_no_page_left_is_an_error(damaged, tmp_path):
    with pytest.raises(CorruptDocument):
        convert(damaged, "png", tmp_path / "out", pages="2", on_error="resume", bad_page="blank")


@pytest.mark.parametrize(
    "maker",
    [
        bad_pdfs.looping_page_tree,
        bad_pdfs.stream_of_4_gigabytes,
        bad_pdfs.form_that_draws_itself,
        bad_pdfs.javascript,
        bad_pdfs.embedded_file,
    ],
)
def test_strange_files_whose_page_can_be_seen(tmp_path, maker: Callable[[], bytes]):
    source = tmp_path / "a.pdf"
    source.write_bytes(maker())
    outputs = convert(source, "png", tmp_path / "out", dpi=72, pages="1").outputs
    pixels = rgb(Image.open(outputs[0]))
    assert pixels[60, 30].tolist() == [0, 0, 255]
    assert pixels[5, 5].tolist() == [255, 255, 255]


@pytest.mark.parametrize("maker", [bad_pdfs.looping_page_tree, bad_pdfs.page_tree_that_is_only_a_loop])
def test_loops_end(tmp_path, maker: Callable[[], bytes]):
    source = tmp_path / "a.pdf"
    source.write_bytes(maker())
    with pytest.raises(CorruptDocument):
        convert(source, "png", tmp_path / "out", dpi=72)


DEFLATED = zlib.compress(bad_pdfs.SQUARE * 500)
FLATE = b"/Filter/FlateDecode"
# Much that comes to nothing.
PACKED_TWICE = zlib.compress(b" " * 20_002 + b">")


@pytest.mark.parametrize(
    ("content", "error", "match"),
    [
        (
            bad_pdfs.stream(DEFLATED[:30] + b"\xff" * 40, FLATE),
            CorruptDocument,
            "page 2 cannot be decoded: inv",
        ),
        (bad_pdfs.stream(DEFLATED[:-8], FLATE), CorruptDocument, "page 2 cannot be decoded: it is cut off"),
        (bad_pdfs.stream(b"no zlib at all", FLATE), CorruptDocument, "incorrect header"),
        (bad_pdfs.stream(bad_pdfs.SQUARE, b"/Filter/PlateDecode"), CorruptDocument, "filter /PlateDecode"),
        (b"null", CorruptDocument, "a part of it is missing"),
        (bad_pdfs.stream(zlib.compress(b" " * 20_001), FLATE), LimitExceeded, "DOCMILL_MAX_CONTENT_BYTES"),
        (bad_pdfs.stream(PACKED_TWICE, b"/Filter[/Fl/AHx]"), LimitExceeded, "DOCMILL_MAX_CONTENT_BYTES"),
        (bad_pdfs.stream(b"\x81 " * 200 + b"\x80", b"/Filter/RunLengthDecode"), LimitExceeded, "_CONTENT_"),
    ],
)
def test_a_page_whose_content_cannot_be_decoded_fails(tmp_path, content, error, match):
    source = tmp_path / "a.pdf"
    source.write_bytes(bad_pdfs.undecodable(content))
    with pytest.raises(error, match=match) as caught:
        convert(source, "png", tmp_path / "out", dpi=72, max_content_bytes=20_000)
    assert caught.value.page == 2

    result = convert(source, "png", tmp_path / "rest", dpi=72, max_content_bytes=20_000, on_error="resume")
    assert [page.source_page for page in result.pages] == [1, 3]
    assert [failure.page for failure in result.failures] == [2]


@pytest.mark.parametrize(
    "content",
    [
        DEFLATED[:-4],
        DEFLATED + b"\r\n",
        b"",
        zlib.compressobj().flush(zlib.Z_SYNC_FLUSH),
        DEFLATED[:-1] + b"x",
    ],
    ids=["no checksum", "white after it", "empty", "flushed", "wrong checksum"],
)
def test_a_page_whose_content_every_viewer_shows_is_converted(tmp_path, content):
    source = tmp_path / "a.pdf"
    source.write_bytes(bad_pdfs.undecodable(bad_pdfs.stream(content, FLATE)))
    for path in convert(source, "png", tmp_path / "out", dpi=72).outputs:
        assert rgb(Image.open(path))[60, 30].tolist() == [0, 0, 255]


def test_content_packed_by_run_lengths_is_converted(tmp_path):
    source = tmp_path / "a.pdf"
    packed = bytes([len(bad_pdfs.SQUARE) - 1]) + bad_pdfs.SQUARE + b"\x80"
    source.write_bytes(bad_pdfs.undecodable(bad_pdfs.stream(packed, b"/Filter/RunLengthDecode")))
    for path in convert(source, "png", tmp_path / "out", dpi=72).outputs:
        assert rgb(Image.open(path))[60, 30].tolist() == [0, 0, 255]


def test_content_that_is_too_much_is_found_before_a_damaged_pdf_is_looked_at(tmp_path, monkeypatch):
    def loaded(*_: object) -> None:
        raise AssertionError("pdfium was asked")

    monkeypatch.setattr("docmill.engines.readable_pdf.pdfium.FPDF_LoadPage", loaded)
    source = tmp_path / "a.pdf"
    source.write_bytes(bad_pdfs.damaged_deflate_bomb(times=10))
    with pytest.raises(LimitExceeded, match="DOCMILL_MAX_CONTENT_BYTES"):
        convert(source, "png", tmp_path / "out", dpi=72, max_content_bytes=5 << 20)


def test_forms_within_each_other_have_an_end(tmp_path):
    source = tmp_path / "a.pdf"
    source.write_bytes(bad_pdfs.nested_forms(40))
    (path,) = convert(source, "png", tmp_path / "out", dpi=72).outputs
    assert rgb(Image.open(path))[60, 30].tolist() == [0, 0, 255]
    for depth in (41, 10_000):
        source.write_bytes(bad_pdfs.nested_forms(depth))
        with pytest.raises(LimitExceeded, match="more than 40 deep"):
            convert(source, "png", tmp_path / "none", dpi=72)
    source.write_bytes(bad_pdfs.doubling_forms())
    with pytest.raises(LimitExceeded, match="more than 1000000 times"):
        convert(source, "png", tmp_path / "none", dpi=72)


def test_a_form_with_too_many_fields_is_left_out(tmp_path):
    source = tmp_path / "a.pdf"
    source.write_bytes(bad_pdfs.fields_that_double())
    result = convert(source, "png", tmp_path / "out", dpi=72)
    assert result.notes == ("the form has too many fields, and is not drawn",)
    assert rgb(Image.open(result.outputs[0]))[60, 30].tolist() == [0, 0, 255]


def test_a_page_of_200_inches(tmp_path):
    source = tmp_path / "a.pdf"
    source.write_bytes(bad_pdfs.page_of_200_inches())
    with pytest.raises(LimitExceeded, match="60000 x 60000"):
        convert(source, "png", tmp_path / "out")
    (path,) = convert(source, "tiff-g4", tmp_path / "small", dpi=45).outputs
    assert Image.open(path).size == (9000, 9000)


def test_100_000_pages(tmp_path):
    source = tmp_path / "a.pdf"
    source.write_bytes(bad_pdfs.many_pages(100_001))
    with pytest.raises(LimitExceeded, match="100001 pages"):
        convert(source, "png", tmp_path / "out", dpi=10)
    result = convert(source, "png", tmp_path / "few", dpi=10, pages="1,99998-100001", workers=2)
    assert [page.source_page for page in result.pages] == [1, 99998, 99999, 100000, 100001]


def test_no_pdf_at_all(tmp_path):
    source = tmp_path / "a.pdf"
    source.write_bytes(b"%PDF-1.7\nnothing")
    with pytest.raises(CorruptDocument):
        convert(source, "png", tmp_path / "out")
