"""Decoded pictures as pages of pixels that a target format holds: as they are where it can, else converted.

What a format has no room for is converted in the one way that shows the same picture: alpha is laid on white,
CMYK goes to RGB by its profile, 16 bits to 8. Pixels of 32 bits fit TIFF only: what white is in them no file
says, so that for other formats they are refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from docmill.engines.base import EngineOptions
from docmill.engines.frames import Frame, turn
from docmill.engines.output.page import CHANNELS, Color, PageImage, Rows, pack_bits
from docmill.engines.output.plan import OutputPlan
from docmill.engines.raster.decoded import icc_fits
from docmill.engines.raster.png_color import is_srgb, lost_color, profile_of_chunks
from docmill.engines.raster.wide_pictures import as_wide
from docmill.errors import UnsupportedConversion
from docmill.facts import axes_dpi
from docmill.formats import BMP, GIF, J2K, JP2, JPEG, PCX, PDF, PNG, TIFF, WEBP, Compression, Format
from docmill.options import Alpha, PixelBox
from docmill.page_limits import check_pixels

# Formats whose colours are sRGB where they name no others, and have no room for a name or a word for it.
_TAKEN_FOR_SRGB = frozenset({BMP, GIF, PCX, JP2, J2K})
# What undoes the turn of an Orientation is the turn of this one.
_UNDONE_BY = {6: 8, 8: 6}


@dataclass(frozen=True, slots=True)
class _Holds:
    """What a format holds beside gray and RGB of 8 bits."""

    bilevel: bool = False
    palette: bool = False
    alpha: bool = False
    cmyk: bool = False
    bits: int = 8


@dataclass(frozen=True, slots=True)
class _Density:
    """Pixels per inch, and vertical to horizontal where there are none."""

    dpi: tuple[float, float] | None
    aspect: float

    def turned(self) -> _Density:
        return _Density(self.dpi and (self.dpi[1], self.dpi[0]), 1 / self.aspect)


_FORMATS: dict[Format, _Holds] = {
    TIFF: _Holds(bilevel=True, palette=True, alpha=True, cmyk=True, bits=32),
    PNG: _Holds(bilevel=True, palette=True, alpha=True, bits=16),
    JPEG: _Holds(cmyk=True),
    WEBP: _Holds(alpha=True),
    BMP: _Holds(bilevel=True, palette=True),
    GIF: _Holds(bilevel=True, palette=True),
    PCX: _Holds(bilevel=True, palette=True),
    JP2: _Holds(alpha=True),
    J2K: _Holds(alpha=True),
    PDF: _Holds(bilevel=True, palette=True, cmyk=True),
}
# What these are not given is for docmill to say, not for them.
_HOLDING_MORE = frozenset({JP2, J2K, PDF})
_KINDS = {
    "1": (Color.GRAY, 1, False), "L": (Color.GRAY, 8, False), "LA": (Color.GRAY, 8, True),
    "P": (Color.PALETTE, 8, False), "RGB": (Color.RGB, 8, False), "RGBA": (Color.RGB, 8, True),
    "CMYK": (Color.CMYK, 8, False), "I": (Color.GRAY, 32, False), "F": (Color.GRAY, 32, False),
    "I;16": (Color.GRAY, 16, False),
}  # fmt: skip


def page_of(frame: Frame, plan: OutputPlan, options: EngineOptions, number: int) -> PageImage:
    """The page that is to be written of a decoded frame, at the job's dpi where it names no resolution.

    Raises `UnsupportedConversion` for pixels that the target cannot hold, `LimitExceeded` where they are to
    be scaled to more than the installation allows.
    """
    holds = _holds(plan)
    alpha, dpi, size = options.options.alpha, options.options.dpi, options.options.size
    box = PixelBox.parse(size) if size else None
    resolution = frame.dpi or (axes_dpi(dpi, frame.aspect) if dpi else None)
    aspect = frame.aspect
    before = after = frame.image.size
    if box:
        after = box.fit(*before)
        check_pixels(*after, options.max_page_pixels, page=number)
        across, down = after[0] / before[0], after[1] / before[1]
        aspect *= down / across
        if resolution:
            resolution = resolution[0] * across, resolution[1] * down
    density = _Density(resolution, aspect)
    if frame.wide is not None and holds.bits >= 16:
        wide = as_wide(frame.wide)
        wide = wide.on_white() if alpha is Alpha.WHITE else wide
        wide = wide.scaled(after) if box else wide
        parts = [wide.colors] if wide.alpha is None else [wide.colors, wide.alpha[:, :, None]]
        color = Color.RGB if wide.space == "RGB" else Color.GRAY
        samples = np.concatenate(parts, axis=2)
        return _assembled(frame, plan, samples, color, 16, wide.alpha is not None, density)
    image = _adapted(frame.image, frame.icc, plan, holds, alpha)
    if box:
        image = _resized(image, after)
    if plan.bits == 1 and image.mode != "1":
        rows: Rows = np.asarray(image.convert("L"))
        bits = np.unpackbits(plan.bilevel(rows), axis=1, count=rows.shape[1])
        return _assembled(frame, plan, bits[:, :, None], Color.GRAY, 1, False, density)
    color, depth, has_alpha = _KINDS[image.mode]
    rows = np.asarray(image)
    if depth == 1:
        rows = rows.view(np.uint8)
    if rows.ndim == 2:
        rows = rows[:, :, None]
    page = _assembled(frame, plan, rows, color, depth, has_alpha, density)
    palette = bytes(image.getpalette("RGB") or b"") if color is Color.PALETTE else b""
    page = replace(page, palette=palette, is_float=image.mode == "F")
    if plan.bits is not None:
        return page  # a job that asks for so many bits a pixel knows what does not fit them
    return replace(page, notes=(*page.notes, *_lost(frame, page, plan, alpha)))


def _lost(frame: Frame, page: PageImage, plan: OutputPlan, alpha: Alpha) -> Iterator[str]:
    """What the target has no room for of a page that came in 8 bits a sample or fewer."""
    title = f"JPEG in {plan.format.title}" if plan.compression is Compression.JPEG else plan.format.title
    holds, place = f"{title} holds", ""
    if plan.format in _HOLDING_MORE:
        holds, place = "docmill writes", f" in {title}"
    if page.bits <= 8 and (frame.wide is not None or _is_sixteen_bit(frame.image)):
        yield f"more than 8 bits a sample became 8, which are all that {holds}{place}"
    if alpha is Alpha.KEEP and not page.alpha and _is_transparent(frame.image):
        yield f"what is transparent was laid on white, since {holds} no alpha{place}"
    if frame.image.mode == "CMYK" and page.color is not Color.CMYK:
        yield f"the inks (CMYK) became RGB, since {holds} none{place}"


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return lowest != 255


def _is_sixteen_bit(image: Image.Image) -> bool:
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG"))


def _holds(plan: OutputPlan) -> _Holds:
    holds = _FORMATS[plan.format]
    if plan.compression is Compression.JPEG:
        holds = _Holds(cmyk=True)
    if plan.bits is not None:
        return _Holds(bilevel=plan.bits == 1)
    return holds


def _adapted(image: Image.Image, icc: bytes, plan: OutputPlan, holds: _Holds, alpha: Alpha) -> Image.Image:
    """The image in one of the modes of `_KINDS` that the target holds."""
    image = _plain(image)
    if image.mode in ("LA", "RGBA") and (alpha is Alpha.WHITE or not holds.alpha):
        image = _on_white(image)
    if image.mode in ("I", "F") and holds.bits < 32:
        raise UnsupportedConversion(
            f"pixels of 32 bits do not fit {plan.format.title} as it is asked for",
            hint="TIFF holds them: leave bits out",
        )
    if image.mode == "I;16" and holds.bits < 16:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "CMYK" and not holds.cmyk:
        image = _cmyk_to_rgb(image, icc)
    if image.mode == "P" and not holds.palette:
        image = image.convert("RGB")
    if image.mode == "1" and not holds.bilevel:
        image = image.convert("L")
    if plan.bits == 8:
        image = image.convert("L")
    elif plan.bits == 24:
        image = image.convert("RGB")
    return image


def _plain(image: Image.Image) -> Image.Image:
    """The image without premultiplied alpha, transparent colours and colour models that only Pillow has."""
    if image.mode in ("RGBa", "La"):
        return image.convert(image.mode.upper())
    if image.mode == "PA" or (image.mode == "P" and image.has_transparency_data):
        return image.convert("RGBA")
    if "transparency" in image.info and image.mode in ("1", "L", "RGB"):
        return image.convert("RGBA" if image.mode == "RGB" else "LA")
    if image.mode.startswith("I;16"):
        return image if image.mode == "I;16" else Image.fromarray(np.asarray(image).astype(np.uint16))
    if _is_sixteen_bit(image):
        return Image.fromarray(np.asarray(image).clip(0, 0xFFFF).astype(np.uint16))
    if image.mode == "LAB":
        return _by_profile(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    return image if image.mode in _KINDS else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB" if image.mode == "RGBA" else "L", image.size, "white")
    white.paste(image.convert(white.mode), mask=image.getchannel("A"))
    return white


def _cmyk_to_rgb(image: Image.Image, icc: bytes) -> Image.Image:
    if icc and icc_fits(icc, 4):
        try:
            return _by_profile(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)))
        except ImageCms.PyCMSError:
            pass  # a broken profile says nothing; as without one
    return image.convert("RGB")


def _by_profile(image: Image.Image, profile: Any) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return converted


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P":
        image = image.convert("RGB")
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _assembled(
    frame: Frame,
    plan: OutputPlan,
    rows: Rows,
    color: Color,
    bits: int,
    alpha: bool,
    density: _Density,
) -> PageImage:
    """A page of rows x pixels x samples. A TIFF of a TIFF keeps the way in which its rows are stored."""
    orientation = frame.orientation if plan.format is TIFF else 1
    if orientation > 1:
        rows = turn(rows, _UNDONE_BY.get(orientation, orientation))
        density = density.turned() if orientation >= 5 else density
    height, width, _ = rows.shape
    flat = np.ascontiguousarray(rows).reshape(height, -1)
    components = 3 if color is Color.PALETTE else CHANNELS[color]
    return PageImage(
        width=width,
        height=height,
        color=color,
        bits=bits,
        alpha=alpha,
        bands=(pack_bits(flat, bits) if bits < 8 else flat,),
        band_rows=height,
        dpi=density.dpi,
        aspect=1.0 if density.dpi else density.aspect,
        icc=_profile(frame, plan, components),
        exif=frame.exif,
        orientation=orientation,
        xmp=frame.xmp,
        png_colors=frame.png_colors,
        notes=(*frame.notes, *_lost_color(frame, plan)),
    )


def _profile(frame: Frame, plan: OutputPlan, components: int) -> bytes:
    """The ICC profile for the page, for other formats than PNG also by PNG's chunks."""
    if icc_fits(frame.icc, components):
        return frame.icc
    chunks = dict(frame.png_colors)
    if plan.format is PNG or components > 3 or (plan.format in _TAKEN_FOR_SRGB and is_srgb(chunks)):
        return b""
    return profile_of_chunks(chunks, gray=components == 1)


def _lost_color(frame: Frame, plan: OutputPlan) -> tuple[str, ...]:
    if plan.format is PNG or frame.icc:
        return ()
    lost = lost_color(dict(frame.png_colors))
    return (lost,) if lost else ()
