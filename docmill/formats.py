"""The formats that docmill speaks: MIME types, file name endings, and the wire's enumerations.

`DocumentFormat` and `RasterImageFormat` carry the numbers of the Document Service's wire format; `Target` is
what they (by `docmill.wire_formats`), a file name's ending or `--to` come to: an output format and the
compression inside it. Which source converts to which target is the engine registry's table
(`docmill.engines.registry`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from docmill.errors import InvalidJobData, MissingExtra


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

    @property
    def extension(self) -> str:
        """The usual file name ending, without a dot."""
        return self.extensions[0]

    def __reduce__(self) -> tuple[object, ...]:
        # Engines get their target from another process and may still ask `format is PNG`.
        return _format_named, (self.name,)


def _format_named(name: str) -> Format:
    return BY_NAME[name]


PDF = Format("pdf", "PDF", "application/pdf", ("pdf",))
TIFF = Format("tiff", "TIFF", "image/tiff", ("tif", "tiff"))
JPEG = Format("jpeg", "JPEG", "image/jpeg", ("jpg", "jpeg", "jpe", "jfif"))
PNG = Format("png", "PNG", "image/png", ("png", "apng"))
GIF = Format("gif", "GIF", "image/gif", ("gif",))
BMP = Format("bmp", "BMP", "image/bmp", ("bmp", "dib"))
WEBP = Format("webp", "WebP", "image/webp", ("webp",))
JP2 = Format("jp2", "JPEG 2000", "image/jp2", ("jp2", "jpx", "jpf"))
J2K = Format("j2k", "JPEG 2000 codestream", "image/j2c", ("j2k", "j2c", "jpc"))
AVIF = Format("avif", "AVIF", "image/avif", ("avif",))
HEIC = Format("heic", "HEIC", "image/heic", ("heic", "heif"))
PNM = Format("pnm", "Portable anymap", "image/x-portable-anymap", ("pnm", "pbm", "pgm", "ppm", "pam", "pfm"))
TGA = Format("tga", "Truevision TGA", "image/x-tga", ("tga",))
PCX = Format("pcx", "PCX", "image/x-pcx", ("pcx",))
ICO = Format("ico", "Windows icon", "image/vnd.microsoft.icon", ("ico",))
SGI = Format("sgi", "SGI image", "image/sgi", ("sgi", "rgb", "bw"))
DDS = Format("dds", "DirectDraw Surface", "image/vnd-ms.dds", ("dds",))
PSD = Format("psd", "Photoshop", "image/vnd.adobe.photoshop", ("psd",))
MPO = Format("mpo", "Multi-Picture Format", "image/mpo", ("mpo",))
QOI = Format("qoi", "Quite OK Image", "image/qoi", ("qoi",))
SUN = Format("sun", "Sun raster", "image/x-sun-raster", ("ras", "sun", "im8", "im24"))
XBM = Format("xbm", "X bitmap", "image/x-xbitmap", ("xbm",))
XPM = Format("xpm", "X pixmap", "image/x-xpixmap", ("xpm",))
CUR = Format("cur", "Windows cursor", "image/x-win-cursor", ("cur",))
ICNS = Format("icns", "Apple icon", "image/icns", ("icns",))
DCX = Format("dcx", "Multi-page PCX", "image/x-dcx", ("dcx",))
FLI = Format("fli", "FLI/FLC animation", "video/x-flic", ("fli", "flc"))
MSP = Format("msp", "Microsoft Paint", "image/x-msp", ("msp",))
PCD = Format("pcd", "Photo CD", "image/x-photo-cd", ("pcd",))
IM = Format("im", "IFUNC image", "image/x-ifunc-im", ("im",))
IMT = Format("imt", "IM Tools image", "image/x-imt", ("imt",))
IPTC = Format("iptc", "IPTC/NAA image", "image/x-iptc", ("iim", "iptc"))
FITS = Format("fits", "FITS image", "image/fits", ("fits", "fit"))
SPIDER = Format("spider", "SPIDER image", "image/x-spider", ("spider", "spi"))
MCIDAS = Format("mcidas", "McIdas area", "image/x-mcidas", ("area", "mcidas"))
PIXAR = Format("pixar", "PIXAR raster", "image/x-pixar", ("pxr", "pixar"))
GBR = Format("gbr", "GIMP brush", "image/x-gimp-gbr", ("gbr",))
FTEX = Format("ftex", "Independence War texture", "image/x-ftex", ("ftc", "ftu"))
BLP = Format("blp", "Blizzard texture", "image/x-blp", ("blp",))
XVTHUMB = Format("xvthumb", "XV thumbnail", "image/x-xv-thumbnail", ("p7",))
TEXT = Format("text", "plain text", "text/plain", ("txt", "text"))
JSON = Format("json", "words and boxes as JSON", "application/json", ("json",))
ZIP = Format("zip", "ZIP archive", "application/zip", ("zip",))

FORMATS: tuple[Format, ...] = (
    PDF, TIFF, JPEG, PNG, GIF, BMP, WEBP, JP2, J2K, AVIF, HEIC, PNM, TGA, PCX, ICO, SGI, DDS, PSD,
    MPO, QOI, SUN, XBM, XPM, CUR, ICNS, DCX, FLI, MSP, PCD, IM, IMT, IPTC, FITS, SPIDER, MCIDAS, PIXAR, GBR,
    FTEX, BLP, XVTHUMB,
    TEXT, JSON, ZIP,
)  # fmt: skip

RASTER_SOURCES = frozenset(FORMATS) - {PDF, TEXT, JSON, ZIP}
"""The picture formats; docmill reads all of them."""

# What is read by a package beyond docmill's own dependencies: its name, its module, the extra that brings it.
_EXTRAS = {HEIC: ("pi-heif", "pi_heif", "heif")}

BY_NAME = {format.name: format for format in FORMATS}
BY_MIME_TYPE = {format.mime_type: format for format in FORMATS}
BY_EXTENSION = {extension: format for format in FORMATS for extension in format.extensions}


def missing_extra(format: Format) -> MissingExtra | None:
    """The error that the package which reads a format is not installed; None where nothing is missing."""
    from importlib.util import find_spec

    package, module, extra = _EXTRAS.get(format, ("", "", ""))
    if not module or find_spec(module) is not None:
        return None
    return MissingExtra(
        f"reading {format.title} needs {package}, which is not installed",
        hint=MissingExtra.how(extra),
    )


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


class Subsampling(StrEnum):
    """How JPEG stores colour beside brightness: at full, half or quarter resolution."""

    FULL = "444"
    HALF = "422"
    QUARTER = "420"


BITS_PER_PIXEL = (1, 8, 24)
_RASTER = "raster"
BILEVEL = frozenset(
    {Compression.CCITT_RLE, Compression.CCITT_G3_1D, Compression.CCITT_G3_2D, Compression.CCITT_G4}
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a job asks for: the output format and, where set, the compression inside it, bits per pixel
    (1, 8 gray or 24 colour) and JPEG's subsampling; `raster` makes a picture of each page also where the
    format holds text; `archive` puts the files into one ZIP.

    Not set means that docmill chooses, losslessly. Raises `InvalidJobData` for a combination that cannot be.
    """

    format: Format
    compression: Compression | None = None
    bits_per_pixel: int | None = None
    subsampling: Subsampling | None = None
    archive: bool = False
    raster: bool = False

    def __post_init__(self) -> None:
        bits = self.bits_per_pixel
        if bits is not None and bits not in BITS_PER_PIXEL:
            raise InvalidJobData(f"{bits} bits per pixel are not 1, 8 or 24")
        if self.compression in BILEVEL and bits not in (None, 1):
            raise InvalidJobData(f"{self.compression} holds 1 bit per pixel, not {bits}")
        if self.raster and self.format is not PDF:
            raise InvalidJobData(f"only PDF is made raster by that word, not {self.format.title}")
        is_jpeg = self.format is JPEG or self.compression is Compression.JPEG
        if is_jpeg and bits == 1:
            raise InvalidJobData("JPEG holds 8 or 24 bits per pixel, not 1")
        if self.subsampling and not is_jpeg:
            raise InvalidJobData(f"only JPEG has a colour subsampling, not {self.format.title}")

    @property
    def name(self) -> str:
        """The name that `--to` takes and `target_from_name` reads, e.g. `pdf`, `tiff-g4`, `png-8bit+zip`."""
        parts = [self.format.name]
        if self.raster:
            parts.append(_RASTER)
        if self.compression:
            parts.append(str(self.compression))
        if self.subsampling:
            parts.append(str(self.subsampling))
        if self.bits_per_pixel:
            parts.append(f"{self.bits_per_pixel}bit")
        return "-".join(parts) + ("+zip" if self.archive else "")


def target_from_name(name: str) -> Target:
    """The target that `--to` names: a format's name or ending and, each after a dash, the compression, JPEG's
    subsampling and the bits per pixel; `+zip` asks for one ZIP of all files. `tiff-lzw-8bit`, `png+zip`.
    `pdf-raster` and a PDF with a compression (`pdf-g4`) are PDFs of pictures.

    Raises `InvalidJobData` for a name that is no format, and for parts that it cannot have.
    """
    text, plus, archive = name.lower().lstrip(".").partition("+")
    if plus and archive != "zip":
        raise InvalidJobData(f"'+{archive}' is no archive that docmill writes", hint="+zip is one")
    stem, *parts = text.split("-")
    format = BY_NAME.get(stem) or BY_EXTENSION.get(stem)
    if format is None:
        raise InvalidJobData(f"'{name}' is no format that docmill knows", hint="see `docmill formats`")
    raster = bool(parts) and parts[0] == _RASTER
    if raster:
        del parts[0]
    bits = None
    if parts and (match := re.fullmatch(r"(\d{1,3})bit", parts[-1], re.ASCII)):
        bits = int(match[1])
        parts.pop()
    subsampling = Subsampling(parts.pop()) if parts and parts[-1] in set(Subsampling) else None
    compression = "-".join(parts)
    if parts and compression not in set(Compression):
        raise InvalidJobData(
            f"'{compression}' is no compression that docmill knows", hint=f"one of {', '.join(Compression)}"
        )
    return Target(
        format, Compression(compression) if parts else None, bits, subsampling, bool(plus), raster=raster
    )


def target_for(file_name: str, to: str | None = None) -> Target:
    """The target that a file name (or URI) asks for by its ending, and `to` in its stead where given.

    A name that ends in `.zip` with another format in `to` asks for one ZIP of files of that format. Raises
    `InvalidJobData` where neither says which format.
    """
    stem, dot, extension = file_name.rpartition(".")
    extension = extension.lower() if dot and stem and "/" not in extension else ""
    if to:
        target = target_from_name(to)
        if extension == ZIP.extension and target.format is not ZIP:
            return replace(target, archive=True)
        return target
    format = BY_EXTENSION.get(extension)
    if format is None:
        follows = f"the output format does not follow from the target '{file_name}'"
        raise InvalidJobData(
            follows if file_name else "neither a target nor an output format is named",
            hint="give the target a known ending, or name the format (--to pdf)",
        )
    if format is ZIP:
        raise InvalidJobData(
            "a ZIP archive holds files of some format", hint="name it with --to, for example --to png"
        )
    return Target(format)
