"""What a file is, by its content: MIME type, pages, sizes, resolution, encoding.

It reads unknown files, so docmill runs it in a sandbox process. The file's name is a hint in messages only.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docmill.bmp import is_bmp, read_bmp_header
from docmill.errors import CorruptDocument, DocmillError, UnknownFormat
from docmill.facts import DocumentFacts, PageFacts, upright_size
from docmill.formats import BMP, BY_EXTENSION, HEIC, JPEG, MPO, PNG, TIFF, Format, missing_extra
from docmill.jpeg import JpegHeader, is_jpeg, read_jpeg_header
from docmill.page_limits import check_page_count, check_pixels
from docmill.pictures import (
    COLORS,
    bits_per_pixel,
    frame_count,
    open_picture,
    picture_exif,
    picture_format,
    resolution,
)
from docmill.png import is_png, read_png_header
from docmill.tiff import page_facts

if TYPE_CHECKING:
    from PIL import Image

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# What people do hand in, told by name although docmill does not read it.
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Microsoft Office document of before 2007"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ\0", "compressed by xz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"AT&T", "DjVu"),
    (b"{\\rtf", "rich text"),
    (b"\x7fELF", "a program"),
    (b"\x97JB2", "a JBIG2 file"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (b"\x01\0\0\0", "perhaps a Windows enhanced metafile"),
    (b"GRIB", "GRIB weather data"),
    (b"BUFR", "BUFR weather data"),
    (b"\x89HDF", "an HDF5 file"),
    (b"OggS", "an Ogg media file"),
    (b"ID3", "MP3 sound"),
)  # fmt: skip
_HEAD = 1024
# What begins so is of a format that one reader of Pillow's reads, and no other.
_LIKELY: tuple[tuple[bytes, int, tuple[str, ...]], ...] = (
    (b"GIF8", 0, ("GIF",)),
    (b"WEBP", 8, ("WEBP",)),
    (b"\xff\x4f\xff\x51", 0, ("JPEG2000",)),
    (b"\0\0\0\x0cjP  \r\n\x87\n", 0, ("JPEG2000",)),
    (b"ftypavif", 4, ("AVIF",)),
)


def identify(
    path: Path,
    *,
    name: str = "",
    password: str | None = None,
    max_page_pixels: int,
    max_pages: int,
    default_dpi: float,
) -> DocumentFacts:
    """Read a document's type and pages from its content.

    Headers only: pixels are not decoded. `password` opens an encrypted PDF. Sizes in points follow the file's
    resolution, or `default_dpi` where it names none.

    Raises `UnknownFormat`, `CorruptDocument`, `LimitExceeded`, `PasswordRequired` or `PasswordWrong`.
    """
    limits = _Limits(max_page_pixels, max_pages, default_dpi)
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if not head:
            raise CorruptDocument("the file is empty")
        reader = _own_reader(head)
        if reader is not None:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return reader(data, limits)
    if head[:4] in _TIFF_MAGIC:
        return _tiff(path, limits)
    # Fuzzed and hand-made files lack the hyphen and the version; pdfium opens them.
    if b"%PDF-" in head or head.startswith(b"%PDF"):
        return _pdf(path, password, max_pages)
    return _picture(path, head, name, limits)


@dataclass(frozen=True, slots=True)
class _Limits:
    max_page_pixels: int
    max_pages: int
    default_dpi: float


def _own_reader(head: bytes) -> Callable[[mmap.mmap, _Limits], DocumentFacts] | None:
    if is_jpeg(head):
        return _jpeg
    if is_png(head):
        return _png
    if is_bmp(head):
        return _bmp
    return None


def _jpeg(data: mmap.mmap, limits: _Limits) -> DocumentFacts:
    header = read_jpeg_header(data)
    offsets = header.pictures or (0,)
    check_page_count(len(offsets), limits.max_pages)
    pages = []
    for number, offset in enumerate(offsets, 1):
        if offset:
            header = _further_picture(data, offset, number)
        pages.append(
            _page(
                limits,
                number,
                (header.width, header.height),
                (header.dpi_x, header.dpi_y),
                orientation=header.orientation,
                aspect=header.aspect,
                bits=header.bits * len(header.components),
                encoding=header.encoding,
                color=header.color,
            )
        )
    return DocumentFacts((MPO if len(offsets) > 1 else JPEG).mime_type, tuple(pages))


def _bmp(data: mmap.mmap, limits: _Limits) -> DocumentFacts:
    header = read_bmp_header(data)
    page = _page(
        limits,
        1,
        (header.width, header.height),
        (header.dpi_x, header.dpi_y),
        bits=header.bits,
        encoding=header.coding.value,
        color="palette" if header.bits <= 8 else "RGB and alpha" if header.masks[3] else "RGB",
    )
    return DocumentFacts(BMP.mime_type, (page,))


def _further_picture(data: mmap.mmap, offset: int, number: int) -> JpegHeader:
    try:
        return read_jpeg_header(data, offset)
    except CorruptDocument as error:
        raise CorruptDocument(f"picture {number}: {error.message}", hint=error.hint, page=number) from None


def _png(data: mmap.mmap, limits: _Limits) -> DocumentFacts:
    header = read_png_header(data)
    page = _page(
        limits,
        1,
        (header.width, header.height),
        (header.dpi_x, header.dpi_y),
        orientation=header.orientation,
        aspect=header.aspect,
        bits=header.bits * header.channels,
        encoding="Deflate (interlaced)" if header.interlaced else "Deflate",
        color=header.color,
    )
    problems = () if header.ends else ("the PNG ends early",)
    return DocumentFacts(PNG.mime_type, (page,), problems=problems)


def _tiff(path: Path, limits: _Limits) -> DocumentFacts:
    pages, problems = page_facts(path, limits.default_dpi, limits.max_pages)
    for number, page in enumerate(pages, 1):
        check_pixels(page.width_px, page.height_px, limits.max_page_pixels, page=number)
    return DocumentFacts(TIFF.mime_type, pages, problems=problems)


def _pdf(path: Path, password: str | None, max_pages: int) -> DocumentFacts:
    from docmill.documents.identify_pdf import identify_pdf

    return identify_pdf(path, password=password, max_pages=max_pages)


def _picture(path: Path, head: bytes, name: str, limits: _Limits) -> DocumentFacts:
    try:
        with _opened(path, head) as image:
            format = picture_format(image)
            count, exif = frame_count(image), picture_exif(image)
            check_page_count(count, limits.max_pages)
            page = _page(
                limits,
                1,
                image.size,
                resolution(image),
                orientation=exif.orientation,
                aspect=exif.aspect,
                bits=bits_per_pixel(image),
                encoding=format.title,
                color=COLORS.get(image.mode, image.mode),
            )
            return DocumentFacts(format.mime_type, (page,) * count)
    except UnknownFormat:
        raise _unknown(head, name) from None


@contextmanager
def _opened(path: Path, head: bytes) -> Iterator[Image.Image]:
    """The picture, by the one reader of Pillow's that its first bytes are of where they tell, else by all."""
    likely = next((names for magic, at, names in _LIKELY if head.startswith(magic, at)), ())
    with open_picture(path, formats=likely) as image:
        yield image


def _page(
    limits: _Limits,
    number: int,
    size: tuple[int, int],
    dpi: tuple[float, float],
    *,
    orientation: int = 1,
    aspect: float = 1.0,
    bits: int,
    encoding: str,
    color: str,
) -> PageFacts:
    check_pixels(*size, limits.max_page_pixels, page=number)
    width_pt, height_pt = upright_size(size, dpi, orientation, limits.default_dpi, aspect)
    (width, height), (dpi_x, dpi_y) = size, dpi
    if orientation >= 5:  # a quarter turn
        width, height, dpi_x, dpi_y = height, width, dpi_y, dpi_x
    return PageFacts(
        width_px=width,
        height_px=height,
        width_pt=width_pt,
        height_pt=height_pt,
        dpi_x=dpi_x,
        dpi_y=dpi_y,
        bits_per_pixel=bits,
        encoding=encoding,
        color=color,
    )


def _unknown(head: bytes, name: str) -> DocmillError:
    ending = BY_EXTENSION.get(Path(name).suffix.lower().lstrip("."))
    claim = f", although it is named {name}" if ending else ""
    hint = "see `docmill formats` for what docmill reads"
    for magic, format in _broken_magics():
        if head.startswith(magic):
            return _broken(format)
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheim", b"ftypheis", b"ftyphevc"):
        return missing_extra(HEIC) or _broken(HEIC)
    for magic, what in _OTHERS:
        if head.startswith(magic):
            return UnknownFormat(f"the content is {what}{claim}", hint=hint)
    if not head.strip(b"\0"):
        return UnknownFormat(f"the file begins with zeros only{claim}", hint="it seems to be damaged")
    if _is_text(head):
        what = "HTML or XML" if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else "text"
        return UnknownFormat(f"the content is {what}, no picture and no PDF{claim}", hint=hint)
    return UnknownFormat(f"the content is of no format that docmill knows{claim}", hint=hint)


def _broken(format: Format) -> CorruptDocument:
    return CorruptDocument(
        f"the file begins as {format.title} but cannot be read", hint="the file seems to be damaged"
    )


def _broken_magics() -> tuple[tuple[bytes, Format], ...]:
    from docmill.formats import BMP, DDS, GIF, ICNS, J2K, JP2, PSD, QOI, SUN, WEBP

    return (
        (b"GIF8", GIF), (b"BM", BMP), (b"RIFF", WEBP), (b"8BPS", PSD), (b"DDS ", DDS), (b"icns", ICNS),
        (b"qoif", QOI), (b"\x59\xa6\x6a\x95", SUN), (b"\xff\x4f\xff\x51", J2K),
        (b"\0\0\0\x0cjP  \r\n\x87\n", JP2),
    )  # fmt: skip


def _is_text(head: bytes) -> bool:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True
    control = sum(1 for byte in head if byte < 32 and byte not in b"\t\n\r\f\x1b")
    return control == 0
