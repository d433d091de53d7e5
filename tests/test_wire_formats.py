"""Wire numbers, and the targets that they come to."""

from __future__ import annotations

import pytest

from docmill.errors import InvalidJobData, UnsupportedConversion
from docmill.formats import PDF, TEXT, TIFF, DocumentFormat, RasterImageFormat, Target
from docmill.wire_formats import target_of_document_format, target_of_raster_format, wire_formats

UNWRITABLE = {"PSD", "BMP_RLE", "TIF_CMYK", "JBIG2", "TIF_JBIG2", "RAS_PDF_JBIG2", "SVG"}


@pytest.mark.parametrize("format", RasterImageFormat)
def test_every_raster_number_is_a_target_or_refused_by_name(format):
    if format is RasterImageFormat.UNKNOWN:
        with pytest.raises(InvalidJobData):
            target_of_raster_format(format)
    elif format.name in UNWRITABLE:
        with pytest.raises(UnsupportedConversion, match=f"{format.value} \\({format.name}\\)"):
            target_of_raster_format(format)
    else:
        target = target_of_raster_format(format)
        assert target.format.name in format.name.lower() or target.format in (PDF, TIFF)
        assert target.bits_per_pixel is None
        assert wire_formats(target) == (DocumentFormat.USER, format)


@pytest.mark.parametrize(
    ("number", "bits", "name"),
    [
        (29, 0, "tiff-g4"),
        (29, 1, "tiff-g4-1bit"),
        (25, 0, "tiff-ccitt"),
        (3, 24, "tiff-24bit"),
        (75, 8, "png-8bit"),
        (21, 24, "jpeg-420-24bit"),
        (151, 0, "pdf-jpeg-422"),
        (189, 0, "tiff-zip"),
    ],
)
def test_raster_numbers(number, bits, name):
    assert target_of_raster_format(number, bits).name == name


@pytest.mark.parametrize(("number", "bits"), [(29, 8), (10, 1), (3, 5), (4242, 0), (-1, 0)])
def test_raster_numbers_that_are_refused(number, bits):
    with pytest.raises(InvalidJobData):
        target_of_raster_format(number, bits)


@pytest.mark.parametrize("format", DocumentFormat)
def test_every_document_number_is_a_target_or_refused_by_name(format):
    if format is DocumentFormat.USER:
        with pytest.raises(InvalidJobData):
            target_of_document_format(format)
    elif format in (DocumentFormat.PDF, DocumentFormat.TEXT):
        assert target_of_document_format(format) == Target({1: PDF, 5: TEXT}[int(format)])
        assert wire_formats(target_of_document_format(format)) == (format, RasterImageFormat.UNKNOWN)
    else:
        with pytest.raises(UnsupportedConversion, match=format.name):
            target_of_document_format(int(format))
