"""BMP variants that Pillow does not read: any bit masks, 2 bits, RLE 24, Huffman, short OS/2 headers."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np

from docmill.bmp import BmpHeader, Buffer, Coding
from docmill.errors import CorruptDocument
from docmill.tiff_tags import Compression, Photometric, Tag

if TYPE_CHECKING:
    from PIL import Image

# Rows are turned into colours in parts of so many pixels, to keep the memory of 32 bit sums small.
_PART = 1 << 22


def decode_bmp(data: Buffer, header: BmpHeader) -> Image.Image:
    """The picture as Pillow would give it: `P`, `RGB`, `RGBA`, or what an embedded JPEG or PNG is.

    Raises `CorruptDocument` where pixels are missing; what Pillow raises for an embedded picture passes.
    """
    from PIL import Image

    if header.coding in (Coding.JPEG, Coding.PNG):
        return _embedded(bytes(data[header.pixels :]), header.coding.name)
    if header.coding is Coding.HUFFMAN:
        image = (
            _embedded(_group3_tiff(bytes(data[header.pixels :]), header), "TIFF")
            .convert("L")
            .point(lambda level: level // 255, "L")
        )
        image = Image.frombytes("P", image.size, image.tobytes())
    elif header.coding in (Coding.RLE4, Coding.RLE8, Coding.RLE24):
        rows = _run_lengths(data, header)
        mode = "RGB" if header.coding is Coding.RLE24 else "P"
        image = Image.frombytes(mode, (header.width, header.height), rows.tobytes())
    else:
        image = _uncompressed(data, header)
    if image.mode == "P":
        image.putpalette(header.palette.ljust(3, b"\0"))
    return image if header.top_down else image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


def _uncompressed(data: Buffer, header: BmpHeader) -> Image.Image:
    from PIL import Image

    size = header.row_bytes * header.height
    raw = data[header.pixels : header.pixels + size]
    if len(raw) < size:
        raise CorruptDocument(f"the BMP's pixels end {size - len(raw)} bytes early", hint="it is truncated")
    rows = np.frombuffer(raw, np.uint8).reshape(header.height, header.row_bytes)
    shape = header.width, header.height
    if header.bits <= 8:
        return Image.frombytes("P", shape, _indexes(rows, header).tobytes())
    if header.bits == 24:
        colors = rows[:, : header.width * 3].reshape(header.height, header.width, 3)[:, :, ::-1]
        return Image.frombytes("RGB", shape, colors.tobytes())
    pixels = rows.view(f"<u{header.bits // 8}")[:, : header.width]
    masks = [mask for mask in header.masks if mask] if header.masks[3] else list(header.masks[:3])
    out = np.zeros((header.height, header.width, len(masks)), np.uint8)
    step = max(1, _PART // header.width)
    for top in range(0, header.height, step):
        for channel, mask in enumerate(masks):
            out[top : top + step, :, channel] = _field(pixels[top : top + step], mask)
    return Image.frombytes("RGBA" if len(masks) == 4 else "RGB", shape, out.tobytes())


def _indexes(
    rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]], header: BmpHeader
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if header.bits == 8:
        return rows[:, : header.width]
    per_byte = 8 // header.bits
    shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * header.bits
    spread = (rows[:, :, None] >> shifts) & ((1 << header.bits) - 1)
    return spread.astype(np.uint8).reshape(header.height, -1)[:, : header.width]


def _field(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]], mask: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A field of the pixels, scaled to 0 to 255."""
    if mask == 0:
        return np.zeros(pixels.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    highest = mask >> shift
    values = (pixels.astype(np.uint64) & mask) >> np.uint64(shift)
    return ((values * 255 + highest // 2) // highest).astype(np.uint8)


def _run_lengths(data: Buffer, header: BmpHeader) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """RLE of 4, 8 or 24 bits (the Windows and OS/2 documentation); pixels that are skipped stay 0."""
    step = 3 if header.bits == 24 else 1
    canvas = bytearray(header.width * header.height * step)
    source = bytes(data[header.pixels :])
    x = y = position = 0
    while position + 2 <= len(source) and y < header.height:
        count, value = source[position], source[position + 1]
        position += 2
        if count:  # a run
            run = _unit(source, position - 1, count, header.bits)
            position += step - 1
        elif value == 0:  # the end of a row
            x, y = 0, y + 1
            continue
        elif value == 1:  # the end of the picture
            break
        elif value == 2:  # a jump
            if position + 2 > len(source):
                break
            x, y = x + source[position], y + source[position + 1]
            position += 2
            continue
        else:  # pixels one by one, padded to 2 bytes
            size = (value * header.bits + 7) // 8
            run = _literal(source[position : position + size], value, header.bits)
            position += size + size % 2
        room = max(0, header.width - x) * step
        start = (y * header.width + x) * step
        canvas[start : start + min(len(run), room)] = run[:room]
        x += len(run) // step
    else:
        if y < header.height - 1:
            raise CorruptDocument(f"the BMP's run lengths end in row {y + 1}", hint="it is truncated")
    shape = (header.height, header.width, 3) if step == 3 else (header.height, header.width)
    pixels = np.frombuffer(canvas, np.uint8).reshape(shape)
    return pixels[:, :, ::-1] if step == 3 else pixels


def _unit(source: bytes, at: int, count: int, bits: int) -> bytes:
    if bits == 4:
        return (bytes((source[at] >> 4, source[at] & 15)) * (count // 2 + 1))[:count]
    return source[at : at + bits // 8] * count


def _literal(raw: bytes, count: int, bits: int) -> bytes:
    if bits != 4:
        return raw
    return bytes(nibble for byte in raw for nibble in (byte >> 4, byte & 15))[:count]


def _embedded(content: bytes, format: str) -> Image.Image:
    from PIL import Image

    image = Image.open(io.BytesIO(content), formats=(format,))
    image.load()
    return image


def _group3_tiff(strip: bytes, header: BmpHeader) -> bytes:
    """OS/2's Huffman coding, CCITT Group 3 in one dimension, as a TIFF for libtiff to decode."""
    tags = {
        Tag.IMAGE_WIDTH: header.width,
        Tag.IMAGE_LENGTH: header.height,
        Tag.BITS_PER_SAMPLE: 1,
        Tag.COMPRESSION: Compression.CCITT_G3,
        Tag.PHOTOMETRIC: Photometric.MIN_IS_BLACK,
        Tag.STRIP_OFFSETS: 8 + 2 + 12 * 9 + 4,
        Tag.SAMPLES_PER_PIXEL: 1,
        Tag.ROWS_PER_STRIP: header.height,
        Tag.STRIP_BYTE_COUNTS: len(strip),
    }
    long = 4
    directory = b"".join(struct.pack("<HHII", tag, long, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + directory + bytes(4) + strip
