"""Pictures opened by Pillow: which of its formats docmill reads, safely, and what their metadata says.

Pillow is imported inside the functions: it costs as much as the rest of a start.
"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from docmill.errors import CorruptDocument, DocmillError, LimitExceeded, UnknownFormat
from docmill.exif import Exif, read_exif, xmp_orientation
from docmill.formats import (
    AVIF,
    BLP,
    BMP,
    CUR,
    DCX,
    DDS,
    FITS,
    FLI,
    FTEX,
    GBR,
    GIF,
    HEIC,
    ICNS,
    ICO,
    IM,
    IMT,
    IPTC,
    J2K,
    JP2,
    JPEG,
    MCIDAS,
    MPO,
    MSP,
    PCD,
    PCX,
    PIXAR,
    PNG,
    PNM,
    PSD,
    QOI,
    SGI,
    SPIDER,
    SUN,
    TGA,
    TIFF,
    WEBP,
    XBM,
    XPM,
    XVTHUMB,
    Format,
)  # fmt: skip

if TYPE_CHECKING:
    from PIL import Image

# Pillow's names. Left out: EPS, WMF, BUFR, GRIB, HDF5 and MPEG, which it only recognises.
FORMATS_BY_PILLOW: dict[str, Format] = {
    "AVIF": AVIF, "BLP": BLP, "BMP": BMP, "CUR": CUR, "DCX": DCX, "DDS": DDS, "DIB": BMP, "FITS": FITS,
    "FLI": FLI, "FTEX": FTEX, "GBR": GBR, "GIF": GIF, "HEIF": HEIC, "ICNS": ICNS, "ICO": ICO, "IM": IM,
    "IMT": IMT, "IPTC": IPTC, "JPEG": JPEG, "JPEG2000": JP2, "MCIDAS": MCIDAS, "MPO": MPO, "MSP": MSP,
    "PCD": PCD, "PCX": PCX, "PIXAR": PIXAR, "PNG": PNG, "PPM": PNM, "PSD": PSD, "QOI": QOI, "SGI": SGI,
    "SPIDER": SPIDER, "SUN": SUN, "TGA": TGA, "TIFF": TIFF, "WEBP": WEBP, "XBM": XBM, "XPM": XPM,
    "XVThumb": XVTHUMB,
}  # fmt: skip
# Formats whose frames are pages. In the others further frames are steps of an animation (WebP, AVIF, PNG),
# layers (PSD) or the same icon in other sizes.
PAGED = frozenset({GIF, TIFF, DCX, FLI})
COLORS = {
    "1": "bilevel", "L": "gray", "I": "gray", "I;16": "gray", "I;16B": "gray", "I;16L": "gray", "F": "gray",
    "LA": "gray and alpha", "La": "gray and alpha", "P": "palette", "PA": "palette and alpha", "RGB": "RGB",
    "RGBX": "RGB", "RGBA": "RGB and alpha", "RGBa": "RGB and alpha", "CMYK": "CMYK", "YCbCr": "YCbCr",
    "LAB": "Lab", "HSV": "HSV",
}  # fmt: skip
_BITS = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16}
# Resolutions outside of this come from fields that were never meant: 1 dpi, or 2^32 pixels a metre.
_PLAUSIBLE_DPI = (1.0, 100_000.0)


# The modules that read and write the commonest, by Pillow's names: all of Pillow's take 40 ms to import, and
# every worker would.
_PLUGINS = {
    "AVIF": "AvifImagePlugin", "BMP": "BmpImagePlugin", "DIB": "BmpImagePlugin", "GIF": "GifImagePlugin",
    "JPEG": "JpegImagePlugin", "JPEG2000": "Jpeg2KImagePlugin", "PCX": "PcxImagePlugin",
    "PNG": "PngImagePlugin", "PPM": "PpmImagePlugin", "TIFF": "TiffImagePlugin", "WEBP": "WebPImagePlugin",
}  # fmt: skip


@contextmanager
def open_picture(path: Path | BytesIO, *, formats: tuple[str, ...] = ()) -> Iterator[Image.Image]:
    """Open a picture by its content; only the header is read, the pixels when they are asked for.

    `formats` restricts the formats tried, by Pillow's names. Raises `UnknownFormat` where none fits, and
    turns what Pillow raises, here and in the body of the `with`, into `CorruptDocument` or `LimitExceeded`.
    """
    from PIL import Image

    with decoding(), Image.open(path, formats=_loaded(formats) or _known_formats()) as image:
        yield image


def pillow_names(mime_type: str) -> tuple[str, ...]:
    """Pillow's names for the format of a MIME type; none for what no reader of Pillow's stands for."""
    if mime_type == MPO.mime_type:
        return ("JPEG",)  # whose reader looks into it
    if mime_type == J2K.mime_type:
        return ("JPEG2000",)
    return tuple(name.upper() for name, format in FORMATS_BY_PILLOW.items() if format.mime_type == mime_type)


def load_plugin(name: str) -> None:
    """Have Pillow know a format by its own name, and if possible no other."""
    from PIL import Image

    if plugin := _PLUGINS.get(name):
        with suppress(ImportError):  # a build of Pillow without it
            import_module(f"PIL.{plugin}")
            return
    Image.init()
    if name == "HEIF":
        _register_heif()


@contextmanager
def decoding(*, truncated: bool = False) -> Iterator[None]:
    """Let Pillow open and decode in the body, by docmill's rules; its errors become docmill's.

    With `truncated`, pixels that the data ends before are left as the decoder leaves them, gray or black.
    """
    from PIL import Image, ImageFile, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # docmill checks against its own setting, before pixels are decoded
    ImageFile.LOAD_TRUNCATED_IMAGES = truncated
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata: nothing that a user could act on
            yield
    except DocmillError:
        raise
    except UnidentifiedImageError:
        raise UnknownFormat("the content is of no format that docmill knows") from None
    except MemoryError:
        raise LimitExceeded(
            "the picture takes more memory than an engine may use",
            limit="memory",
            setting="DOCMILL_ENGINE_MEMORY",
        ) from None
    except Exception as error:
        # Pillow's decoders raise what their parsing ran into: OSError, SyntaxError, struct.error, KeyError.
        raise CorruptDocument(
            f"the picture cannot be decoded: {_reason(error)}", hint="the file seems to be damaged"
        ) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def picture_format(image: Image.Image) -> Format:
    """The format of an open picture; JPEG 2000 is told apart as file or bare codestream."""
    if image.format == "JPEG2000" and getattr(image, "codec", "jp2") == "j2k":
        return J2K
    return FORMATS_BY_PILLOW[image.format or ""]


def frame_count(image: Image.Image, *, every_frame: bool = False) -> int:
    """How many pages a picture makes: all frames where they are pages or `every_frame` is asked for."""
    if not every_frame and picture_format(image) not in PAGED:
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except (IndexError, struct.error):
        # A GIF that is cut within the head of a frame: that one counts, and fails as a page of its own.
        return image.tell() + 2


def resolution(image: Image.Image) -> tuple[float, float]:
    """Pixels per inch on each axis; 0 where the file names none, or nothing plausible."""
    exif = picture_exif(image)
    try:
        x, y = (float(value) for value in image.info.get("dpi") or (exif.dpi_x, exif.dpi_y))
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0, 0.0
    low, high = _PLAUSIBLE_DPI
    if not (math.isfinite(x) and math.isfinite(y) and low < x < high and low < y < high):
        return 0.0, 0.0
    return x, y


def picture_exif(image: Image.Image) -> Exif:
    """The Exif metadata of formats that carry a block of it, such as WebP and AVIF, or XMP's orientation."""
    block, xmp = image.info.get("exif"), image.info.get("xmp")
    exif = read_exif(block) if isinstance(block, bytes) else Exif()
    if exif.orientation == 1 and isinstance(xmp, bytes):
        return replace(exif, orientation=xmp_orientation(xmp))
    return exif


def bits_per_pixel(image: Image.Image) -> int:
    """The bits of a pixel as Pillow decodes it."""
    return _BITS.get(image.mode, 8 * len(image.getbands()))


def _loaded(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the formats that this installation of Pillow has."""
    from PIL import Image

    for name in names:
        if name not in Image.OPEN:
            load_plugin(name)
    return tuple(name for name in names if name in Image.OPEN)


def _register_heif() -> None:
    if find_spec("pi_heif") is not None:
        import pi_heif

        pi_heif.register_heif_opener()


def _known_formats() -> tuple[str, ...]:
    """Those of Pillow's formats that docmill reads and this installation of Pillow has."""
    from PIL import Image

    Image.init()
    _register_heif()
    names = {name.upper() for name in FORMATS_BY_PILLOW}
    return tuple(name for name in Image.OPEN if name in names)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
