"""PNG: every kind of page reads back as it was, is narrowed without loss, and says its resolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from docmill.engines.deflate import Filter
from docmill.engines.output.deflate import predict
from docmill.engines.output.narrow import narrow
from docmill.engines.output.page import Color, PageImage
from docmill.engines.output.png_file import write_png

modest = settings(max_examples=60)


def rgb_page(pixels: np.ndarray, band_rows: int = 0, **more: object) -> PageImage:
    height, width, _ = pixels.shape
    rows = pixels.reshape(height, width * 3)
    step = band_rows or height
    bands = [rows[top : top + step] for top in range(0, height, step)]
    return PageImage(width=width, height=height, color=Color.RGB, bits=8, bands=bands, band_rows=step, **more)


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    """Pixels of few or many colours, with or without colour."""
    width, height = draw(st.integers(1, 120)), draw(st.integers(1, 200))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.sampled_from([1, 2, 3, 4, 5, 16, 17, 256, 257, 5000]))
    colors = random.integers(0, 256, (count, 3))
    if draw(st.booleans()):
        colors[:, 1] = colors[:, 2] = colors[:, 0]
    if draw(st.booleans()):
        colors[colors < 128] = 0
        colors[colors >= 128] = 255
    pixels = colors[random.integers(0, count, (height, width))]
    return pixels.astype(np.uint8)


@modest
@given(pixels=pictures(), band_rows=st.sampled_from([0, 64]), palette=st.booleans())
def test_every_picture_reads_back(tmp_path, pixels, band_rows, palette):
    path = tmp_path / "a.png"
    write_png(narrow(rgb_page(pixels, band_rows), palette=palette), path)
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), pixels)


@pytest.mark.parametrize(
    ("colors", "mode", "bits"),
    [
        ([(0, 0, 0), (255, 255, 255)], "1", 1),
        ([(10, 10, 10), (255, 255, 255)], "P", 1),
        ([(9, 9, 9), (99, 99, 99), (200, 200, 200)], "P", 2),
        ([(level, level, level) for level in range(16)], "P", 4),
        ([(level, level, level) for level in range(17)], "L", 8),
        ([(255, 0, 0), (0, 0, 255)], "P", 1),
        ([(level, 0, 0) for level in range(200)], "P", 8),
        ([(level, index, 0) for level in range(32) for index in range(32)], "RGB", 8),
    ],
)
def test_a_page_takes_as_few_bits_as_it_needs(tmp_path, colors, mode, bits):
    pixels = np.resize(np.array(colors, np.uint8), (70, 90, 3))
    path = tmp_path / "a.png"
    write_png(narrow(rgb_page(pixels), palette=True), path)
    with Image.open(path) as image:
        assert image.mode == mode
        assert path.read_bytes()[24] == bits
        assert np.array_equal(np.asarray(image.convert("RGB")), pixels)


def test_metadata(tmp_path):
    pixels = np.zeros((5, 7, 3), np.uint8)
    page = narrow(rgb_page(pixels, dpi=(300.0, 150.0), icc=b"profile"), palette=False)
    assert page.color is Color.RGB  # the profile is one for RGB
    write_png(page, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
        assert image.info["icc_profile"] == b"profile"


@pytest.mark.parametrize(("color", "alpha"), [(Color.GRAY, False), (Color.GRAY, True), (Color.RGB, False)])
def test_16_bits(tmp_path, color, alpha):
    count = (3 if color is Color.RGB else 1) + alpha
    samples = np.random.default_rng(3).integers(0, 1 << 16, (40, 30 * count)).astype(np.uint16)
    page = PageImage(width=30, height=40, color=color, bits=16, alpha=alpha, bands=[samples], band_rows=40)
    write_png(page, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        if count == 1:
            assert image.mode == "I;16"
            assert np.array_equal(np.asarray(image), samples)
        else:
            # Pillow keeps the high bytes.
            image = image.convert("LA" if alpha else "RGB")
            assert np.array_equal(np.asarray(image).reshape(samples.shape), samples >> 8)


@modest
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 140), st.sampled_from([1, 3, 6]))
def test_predictions_by_the_letter_of_the_standard(seed, width, height, pixel_bytes):
    rows = np.random.default_rng(seed).integers(0, 256, (height, width * pixel_bytes)).astype(np.uint8)
    for filter in Filter:
        assert np.array_equal(predict(rows, pixel_bytes, filter), slow_predict(rows, pixel_bytes, filter))


def slow_predict(rows: np.ndarray, pixel_bytes: int, filter: Filter) -> np.ndarray:
    above_and_left = np.zeros((rows.shape[0] + 1, rows.shape[1] + pixel_bytes), int)
    above_and_left[1:, pixel_bytes:] = rows
    left, up, corner = (
        above_and_left[1:, :-pixel_bytes],
        above_and_left[:-1, pixel_bytes:],
        above_and_left[:-1, :-pixel_bytes],
    )
    if filter is Filter.PAETH:
        guess = np.vectorize(paeth)(left, up, corner)
    else:
        mean = (left + up) // 2
        guess = {Filter.NONE: 0, Filter.SUB: left, Filter.UP: up, Filter.AVERAGE: mean}[filter]
    return ((rows.astype(int) - guess) % 256).astype(np.uint8)


def paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))
