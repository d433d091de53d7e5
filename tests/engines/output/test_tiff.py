"""TIFF pages and files: every size, kind and compression reads back as it was, by other readers."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from docmill.engines.output.page import Color, PageImage, pack_bits
from docmill.engines.output.tiff_file import TiffFile
from docmill.engines.output.tiff_page import write_tiff_page
from docmill.formats import BILEVEL, Compression, Subsampling
from docmill.tiff_fields import Ifd, ascii_field

LOSSLESS = [compression for compression in Compression if compression is not Compression.JPEG]


def write(path: Path, pages: list[PageImage], compression: Compression, **file_options: int) -> None:
    with TiffFile(path, **file_options) as tiff:
        for number, page in enumerate(pages):
            strips = path.with_suffix(f".{number}")
            tiff.add(write_tiff_page(page, strips, compression, quality=95, subsampling=Subsampling.FULL))
            strips.unlink()


def make_page(
    samples: np.ndarray, color: Color, bits: int, *, alpha: bool = False, band_rows: int = 0, **more: object
) -> PageImage:
    """A page of `samples` (rows x samples, one a value), in bands of `band_rows`."""
    count = {Color.GRAY: 1, Color.RGB: 3, Color.PALETTE: 1, Color.CMYK: 4}[color] + alpha
    rows = pack_bits(samples, bits) if bits < 8 else samples
    step = band_rows or len(rows)
    return PageImage(
        width=samples.shape[1] // count,
        height=len(samples),
        color=color,
        bits=bits,
        alpha=alpha,
        bands=[rows[top : top + step] for top in range(0, len(rows), step)],
        band_rows=step,
        **more,
    )


@st.composite
def pages(draw: st.DrawFn, *, bilevel: bool = False) -> tuple[PageImage, np.ndarray]:
    """A page of any kind that TIFF holds, and its samples."""
    color, bits, alpha = (
        (Color.GRAY, 1, False)
        if bilevel
        else draw(
            st.sampled_from(
                [
                    (Color.GRAY, 1, False), (Color.GRAY, 4, False), (Color.GRAY, 8, False),
                    (Color.GRAY, 16, False), (Color.GRAY, 8, True), (Color.RGB, 8, False),
                    (Color.RGB, 8, True), (Color.RGB, 16, False), (Color.PALETTE, 8, False),
                    (Color.PALETTE, 4, False), (Color.CMYK, 8, False),
                ]
            )
        )
    )  # fmt: skip
    width = draw(st.integers(1, 200) | st.sampled_from([1, 7, 8, 9, 2480]))
    height = draw(st.integers(1, 150) | st.sampled_from([1, 1025]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = {Color.RGB: 3, Color.CMYK: 4}.get(color, 1) + alpha
    top = 1 << bits
    kind = draw(st.sampled_from(["noise", "flat", "ramp"]))
    if kind == "noise":
        samples = random.integers(0, top, (height, width * count))
    elif kind == "flat":
        samples = np.full((height, width * count), random.integers(0, top))
    else:
        samples = np.add.outer(np.arange(height), np.arange(width * count)) % top
    samples = samples.astype(np.uint16 if bits == 16 else np.uint8)
    palette = random.bytes(3 << bits) if color is Color.PALETTE else b""
    band_rows = draw(st.sampled_from([0, 64]))
    page = make_page(
        samples, color, bits, alpha=alpha, band_rows=band_rows, palette=palette, dpi=(300.0, 150.0)
    )
    return page, samples


modest = settings(max_examples=60)


@modest
@given(made=pages(), compression=st.sampled_from([c for c in LOSSLESS if c not in BILEVEL]))
def test_every_page_reads_back_by_tifffile(tmp_path, made, compression):
    page, samples = made
    write(tmp_path / "a.tif", [page], compression)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        read = tiff.pages[0].asarray()
        assert read.dtype == (bool if page.bits == 1 else samples.dtype)
        assert np.array_equal(read.reshape(samples.shape), samples)


@modest
@given(made=st.lists(pages(bilevel=True), min_size=1, max_size=3), compression=st.sampled_from(LOSSLESS))
def test_black_and_white_reads_back_by_pillow_and_tifffile(tmp_path, made, compression):
    path = tmp_path / "a.tif"
    write(path, [page for page, _ in made], compression)
    with Image.open(path) as image:
        for frame, (_, samples) in zip(ImageSequence.Iterator(image), made, strict=True):
            assert frame.mode == "1"
            assert np.array_equal(np.asarray(frame), samples.astype(bool))
    with tifffile.TiffFile(path) as tiff:
        for page, (_, samples) in zip(tiff.pages, made, strict=True):
            white_is_0 = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
            assert np.array_equal(page.asarray() ^ white_is_0, samples.astype(bool))


@modest
@given(made=pages(), compression=st.sampled_from([c for c in LOSSLESS if c not in BILEVEL]))
def test_pages_that_pillow_reads_are_the_same(tmp_path, made, compression):
    page, samples = made
    if page.bits == 16 and page.color is Color.RGB:
        return  # it has no mode for it
    write(tmp_path / "a.tif", [page], compression)
    with Image.open(tmp_path / "a.tif") as image:
        read = np.asarray(image)
        factor = 17 if page.bits == 4 and page.color is Color.GRAY else 1
        assert np.array_equal(read.reshape(samples.shape), samples * factor)


@pytest.mark.parametrize("subsampling", Subsampling)
@pytest.mark.parametrize("band_rows", [0, 64])
@pytest.mark.parametrize("color", [Color.GRAY, Color.RGB, Color.CMYK])
def test_jpeg_pages_are_close(tmp_path, color, band_rows, subsampling):
    count = {Color.GRAY: 1, Color.RGB: 3, Color.CMYK: 4}[color]
    y, x = np.mgrid[0:150, 0:203]
    smooth = np.stack([(x + 17 * channel) % 256 * 0.5 + y * 0.4 for channel in range(count)], axis=2)
    samples = smooth.astype(np.uint8).reshape(150, -1)
    page = make_page(samples, color, 8, band_rows=band_rows)
    strips = tmp_path / "strips"
    encoded = write_tiff_page(page, strips, Compression.JPEG, quality=95, subsampling=subsampling)
    with TiffFile(tmp_path / "a.tif") as tiff:
        tiff.add(encoded)
    with Image.open(tmp_path / "a.tif") as image:
        pillow = np.asarray(image).astype(int)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        other = tiff.pages[0].asarray().astype(int)
    assert np.abs(pillow.reshape(samples.shape) - samples).mean() < 4
    assert np.abs(other.reshape(samples.shape) - samples).mean() < 4


def test_tags_and_many_pages(tmp_path):
    gray = np.arange(64 * 48, dtype=np.uint8).reshape(48, 64)
    first = make_page(
        gray, Color.GRAY, 8, dpi=(300.0, 300.0), icc=b"profile" * 99, exif=Ifd({270: ascii_field(b"A page")})
    )
    second = replace(first, bands=[gray], dpi=(118.11, 96.5), orientation=6)
    third = replace(first, bands=[gray], dpi=None)
    path = tmp_path / "a.tif"
    write(path, [first, second, third], Compression.DEFLATE)
    with Image.open(path) as image:
        assert image.n_frames == 3
        assert image.info["dpi"] == (300, 300)
        assert image.info["icc_profile"] == b"profile" * 99
        assert image.tag_v2[270] == "A page"
        assert image.tag_v2[297] == (0, 3)
        image.seek(1)
        assert image.info["icc_profile"] == b"profile" * 99
        assert image.info["dpi"] == pytest.approx((118.11, 96.5))
        assert image.tag_v2[274] == 6
        image.seek(2)
        assert image.tag_v2[296] == 1
    done = subprocess.run(["tiffinfo", "-D", path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "Resolution: 118.11, 96.5 pixels/inch" in done.stdout


def test_a_file_beyond_the_limit_of_classic_tiff_is_bigtiff(tmp_path):
    gray = np.random.default_rng(1).integers(0, 256, (300, 200)).astype(np.uint8)
    pages = [make_page(gray, Color.GRAY, 8, dpi=(200.0, 200.0)) for _ in range(5)]
    path = tmp_path / "a.tif"
    write(path, pages, Compression.LZW, classic_limit=100_000)
    assert path.read_bytes()[:4] == b"II\x2b\0"
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        assert len(tiff.pages) == 5
        assert all(np.array_equal(page.asarray(), gray) for page in tiff.pages)
    with Image.open(path) as image:
        assert image.n_frames == 5
        assert np.array_equal(np.asarray(image), gray)
    assert subprocess.run(["tiffinfo", "-D", path], capture_output=True, check=True).stderr == b""


def test_directories_count_for_the_limit_of_classic_tiff(tmp_path):
    page = make_page(np.zeros((64, 64), np.uint8), Color.GRAY, 8)
    write(tmp_path / "a.tif", [page], Compression.DEFLATE)
    size = (tmp_path / "a.tif").stat().st_size
    write(tmp_path / "b.tif", [page], Compression.DEFLATE, classic_limit=size)
    assert (tmp_path / "b.tif").read_bytes()[:4] == b"II\x2b\0"


def test_strips_are_small_enough_to_read_one_by_one(tmp_path):
    page = make_page(np.zeros((4000, 3000), np.uint8), Color.GRAY, 8)
    write(tmp_path / "a.tif", [page], Compression.DEFLATE)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].rowsperstrip * 3000 <= 1 << 20
        assert not tiff.pages[0].asarray().any()


def test_nothing_is_completed_after_an_error(tmp_path):
    page = make_page(np.zeros((4, 4), np.uint8), Color.GRAY, 8)
    with pytest.raises(RuntimeError), TiffFile(tmp_path / "a.tif") as tiff:
        tiff.add(
            write_tiff_page(page, tmp_path / "s", Compression.NONE, quality=90, subsampling=Subsampling.FULL)
        )
        raise RuntimeError
    assert (tmp_path / "a.tif").read_bytes()[:2] != b"II"
