"""PNG to PDF: rows that are copied, alpha, 16 bits, interlacing, colour, animations."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pytest
from PIL import Image

from docmill.errors import CorruptDocument
from tests.engines.picture_support import (
    SIZE,
    assert_same,
    chunks_of,
    convert,
    decoded,
    drawing,
    encoded,
    image_object,
    interlaced,
    on_white,
    png,
    png16,
    renders,
    with_chunks,
)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "I;16"])
def test_png_rows_are_copied(tmp_path: Path, mode: str) -> None:
    content = encoded(drawing(mode), "PNG", dpi=(200, 100))
    result = convert(content, tmp_path)
    image = image_object(result)
    assert image["data"] == b"".join(body for kind, body in chunks_of(content) if kind == b"IDAT")
    assert image["/DecodeParms"]["/Predictor"] == 15
    assert (result.pages[0].width_pt, result.pages[0].height_pt) == (61 * 72 / 200, 43 * 72 / 100)
    want = decoded(content)
    if mode == "I;16":
        want = Image.fromarray((np.asarray(want) / 257).round().astype("uint8"))
    assert_same(result, want, tolerance=mode == "I;16")


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("kind", [0, 3])
def test_png_of_few_bits(tmp_path: Path, bits: int, kind: int) -> None:
    content = png(drawing("L"), bits, kind)
    assert_same(convert(content, tmp_path), decoded(content))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_becomes_a_soft_mask(tmp_path: Path, mode: str) -> None:
    content = encoded(drawing(mode), "PNG")
    result = convert(content, tmp_path)
    assert image_object(result)["/SMask"]
    assert_same(result, on_white(decoded(content)), tolerance=1)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_alpha_is_laid_on_white_by_option(tmp_path: Path, mode: str) -> None:
    image = drawing(mode)
    options = {"transparency": 3} if mode == "P" else {}
    content = encoded(image, "PNG", **options)
    result = convert(content, tmp_path, alpha="white")
    assert not image_object(result)["/SMask"]
    assert_same(result, on_white(decoded(content)), tolerance=1)


@pytest.mark.parametrize(
    ("mode", "transparency"), [("1", 0), ("L", 10), ("RGB", (200, 10, 60)), ("P", 3), ("P", bytes(range(64)))]
)
def test_transparent_colours_let_the_page_through(tmp_path: Path, mode: str, transparency: Any) -> None:
    content = encoded(drawing(mode), "PNG", transparency=transparency)
    assert_same(convert(content, tmp_path), on_white(decoded(content)), tolerance=1)


@pytest.mark.parametrize("bits", [2, 4])
def test_transparent_gray_of_few_bits(tmp_path: Path, bits: int) -> None:
    content = png(drawing("L"), bits, 0, transparency=struct.pack(">H", 1))
    levels = (1 << bits) - 1
    gray = np.asarray(drawing("L")) >> (8 - bits)
    want = np.where(gray == 1, 255, gray * (255 // levels)).astype("uint8")
    assert_same(convert(content, tmp_path), Image.fromarray(want))
    assert_same(convert(content, tmp_path, alpha="white"), Image.fromarray(want))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_its_bits(tmp_path: Path, channels: int, interlaced: bool) -> None:
    samples = np.random.default_rng(channels).integers(0, 65536, (43, 61, channels), dtype=np.uint16)
    result = convert(png16(samples, interlaced=interlaced), tmp_path)
    with pikepdf.open(result.outputs[0]) as pdf:
        (image,) = pdf.pages[0].get_images().values()
        assert image.BitsPerComponent == 16
        colors = channels - (channels in (2, 4))
        got = np.frombuffer(image.read_bytes(), ">u2").reshape(43, 61, colors)
        assert (got == samples[..., :colors]).all()
        if channels in (2, 4):
            alpha = np.frombuffer(image.SMask.read_bytes(), ">u2").reshape(43, 61)
            assert (alpha == samples[..., -1]).all()


def test_16_bit_png_with_a_transparent_colour(tmp_path: Path) -> None:
    samples = np.zeros((43, 61, 3), np.uint16)
    samples[:, 30:] = (1000, 2000, 3000)
    samples[:, 40:] = (1001, 2000, 3000)  # differs in the low byte only, which poppler's own masks miss
    result = convert(png16(samples, transparency=struct.pack(">HHH", 1000, 2000, 3000)), tmp_path)
    for image in renders(result):
        assert image.getpixel((35, 20)) == (255, 255, 255)
        assert max(image.getpixel((45, 20))) < 20


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P"])
def test_interlaced_png(tmp_path: Path, mode: str) -> None:
    image = drawing(mode)
    content = interlaced(encoded(image, "PNG"))
    assert decoded(content).convert("RGBA").tobytes() == image.convert("RGBA").tobytes()
    assert_same(convert(content, tmp_path), on_white(image), tolerance=1)


def test_srgb_and_calibrated_colour(tmp_path: Path) -> None:
    plain = encoded(drawing("RGB"), "PNG")
    srgb_primaries = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    for chunks, space in [
        ({b"sRGB": b"\0"}, "/ICCBased"),
        ({b"gAMA": struct.pack(">I", 45455), b"cHRM": struct.pack(">8I", *srgb_primaries)}, "/ICCBased"),
        ({b"gAMA": struct.pack(">I", 55556), b"cHRM": struct.pack(">8I", *srgb_primaries)}, "/CalRGB"),
        ({b"gAMA": struct.pack(">I", 55556)}, "/DeviceRGB"),
        ({b"gAMA": struct.pack(">I", 55556), b"cHRM": bytes(32)}, "/DeviceRGB"),
    ]:
        result = convert(with_chunks(plain, chunks), tmp_path)
        assert image_object(result)["/ColorSpace"] == space
        if space == "/ICCBased":  # readers leave sRGB as it is
            assert_same(result, decoded(plain))


def test_a_picture_of_srgb_makes_the_same_bytes_again(tmp_path: Path) -> None:
    content = with_chunks(encoded(drawing("RGB"), "PNG"), {b"sRGB": b"\0"})
    first = convert(content, tmp_path).outputs[0].read_bytes()
    assert convert(content, tmp_path).outputs[0].read_bytes() == first


def test_an_animated_png_gives_its_first_frame_or_all(tmp_path: Path) -> None:
    frames = [Image.new("RGB", SIZE, color) for color in ("red", "lime", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    assert len(convert(buffer.getvalue(), tmp_path).pages) == 1
    result = convert(buffer.getvalue(), tmp_path, frames="all")
    for number, frame in enumerate(frames, 1):
        assert_same(result, frame, page=number)


def test_a_png_with_a_wrong_checksum_of_its_pixels_fails(tmp_path: Path) -> None:
    content = bytearray(encoded(drawing("RGB"), "PNG"))
    content[content.index(b"IEND") - 9] ^= 1  # the last byte of the Adler-32
    with pytest.raises(CorruptDocument, match="page 1"):
        convert(bytes(content), tmp_path)
