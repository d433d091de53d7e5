"""How pages are to be encoded, from what the job asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from docmill.engines.base import EngineOptions
from docmill.engines.output.metadata import exif_block
from docmill.engines.output.narrow import narrow
from docmill.engines.output.page import Color, PageImage, pack_bits
from docmill.engines.output.pillow_file import DEFAULT_JPEG_QUALITY, LARGEST_SEGMENT, write_with_pillow
from docmill.engines.output.png_file import write_png
from docmill.engines.output.tiff_page import TiffPage, write_tiff_page
from docmill.errors import InvalidJobData
from docmill.formats import (
    BILEVEL,
    BMP,
    GIF,
    J2K,
    JP2,
    JPEG,
    PCX,
    PDF,
    PNG,
    TIFF,
    WEBP,
    Compression,
    Format,
    Subsampling,
    Target,
)

# Formats without a 1 bit form, or none that is smaller, and those that can hold a palette.
_NO_BILEVEL = frozenset({JPEG, JP2, J2K})
_PALETTES = frozenset({PNG, GIF})
_MIDDLE = 128
_LEFT_OUT: dict[Format, tuple[str, ...]] = {
    JPEG: ("Exif", "XMP"),
    JP2: ("Exif", "XMP"),
    J2K: ("Exif", "XMP", "the ICC profile"),
    BMP: ("Exif", "XMP", "the ICC profile"),
    GIF: ("Exif", "XMP", "the ICC profile"),
    PCX: ("Exif", "XMP", "the ICC profile"),
}
_FEW_COLORS = "the colours became the nearest of 256, which are all that GIF holds"
_THRESHOLD_ROWS = 256


@dataclass(frozen=True, slots=True)
class Encoded:
    """A page's file, or the file of its strips with what a TIFF is to say of them, how it was encoded, and
    what of it was lost on the way."""

    path: Path
    tiff: TiffPage | None
    how: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """How each page of a job is encoded; small and picklable.

    `bits` are 1, 8 (gray) or 24 (colour) for all pages; None leaves a page as it is, narrowed without loss.
    """

    format: Format
    compression: Compression | None
    bits: int | None
    quality: int | None
    subsampling: Subsampling
    threshold: int
    dither: bool

    @classmethod
    def of(cls, options: EngineOptions) -> OutputPlan:
        """The plan of a job; raises `InvalidJobData` for options that have no meaning for its target."""
        target, asked = options.target, options.options
        bits = 1 if target.compression in BILEVEL else target.bits_per_pixel
        if bits != 1 and (asked.dither or asked.threshold is not None):
            raise InvalidJobData(
                f"dither and threshold make 1-bit pages, and {target.name} does not say 1 bit",
                hint=f"ask for {replace(target, bits_per_pixel=1).name}" if _may_be_bilevel(target) else "",
            )
        if asked.quality is not None and not _has_quality(target):
            raise InvalidJobData(
                f"{target.name} is without loss and has no quality", hint="leave quality out, or ask for jpeg"
            )
        return cls(
            target.format,
            target.compression,
            bits,
            asked.quality,
            target.subsampling or Subsampling.FULL,
            asked.threshold or _MIDDLE,
            asked.dither,
        )

    def bilevel(self, gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Rows of gray as packed bits, 1 for white, by the threshold or by error diffusion."""
        if self.dither:
            image = Image.fromarray(np.ascontiguousarray(gray)).convert("1")
            return pack_bits(np.asarray(image).view(np.uint8), 1)
        packed = np.empty((len(gray), -(-gray.shape[1] // 8)), np.uint8)
        # A few rows at a time stay in the processor's cache; a page of truth values, a byte each, is fresh
        # memory, which costs a process that makes few pages 4 ms.
        for top in range(0, len(gray), _THRESHOLD_ROWS):
            rows = slice(top, top + _THRESHOLD_ROWS)
            packed[rows] = pack_bits((gray[rows] >= self.threshold).view(np.uint8), 1)
        return packed

    def encode(self, page: PageImage, path: Path, *, narrows: bool = True) -> Encoded:
        """Encode a page into `path`; it has the bits of the plan already, where these are set.

        Without `narrows` its pixels keep the form that they came in, where the format can hold it.
        """
        if self.bits is None and self.format is not WEBP and (narrows or self.format is GIF):
            is_jpeg = self.compression is Compression.JPEG
            page = narrow(
                page, bilevel=not (is_jpeg or self.format in _NO_BILEVEL), palette=self.format in _PALETTES
            )
        how = _describe(page)
        if self.format is PNG:
            write_png(page, path)
        elif self.format in (TIFF, PDF):
            compression = self.compression or _lossless(page)
            tiff = write_tiff_page(
                page,
                path,
                compression,
                quality=self.quality or DEFAULT_JPEG_QUALITY,
                subsampling=self.subsampling,
                one_strip=self.format is PDF,
            )
            return Encoded(path, tiff, f"{how}, {_COMPRESSION_TITLES[compression]}", page.notes)
        else:
            write_with_pillow(page, path, self.format, quality=self.quality, subsampling=self.subsampling)
        return Encoded(path, None, how, (*page.notes, *_lost(page, self.format)))


_COMPRESSION_TITLES = {
    Compression.NONE: "uncompressed",
    Compression.PACKBITS: "PackBits",
    Compression.CCITT_RLE: "CCITT RLE",
    Compression.CCITT_G3_1D: "CCITT Group 3",
    Compression.CCITT_G3_2D: "CCITT Group 3 2-D",
    Compression.CCITT_G4: "CCITT Group 4",
    Compression.LZW: "LZW",
    Compression.DEFLATE: "Deflate",
    Compression.JPEG: "JPEG",
}


def _lossless(page: PageImage) -> Compression:
    """What holds a page in the least bytes that every reader of TIFF decodes."""
    return Compression.CCITT_G4 if page.color is Color.GRAY and page.bits == 1 else Compression.DEFLATE


def _lost(page: PageImage, format: Format) -> Iterator[str]:
    """What a format of one page a file has no room for, or docmill does not write into it."""
    if format is GIF and page.color is Color.RGB:
        yield _FEW_COLORS
    described = {"Exif": bool(page.exif), "XMP": bool(page.xmp), "the ICC profile": bool(page.icc)}
    if format is JPEG:
        described["Exif"] = bool(page.exif) and not exif_block(page, most=LARGEST_SEGMENT)
        described["XMP"] = len(page.xmp) >= LARGEST_SEGMENT
    for name in (name for name in _LEFT_OUT.get(format, ()) if described[name]):
        why = "it is too long for JPEG" if format is JPEG else f"{format.title} is written without"
        yield f"{name} was left out: {why}"


def _describe(page: PageImage) -> str:
    color = "black and white" if page.bits == 1 and page.color is Color.GRAY else str(page.color)
    return f"{color}{' and alpha' if page.alpha else ''}, {page.bits * page.samples} bit"


def _has_quality(target: Target) -> bool:
    return target.format in (JPEG, WEBP, JP2, J2K) or target.compression is Compression.JPEG


def _may_be_bilevel(target: Target) -> bool:
    return target.bits_per_pixel is None and not (
        target.format in _NO_BILEVEL or target.format is WEBP or target.compression is Compression.JPEG
    )
