"""What the tests of pictures to pictures share: pictures to convert, and how they come out."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from docmill.engines.base import EngineOptions, EngineResult
from docmill.engines.raster_to_raster import RasterToRaster
from docmill.formats import BY_EXTENSION, target_from_name
from docmill.options import ConvertOptions


def convert(source: Path, to: str, out_dir: Path, *, workers: int = 1, **asked: object) -> EngineResult:
    engine = {name: asked.pop(name) for name in ("max_page_pixels", "max_pages") if name in asked}
    options = EngineOptions(
        target=target_from_name(to),
        options=ConvertOptions(**asked),
        workers=workers,
        name="doc",
        mime_type=BY_EXTENSION[source.suffix.lstrip(".")].mime_type,
        **engine,
    )
    out_dir.mkdir(exist_ok=True)
    result = RasterToRaster().convert(source, out_dir, options, lambda progress: None)
    assert sorted(result.outputs) == sorted(out_dir.iterdir())
    return result


def picture(mode: str, size: tuple[int, int] = (61, 47)) -> Image.Image:
    """Noise on a ramp, in any of Pillow's modes."""
    width, height = size
    random = np.random.default_rng(len(mode))
    bands = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}.get(mode, 1)
    ramp = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[:, :, None]
    pixels = ((ramp + random.integers(0, 60, (height, width, bands))) % 256).astype(np.uint8)
    if mode in ("1", "P"):
        gray = Image.fromarray(pixels[:, :, 0])
        return (
            gray.convert("1")
            if mode == "1"
            else Image.merge("RGB", [gray, gray.rotate(180), gray]).quantize(99)
        )
    if mode == "I;16":
        return Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257 + 3)
    if mode == "F":
        return Image.fromarray(pixels[:, :, 0].astype(np.float32) / 7)
    if mode == "I":
        return Image.fromarray(pixels[:, :, 0].astype(np.int32) * 100_000)
    return Image.fromarray(pixels[:, :, 0] if bands == 1 else pixels, mode)


def same(path: Path, expected: Image.Image, mode: str | None = None) -> None:
    with Image.open(path) as image:
        image.load()
        mode = mode or image.mode
        assert image.size == expected.size
        assert np.array_equal(np.asarray(image.convert(mode)), np.asarray(expected.convert(mode)))


def read_wide(path: Path) -> np.ndarray:
    read = imagecodecs.png_decode(path.read_bytes()) if path.suffix == ".png" else tifffile.imread(path)
    return read.reshape(*read.shape[:2], -1)
