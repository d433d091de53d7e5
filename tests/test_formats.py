"""Names, and the targets that they come to."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docmill.errors import InvalidJobData
from docmill.formats import (
    BITS_PER_PIXEL,
    FORMATS,
    JPEG,
    PDF,
    PNG,
    TIFF,
    Compression,
    Subsampling,
    Target,
    target_for,
    target_from_name,
)


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
