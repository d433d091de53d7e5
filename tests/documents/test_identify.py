"""Documents are told by their content, and what is broken or unknown by one clear line."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from docmill.documents.identify import identify
from docmill.errors import (
    CorruptDocument,
    DocmillError,
    LimitExceeded,
    PasswordRequired,
    PasswordWrong,
    UnknownFormat,
)
from docmill.facts import DocumentFacts, PageFacts

MAX_PAGE_PIXELS = 500_000_000


def facts_of(path: Path, name: str = "", password: str | None = None, max_pages: int = 1000) -> DocumentFacts:
    return identify(
        path,
        name=name,
        password=password,
        max_page_pixels=MAX_PAGE_PIXELS,
        max_pages=max_pages,
        default_dpi=300,
    )


def write(folder: Path, content: bytes) -> Path:
    path = folder / "source"
    path.write_bytes(content)
    return path


def encoded(format: str, mode: str = "RGB", size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pdf(pages: int = 2, encryption: object = False) -> bytes:
    import pikepdf

    document = pikepdf.new()
    for _ in range(pages):
        document.add_blank_page(page_size=(200, 100))
    document.docinfo["/Title"] = "Ledger"
    buffer = io.BytesIO()
    document.save(buffer, encryption=encryption)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "mime_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("TIFF", "image/tiff"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("WEBP", "image/webp"),
        ("JPEG2000", "image/jp2"),
        ("AVIF", "image/avif"),
        ("PPM", "image/x-portable-anymap"),
        ("TGA", "image/x-tga"),
        ("PCX", "image/x-pcx"),
        ("SGI", "image/sgi"),
        ("DDS", "image/vnd-ms.dds"),
        ("QOI", "image/qoi"),
        ("IM", "image/x-ifunc-im"),
    ],
)
def test_a_picture_is_told_by_its_content_whatever_its_name(
    tmp_path: Path, format: str, mime_type: str
) -> None:
    facts = facts_of(write(tmp_path, encoded(format)), name="wrong.xls")
    assert facts.mime_type == mime_type
    assert [(page.width_px, page.height_px) for page in facts.pages] == [(40, 30)]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_the_size_in_points_follows_each_axis_resolution(tmp_path: Path, format: str) -> None:
    (page,) = facts_of(write(tmp_path, encoded(format, size=(400, 300), dpi=(200, 100)))).pages
    assert (page.dpi_x, page.dpi_y) == (200, 100)
    assert (page.width_pt, page.height_pt) == (144, 216)


def test_a_picture_without_resolution_takes_the_default(tmp_path: Path) -> None:
    (page,) = facts_of(write(tmp_path, encoded("PNG", size=(300, 600)))).pages
    assert page == PageFacts(300, 600, 72, 144, 0, 0, 24, "Deflate", "RGB")


@pytest.mark.parametrize("orientation", range(9))
def test_sizes_are_those_of_the_upright_page(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded("JPEG", size=(40, 30), exif=exif, dpi=(200, 100))
    (page,) = facts_of(write(tmp_path, content)).pages
    turned = orientation >= 5
    assert (page.width_px, page.height_px) == ((30, 40) if turned else (40, 30))
    assert (page.dpi_x, page.dpi_y) == ((100, 200) if turned else (200, 100))


def test_rubbish_in_one_resolution_of_exif_is_passed_over(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 300, 44, 2
    (page,) = facts_of(write(tmp_path, encoded("JPEG", exif=exif))).pages
    assert (page.dpi_x, page.dpi_y) == (300, 300)


def test_exif_gives_the_resolution_where_jfif_has_none(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 118.11, 59.055, 3
    (page,) = facts_of(write(tmp_path, encoded("JPEG", exif=exif))).pages
    assert (round(page.dpi_x), round(page.dpi_y)) == (300, 150)


def test_gif_frames_are_pages_but_those_of_webp_and_apng_are_not(tmp_path: Path) -> None:
    frames = [Image.new("L", (20, 10), level) for level in (0, 90, 200)]
    for format, count in (("GIF", 3), ("WEBP", 1), ("PNG", 1), ("TIFF", 3), ("MPO", 3)):
        buffer = io.BytesIO()
        frames[0].save(buffer, format, save_all=True, append_images=frames[1:])
        assert facts_of(write(tmp_path, buffer.getvalue())).page_count == count, format


def test_a_pdf_tells_its_pages_and_title(tmp_path: Path) -> None:
    facts = facts_of(write(tmp_path, pdf()))
    assert (facts.mime_type, facts.title, facts.encrypted) == ("application/pdf", "Ledger", False)
    assert [(page.width_pt, page.height_pt) for page in facts.pages] == [(200, 100)] * 2
    assert facts_of(write(tmp_path, b"%PDF\n%%%" + pdf()[8:])).page_count == 2


def test_an_encrypted_pdf_asks_for_its_password(tmp_path: Path) -> None:
    import pikepdf

    path = write(tmp_path, pdf(encryption=pikepdf.Encryption(owner="o", user="u")))
    with pytest.raises(PasswordRequired):
        facts_of(path)
    with pytest.raises(PasswordWrong):
        facts_of(path, password="guess")
    assert facts_of(path, password="u").encrypted


def test_more_pages_than_allowed(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded, match="DOCMILL_MAX_PAGES"):
        facts_of(write(tmp_path, pdf(pages=4)), max_pages=3)


BOMB_PNG = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">II5B", 60000, 60000, 1, 0, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0"))
    + chunk(b"IEND", b"")
)


@pytest.mark.parametrize(
    "content",
    [
        BOMB_PNG,
        encoded("JPEG").replace(struct.pack(">HH", 30, 40), struct.pack(">HH", 65000, 65000), 1),
        encoded("BMP").replace(struct.pack("<II", 40, 30), struct.pack("<II", 1 << 20, 1 << 20), 1),
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + encoded("GIF")[13:],
    ],
    ids=["png", "jpeg", "bmp", "gif"],
)
def test_a_decompression_bomb_is_told_before_it_goes_off(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(LimitExceeded, match="DOCMILL_MAX_PAGE_PIXELS"):
        facts_of(write(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", CorruptDocument, "empty"),
        (b"Dear all,\nthe minutes follow.\n", UnknownFormat, "is text.*named scan.tif"),
        (b"<html><body>404</body></html>", UnknownFormat, "HTML"),
        (b"PK\x03\x04" + bytes(60), UnknownFormat, "ZIP archive"),
        (b"%!PS-Adobe-3.0\n", UnknownFormat, "PostScript"),
        (bytes(4096), UnknownFormat, "zeros"),
        (bytes(range(250, 0, -1)) * 9, UnknownFormat, "no format that docmill knows"),
        (b"%PDF-1.7\nnothing", CorruptDocument, "PDF"),
        (b"\xff\xd8\xff\xe0", CorruptDocument, "JPEG"),
        (encoded("JPEG")[:150], CorruptDocument, "JPEG"),
        (encoded("PNG")[:30], CorruptDocument, "PNG"),
        (encoded("GIF")[:9], CorruptDocument, "GIF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", CorruptDocument, "picture cannot be decoded"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, content: bytes, error: type[DocmillError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        facts_of(write(tmp_path, content), name="scan.tif")
    assert "\n" not in str(caught.value)


SEEDS = [
    encoded("JPEG", dpi=(300, 300)),
    encoded("PNG", "P", dpi=(300, 300)),
    encoded("TIFF", "1", compression="group4"),
    encoded("GIF", "P"),
    encoded("BMP"),
    encoded("WEBP"),
    encoded("JPEG2000", size=(64, 64)),
    pdf(),
]


@settings(max_examples=150)
@given(data=st.data())
def test_damage_never_raises_but_by_name(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        facts = facts_of(write(tmp_path_factory.getbasetemp(), bytes(content)))
    except DocmillError as error:
        assert error.message
    else:
        assert facts.page_count >= 1


@settings(max_examples=150)
@given(
    magic=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"8BPS"]),
    rest=st.binary(max_size=400),
)
def test_noise_never_raises_but_by_name(
    tmp_path_factory: pytest.TempPathFactory, magic: bytes, rest: bytes
) -> None:
    try:
        facts_of(write(tmp_path_factory.getbasetemp(), magic + rest))
    except DocmillError as error:
        assert error.message
