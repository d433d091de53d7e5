"""`python -m tests.corpus.generate FOLDER`: a corpus of what encoders can write, and of the same damaged.

Seeded: the same seed makes the same files. Each is named for its encoder, its options and its damage, so that
a file that breaks docmill can be made again from its name and seed.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageDraw

PILLOW: tuple[tuple[str, str, tuple[str, ...], tuple[dict[str, Any], ...]], ...] = (
    ("JPEG", "jpg", ("L", "RGB", "CMYK"), (
        {}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": "4:2:0", "quality": 30},
        {"quality": 100, "optimize": True, "dpi": (300, 150)},
    )),
    ("PNG", "png", ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), ({}, {"optimize": True}, {"dpi": (72, 72)})),
    ("TIFF", "tif", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "LAB"), tuple(
        {"compression": c} for c in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma")
    )),
    ("TIFF", "tif", ("1",), tuple({"compression": name} for name in ("group3", "group4", "tiff_ccitt"))),
    ("TIFF", "tif", ("L", "RGB", "CMYK"), ({"compression": "jpeg"}, {"compression": "jpeg", "quality": 30})),
    ("GIF", "gif", ("1", "L", "P", "RGB", "RGBA"), ({}, {"interlace": 0})),
    ("BMP", "bmp", ("1", "L", "P", "RGB", "RGBA"), ({}, {"dpi": (100, 100)})),
    ("WEBP", "webp", ("RGB", "RGBA"), ({"lossless": True, "exact": True}, {"quality": 60})),
    ("AVIF", "avif", ("RGB", "RGBA"), ({"quality": 90},)),
    ("JPEG2000", "jp2", ("L", "LA", "RGB", "RGBA", "I;16"), (
        {}, {"irreversible": True}, {"no_jp2": True}, {"tile_size": (64, 64)},
    )),
    ("PPM", "ppm", ("1", "L", "RGB", "I;16"), ({},)),
    ("TGA", "tga", ("L", "LA", "P", "RGB", "RGBA"), ({}, {"compression": "tga_rle"})),
    ("PCX", "pcx", ("1", "L", "P", "RGB"), ({},)),
    ("SGI", "sgi", ("L", "RGB", "RGBA"), ({}, {"bpc": 2})),
    ("DDS", "dds", ("L", "LA", "RGB", "RGBA"), ({},)),
    ("QOI", "qoi", ("RGB", "RGBA"), ({},)),
    ("ICO", "ico", ("RGBA",), ({"sizes": [(48, 48)]}, {"sizes": [(48, 48)], "bitmap_format": "bmp"})),
    ("IM", "im", ("1", "L", "P", "RGB", "CMYK"), ({},)),
    ("MSP", "msp", ("1",), ({},)),
    ("XBM", "xbm", ("1",), ({},)),
    ("SPIDER", "spider", ("F",), ({},)),
)  # fmt: skip
TIFFFILE_TYPES = ("bool", "u1", "u2", "u4", "f2", "f4", "i1", "i2")
TIFFFILE_OPTIONS: tuple[dict[str, Any], ...] = (
    {}, {"tile": (32, 32)}, {"compression": "zlib", "predictor": True}, {"compression": "lzw"},
    {"bigtiff": True, "rowsperstrip": 7}, {"byteorder": ">", "compression": "packbits"},
    {"planarconfig": "separate"}, {"compression": "zstd"}, {"photometric": "miniswhite"},
)  # fmt: skip
SIZES = ((1, 1), (3, 5), (61, 43), (64, 64), (200, 130))


def generate(folder: Path, *, seed: int, damaged: int) -> list[Path]:
    """Write the whole files, and `damaged` broken ones made of them."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = random.Random(seed)
    files = []
    for name, write in [*_by_pillow(dice), *_by_tifffile(dice)]:
        try:
            content = write()
        except Exception:
            continue  # this encoder does not take this mode: nothing to learn from it
        path = folder / name
        path.write_bytes(content)
        files.append(path)
    for number in range(damaged):
        source = dice.choice(files)
        kind, content = _damage(bytearray(source.read_bytes()), dice)
        path = folder / f"damaged-{seed}-{number}-{kind}-{source.name}"
        path.write_bytes(content)
    return sorted(folder.iterdir())


def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    """A picture with gradients, edges and noise, the same for the same arguments."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    noise = np.random.default_rng(width * height).normal(0, 2, (height, width))
    bands = [np.clip(band + noise, 0, 255) for band in (x, y, 255 - x)]
    image = Image.fromarray(np.stack(bands, -1).astype("uint8"))
    ImageDraw.Draw(image).ellipse((width // 8, height // 8, width // 2, height // 2), fill=(200, 10, 60))
    if mode in ("LA", "RGBA"):
        image = image.convert("L" if mode == "LA" else "RGB").convert(mode)
        image.putalpha(Image.fromarray(y.astype("uint8")))
        return image
    if mode == "I;16":
        return Image.fromarray((x * 200 + y).astype("uint16"))
    if mode == "LAB":
        return Image.merge("LAB", image.split())
    return image.convert("L").convert(mode) if mode in ("I", "F") else image.convert(mode)


def _by_pillow(dice: random.Random) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for format, extension, modes, variants in PILLOW:
        for mode in modes:
            for options in variants:
                size = dice.choice(SIZES)
                words = "-".join(f"{key}={value}" for key, value in options.items())
                name = f"pillow-{mode.replace(';', '')}-{size[0]}x{size[1]}-{words}.{extension}"
                yield _file_name(name), _pillow_writer(picture(mode, size), format, options)


def _pillow_writer(image: Image.Image, format: str, options: dict[str, Any]) -> Callable[[], bytes]:
    def write() -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
        return buffer.getvalue()

    return write


def _by_tifffile(dice: random.Random) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for kind in TIFFFILE_TYPES:
        for options in TIFFFILE_OPTIONS:
            for channels in (1, 3, 4):
                width, height = dice.choice(SIZES)
                words = "-".join(f"{key}={value}" for key, value in options.items())
                name = f"tifffile-{kind}-{channels}-{width}x{height}-{words}.tif"
                yield _file_name(name), _tifffile_writer((height, width, channels), kind, options)


def _tifffile_writer(shape: tuple[int, int, int], kind: str, options: dict[str, Any]) -> Callable[[], bytes]:
    def write() -> bytes:
        samples = np.random.default_rng(shape[0]).random(shape)
        top = {"bool": 1, "u1": 255, "u2": 65535, "u4": 2**32 - 1, "i1": 127, "i2": 32767}.get(kind, 1)
        data = (samples * top).round().astype("?" if kind == "bool" else kind)
        data = data[..., 0] if shape[2] == 1 else data
        arguments = dict(options)
        if arguments.get("planarconfig"):
            data = np.moveaxis(data, -1, 0)
        if shape[2] > 1 and "photometric" not in arguments:
            arguments["photometric"] = "rgb"
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, data, **arguments)
        return buffer.getvalue()

    return write


def _damage(content: bytearray, dice: random.Random) -> tuple[str, bytes]:
    kind = dice.choice(("bytes", "head", "cut", "zeros", "doubled", "tail"))
    at = dice.randrange(len(content))
    if kind == "bytes":
        for _ in range(dice.randint(1, 12)):
            content[dice.randrange(len(content))] = dice.randrange(256)
    elif kind == "head":
        for _ in range(dice.randint(1, 4)):
            content[dice.randrange(min(200, len(content)))] = dice.choice((0, 1, 127, 128, 255))
    elif kind == "cut":
        del content[at:]
    elif kind == "zeros":
        size = min(len(content) - at, dice.randint(1, 200))
        content[at : at + size] = bytes(size)
    elif kind == "doubled":
        content[at:at] = content[at : at + dice.randint(1, 100)]
    else:
        content += dice.randbytes(dice.randint(1, 300))
    return kind, bytes(content)


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-=._" else "_" for letter in text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.corpus.generate", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--damaged", type=int, default=200, help="how many broken files to add")
    arguments = parser.parse_args()
    files = generate(arguments.folder, seed=arguments.seed, damaged=arguments.damaged)
    print(f"{len(files)} files in {arguments.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
