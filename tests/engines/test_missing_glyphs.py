"""Fonts that are neither in the PDF nor on the machine: what is not drawn is told by name and page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, Object, Pdf
from PIL import Image

from docmill.engines.base import EngineOptions, EngineResult
from docmill.engines.pdf_to_raster import PdfToRaster
from docmill.formats import target_from_name
from docmill.options import ConvertOptions


def described(pdf: Pdf, name: str, flags: int) -> Object:
    values = {"Flags": flags, "FontBBox": [0, -200, 1000, 900], "ItalicAngle": 0, "StemV": 80}
    metrics = {"Ascent": 800, "Descent": -200, "CapHeight": 700}
    return pdf.make_indirect(
        Dictionary(Type=Name.FontDescriptor, FontName=Name("/" + name), **values, **metrics)
    )


def simple_font(pdf: Pdf, name: str, flags: int = 32, encoding: Object | None = None) -> Object:
    font = Dictionary(
        Type=Name.Font, Subtype=Name.TrueType, BaseFont=Name("/" + name), FirstChar=32, LastChar=255
    )
    font.Widths = Array([600] * 224)
    font.FontDescriptor = described(pdf, name, flags)
    if encoding is not None:
        font.Encoding = encoding
    return pdf.make_indirect(font)


def composite_font(pdf: Pdf, name: str, collection: str, encoding: str) -> Object:
    system = Dictionary(Registry="Adobe", Ordering=collection, Supplement=2)
    below = Dictionary(
        Type=Name.Font, Subtype=Name.CIDFontType0, BaseFont=Name("/" + name), CIDSystemInfo=system, DW=1000
    )
    below.FontDescriptor = described(pdf, name, 4)
    listed = Array([pdf.make_indirect(below)])
    return pdf.make_indirect(
        Dictionary(
            Type=Name.Font,
            Subtype=Name.Type0,
            BaseFont=Name("/" + name),
            Encoding=Name("/" + encoding),
            DescendantFonts=listed,
        )
    )


def unknown_letters(pdf: Pdf, name: str = "Elbonian") -> Object:
    """A font whose letters have names that no other font has."""
    return simple_font(
        pdf, name, encoding=Dictionary(Type=Name.Encoding, Differences=Array([65, Name.q57664, Name.q57665]))
    )


def add_page(pdf: Pdf, font: Object | None, text: bytes = b"AB", mode: int = 0) -> Object:
    pdf.add_blank_page(page_size=(300, 100))
    page = pdf.pages[-1].obj
    latin = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
    page.Resources = Dictionary(Font=Dictionary(L=latin))
    shown = b"BT /L 9 Tf 10 10 Td (Latin) Tj ET"
    if font is not None:
        page.Resources.Font.F = font
        shown += b" BT %d Tr /F 24 Tf 10 50 Td <%s> Tj ET" % (mode, text.hex().encode())
    page.Contents = pdf.make_stream(shown)
    return page


def convert(pdf: Pdf, folder: Path, to: str = "png", workers: int = 1) -> EngineResult:
    source, out = folder / "source.pdf", folder / "out"
    pdf.save(source)
    out.mkdir()
    options = EngineOptions(
        target=target_from_name(to), options=ConvertOptions(dpi=72), workers=workers, name="doc"
    )
    return PdfToRaster().convert(source, out, options, lambda progress: None)


def test_characters_that_cannot_be_drawn_are_told_with_their_font_and_pages(tmp_path: Path) -> None:
    pdf = Pdf.new()
    font = unknown_letters(pdf)
    for drawn in (font, None, font, font, None, None, font):
        add_page(pdf, drawn)
    result = convert(pdf, tmp_path, "tiff-lzw", workers=2)
    assert not result.failures
    assert result.notes == (
        "characters of Elbonian are missing on pages 1, 3-4, 7: neither in the PDF nor on this machine",
    )


@pytest.mark.parametrize(
    ("name", "collection", "encoding", "text"),
    [
        ("Ryumin-Light", "Japan1", "90ms-RKSJ-H", "日本語".encode("cp932")),
        ("STSong-Light", "GB1", "UniGB-UCS2-H", "中文".encode("utf-16-be")),
        ("HYSMyeongJo-Medium", "Korea1", "UniKS-UCS2-H", "한국어".encode("utf-16-be")),
        ("MSung-Light", "CNS1", "ETen-B5-H", "繁體".encode("big5")),
    ],
)
def test_east_asian_text_is_drawn_or_told(
    tmp_path: Path, name: str, collection: str, encoding: str, text: bytes
) -> None:
    pdf = Pdf.new()
    add_page(pdf, composite_font(pdf, name, collection, encoding), text)
    result = convert(pdf, tmp_path)
    pixels = np.asarray(Image.open(result.outputs[0]).convert("L"))
    # Whether the machine has such a font.
    drawn = bool((pixels[20:60] < 128).any())
    missing = (f"characters of {name} are missing on page 1: neither in the PDF nor on this machine",)
    assert result.notes == (() if drawn else missing)


@pytest.mark.parametrize("claim", [None, Name.WinAnsiEncoding])
def test_fonts_of_pictures_that_letters_stand_in_for_are_told(tmp_path: Path, claim: Object | None) -> None:
    pdf = Pdf.new()
    add_page(pdf, simple_font(pdf, "Wingdings-Regular", 4, claim))
    add_page(pdf, composite_font(pdf, "Elbonian", "Identity", "Identity-H"), bytes.fromhex("00240025"))
    assert convert(pdf, tmp_path).notes == (
        "another font stands in for Elbonian, Wingdings-Regular, and its characters may be others on "
        "pages 1-2: neither in the PDF nor on this machine",
    )


def test_text_of_fields_and_within_forms_counts(tmp_path: Path) -> None:
    pdf = Pdf.new()
    page = add_page(pdf, None)
    look = pdf.make_stream(b"BT /F 20 Tf 5 5 Td (AB) Tj ET")
    look.Type, look.Subtype, look.BBox = Name.XObject, Name.Form, [0, 0, 100, 30]
    look.Resources = Dictionary(Font=Dictionary(F=unknown_letters(pdf, "InField")))
    field = Dictionary(
        Type=Name.Annot, Subtype=Name.Widget, FT=Name.Tx, T="a", Rect=[10, 60, 110, 90], F=4,
        AP=Dictionary(N=look),
    )  # fmt: skip
    page.Annots = Array([pdf.make_indirect(field)])
    pdf.Root.AcroForm = Dictionary(Fields=Array([page.Annots[0]]))
    page = add_page(pdf, None)
    form = pdf.make_stream(b"BT /F 20 Tf 5 5 Td (AB) Tj ET")
    form.Type, form.Subtype, form.BBox = Name.XObject, Name.Form, [0, 0, 100, 30]
    form.Resources = Dictionary(Font=Dictionary(F=unknown_letters(pdf, "InForm")))
    page.Resources.XObject = Dictionary(X=form)
    page.Contents = pdf.make_stream(b"/X Do")
    assert convert(pdf, tmp_path).notes == (
        "characters of InField, InForm are missing on pages 1-2: neither in the PDF nor on this machine",
    )


def test_what_is_drawn_or_not_to_be_seen_is_not_told(tmp_path: Path) -> None:
    pdf = Pdf.new()
    letters = Dictionary(Type=Name.Encoding, Differences=Array([65, Name.Adieresis, Name.Euro]))
    add_page(pdf, simple_font(pdf, "Arial", encoding=letters))
    add_page(pdf, simple_font(pdf, "Foreign", encoding=Name.WinAnsiEncoding), b"Text - \x80_.")
    add_page(pdf, unknown_letters(pdf), mode=3)
    add_page(pdf, unknown_letters(pdf), b"  ")
    outside = add_page(pdf, unknown_letters(pdf))
    outside.CropBox = [0, 0, 300, 40]
    for name in ("Symbol", "ZapfDingbats", "Helvetica", "TimesNewRoman"):
        add_page(pdf, simple_font(pdf, name, 4))
    assert convert(pdf, tmp_path).notes == ()


def test_forms_that_hold_each_other_end(tmp_path: Path) -> None:
    pdf = Pdf.new()
    page = add_page(pdf, unknown_letters(pdf))
    forms = [pdf.make_stream(b"") for _ in range(100)]
    for number, form in enumerate(forms):
        form.Type, form.Subtype, form.BBox = Name.XObject, Name.Form, [0, 0, 10, 10]
        others = {f"/X{i}": forms[(number + i) % 100] for i in range(1, 9)}
        form.Resources = Dictionary(XObject=Dictionary(others))
    page.Resources.XObject = Dictionary(X=forms[0])
    assert len(convert(pdf, tmp_path).notes) == 1


def test_many_fonts_and_places_are_told_in_a_line(tmp_path: Path) -> None:
    pdf = Pdf.new()
    for number in range(12):
        add_page(pdf, unknown_letters(pdf, f"AAAAAA+Elbonian{number:02}"))
        add_page(pdf, None)
    (note,) = convert(pdf, tmp_path).notes
    assert note == (
        "characters of Elbonian00, Elbonian01, Elbonian02 and 9 more are missing on pages 1, 3, 5, 7 "
        "and 8 more places: neither in the PDF nor on this machine"
    )
    with pikepdf.open(tmp_path / "source.pdf") as source:
        assert len(source.pages) == 24
