"""Decoded pixels to PDF images without loss, each kind in the encoding that holds it best."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from docmill.engines.base import EngineOptions
from docmill.engines.raster.bilevel import bilevel_image
from docmill.engines.raster.flate import deflate_bytes, deflate_pixels
from docmill.errors import UnsupportedConversion
from docmill.options import Alpha
from docmill.pdf import PdfImage, PdfPage

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from docmill.engines.raster.wide import Wide

DEVICE_SPACES = {1: b"/DeviceGray", 3: b"/DeviceRGB", 4: b"/DeviceCMYK"}
# The colour space that an ICC profile is for, at offset 16 of its header (ICC.1, 7.2.6), by components.
_ICC_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}
_COLORANTS = frozenset({b"rXYZ", b"gXYZ", b"bXYZ"})
_LOOK_UP_TABLES = (b"A2B0", b"A2B1", b"A2B2")
_WIDE_SPACES = {"L": b"/DeviceGray", "RGB": b"/DeviceRGB", "CMYK": b"/DeviceCMYK"}


def decoded_page(
    image: Image.Image | Wide,
    *,
    width_pt: float,
    height_pt: float,
    orientation: int = 1,
    how: str,
    options: EngineOptions,
    icc_profile: bytes | None = None,
    notes: tuple[str, ...] = (),
) -> PdfPage:
    """A page of decoded pixels.

    `how` says where they came from; the encoding chosen is added to it, e.g. `LZW re-encoded as Flate`.
    `icc_profile` defaults to the image's own. Raises `UnsupportedConversion` for a mode that has no
    counterpart in PDF.
    """
    pdf_image, encoding = decoded_image(image, options, icc_profile=icc_profile)
    return PdfPage(pdf_image, width_pt, height_pt, orientation, f"{how} as {encoding}", notes=notes)


def decoded_image(
    image: Image.Image | Wide, options: EngineOptions, *, icc_profile: bytes | None = None
) -> tuple[PdfImage, str]:
    """The image XObject of decoded pixels and the name of its encoding; see `decoded_page`."""
    from PIL import Image

    if not isinstance(image, Image.Image):
        return _wide_image(image, options, icc_profile)
    image.load()
    profile = icc_profile or image.info.get("icc_profile")
    opaque, alpha = _split_alpha(image)
    if alpha is not None and options.options.alpha is Alpha.WHITE:
        opaque, alpha = _on_white(opaque, alpha), None
    encoded = _encode(opaque, options.options.quality)
    pdf_image = _with_profile(encoded.image, profile)
    if alpha is not None:
        pdf_image = replace(pdf_image, soft_mask=soft_mask(alpha))
    return pdf_image, encoded.name


def _wide_image(wide: Wide, options: EngineOptions, profile: bytes | None) -> tuple[PdfImage, str]:
    job = options.options
    if wide.alpha is not None and job.alpha is Alpha.WHITE:
        wide = wide.on_white()
    if job.quality is not None or wide.space == "LAB":
        return decoded_image(wide.eight_bit(), options, icc_profile=profile)
    pdf_image = _with_profile(_big_endian(wide.colors, wide.space), profile)
    if wide.alpha is not None and int(wide.alpha.min()) < 0xFFFF:
        pdf_image = replace(pdf_image, soft_mask=_big_endian(wide.alpha, "L"))
    return pdf_image, "Flate"


def _with_profile(image: PdfImage, profile: bytes | None) -> PdfImage:
    if profile and icc_fits(profile, image.components):
        return replace(image, icc_profile=profile)
    return image


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
    """Whether an ICC profile is one for so many components, under which white is light; another would break
    the page."""
    fits = len(profile) >= 128 and profile[36:40] == b"acsp" and profile[16:20] == _ICC_SPACES.get(components)
    return fits and _has_white(profile)


def _has_white(profile: bytes) -> bool:
    """Whether the colorants of a profile, if it goes by a matrix, make white together (ICC.1, 9.2): a test
    file of OpenJPEG has a profile of zeros, which shows a photograph in plain green."""
    count = int.from_bytes(profile[128:132])
    entries = [profile[at : at + 12] for at in range(132, min(len(profile), 132 + 12 * count), 12)]
    places = {entry[:4]: int.from_bytes(entry[4:8]) for entry in entries}
    if not places.keys() >= _COLORANTS or not places.keys().isdisjoint(_LOOK_UP_TABLES):
        return True
    levels = [profile[places[tag] + 12 : places[tag] + 16] for tag in _COLORANTS]
    # Y of white is 1, in 65,536ths.
    return abs(sum(int.from_bytes(level, signed=True) for level in levels) - 65_536) < 16_384


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
        wide = _sixteen_bit(image)
        if quality is None:
            return _Encoded(_big_endian(wide.colors, "L"), "Flate")
        image = wide.eight_bit()
    if image.mode in ("P", "YCbCr", "HSV", "RGBX", "LAB"):
        # PDF has Lab too, but pdfium's is off by 50 of 255 from what lcms makes of an ordinary photograph.
        image = image.convert("RGB")
    if image.mode not in ("L", "RGB", "CMYK"):
        raise UnsupportedConversion(f"pictures of Pillow's mode {image.mode} have no counterpart in PDF")
    if quality is not None:
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
    channels = len(image.getbands())
    space = DEVICE_SPACES[channels]
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


def _sixteen_bit(image: Image.Image) -> Wide:
    """Gray of 16 bit; of 32 bit and floats by the rule of `wide.sixteen_bit`."""
    import numpy as np

    from docmill.engines.raster.wide import Wide, sixteen_bit

    values = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG")):
        gray = values.astype(np.uint16)
    else:
        gray = sixteen_bit(values)
    return Wide(gray[:, :, None], "L")


def _big_endian(samples: NDArray[Any], space: str) -> PdfImage:
    """An image XObject of 16 bit samples, rows x pixels and what a pixel has."""
    height, width = samples.shape[:2]
    return PdfImage(
        width,
        height,
        16,
        _WIDE_SPACES[space],
        deflate_bytes(samples.astype(">u2").tobytes()),
        filter=b"/FlateDecode",
        components=samples.size // (width * height),
    )


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
