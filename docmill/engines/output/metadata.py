"""Exif of a page as its output has it: with the resolution and the size that the page has come to."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction

from docmill.engines.output.page import PageImage
from docmill.tiff_fields import EXIF, LONG, RATIONAL, SHORT, Ifd, TiffField, write_block
from docmill.tiff_tags import Tag

_NO_UNIT, _INCH = 1, 2
# What Exif has for a resolution that is not known; there are readers that pass over its unit.
_EXIF_UNKNOWN = 72.0
_PIXEL_WIDTH, _PIXEL_HEIGHT, _MAKER_NOTE = 0xA002, 0xA003, 0x927C


def resolution_fields(page: PageImage, unknown: float = 1.0) -> dict[int, TiffField]:
    """XResolution, YResolution and their unit; the former are `unknown` where the page has none."""
    x, y = page.dpi or page.pixel_shape or (unknown, unknown)
    return {
        Tag.X_RESOLUTION: _rational(x),
        Tag.Y_RESOLUTION: _rational(y),
        Tag.RESOLUTION_UNIT: TiffField(SHORT, 1, struct.pack("<H", _INCH if page.dpi else _NO_UNIT)),
    }


def sized(page: PageImage) -> Ifd:
    """A page's Exif with the page's own size in pixels, where it names one."""
    exif = page.exif.hanging.get(EXIF, Ifd())
    sides = {_PIXEL_WIDTH: page.width, _PIXEL_HEIGHT: page.height}
    size = {tag: TiffField(LONG, 1, struct.pack("<I", side)) for tag, side in sides.items()}
    named = {tag: field for tag, field in size.items() if tag in exif.fields}
    if not named:
        return page.exif
    return replace(
        page.exif, hanging={**page.exif.hanging, EXIF: replace(exif, fields={**exif.fields, **named})}
    )


def exif_block(page: PageImage, *, most: int | None = None, always: bool = False) -> bytes:
    """A page's Exif as a block of at most `most` bytes; empty where there is none, unless it is wanted
    `always` for the resolution.

    Of one that is too long the camera maker's own notes are left out, or else all.
    """
    if not page.exif and not (always and (page.dpi or page.pixel_shape)):
        return b""
    whole = sized(page)
    whole = replace(whole, fields={**whole.fields, **resolution_fields(page, _EXIF_UNKNOWN)})
    block = write_block(whole)
    if most is None or len(block) <= most:
        return block
    exif = whole.hanging.get(EXIF, Ifd())
    fields = {tag: field for tag, field in exif.fields.items() if tag != _MAKER_NOTE}
    shorter = write_block(replace(whole, hanging={**whole.hanging, EXIF: replace(exif, fields=fields)}))
    return shorter if len(shorter) <= most else b""


def _rational(value: float) -> TiffField:
    # 2^16: any number up to 65536 then fits 32 bits; resolutions are whole numbers or fractions like 2.54.
    ratio = Fraction(value).limit_denominator(1 << 16)
    return TiffField(RATIONAL, 1, struct.pack("<II", ratio.numerator, ratio.denominator))
