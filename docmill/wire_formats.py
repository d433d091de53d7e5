"""The numbers by which the Document Service's wire format names output formats, and the targets they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import IntEnum
from typing import TypeVar

from docmill.errors import InvalidJobData, UnsupportedConversion
from docmill.formats import (
    BMP,
    GIF,
    J2K,
    JP2,
    JPEG,
    PCX,
    PDF,
    PNG,
    TEXT,
    TIFF,
    Compression,
    DocumentFormat,
    RasterImageFormat,
    Subsampling,
    Target,
)

W = TypeVar("W", bound=IntEnum)


def target_of_document_format(number: DocumentFormat | int) -> Target:
    """The target that a `documentFormat` on the wire asks for.

    Raises `UnsupportedConversion` for a format that docmill cannot write, `InvalidJobData` for a number that
    is none and for USER, which only says that `rasterImageFormat` decides.
    """
    format = _wire_member(DocumentFormat, "documentFormat", number)
    if format is DocumentFormat.USER:
        raise InvalidJobData("documentFormat -1 needs a rasterImageFormat")
    if format not in _DOCUMENT_TARGETS:
        raise UnsupportedConversion(
            f"docmill cannot write documentFormat {format.value} ({format.name})",
            hint=f"it writes {_listed(_DOCUMENT_TARGETS)}",
        )
    return Target(_DOCUMENT_TARGETS[format])


def target_of_raster_format(number: RasterImageFormat | int, bits_per_pixel: int = 0) -> Target:
    """The target that a `rasterImageFormat` and `rasterImageBitsPerPixel` on the wire ask for; 0 bits: as
    the pages need.

    Raises `UnsupportedConversion` for a format that docmill cannot write, `InvalidJobData` for a number that
    is none, for UNKNOWN, and for bits per pixel that the format does not hold.
    """
    format = _wire_member(RasterImageFormat, "rasterImageFormat", number)
    if format is RasterImageFormat.UNKNOWN:
        raise InvalidJobData("rasterImageFormat 0 names no format")
    if format not in _RASTER_TARGETS:
        raise UnsupportedConversion(
            f"docmill cannot write rasterImageFormat {format.value} ({format.name})",
            hint=f"it writes {_listed(_RASTER_TARGETS)}",
        )
    return replace(_RASTER_TARGETS[format], bits_per_pixel=bits_per_pixel or None)


_DOCUMENT_TARGETS = {DocumentFormat.PDF: PDF, DocumentFormat.TEXT: TEXT}

# "411" is what the wire calls a quarter of the colour resolution, halved both ways; JPEG's own term is 4:2:0.
_RASTER_TARGETS = {
    RasterImageFormat.PCX: Target(PCX),
    RasterImageFormat.GIF: Target(GIF),
    RasterImageFormat.TIF: Target(TIFF),
    RasterImageFormat.BMP: Target(BMP),
    RasterImageFormat.JPEG: Target(JPEG, subsampling=Subsampling.FULL),
    RasterImageFormat.TIF_JPEG: Target(TIFF, Compression.JPEG, subsampling=Subsampling.FULL),
    RasterImageFormat.TIF_LZW: Target(TIFF, Compression.LZW),
    RasterImageFormat.JPEG_411: Target(JPEG, subsampling=Subsampling.QUARTER),
    RasterImageFormat.TIF_JPEG_411: Target(TIFF, Compression.JPEG, subsampling=Subsampling.QUARTER),
    RasterImageFormat.JPEG_422: Target(JPEG, subsampling=Subsampling.HALF),
    RasterImageFormat.TIF_JPEG_422: Target(TIFF, Compression.JPEG, subsampling=Subsampling.HALF),
    RasterImageFormat.CCITT: Target(TIFF, Compression.CCITT_RLE),
    RasterImageFormat.CCITT_GROUP3_1DIM: Target(TIFF, Compression.CCITT_G3_1D),
    RasterImageFormat.CCITT_GROUP3_2DIM: Target(TIFF, Compression.CCITT_G3_2D),
    RasterImageFormat.CCITT_GROUP4: Target(TIFF, Compression.CCITT_G4),
    RasterImageFormat.PNG: Target(PNG),
    RasterImageFormat.RAS_PDF: Target(PDF, raster=True),
    RasterImageFormat.RAS_PDF_G3_1DIM: Target(PDF, Compression.CCITT_G3_1D),
    RasterImageFormat.RAS_PDF_G3_2DIM: Target(PDF, Compression.CCITT_G3_2D),
    RasterImageFormat.RAS_PDF_G4: Target(PDF, Compression.CCITT_G4),
    RasterImageFormat.RAS_PDF_JPEG: Target(PDF, Compression.JPEG, subsampling=Subsampling.FULL),
    RasterImageFormat.RAS_PDF_JPEG_422: Target(PDF, Compression.JPEG, subsampling=Subsampling.HALF),
    RasterImageFormat.RAS_PDF_JPEG_411: Target(PDF, Compression.JPEG, subsampling=Subsampling.QUARTER),
    RasterImageFormat.JP2: Target(JP2),
    RasterImageFormat.J2K: Target(J2K),
    RasterImageFormat.RAS_PDF_LZW: Target(PDF, Compression.LZW),
    RasterImageFormat.TIF_ZIP: Target(TIFF, Compression.DEFLATE),
}


def wire_formats(target: Target) -> tuple[DocumentFormat, RasterImageFormat]:
    """The `documentFormat` and `rasterImageFormat` that ask for this target, bits per pixel and ZIP apart.

    USER and UNKNOWN where the wire has no number for it.
    """
    plain = replace(target, bits_per_pixel=None, archive=False)
    if plain.format is JPEG or plain.compression is Compression.JPEG:
        plain = replace(plain, subsampling=plain.subsampling or Subsampling.FULL)
    for document, format in _DOCUMENT_TARGETS.items():
        if plain == Target(format) and not target.bits_per_pixel:
            return document, RasterImageFormat.UNKNOWN
    for raster, wanted in _RASTER_TARGETS.items():
        if plain == wanted:
            return DocumentFormat.USER, raster
    return DocumentFormat.USER, RasterImageFormat.UNKNOWN


def _wire_member(enum: type[W], field: str, number: int) -> W:
    try:
        return enum(number)
    except ValueError:
        raise InvalidJobData(f"{field} {number} is no number that the wire format knows") from None


def _listed(formats: Iterable[IntEnum]) -> str:
    return ", ".join(f"{format.value} ({format.name})" for format in formats)
