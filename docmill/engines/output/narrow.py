"""Narrowing: the fewest bits that hold every pixel of a page exactly as it is.

A page of text is rendered in colour, since nobody knows before that it has none; written as gray it is a
third of the work for whoever reads it, and a page of black and white only is a twentieth of the bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from docmill.engines.output.page import Bytes, Color, PageImage, Rows, pack_bits

# Rows looked at first: most pages in colour show it at once.
_PROBE_ROWS = 64


def narrow(page: PageImage, *, bilevel: bool = True, palette: bool = False) -> PageImage:
    """The same page in fewer bits, where it has no colour.

    With `bilevel` also where it is black and white only, with `palette` where it has few colours. Pages in
    several bands are left as they are, since all of their rows would have to be seen first; so are those with
    alpha or more than 8 bits.
    """
    if not page.is_whole or page.alpha or page.bits != 8 or page.color not in (Color.RGB, Color.GRAY):
        return page
    rows = page.whole()
    page = replace(page, bands=(rows,))
    if page.color is Color.RGB:
        pixels = rows.reshape(page.height, page.width, 3)
        if page.icc or not _is_gray(pixels):
            # A profile for RGB says nothing about gray.
            return _as_palette(page, pixels) if palette else page
        rows = np.ascontiguousarray(pixels[:, :, 0])
        page = replace(page, color=Color.GRAY, bands=(rows,))
    return _fewer_grays(page, rows, palette) if bilevel else page


def levels(gray: Rows) -> list[int]:
    """The gray levels that 8 bit rows have, in order."""
    counts = Image.fromarray(np.ascontiguousarray(gray)).histogram()
    return [level for level, count in enumerate(counts) if count]


def _is_gray(pixels: Rows) -> bool:
    for rows in (pixels[::_PROBE_ROWS], pixels):
        red = rows[:, :, 0]
        if not (np.array_equal(red, rows[:, :, 1]) and np.array_equal(red, rows[:, :, 2])):
            return False
    return True


def _fewer_grays(page: PageImage, rows: Rows, palette: bool) -> PageImage:
    present = levels(rows)
    if set(present) <= {0, 255}:
        return replace(page, bits=1, bands=(pack_bits((rows != 0).view(np.uint8), 1),))
    if not palette or len(present) > 16:
        return page
    colors = bytes(channel for level in present for channel in (level, level, level))
    table = np.zeros(256, np.uint8)
    table[present] = range(len(present))
    return _indexed(page, table[rows], colors)


def _as_palette(page: PageImage, pixels: Rows) -> PageImage:
    sample = Image.fromarray(np.ascontiguousarray(pixels[::_PROBE_ROWS]))
    if sample.getcolors(256) is None:
        return page
    found: list[tuple[int, Any]] | None = Image.fromarray(pixels).getcolors(256)
    if found is None:
        return page
    colors = [color for _, color in sorted(found, reverse=True)]
    keys = pixels[:, :, 0].astype(np.uint32) << 16
    keys |= pixels[:, :, 1].astype(np.uint32) << 8
    keys |= pixels[:, :, 2]
    # 16 MiB of which only the few bytes are touched that stand for a colour of the page.
    table = np.zeros(1 << 24, np.uint8)
    for index, (red, green, blue) in enumerate(colors):
        table[red << 16 | green << 8 | blue] = index
    return _indexed(page, table[keys], bytes(channel for color in colors for channel in color))


def _indexed(page: PageImage, indexes: Bytes, palette: bytes) -> PageImage:
    count = len(palette) // 3
    bits = 1 if count <= 2 else 2 if count <= 4 else 4 if count <= 16 else 8
    return replace(page, color=Color.PALETTE, bits=bits, palette=palette, bands=(pack_bits(indexes, bits),))
