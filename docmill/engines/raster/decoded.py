"""Decoded pixels to PDF images without loss, each kind in the encoding that holds it best."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from docmill.engines.base import EngineOptions
from docmill.engines.raster.bilevel import bilevel_image
from docmill.engines.raster.flate import deflate_bytes, deflate_pixels
from docmill.errors import CorruptDocument, UnsupportedConversion
from docmill.options import Alpha
from docmill.pdf import PdfImage, PdfPage

if TYPE_CHECKING:
    from PIL import Image

DEVICE_SPACES = {1: b"/DeviceGray", 3: b"/DeviceRGB", 4: b"/DeviceCMYK"}
# The colour space that an ICC profile is for, at offset 16 of its header (ICC.1, 7.2.6), by components.
_ICC_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}
# CIE L*a*b* by D50, as TIFF and Photoshop store it (ISO 32000-1, 8.6.5.4).
LAB = b"[/Lab<</WhitePoint[0.9642 1 0.8249]/Range[-128 127 -128 127]>>]"
# What full white is where a picture's samples are numbers without a stated range: the first that covers them.
_WHITE_LEVELS = (1.0, 255.0, 65535.0)


def decoded_page(
    image: Image.Image,
    *,
    width_pt: float,
    height_pt: float,
    orientation: int = 1,
    how: str,
    options: EngineOptions,
    icc_profile: bytes | None = None,
) -> PdfPage:
    """A page of decoded pixels.

    `how` says where they came from; the encoding chosen is added to it, e.g. `LZW re-encoded as Flate`.
    `icc_profile` defaults to the image's own. Raises `UnsupportedConversion` for a mode that has no
    counterpart in PDF.
    """
    pdf_image, encoding = decoded_image(image, options, icc_profile=icc_profile)
    return PdfPage(pdf_image, width_pt, height_pt, orientation, f"{how} as {encoding}")


def decoded_image(
    image: Image.Image, options: EngineOptions, *, icc_profile: bytes | None = None
) -> tuple[PdfImage, str]:
    """The image XObject of decoded pixels and the name of its encoding; see `decoded_page`."""
    image.load()
    profile = icc_profile or image.info.get("icc_profile")
    opaque, alpha = _split_alpha(image)
    if alpha is not None and options.options.alpha is Alpha.WHITE:
        opaque, alpha = _on_white(opaque, alpha), None
    encoded = _encode(opaque, options.options.quality)
    pdf_image = encoded.image
    if profile and icc_fits(profile, pdf_image.components) and not pdf_image.color_space.startswith(b"[/Lab"):
        pdf_image = replace(pdf_image, icc_profile=profile)
    if alpha is not None:
        pdf_image = replace(pdf_image, soft_mask=soft_mask(alpha))
    return pdf_image, encoded.name


def soft_mask(alpha: Image.Image) -> PdfImage:
    """The SMask of an alpha band (`L`): 0 is transparent (ISO 32000-1, 11.6.5.3)."""
    flate = deflate_pixels(alpha)
    return PdfImage(
        alpha.width,
        alpha.height,
        8,
        b"/DeviceGray",
        flate.data,
        filter=b"/FlateDecode",
        decode_parms=flate.decode_parms,
    )


def icc_fits(profile: bytes, components: int) -> bool:
    """Whether an ICC profile is one for so many components; the wrong one would break the page."""
    return len(profile) >= 128 and profile[36:40] == b"acsp" and profile[16:20] == _ICC_SPACES.get(components)


@dataclass(frozen=True, slots=True)
class _Encoded:
    image: PdfImage
    name: str


def _encode(image: Image.Image, quality: int | None) -> _Encoded:
    if image.mode == "1":
        return _Encoded(*bilevel_image(image))
    if image.mode == "P" and quality is None:
        return _palette(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _sixteen_bit(image)
        if quality is None:
            return _big_endian(image)
        image = _eight_bit(image)
    if image.mode in ("P", "YCbCr", "HSV", "RGBX"):
        image = image.convert("RGB")
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        raise UnsupportedConversion(f"pictures of Pillow's mode {image.mode} have no counterpart in PDF")
    if quality is not None and image.mode != "LAB":
        return _jpeg(image, quality)
    return _flate(image)


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The opaque part and the alpha band, None where every pixel is opaque."""
    if image.mode in ("RGBa", "La"):
        image = image.convert(image.mode.upper())
    elif image.mode == "PA" or (image.mode == "P" and _has_transparency(image)):
        image = image.convert("RGBA")
    elif "transparency" in image.info and image.mode in ("L", "RGB", "1"):
        image = image.convert("RGBA" if image.mode == "RGB" else "LA")
    if image.mode not in ("RGBA", "LA"):
        return image, None
    alpha = image.getchannel("A")
    opaque = image.getchannel("L") if image.mode == "LA" else image.convert("RGB")
    return opaque, None if alpha.getextrema() == (255, 255) else alpha


def _has_transparency(image: Image.Image) -> bool:
    return bool(image.has_transparency_data)


def _on_white(image: Image.Image, alpha: Image.Image) -> Image.Image:
    from PIL import Image

    white = Image.new(image.mode, image.size, "white")
    white.paste(image, mask=alpha)
    return white


def _flate(image: Image.Image) -> _Encoded:
    from PIL import Image

    channels = len(image.getbands())
    space = DEVICE_SPACES[channels]
    if image.mode == "LAB":
        # Pillow hands LAB out with signed a and b, as TIFF has it; by its bands they are unsigned, as in PDF.
        image, space = Image.merge("RGB", image.split()), LAB
    flate = deflate_pixels(image)
    pdf_image = PdfImage(
        image.width,
        image.height,
        8,
        space,
        flate.data,
        filter=b"/FlateDecode",
        decode_parms=flate.decode_parms,
        components=channels,
    )
    return _Encoded(pdf_image, "Flate")


def _palette(image: Image.Image) -> _Encoded:
    """Palette indexes in as few bits as they need (ISO 32000-1, 8.6.6.3)."""
    _, highest = image.getextrema()
    last = int(highest) if isinstance(highest, (int, float)) else 255
    colors = bytes(image.getpalette("RGB") or b"").ljust(3 * (last + 1), b"\0")[: 3 * (last + 1)]
    bits = 1 if last < 2 else 2 if last < 4 else 4 if last < 16 else 8
    raw = image.tobytes("raw", "P" if bits == 8 else f"P;{bits}")
    pdf_image = PdfImage(
        image.width,
        image.height,
        bits,
        b"[/Indexed/DeviceRGB %d<%b>]" % (last, colors.hex().encode()),
        deflate_bytes(raw),
        filter=b"/FlateDecode",
        components=3,
    )
    return _Encoded(pdf_image, "Flate")


def _sixteen_bit(image: Image.Image) -> Image.Image:
    """32 bit and float samples as 16 bit, in the mode `I;16` or `I`.

    Such files seldom name their white level. It is taken to be that of the narrowest usual range that covers
    the samples: 1, 255 or 65535; others are stretched from their least to their greatest sample.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG")):
        return image
    low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise CorruptDocument("the picture has samples that are no finite numbers")
    white = next((level for level in _WHITE_LEVELS if low >= 0 and high <= level), None)
    if image.mode == "I" and white == 1.0:
        white = 255.0
    scale = 65535 / white if white else 65535 / (high - low) if high > low else 0.0
    if scale == 1.0:
        return image.convert("I")
    offset = 0.0 if white else -low * scale
    # The half rounds: converting to integers cuts off.
    return image.convert("F").point(lambda sample: sample * scale + (offset + 0.5)).convert("I")


def _big_endian(image: Image.Image) -> _Encoded:
    if image.mode == "I;16L":
        image = image.convert("I")
    raw = image.tobytes("raw", "I;16B")
    pdf_image = PdfImage(
        image.width, image.height, 16, b"/DeviceGray", deflate_bytes(raw), filter=b"/FlateDecode"
    )
    return _Encoded(pdf_image, "Flate")


def _eight_bit(image: Image.Image) -> Image.Image:
    return image.convert("I").convert("F").point(lambda sample: sample * (255 / 65535) + 0.5).convert("L")


def _jpeg(image: Image.Image, quality: int) -> _Encoded:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    channels = len(image.getbands())
    pdf_image = PdfImage(
        image.width,
        image.height,
        8,
        DEVICE_SPACES[channels],
        (buffer.getvalue(),),
        filter=b"/DCTDecode",
        # Adobe's convention for CMYK, which Pillow writes: 255 is no ink.
        decode=b"[1 0 1 0 1 0 1 0]" if channels == 4 else b"",
        components=channels,
    )
    return _Encoded(pdf_image, f"JPEG at quality {quality}")
