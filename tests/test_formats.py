"""Names and wire numbers, and the targets that they come to."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docmill.errors import InvalidJobData, UnsupportedConversion
from docmill.formats import (
    BITS_PER_PIXEL,
    FORMATS,
    JPEG,
    PDF,
    PNG,
    TEXT,
    TIFF,
    Compression,
    DocumentFormat,
    RasterImageFormat,
    Subsampling,
    Target,
    target_for,
    target_from_name,
    target_of_document_format,
    target_of_raster_format,
    wire_formats,
)

UNWRITABLE = {"PSD", "BMP_RLE", "TIF_CMYK", "JBIG2", "TIF_JBIG2", "RAS_PDF_JBIG2", "SVG"}


@given(
    format=st.sampled_from(FORMATS),
    compression=st.none() | st.sampled_from(Compression),
    bits=st.none() | st.sampled_from(BITS_PER_PIXEL),
    subsampling=st.none() | st.sampled_from(Subsampling),
    archive=st.booleans(),
)
def test_every_target_is_read_back_from_its_name(format, compression, bits, subsampling, archive):
    try:
        target = Target(format, compression, bits, subsampling, archive)
    except InvalidJobData:
        return
    assert target_from_name(target.name) == target


@given(st.text(alphabet="abgijnpftz0123458-+.", max_size=16))
def test_any_name_is_a_target_or_refused(name):
    try:
        target = target_from_name(name)
    except InvalidJobData:
        return
    assert target_from_name(target.name) == target


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("tif", Target(TIFF)),
        (".PDF", Target(PDF)),
        ("tiff-g3-2d", Target(TIFF, Compression.CCITT_G3_2D)),
        ("tiff-lzw-8bit", Target(TIFF, Compression.LZW, 8)),
        ("tiff-zip+zip", Target(TIFF, Compression.DEFLATE, archive=True)),
        ("jpg-420", Target(JPEG, subsampling=Subsampling.QUARTER)),
        ("png-1bit+zip", Target(PNG, bits_per_pixel=1, archive=True)),
    ],
)
def test_names(name, target):
    assert target_from_name(name) == target


@pytest.mark.parametrize(
    "name",
    [
        "",
        "doc",
        "tiff-",
        "tiff-foo",
        "png+tar",
        "tiff-g4-8bit",
        "jpeg-1bit",
        "png-420",
        "png-7bit",
        "tiff--8bit",
    ],
)
def test_names_that_are_refused(name):
    with pytest.raises(InvalidJobData):
        target_from_name(name)


@pytest.mark.parametrize(
    ("file_name", "to", "target"),
    [
        ("out.png", None, Target(PNG)),
        ("s3://bucket/a.b/OUT.TIF", None, Target(TIFF)),
        ("out.zip", "png", Target(PNG, archive=True)),
        ("out.tif", "tiff-g4", Target(TIFF, Compression.CCITT_G4)),
        ("out", "pdf", Target(PDF)),
    ],
)
def test_the_target_of_a_file_name(file_name, to, target):
    assert target_for(file_name, to) == target


@pytest.mark.parametrize("file_name", ["out", "out.zip", "out.xyz", ".png", "a.png/out"])
def test_file_names_that_do_not_tell(file_name):
    with pytest.raises(InvalidJobData):
        target_for(file_name)


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_stays_itself_in_another_process(format):
    assert pickle.loads(pickle.dumps(Target(format))).format is format


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
