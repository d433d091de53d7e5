"""`docmill convert` with PDFs on both sides, and several documents into one PDF."""

from __future__ import annotations

from pathlib import Path

import pikepdf
import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from tests.support import check_pdf, page_count, pdfinfo


@pytest.fixture
def report(docmill) -> Path:
    """A PDF of three pages."""
    path = docmill.folder / "report.pdf"
    canvas = Canvas(str(path), pagesize=(300, 400))
    for number in range(1, 4):
        canvas.drawString(50, 200, f"page {number}")
        canvas.showPage()
    canvas.save()
    return path


def test_documents_of_any_kind_merge_into_one_pdf(docmill, report):
    picture = Image.new("RGB", (200, 100), "teal")
    picture.save(docmill.folder / "a.png", dpi=(100, 100))
    picture.save(docmill.folder / "b.tif", save_all=True, append_images=[picture], dpi=(100, 100))

    result = docmill(
        "convert", "a.png", report, "b.tif", "all.pdf", "--direct", "--title", "All", "--rotate", "90"
    )

    assert result.code == 0, result.err
    assert "convert: 6 pages, 3 documents -> pdf by raster-to-pdf, pdf-to-pdf" in result.err
    check_pdf(docmill.folder / "all.pdf")
    assert "Title:           All" in pdfinfo(docmill.folder / "all.pdf")
    with pikepdf.open(docmill.folder / "all.pdf") as pdf:
        sizes = [(round(page.mediabox[2]), round(page.mediabox[3]), int(page.Rotate)) for page in pdf.pages]
    assert sizes == [(144, 72, 90)] + [(300, 400, 90)] * 3 + [(144, 72, 90)] * 2
    assert docmill.leftovers() == []


def test_several_documents_into_one_of_another_kind_are_refused(docmill, report):
    result = docmill("convert", report, report, "all.txt", "--direct")
    assert (result.code, result.out) == (2, "")
    assert "target folder or a PDF" in result.err


def test_an_option_that_no_part_of_a_merge_honours_is_refused_by_name(docmill, report):
    result = docmill("convert", report, report, "all.pdf", "--direct", "--dither")
    assert result.code == 2
    assert "option --dither has no meaning" in result.err
    assert not (docmill.folder / "all.pdf").exists()


def test_a_scan_becomes_an_encrypted_pdf_by_two_engines(docmill):
    Image.new("1", (100, 100), 1).save(docmill.folder / "scan.png")
    result = docmill(
        "convert",
        "scan.png",
        "scan.pdf",
        "--direct",
        "--encrypt-user-password",
        "env:THE_PASSWORD",
        THE_PASSWORD="geheim",
    )
    assert result.code == 0, result.err
    assert "geheim" not in result.err
    with pytest.raises(pikepdf.PasswordError):
        pikepdf.open(docmill.folder / "scan.pdf")
    with pikepdf.open(docmill.folder / "scan.pdf", password="geheim") as pdf:
        assert len(pdf.pages) == 1


def test_a_password_itself_is_refused_and_not_repeated(docmill, report):
    result = docmill("convert", report, "out.pdf", "--direct", "--encrypt-user-password", "geheim")
    assert result.code == 2
    assert "env:NAME" in result.err and "geheim" not in result.err


@pytest.mark.parametrize(("password", "why"), [("", "is empty"), ("ü" * 64, "longer than 127 bytes")])
def test_a_password_that_does_not_protect_is_refused(docmill, report, password, why):
    arguments = ("convert", report, "out.pdf", "--direct", "--encrypt-user-password", "env:THE_PASSWORD")
    result = docmill(*arguments, THE_PASSWORD=password)
    assert result.code == 2 and why in result.err
    assert not (docmill.folder / "out.pdf").exists()


def test_split_goes_into_a_folder(docmill, report):
    result = docmill("convert", report, "parts/", "--to", "pdf", "--direct", "--split", "2")
    assert result.code == 0, result.err
    parts = sorted((docmill.folder / "parts").glob("*.pdf"))
    assert [(part.name, page_count(part)) for part in parts] == [
        ("report_Page(1).pdf", 2), ("report_Page(3).pdf", 1),
    ]  # fmt: skip


def test_a_name_that_is_too_long_is_told(docmill, report):
    result = docmill("convert", report, "n" * 300 + ".pdf", "--direct")
    assert result.code != 1 and "the name is too long" in result.err
    template = "x" * 255 + "##page##"
    result = docmill("convert", report, "pages/", "--to", "png", "--direct", "--page-names", template)
    assert result.code == 2 and "longer than 255 bytes" in result.err
