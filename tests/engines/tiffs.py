"""TIFF files of every layout, made from known pixels without docmill's own code."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import imagecodecs
from PIL import Image

NONE, RLE, G3, G4, LZW, JPEG, DEFLATE, PACKBITS, OLD_DEFLATE = 1, 2, 3, 4, 5, 7, 8, 32773, 32946
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FAX = {RLE: "tiff_ccitt", G3: "group3", G4: "group4"}
_CODES = {3: "H", 4: "I", 5: "II", 7: "B", 13: "I", 16: "Q"}


@dataclass
class Layout:
    """How pixels are stored; the defaults are those of the TIFF specification."""

    compression: int = NONE
    photometric: int = 1
    bits: int = 8
    samples: int = 1
    rows_per_strip: int = 1 << 30
    fill_order: int = 1
    orientation: int = 1
    predictor: int = 1
    dpi: tuple[int, int] = (72, 72)
    unit: int = 2
    t4_options: int = 0
    palette: bytes = b""  # RGB, 3 << bits bytes
    extra: dict[int, tuple[int, tuple[int, ...] | bytes]] = field(default_factory=dict)


def tiff_bytes(
    pages: list[tuple[bytes, int, int, Layout]], byte_order: str = "<", big: bool = False
) -> bytes:
    """A TIFF of pages, each its packed rows as the samples are stored, width, height and layout."""
    out = io.BytesIO()
    head = struct.pack(byte_order + ("HHHQ" if big else "HI"), *((43, 8, 0, 16) if big else (42, 8)))
    out.write((b"II" if byte_order == "<" else b"MM") + head)
    link = out.tell() - (8 if big else 4)
    for rows, width, height, layout in pages:
        strips = encoded_strips(rows, width, height, layout)
        offsets = []
        for strip in strips:
            offsets.append(out.tell())
            out.write(strip)
        out.write(b"\0" * (-out.tell() % 8))
        at = out.tell()
        out.seek(link)
        out.write(struct.pack(byte_order + ("Q" if big else "I"), at))
        out.seek(at)
        link = _directory(out, _tags(width, height, layout, offsets, strips), byte_order, big)
    return out.getvalue()


def expected_image(rows: bytes, width: int, height: int, layout: Layout) -> Image.Image:
    """What the pixels mean, turned upright: `L`, `RGB` or `CMYK`."""
    bits, samples = layout.bits, layout.samples
    stride = (width * samples * bits + 7) // 8
    values = bytearray()
    for top in range(0, height * stride, stride):
        row = int.from_bytes(rows[top : top + stride])
        for index in range(width * samples):
            values.append(row >> (8 * stride - bits * (index + 1)) & (1 << bits) - 1)
    if layout.palette:
        colors = [layout.palette[3 * i : 3 * i + 3] for i in range(1 << bits)]
        image = Image.frombytes("RGB", (width, height), b"".join(colors[value] for value in values))
    else:
        white = (1 << bits) - 1
        levels = [value * 255 // white for value in values]
        if layout.photometric == 0:
            levels = [255 - level for level in levels]
        image = Image.frombytes({1: "L", 3: "RGB", 4: "CMYK"}[samples], (width, height), bytes(levels))
    return upright(image, layout.orientation)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = Image.Transpose
    turns = {2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
             6: turn.ROTATE_270, 7: turn.TRANSVERSE, 8: turn.ROTATE_90}  # fmt: skip
    return image.transpose(turns[orientation]) if orientation in turns else image


def encoded_strips(rows: bytes, width: int, height: int, layout: Layout) -> list[bytes]:
    stride = (width * layout.samples * layout.bits + 7) // 8
    count = min(layout.rows_per_strip, height)
    strips = []
    for top in range(0, height, count) if rows else ():
        part = rows[top * stride : (top + count) * stride]
        strips.append(_encoded(part, width, len(part) // stride, stride, layout))
    return strips


def _encoded(rows: bytes, width: int, height: int, stride: int, layout: Layout) -> bytes:
    if layout.predictor == 2:
        step = layout.samples
        rows = b"".join(_differenced(rows[i : i + stride], step) for i in range(0, len(rows), stride))
    match layout.compression:
        case 1:
            data = rows
        case 2 | 3 | 4:
            return _fax(rows, width, height, layout)
        case 5:
            data = imagecodecs.lzw_encode(rows)
        case 7:
            return _jpeg(rows, width, height, layout)
        case 8 | 32946:
            data = zlib.compress(rows, 6)
        case 32773:
            data = b"".join(
                imagecodecs.packbits_encode(rows[i : i + stride]) for i in range(0, len(rows), stride)
            )
        case other:
            raise ValueError(other)
    return data.translate(REVERSED) if layout.fill_order == 2 else data


def _differenced(row: bytes, step: int) -> bytes:
    return row[:step] + bytes((value - before) & 255 for value, before in zip(row[step:], row, strict=False))


def _fax(rows: bytes, width: int, height: int, layout: Layout) -> bytes:
    """Fax coding by libtiff through Pillow: a 0 bit is a white run, whatever it means."""
    image = Image.frombytes("1", (width, height), rows)
    buffer = io.BytesIO()
    tags: dict[int, Any] = {278: height, 262: 1}
    if layout.compression == G3:
        tags[292] = layout.t4_options
    image.save(buffer, "TIFF", compression=_FAX[layout.compression], tiffinfo=tags)
    with Image.open(buffer) as tiff:
        (start,), (size,) = tiff.tag_v2[273], tiff.tag_v2[279]
        assert tiff.tag_v2[262] == 1
    data = buffer.getvalue()[start : start + size]
    return data.translate(REVERSED) if layout.fill_order == 2 else data


def _jpeg(rows: bytes, width: int, height: int, layout: Layout) -> bytes:
    """A JPEG strip whose components are the samples (RGB photometric) or their YCbCr (6), 4:4:4."""
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[layout.samples]
    if layout.photometric == 6:
        mode = "YCbCr"
    buffer = io.BytesIO()
    image = Image.frombytes("RGB" if mode == "YCbCr" else mode, (width, height), rows)
    keep: dict[str, Any] = {"keep_rgb": True} if mode == "RGB" else {}
    if mode == "CMYK":  # Pillow inverts, as Adobe does; TIFF does not
        image = Image.frombytes(mode, (width, height), bytes(255 - value for value in rows))
    image.save(buffer, "JPEG", quality=90, subsampling=0, **keep)
    return buffer.getvalue()


def _tags(
    width: int, height: int, layout: Layout, offsets: list[int], strips: list[bytes]
) -> dict[int, tuple[int, Any]]:
    x, y = layout.dpi
    tags: dict[int, tuple[int, Any]] = {
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (layout.bits,) * layout.samples),
        259: (3, (layout.compression,)),
        262: (3, (layout.photometric,)),
        266: (3, (layout.fill_order,)),
        273: (4, tuple(offsets)),
        274: (3, (layout.orientation,)),
        277: (3, (layout.samples,)),
        278: (4, (min(layout.rows_per_strip, height),)),
        279: (4, tuple(map(len, strips))),
        282: (5, (x, 1)),
        283: (5, (y, 1)),
        296: (3, (layout.unit,)),
    }
    if layout.predictor != 1:
        tags[317] = (3, (layout.predictor,))
    if layout.compression == G3:
        tags[292] = (4, (layout.t4_options,))
    if layout.palette:
        channels = [layout.palette[i::3] for i in range(3)]
        tags[320] = (3, tuple(value * 257 for channel in channels for value in channel))
    return tags | layout.extra


def _directory(out: io.BytesIO, tags: dict[int, tuple[int, Any]], order: str, big: bool) -> int:
    """Write a directory and the values beside it; the position of its link is returned."""
    start = out.tell()
    inline, entry = (8, 20) if big else (4, 12)
    beside = start + (8 if big else 2) + entry * len(tags) + inline
    entries, after = [struct.pack(order + ("Q" if big else "H"), len(tags))], []
    for tag, (kind, values) in sorted(tags.items()):
        code = _CODES[kind]
        packed = struct.pack(f"{order}{len(values)}{code[0]}", *values)
        head = struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, len(values) // len(code))
        if len(packed) > inline:
            entries.append(head + struct.pack(order + ("Q" if big else "I"), beside))
            packed += b"\0" * (len(packed) % 2)
            after.append(packed)
            beside += len(packed)
        else:
            entries.append(head + packed.ljust(inline, b"\0"))
    out.write(b"".join(entries))
    link = out.tell()
    out.write(bytes(inline) + b"".join(after))
    return link
