"""The PDF writer: structure that qpdf accepts, pages that render to the pixel, memory flat."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pikepdf
import pypdf
import pypdfium2 as pdfium
import pytest
from PIL import Image, ImageCms

from docmill.pdf import PdfImage, PdfPage, PdfWriter
from tests.engines.tiffs import upright
from tests.support import check_pdf, rendered_by_poppler


def gray(width: int, height: int, seed: int = 1) -> tuple[PdfImage, Image.Image]:
    data = random.Random(seed).randbytes(width * height)
    return PdfImage(width, height, 8, b"/DeviceGray", (data,)), Image.frombytes("L", (width, height), data)


def test_pages_title_and_identifier(tmp_path: Path) -> None:
    path = tmp_path / "out.pdf"
    with PdfWriter(path, "Ein (kleines) Bild – 漢字") as pdf:
        for _ in range(3):
            pdf.add_page(PdfPage(gray(5, 4)[0], 100.5, 50.25))
    check_pdf(path)
    reader = pypdf.PdfReader(path)
    assert len(reader.pages) == 3
    assert reader.metadata.title == "Ein (kleines) Bild – 漢字"
    assert reader.metadata.producer.startswith("docmill ")
    assert [float(side) for side in reader.pages[0].mediabox[2:]] == pytest.approx([100.5, 50.25], abs=2e-4)
    assert len(reader.trailer["/ID"][0]) == 16


def test_the_same_pages_make_the_same_bytes_and_others_another_identifier(tmp_path: Path) -> None:
    def written(seed: int) -> bytes:
        path = tmp_path / f"{seed}.pdf"
        with PdfWriter(path) as pdf:
            pdf.add_page(PdfPage(gray(50, 40, seed)[0], 72, 72))
        return path.read_bytes()

    assert written(1) == written(1)
    first, second = (data[data.index(b"/ID[") :][:40] for data in (written(1), written(2)))
    assert first != second


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 300])
def test_the_page_tree_holds_every_page_in_order(tmp_path: Path, count: int) -> None:
    path = tmp_path / "out.pdf"
    with PdfWriter(path) as pdf:
        for number in range(count):
            pdf.add_page(PdfPage(gray(1, 1)[0], 10 + number, 20))
        assert pdf.page_count == count
    check_pdf(path)
    with pikepdf.open(path) as document:
        sides = [float(page.MediaBox[2]) for page in document.pages]
    assert sides == pytest.approx([10 + number for number in range(count)], abs=2e-4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_to_the_pixel_in_both_renderers(tmp_path: Path, orientation: int) -> None:
    for width, height, dpi in ((37, 23, 72), (211, 97, 203), (640, 333, 300), (13, 800, 87.3)):
        path = tmp_path / "out.pdf"
        image, pixels = gray(width, height)
        expected = upright(pixels, orientation).convert("RGB")
        with PdfWriter(path) as pdf:
            pdf.add_page(PdfPage(image, expected.width * 72 / dpi, expected.height * 72 / dpi, orientation))
        assert rendered_by_poppler(path, dpi, dpi).tobytes() == expected.tobytes()
        document = pdfium.PdfDocument(path)
        assert document[0].render(scale=dpi / 72).to_pil().convert("RGB").tobytes() == expected.tobytes()
        document.close()


def test_a_profile_is_written_once_and_based_on(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = PdfImage(1, 1, 8, b"/DeviceRGB", (b"abc",), components=3, icc_profile=profile)
    indexed = PdfImage(
        1, 1, 8, b"[/Indexed/DeviceRGB 0<ff0000>]", (b"\0",), components=3, icc_profile=profile
    )
    path = tmp_path / "out.pdf"
    with PdfWriter(path) as pdf:
        for image in (rgb, indexed, rgb):
            pdf.add_page(PdfPage(image, 72, 72))
    check_pdf(path)
    with pikepdf.open(path) as document:
        spaces = [page.Resources.XObject.Im0.ColorSpace for page in document.pages]
        assert spaces[0][0] == "/ICCBased" and spaces[1][0] == "/Indexed"
        streams = {space[1].objgen for space in (spaces[0], spaces[1][1], spaces[2])}
        assert len(streams) == 1
        assert spaces[0][1].read_bytes() == profile
        assert spaces[0][1].N == 3


def test_a_soft_mask_shows_what_is_behind(tmp_path: Path) -> None:
    mask = PdfImage(2, 1, 8, b"/DeviceGray", (b"\0\xff",))
    image = PdfImage(2, 1, 8, b"/DeviceGray", (b"\0\0",), soft_mask=mask)
    path = tmp_path / "out.pdf"
    with PdfWriter(path) as pdf:
        pdf.add_page(PdfPage(image, 2, 1))
    check_pdf(path)
    assert rendered_by_poppler(path, 72, 72).convert("L").tobytes() == b"\xff\0"


def test_a_page_of_300_inches_keeps_its_size_by_user_units(tmp_path: Path) -> None:
    path = tmp_path / "out.pdf"
    with PdfWriter(path) as pdf:
        pdf.add_page(PdfPage(gray(3, 3)[0], 21600, 7200))
    check_pdf(path)
    with pikepdf.open(path) as document:
        page = document.pages[0]
        assert float(page.MediaBox[2]) * int(page.UserUnit) == pytest.approx(21600, abs=1e-3)
        assert max(map(float, page.MediaBox)) <= 14400


def test_memory_is_flat_in_the_number_of_pages(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        with PdfWriter(tmp_path / "out.pdf") as pdf:
            for _ in range(count):
                pdf.add_page(PdfPage(PdfImage(1000, 100, 8, b"/DeviceGray", (bytes(100_000),)), 72, 72))
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    assert peak(400) < peak(4) + 300_000  # of 40 MB written
