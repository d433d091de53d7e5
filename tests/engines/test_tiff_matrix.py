"""TIFF layouts that Pillow misreads or does not read, against the samples that went in."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pytest
import tifffile
from PIL import Image

from docmill.engines.base import EngineOptions, EngineResult
from docmill.engines.raster.wide import sixteen_bit_with_alpha
from docmill.engines.raster_to_pdf import RasterToPdf
from docmill.engines.raster_to_raster import RasterToRaster
from docmill.errors import UnsupportedConversion
from docmill.formats import PDF, TIFF, Target

SHAPE = (37, 51)


def convert(source: Path) -> EngineResult:
    options = EngineOptions(Target(PDF), mime_type="image/tiff", name="out")
    return RasterToPdf().convert(source, source.parent, options, lambda progress: None)


def stored(result: EngineResult, *, mask: bool = False) -> np.ndarray:
    """The samples of the page's image, or of its soft mask, by qpdf."""
    with pikepdf.open(result.outputs[0]) as pdf:
        image = pdf.pages[0].Resources.XObject.Im0
        image = image.SMask if mask else image
        kind = ">u2" if image.BitsPerComponent == 16 else "u1"
        data = np.frombuffer(image.read_bytes(), kind)
        return data.reshape(int(image.Height), int(image.Width), -1)


def noise(kind: str, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(7)
    if kind.startswith("f"):
        return rng.random((*SHAPE, channels)).astype(kind)
    return rng.integers(0, np.iinfo(kind).max, (*SHAPE, channels), kind, endpoint=True)


LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 32)},
    "LZW and predictor": {"compression": "lzw", "predictor": True, "rowsperstrip": 8},
    "ZSTD, tiled": {"compression": "zstd", "tile": (32, 16)},
    "LZMA": {"compression": "lzma"},
    "big-endian PackBits": {"byteorder": ">", "compression": "packbits"},
    "big-endian Deflate": {"byteorder": ">", "compression": "zlib", "predictor": True, "tile": (16, 16)},
}


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_samples_of_every_layout(tmp_path: Path, name: str, kind: str, planar: str) -> None:
    samples = noise(kind)
    data = np.moveaxis(samples, 2, 0) if planar == "separate" else samples
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, data, photometric="rgb", planarconfig=planar, **LAYOUTS[name])
    wanted = np.rint(samples.astype(float) * 65535) if kind == "f4" else samples
    assert np.array_equal(stored(convert(source)), wanted)


@pytest.mark.parametrize("compression", [None, "lzw", "jpeg"])
def test_ycbcr_in_separate_planes(tmp_path: Path, compression: str | None) -> None:
    red = Image.linear_gradient("L").resize((40, 30))
    rgb = Image.merge("RGB", (red, red.rotate(90, expand=True).resize((40, 30)), red.rotate(180)))
    planes = np.moveaxis(np.asarray(rgb.convert("YCbCr")), 2, 0)
    source = tmp_path / "in.tif"
    how = {"photometric": "ycbcr", "planarconfig": "separate", "compression": compression}
    tifffile.imwrite(source, planes, subsampling=(1, 1), **how)
    off = np.abs(stored(convert(source)).astype(int) - np.asarray(rgb))
    assert off.max() <= (3 if compression != "jpeg" else 40)
    # The same planes, named as if the chroma were smaller: no plane has the pixels of that.
    subsampled = source.read_bytes().replace(
        struct.pack("<HHIHH", 530, 3, 2, 1, 1), struct.pack("<HHIHH", 530, 3, 2, 2, 2)
    )
    source.write_bytes(subsampled)
    with pytest.raises(UnsupportedConversion, match="subsampled YCbCr in separate planes"):
        convert(source)


@pytest.mark.parametrize("kind", ["u2", "u4", "f2", "f8"])
def test_gray_whose_white_is_0(tmp_path: Path, kind: str) -> None:
    samples = noise(kind, 1)[..., 0]
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, samples, photometric="miniswhite")
    values = samples.astype(float)
    if kind == "u4":
        low, high = values.min(), values.max()
        values = (values - low) / (high - low) * 65535
    elif kind != "u2":
        values *= 65535
    off = np.abs(stored(convert(source))[..., 0].astype(int) - (65535 - np.rint(values)))
    assert off.max() <= (0 if kind == "u2" else 1)


@pytest.mark.parametrize("kind, most", [("u1", 255), ("u2", 65535)])
@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_extra_samples(tmp_path: Path, kind: str, most: int, extra: str) -> None:
    samples = noise(kind, 4)
    samples[..., 3] |= 1
    source = tmp_path / "in.tif"
    written = samples.copy()
    if extra == "assocalpha":
        written[..., :3] = samples[..., :3].astype(np.uint32) * samples[..., 3:] // most
    tifffile.imwrite(source, written, photometric="rgb", extrasamples=[extra], tile=(16, 16))
    result = convert(source)
    if extra == "unspecified":
        with pikepdf.open(result.outputs[0]) as pdf:
            assert "/SMask" not in pdf.pages[0].Resources.XObject.Im0
    else:
        assert np.array_equal(stored(result, mask=True)[..., 0], samples[..., 3])
    colors = stored(result)
    if extra == "assocalpha":
        again = colors.astype(np.float64) * samples[..., 3:] / most
        assert np.abs(again - written[..., :3]).max() <= 0.5 + 1e-9
    else:
        assert np.array_equal(colors, samples[..., :3])


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("opacity", [1.0, 0.5])
@pytest.mark.parametrize("kind", ["u4", "i4", "i2", "f4"])
def test_one_opacity_of_a_whole_page_is_that_opacity(
    tmp_path: Path, kind: str, opacity: float, extra: str
) -> None:
    """It was stretched as gray of no stated range is, so that an opaque page came out blank."""
    most = 1.0 if kind == "f4" else float(np.iinfo(kind).max)
    gray = np.linspace(0, 1, SHAPE[0] * SHAPE[1]).reshape(*SHAPE)
    stored_gray = gray * opacity if extra == "assocalpha" else gray
    samples = np.dstack([stored_gray, stored_gray, stored_gray, np.full(SHAPE, opacity)])
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, (samples * most).astype(kind), photometric="rgb", extrasamples=[extra])
    result = convert(source)
    with pikepdf.open(result.outputs[0]) as pdf:
        has_mask = "/SMask" in pdf.pages[0].Resources.XObject.Im0
    assert has_mask == (opacity < 1)
    if has_mask:
        assert np.abs(stored(result, mask=True)[..., 0] / 65535 - opacity).max() < 0.001
    assert np.abs(stored(result)[..., 0] / 65535 - gray).max() < 0.001


@pytest.mark.parametrize("bits", [3, 10, 12, 14, 24])
def test_odd_depths_are_scaled_to_the_next_that_pdf_has(tmp_path: Path, bits: int) -> None:
    kind = "u1" if bits < 8 else "u2" if bits < 16 else "u4"
    samples = noise("u4", 1)[..., 0] >> (32 - bits)
    source = tmp_path / "in.tif"
    if bits == 24:
        packed = samples.astype("<u4").view("u1").reshape(*SHAPE, 4)[..., :3].reshape(SHAPE[0], -1)
    else:
        digits = (samples[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        packed = np.packbits(digits.astype("u1").reshape(SHAPE[0], -1), axis=1)
    tifffile.imwrite(source, packed.astype("u1"), photometric="minisblack")
    with tifffile.TiffFile(source, mode="r+b") as tiff:
        tags = tiff.pages[0].tags
        tags["BitsPerSample"].overwrite(bits)
        tags["ImageWidth"].overwrite(SHAPE[1])
    made = stored(convert(source))[..., 0].astype(float)
    if bits == 24:
        low, high = float(samples.min()), float(samples.max())
        wanted = (samples - low) / (high - low) * 65535
    else:
        wanted = samples / ((1 << bits) - 1) * (255 if kind == "u1" else 65535)
    assert np.abs(made - wanted).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_the_same_layouts_become_other_pictures(tmp_path: Path, planar: str) -> None:
    """16 bit colours in tiles of planes, as a TIFF of 16 bits."""
    samples = noise("u2")
    data = np.moveaxis(samples, 2, 0) if planar == "separate" else samples
    source, out = tmp_path / "in.tif", tmp_path / "out"
    out.mkdir()
    tifffile.imwrite(source, data, photometric="rgb", planarconfig=planar, tile=(16, 16), compression="zstd")
    options = EngineOptions(Target(TIFF), mime_type="image/tiff", name="out")
    result = RasterToRaster().convert(source, out, options, lambda progress: None)
    assert np.array_equal(tifffile.imread(result.outputs[0]), samples)


def test_webp_in_tiff(tmp_path: Path) -> None:
    samples = noise("u1")
    source = tmp_path / "in.tif"
    tifffile.imwrite(
        source, samples, photometric="rgb", compression="webp", compressionargs={"lossless": True}
    )
    assert np.array_equal(stored(convert(source)), samples)


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, noise("f4", 1)[..., 0].astype("c8"))
    with pytest.raises(UnsupportedConversion, match="complex samples"):
        convert(source)
    tifffile.imwrite(source, noise("u1", 1)[..., 0], compression="lerc")
    with pytest.raises(UnsupportedConversion, match="LERC"):
        convert(source)


def test_colours_and_alpha_of_32_bit_integers_have_one_white() -> None:
    colors, alpha = np.array([[200]], np.uint32), np.array([[65535]], np.uint32)
    assert [int(values[0, 0]) for values in sixteen_bit_with_alpha(colors, alpha, 32)] == [200, 65535]
    assert [int(values[0, 0]) for values in sixteen_bit_with_alpha(alpha, colors, 32)] == [65535, 200]
