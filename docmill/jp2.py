"""JPEG 2000 (ITU-T T.800) by its boxes and markers, without decoding: what PDF needs to know to hold it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from mmap import ACCESS_READ, mmap
from pathlib import Path

from docmill.errors import CorruptDocument

Buffer = bytes | mmap

SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"
_SOT, _SOD, _EOC = 0xFF90, 0xFF93, 0xFFD9
SRGB, GRAY = 16, 17  # enumerated colour spaces (I.5.3.3)


@dataclass(frozen=True, slots=True)
class Jp2:
    """A picture's layout: component depths in bits, what its boxes say of colour, and where its code lies.

    `color` is the enumerated colour space, None where there is no such box; `plain` is false where channels
    are a palette's, alpha, signed, sampled apart or placed off the grid's origin, or a tile is too large.
    """

    width: int
    height: int
    bits: tuple[int, ...]
    color: int | None
    icc_profile: bytes | None
    plain: bool
    start: int
    end: int


def read_jp2(data: Buffer) -> Jp2:
    """Read a JP2 file or a bare codestream, and check that no tile-part is cut off.

    Raises `CorruptDocument`.
    """
    if data[:4] == CODESTREAM:
        return _codestream(data, 0, len(data), {}, None)
    color: int | None = None
    profile: bytes | None = None
    header: dict[bytes, bytes] = {}
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"jp2h":
            for inner, inner_start, inner_end in _boxes(data, start, end):
                body = bytes(data[inner_start:inner_end])
                if inner == b"colr" and color is None and profile is None and len(body) >= 3:
                    if body[0] == 1 and len(body) >= 7:
                        color = int.from_bytes(body[3:7], "big")
                    elif body[0] in (2, 3):
                        profile = body[3:]
                header.setdefault(inner, body)
        elif kind == b"jp2c":
            found = _codestream(data, start, end, header, profile)
            return Jp2(
                found.width, found.height, found.bits, color, profile, found.plain, found.start, found.end
            )
    raise CorruptDocument("the JPEG 2000 file has no codestream", hint="the file seems to be truncated")


def profile_of(path: Path) -> bytes:
    """The ICC profile of a file, which Pillow does not tell; empty where it has none, or is damaged."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        try:
            return read_jp2(data).icc_profile or b""
        except CorruptDocument:  # where what can be decoded of a damaged file is asked for
            return b""


def wrapped(data: Buffer, picture: Jp2) -> Iterator[bytes]:
    """A bare codestream in the boxes of a JP2 file (I.5), which PDF asks for."""
    bits = picture.bits[0] - 1
    count = len(picture.bits)
    space = SRGB if count == 3 else GRAY
    header = _box(b"ihdr", struct.pack(">IIHBBBB", picture.height, picture.width, count, bits, 7, 0, 0))
    color = _box(b"colr", struct.pack(">BBBI", 1, 0, 0, space))
    yield SIGNATURE + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + _box(b"jp2h", header + color)
    yield struct.pack(">I4s", 0, b"jp2c")  # a length of 0: to the end of the file
    yield bytes(data[picture.start : picture.end])


def with_metadata(data: bytes, dpi: tuple[float, float] | None, icc_profile: bytes) -> bytes:
    """A JP2 file with its resolution (I.5.3.7.1) and ICC profile (I.5.3.3) in its header, where given."""
    out = []
    for kind, start, end in _boxes(data, 0, len(data)):
        body = data[start:end]
        if kind == b"jp2h":
            boxes = [(inner, body[at:stop]) for inner, at, stop in _boxes(body, 0, len(body))]
            if icc_profile:
                color = (b"colr", b"\2\0\0" + icc_profile)
                boxes = [color if inner == b"colr" else (inner, part) for inner, part in boxes]
            if dpi:
                boxes.append((b"res ", _box(b"resc", _capture_resolution(*dpi))))
            body = b"".join(_box(inner, part) for inner, part in boxes)
        out.append(_box(kind, body))
    return b"".join(out)


def _capture_resolution(x: float, y: float) -> bytes:
    """Points of the grid a metre, down and across: each a fraction of 16 bit numbers times a power of ten."""
    exponent = 2
    unit = Fraction("0.0254") * 10**exponent
    exact = [Fraction(side).limit_denominator(10**6) / unit for side in (y, x)]
    parts = [each.limit_denominator(max(1, min(0xFFFF, int(0xFFFF / each)))) for each in exact]
    numbers = [number for part in parts for number in (part.numerator, part.denominator)]
    return struct.pack(">HHHHbb", *numbers, exponent, exponent)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _boxes(data: Buffer, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= end:
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        body = start + 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack(">Q", data[start + 8 : start + 16])
            body += 8
        stop = end if size == 0 else start + size
        if stop < body or stop > end:
            if kind != b"jp2c":
                raise CorruptDocument("a box of the JPEG 2000 file is cut off", hint="it is truncated")
            stop = end  # the codestream tells itself whether it is whole
        yield kind, body, stop
        start = stop


def _codestream(data: Buffer, start: int, end: int, header: dict[bytes, bytes], profile: bytes | None) -> Jp2:
    size = bytes(data[start + 4 : min(end, start + 4 + 40 + 3 * 256)])
    if data[start : start + 4] != CODESTREAM or len(size) < 41:
        raise CorruptDocument("the JPEG 2000 codestream has no header", hint="the file seems to be truncated")
    length, _, width, height, left, top, tile_width, tile_height, *_, count = struct.unpack(
        ">HHIIIIIIIIH", size[:38]
    )
    if (
        not 1 <= count <= 256
        or length != 38 + 3 * count
        or len(size) < length
        or width <= left
        or height <= top
    ):
        raise CorruptDocument("the header of the JPEG 2000 codestream is out of range")
    depths = [size[38 + 3 * index : 41 + 3 * index] for index in range(count)]
    plain = (
        left == top == 0
        # Older releases of OpenJPEG, poppler's among them, count in 31 bits.
        and max(tile_width, tile_height) < 1 << 31
        and all(depth[0] < 128 and depth[1] == depth[2] == 1 for depth in depths)
        and b"pclr" not in header
        and b"cmap" not in header
        and not _has_alpha(header.get(b"cdef", b""))
    )
    stop = _end_of_tiles(data, start + 4 + length, end)
    bits = tuple((depth[0] & 127) + 1 for depth in depths)
    return Jp2(width - left, height - top, bits, None, profile, plain, start, stop)


def _has_alpha(definition: bytes) -> bool:
    """Whether a channel is no colour, or stands for another one than its number says (I.5.3.6)."""
    for at in range(2, len(definition) - 5, 6):
        channel, kind, meaning = struct.unpack(">HHH", definition[at : at + 6])
        if kind != 0 or meaning not in (0, channel + 1):
            return True
    return False


def _end_of_tiles(data: Buffer, position: int, end: int) -> int:
    """Walk the main header's segments and the tile-parts by their lengths; the offset behind EOC."""
    while position + 2 <= end:
        (marker,) = struct.unpack(">H", data[position : position + 2])
        if marker == _EOC:
            return position + 2
        if position + 12 > end:
            break
        (length,) = struct.unpack(">H", data[position + 2 : position + 4])
        if marker == _SOT:
            (length,) = struct.unpack(">I", data[position + 6 : position + 10])
            if length == 0:  # up to EOC
                if data[end - 2 : end] == b"\xff\xd9":
                    return end
                break
            if length < 14 or position + length > end:
                break
            position += length
        elif marker >> 8 != 0xFF or marker == _SOD or length < 2:
            raise CorruptDocument("the JPEG 2000 codestream is broken between its tiles")
        else:
            position += 2 + length
    raise CorruptDocument("the JPEG 2000 codestream ends early", hint="the file seems to be truncated")
