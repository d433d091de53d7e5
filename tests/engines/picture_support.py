"""What the tests of pictures to PDF share: pictures to convert, and how the pages come out."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image, ImageDraw

from docmill.documents.identify import identify
from docmill.engines.base import EngineOptions, EngineResult
from docmill.engines.raster_to_pdf import RasterToPdf
from docmill.formats import PDF, Target
from docmill.options import ConvertOptions
from docmill.png import ADAM7

SIZE = (61, 43)


# libjpeg is in every reader; its colour conversion may round another way in a build with other SIMD.
JPEG_TOLERANCE = 2


def convert(content: bytes, folder: Path, *, max_page_pixels: int = 10**8, **options: Any) -> EngineResult:
    """Convert a picture, whose type is told by its content; the output passes `qpdf --check`."""
    source = folder / "source"
    source.write_bytes(content)
    facts = identify(source, max_page_pixels=10**10, max_pages=1000, default_dpi=300)
    job = EngineOptions(
        Target(PDF),
        ConvertOptions(**options),
        mime_type=facts.mime_type,
        workers=2,
        name="output",
        max_page_pixels=max_page_pixels,
    )
    result = RasterToPdf().convert(source, folder, job, lambda progress: None)
    subprocess.run(["qpdf", "--check", result.outputs[0]], check=True, capture_output=True)
    if not result.failures:
        assert len(result.pages) == facts.page_count or "frames" in options
    return result


def renders(result: EngineResult, page: int = 1) -> list[Image.Image]:
    """A page as pdfium and as poppler draw it, at the image's own resolution."""
    size = result.pages[page - 1].width_px, result.pages[page - 1].height_px
    path = result.outputs[0]
    with pypdfium2.PdfDocument(path) as document:
        bitmap = pypdfium2.PdfBitmap.new_native(*size, pdfium.FPDFBitmap_BGR)
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, *size)
        pdfium.FPDF_RenderPageBitmap(bitmap, document[page - 1], 0, 0, *size, 0, 0)
        by_pdfium = bitmap.to_pil().convert("RGB")
    options = f"-f {page} -l {page} -singlefile -scale-to-x {size[0]} -scale-to-y {size[1]}"
    subprocess.run(["pdftoppm", *options.split(), path, path.with_suffix("")], check=True)
    with Image.open(path.with_suffix(".ppm")) as image:
        return [by_pdfium, image.convert("RGB")]


def assert_same(result: EngineResult, want: Image.Image, *, tolerance: int = 0, page: int = 1) -> None:
    want = want.convert("RGB")
    for who, got in zip(("pdfium", "poppler"), renders(result, page), strict=True):
        assert got.size == want.size, who
        off = np.abs(np.asarray(got).astype(int) - np.asarray(want).astype(int)).max()
        assert off <= tolerance, f"{who} is off by {off}"


def image_object(result: EngineResult, page: int = 1) -> dict[str, Any]:
    """The image XObject's dictionary in plain values, its raw stream as `data`."""
    with pikepdf.open(result.outputs[0]) as pdf:
        (image,) = pdf.pages[page - 1].get_images().values()
        values: dict[str, Any] = {str(key): image[key] for key in image}  # type: ignore[attr-defined]
        plain = {
            key: str(value) if isinstance(value, pikepdf.Name) else value for key, value in values.items()
        }
        if isinstance(plain["/ColorSpace"], pikepdf.Array):
            plain["/ColorSpace"] = str(plain["/ColorSpace"][0])
        plain["/SMask"] = "/SMask" in image
        plain["data"] = image.read_raw_bytes()
        return plain


def drawing(mode: str, size: tuple[int, int] = SIZE) -> Image.Image:
    """Gradients, edges and, where the mode has alpha, every opacity."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    bands = [x, y, 255 - x, (x + y) / 2]
    image = Image.fromarray(np.stack(bands[:3], -1).astype("uint8"))
    ImageDraw.Draw(image).ellipse((8, 8, 30, 30), fill=(200, 10, 60), outline=(255, 255, 255))
    if mode in ("LA", "RGBA"):
        image = image.convert("L" if mode == "LA" else "RGB").convert(mode)
        image.putalpha(Image.fromarray(bands[3].astype("uint8")))
        return image
    if mode == "I;16":
        return Image.fromarray((x * 257 // 2 + y).astype("uint16"))
    return image.quantize(64) if mode == "P" else image.convert(mode)


def on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def decoded(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return image


def bmp(bits: int, compression: int, masks: tuple[int, ...], rows: bytes, palette: bytes = b"") -> bytes:
    """A BMP of 61 x 43 pixels with a header of 40 bytes, the masks behind it."""
    extra = struct.pack(f"<{len(masks)}I", *masks) + palette
    start = 14 + 40 + len(extra)
    header = struct.pack(
        "<IiiHHIIiiII", 40, *SIZE, 1, bits, compression, len(rows), 0, 0, len(palette) // 4, 0
    )
    return struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + header + extra + rows


# PNGs that Pillow does not write


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    at, found = 8, []
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += size + 12
    return found


def from_chunks(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def with_chunks(content: bytes, extra: dict[bytes, bytes]) -> bytes:
    header, *rest = chunks_of(content)
    return from_chunks([header, *extra.items(), *rest])


def png(image: Image.Image, bits: int, kind: int, transparency: bytes = b"") -> bytes:
    """A gray or palette PNG of so many bits, from the high bits of an image of mode `L`."""
    samples = np.asarray(image) >> (8 - bits)
    planes = (samples[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(planes.reshape(image.height, -1).astype("uint8"), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", struct.pack(">II5B", *image.size, bits, kind, 0, 0, 0))]
    if kind == 3:
        chunks.append((b"PLTE", bytes(range(7, 7 + 3 * (1 << bits)))))
    if transparency:
        chunks.append((b"tRNS", transparency))
    return from_chunks([*chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")])


def png16(samples: np.ndarray, *, interlaced: bool = False, transparency: bytes = b"") -> bytes:
    """A PNG of 16 bit samples, its rows filtered by Sub, in Adam7's passes if asked for."""
    height, width, channels = samples.shape
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    raw = bytearray()
    for x, y, dx, dy in passes:
        for row in samples[y::dy, x::dx]:
            line = np.frombuffer(row.astype(">u2").tobytes(), np.uint8)
            before = np.concatenate([np.zeros(channels * 2, np.uint8), line[: -channels * 2]])
            raw += b"\1" + (line - before).tobytes()
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = [(b"IHDR", struct.pack(">II5B", width, height, 16, kind, 0, 0, int(interlaced)))]
    if transparency:
        chunks.append((b"tRNS", transparency))
    return from_chunks([*chunks, (b"IDAT", zlib.compress(bytes(raw))), (b"IEND", b"")])


def interlaced(content: bytes) -> bytes:
    """The same PNG in Adam7's passes."""
    image = decoded(content)
    bits, kind = content[24], content[25]
    if image.mode == "P" or bits < 8:
        samples = np.asarray(image).astype("uint8")[..., None]
    else:
        samples = np.asarray(image).reshape(image.height, image.width, -1)
    raw = bytearray()
    for x, y, dx, dy in ADAM7:
        for row in samples[y::dy, x::dx]:
            if row.size:
                planes = (row[..., None] >> np.arange(bits - 1, -1, -1)) & 1
                raw += b"\0" + np.packbits(planes.astype("uint8").reshape(-1)).tobytes()
    chunks = [
        (name, body[:12] + b"\1") if name == b"IHDR" else (name, body)
        for name, body in chunks_of(content)
        if name not in (b"IDAT", b"IEND")
    ]
    assert kind in (0, 2, 3, 6)
    return from_chunks([*chunks, (b"IDAT", zlib.compress(bytes(raw))), (b"IEND", b"")])
