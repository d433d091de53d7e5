"""One page a file in the formats that Pillow writes: JPEG, WebP, BMP, GIF, PCX and JPEG 2000."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from docmill.engines.output.metadata import exif_block
from docmill.engines.output.page import Color, PageImage, Rows
from docmill.errors import EngineFailed, UnsupportedConversion
from docmill.formats import BMP, GIF, J2K, JP2, JPEG, PCX, WEBP, Format, Subsampling
from docmill.jp2 import with_metadata
from docmill.pictures import load_plugin, pillow_names

# Photographs and scans look the same at it; Pillow's own default, 75, shows halos around text.
DEFAULT_JPEG_QUALITY = 90
# What the fields for width and height of a format hold.
_LARGEST = {JPEG: 65_500, WEBP: 16_383, GIF: 65_535, PCX: 65_535}
# A JPEG's marker segment holds 65,533 bytes, of which XMP's name takes some; what is longer stays out.
LARGEST_SEGMENT = 65_500
# Level 4 of 6 takes WebP three times as long for a hundredth of the size.
_WEBP_METHOD = 1


def write_with_pillow(
    page: PageImage, path: Path, format: Format, *, quality: int | None, subsampling: Subsampling
) -> None:
    """Write a page; JPEG by `quality` (90 where not set), the others without loss unless it is set.

    GIF holds 256 colours: of a page with more the nearest are taken. Raises `UnsupportedConversion` for a
    page that is larger than the format can say.
    """
    largest = _LARGEST.get(format, 1 << 31)
    if max(page.width, page.height) > largest:
        raise UnsupportedConversion(
            f"{format.title} holds at most {largest} pixels each way, and the page has "
            f"{page.width} x {page.height}",
            hint="choose a lower dpi, or TIFF or PNG",
        )
    image = as_image(page)
    if format is JPEG:
        path.write_bytes(jpeg_bytes(image, quality or DEFAULT_JPEG_QUALITY, subsampling, page))
        return
    for name in pillow_names(format.mime_type):
        load_plugin(name)
    _WRITERS[format](page, image, path, quality)


def as_image(page: PageImage) -> Image.Image:
    """The page as one of Pillow's images; raises `EngineFailed` for samples that it has no mode for."""
    mode = _mode(page)
    if page.is_whole:
        return _band_image(page, page.whole(), mode)
    image = Image.new(mode, (page.width, page.height))
    top = 0
    for band in page.bands:
        image.paste(_band_image(page, band, mode), (0, top))
        top += len(band)
    return image


def jpeg_bytes(
    image: Image.Image, quality: int, subsampling: Subsampling, page: PageImage | None = None
) -> bytes:
    """A JPEG stream, with the resolution and metadata of `page`."""
    out = io.BytesIO()
    extra: dict[str, object] = {}
    if page:
        extra = {"icc_profile": page.icc or None, "exif": exif_block(page, most=LARGEST_SEGMENT)}
        if page.dpi:
            extra["dpi"] = page.dpi
        if 0 < len(page.xmp) < LARGEST_SEGMENT:
            extra["xmp"] = page.xmp
    if image.mode != "RGB":
        # Only colour can be coarser than brightness; libtiff refuses other factors in gray and CMYK.
        subsampling = Subsampling.FULL
    image.save(out, "JPEG", quality=quality, subsampling=":".join(subsampling), **extra)
    made = out.getvalue()
    if page and page.pixel_shape and made[6:11] == b"JFIF\0":
        # Pillow has no way to say it: densities of the unit 0.
        made = made[:13] + struct.pack(">BHH", 0, *page.pixel_shape) + made[18:]
    return made


def _mode(page: PageImage) -> str:
    modes = {
        (Color.GRAY, 1, False): "1",
        (Color.GRAY, 8, False): "L",
        (Color.GRAY, 8, True): "LA",
        (Color.RGB, 8, False): "RGB",
        (Color.RGB, 8, True): "RGBA",
        (Color.PALETTE, 8, False): "P",
        (Color.PALETTE, 4, False): "P;4",
        (Color.PALETTE, 2, False): "P;2",
        (Color.PALETTE, 1, False): "P;1",
        (Color.CMYK, 8, False): "CMYK",
    }
    try:
        return modes[page.color, page.bits, page.alpha]
    except KeyError:
        raise EngineFailed(f"Pillow writes no {page.color} of {page.bits} bits") from None


def _band_image(page: PageImage, band: Rows, rawmode: str) -> Image.Image:
    size = (page.width, len(band))
    mode = rawmode.partition(";")[0]
    image = Image.frombuffer(mode, size, np.ascontiguousarray(band), "raw", rawmode, 0, 1)
    if mode == "P":
        image.putpalette(page.palette)
    return image


def _save_webp(page: PageImage, image: Image.Image, path: Path, quality: int | None) -> None:
    if quality is None:
        how: dict[str, object] = {"lossless": True, "quality": 50, "exact": True}
    else:
        how = {"quality": quality}
    if image.mode not in ("RGB", "RGBA"):
        image = image.convert("RGBA" if image.mode == "LA" else "RGB")
    how |= {"exif": exif_block(page, always=True), "icc_profile": page.icc or None, "xmp": page.xmp}
    image.save(path, "WEBP", method=_WEBP_METHOD, **how)


def _save_bmp(page: PageImage, image: Image.Image, path: Path, quality: int | None) -> None:
    image.save(path, "BMP", **({"dpi": page.dpi} if page.dpi else {}))


def _save_gif(page: PageImage, image: Image.Image, path: Path, quality: int | None) -> None:
    image.save(path, "GIF", optimize=False)


def _save_pcx(page: PageImage, image: Image.Image, path: Path, quality: int | None) -> None:
    image.save(path, "PCX")
    if page.dpi and max(page.dpi) < 65_535:
        # Pillow writes 100 dpi whatever the image.
        with path.open("r+b") as file:
            file.seek(12)
            file.write(struct.pack("<HH", round(page.dpi[0]), round(page.dpi[1])))


def _save_jp2(page: PageImage, image: Image.Image, path: Path, quality: int | None) -> None:
    _save_jpeg2000(image, path, quality, bare=False)
    if page.dpi or page.icc:
        path.write_bytes(with_metadata(path.read_bytes(), page.dpi, page.icc))


def _save_j2k(page: PageImage, image: Image.Image, path: Path, quality: int | None) -> None:
    _save_jpeg2000(image, path, quality, bare=True)


def _save_jpeg2000(image: Image.Image, path: Path, quality: int | None, *, bare: bool) -> None:
    how: dict[str, object] = {"irreversible": False}
    if quality is not None:
        # A quality layer is given as its signal-to-noise ratio; 100 is about 50 dB, 75 about 42.
        how = {"irreversible": True, "quality_mode": "dB", "quality_layers": [17 + quality / 3]}
    # Without its boxes it is a codestream, which has no place for a resolution or a profile.
    image.save(path, "JPEG2000", no_jp2=bare, **how)


_WRITERS: dict[Format, Callable[[PageImage, Image.Image, Path, int | None], None]] = {
    WEBP: _save_webp,
    BMP: _save_bmp,
    GIF: _save_gif,
    PCX: _save_pcx,
    JP2: _save_jp2,
    J2K: _save_j2k,
}
