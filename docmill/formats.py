"""The formats that docmill speaks: MIME types, file name endings, and the wire's enumerations.

`DocumentFormat` and `RasterImageFormat` carry the numbers of the Document Service's wire format; `Target` is
what they, a file name's ending or `--to` come to: an output format and the compression inside it. Which
source converts to which target is the engine registry's table (`docmill.engines.registry`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from docmill.errors import InvalidJobData


class DocumentFormat(IntEnum):
    """Document output formats by their number on the wire."""

    USER = -1
    LTD = 0
    PDF = 1
    DOC = 2
    RTF = 3
    HTML = 4
    TEXT = 5
    EMF = 6
    XPS = 7
    DOCX = 8
    XLS = 9
    PUB = 10
    MOB = 11
    SVG = 12
    ALTO_XML = 13
    XLSX = 14


class RasterImageFormat(IntEnum):
    """Raster output formats by their number on the wire."""

    UNKNOWN = 0
    PCX = 1
    GIF = 2
    TIF = 3
    BMP = 6
    JPEG = 10
    TIF_JPEG = 11
    TIF_LZW = 17
    JPEG_411 = 21
    TIF_JPEG_411 = 22
    JPEG_422 = 23
    TIF_JPEG_422 = 24
    CCITT = 25
    CCITT_GROUP3_1DIM = 27
    CCITT_GROUP3_2DIM = 28
    CCITT_GROUP4 = 29
    PNG = 75
    PSD = 76
    BMP_RLE = 84
    TIF_CMYK = 85
    RAS_PDF = 146
    RAS_PDF_G3_1DIM = 147
    RAS_PDF_G3_2DIM = 148
    RAS_PDF_G4 = 149
    RAS_PDF_JPEG = 150
    RAS_PDF_JPEG_422 = 151
    RAS_PDF_JPEG_411 = 152
    JP2 = 163
    J2K = 164
    RAS_PDF_LZW = 179
    JBIG2 = 183
    TIF_JBIG2 = 187
    RAS_PDF_JBIG2 = 188
    TIF_ZIP = 189
    SVG = 247


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: its name in docmill, MIME type and file name endings (the first is the usual one)."""

    name: str
    title: str
    mime_type: str
    extensions: tuple[str, ...]
    multipage: bool = False

    @property
    def extension(self) -> str:
        return self.extensions[0]


PDF = Format("pdf", "PDF", "application/pdf", ("pdf",), multipage=True)
TIFF = Format("tiff", "TIFF", "image/tiff", ("tif", "tiff"), multipage=True)
JPEG = Format("jpeg", "JPEG", "image/jpeg", ("jpg", "jpeg", "jpe", "jfif"))
PNG = Format("png", "PNG", "image/png", ("png", "apng"))
GIF = Format("gif", "GIF", "image/gif", ("gif",), multipage=True)
BMP = Format("bmp", "BMP", "image/bmp", ("bmp", "dib"))
WEBP = Format("webp", "WebP", "image/webp", ("webp",), multipage=True)
JP2 = Format("jp2", "JPEG 2000", "image/jp2", ("jp2", "jpx", "jpf"))
J2K = Format("j2k", "JPEG 2000 codestream", "image/j2c", ("j2k", "j2c", "jpc"))
AVIF = Format("avif", "AVIF", "image/avif", ("avif",), multipage=True)
HEIC = Format("heic", "HEIC", "image/heic", ("heic", "heif"))
PNM = Format("pnm", "Portable anymap", "image/x-portable-anymap", ("pnm", "pbm", "pgm", "ppm", "pam", "pfm"))
TGA = Format("tga", "Truevision TGA", "image/x-tga", ("tga",))
PCX = Format("pcx", "PCX", "image/x-pcx", ("pcx",))
ICO = Format("ico", "Windows icon", "image/vnd.microsoft.icon", ("ico",))
SGI = Format("sgi", "SGI image", "image/sgi", ("sgi", "rgb", "bw"))
DDS = Format("dds", "DirectDraw Surface", "image/vnd-ms.dds", ("dds",))
PSD = Format("psd", "Photoshop", "image/vnd.adobe.photoshop", ("psd",))
TEXT = Format("text", "plain text", "text/plain", ("txt", "text"), multipage=True)
JSON = Format("json", "words and boxes as JSON", "application/json", ("json",), multipage=True)
ZIP = Format("zip", "ZIP archive", "application/zip", ("zip",), multipage=True)

FORMATS: tuple[Format, ...] = (
    PDF, TIFF, JPEG, PNG, GIF, BMP, WEBP, JP2, J2K, AVIF, HEIC, PNM, TGA, PCX, ICO, SGI, DDS, PSD,
    TEXT, JSON, ZIP,
)  # fmt: skip

BY_NAME = {format.name: format for format in FORMATS}
BY_MIME_TYPE = {format.mime_type: format for format in FORMATS}
BY_EXTENSION = {extension: format for format in FORMATS for extension in format.extensions}


class Compression(StrEnum):
    """How pixels are compressed inside a TIFF or PDF."""

    NONE = "none"
    PACKBITS = "packbits"
    CCITT_RLE = "ccitt"
    CCITT_G3_1D = "g3"
    CCITT_G3_2D = "g3-2d"
    CCITT_G4 = "g4"
    LZW = "lzw"
    DEFLATE = "zip"
    JPEG = "jpeg"


@dataclass(frozen=True, slots=True)
class Target:
    """What a job asks for: the output format and, where set, the compression inside it and bits per pixel.

    Not set means that docmill chooses, losslessly.
    """

    format: Format
    compression: Compression | None = None
    bits_per_pixel: int | None = None

    @property
    def name(self) -> str:
        """The name that `--to` takes, e.g. `pdf` or `tiff-g4`."""
        return f"{self.format.name}-{self.compression}" if self.compression else self.format.name


def target_from_name(name: str) -> Target:
    """The target that `--to` names: a format's name or ending, with the compression after a dash.

    Raises `InvalidJobData` for a name that is no format.
    """
    stem, _, compression = name.lower().lstrip(".").partition("-")
    format = BY_NAME.get(stem) or BY_EXTENSION.get(stem)
    if format is None:
        raise InvalidJobData(f"'{name}' is no format that docmill knows", hint="see `docmill formats`")
    if not compression:
        return Target(format)
    try:
        return Target(format, Compression(compression))
    except ValueError:
        known = ", ".join(Compression)
        raise InvalidJobData(
            f"'{compression}' is no compression that docmill knows", hint=f"one of {known}"
        ) from None
