"""BMP headers of Windows (12 to 124 bytes) and OS/2 (12 to 64): size, bits, compression, masks, palette."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from mmap import mmap

from docmill.errors import CorruptDocument
from docmill.facts import METRES_PER_INCH

Buffer = bytes | mmap

_FILE_HEADER = 14
_CORE = 12  # the header of OS/2 1.x and Windows 2
_OS2_V2 = frozenset({16, 64})
_MASKS_IN_HEADER = 52  # from this size on the masks are part of it


class Coding(Enum):
    """How the pixels are stored."""

    PLAIN = "uncompressed"
    RLE4 = "RLE 4"
    RLE8 = "RLE 8"
    RLE24 = "RLE 24"
    HUFFMAN = "CCITT Group 3"
    MASKS = "bit fields"
    JPEG = "JPEG"
    PNG = "PNG"


@dataclass(frozen=True, slots=True)
class BmpHeader:
    """What stands before the pixels.

    `masks` are those of red, green, blue and alpha, 0 where there is none; `palette` is RGB triples. `dpi_x`
    and `dpi_y` are 0 where the file names no resolution.
    """

    width: int
    height: int
    top_down: bool
    bits: int
    coding: Coding
    masks: tuple[int, int, int, int]
    palette: bytes
    pixels: int
    dpi_x: float
    dpi_y: float

    @property
    def row_bytes(self) -> int:
        """The bytes of a row, padded to 4."""
        return (self.width * self.bits + 31) // 32 * 4


def is_bmp(head: bytes) -> bool:
    """Whether a file that begins so is a BMP: its magic, and a header of a size that exists."""
    return head[:2] == b"BM" and len(head) >= 18 and 12 <= int.from_bytes(head[14:18], "little") <= 256


def read_bmp_header(data: Buffer) -> BmpHeader:
    """Read the header and palette; raises `CorruptDocument` for what no BMP has."""
    head = bytes(data[: _FILE_HEADER + 256])
    if len(head) < _FILE_HEADER + _CORE:
        raise CorruptDocument("the BMP ends within its header", hint="the file seems to be truncated")
    (pixels,) = struct.unpack_from("<I", head, 10)
    (size,) = struct.unpack_from("<I", head, 14)
    if len(head) < _FILE_HEADER + min(size, 64):
        raise CorruptDocument("the BMP ends within its header", hint="the file seems to be truncated")
    compression = colors = 0
    x_density = y_density = 0
    if size == _CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", head, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", head, 18)
        if size >= 40:
            compression, _, x_density, y_density, colors = struct.unpack_from("<IIiiI", head, 30)
    if width <= 0 or height == 0 or bits not in (0, 1, 2, 4, 8, 16, 24, 32):
        raise CorruptDocument(f"the BMP's header is out of range: {width} x {height} pixels of {bits} bits")
    coding = _coding(compression, bits, os2=size in _OS2_V2)
    count = min(colors or 1 << bits, 1 << bits) if bits <= 8 else 0
    entry = 3 if size == _CORE else 4
    masks, after = _masks(head, size, compression, bits)
    return BmpHeader(
        width=width,
        height=abs(height),
        top_down=height < 0,
        bits=bits,
        coding=coding,
        masks=masks,
        palette=_palette(data, after, count, entry, pixels),
        pixels=pixels,
        dpi_x=_dpi(x_density),
        dpi_y=_dpi(y_density),
    )


def _coding(compression: int, bits: int, *, os2: bool) -> Coding:
    known = {
        (0, False): Coding.PLAIN, (0, True): Coding.PLAIN,
        (1, False): Coding.RLE8, (1, True): Coding.RLE8, (2, False): Coding.RLE4, (2, True): Coding.RLE4,
        (3, False): Coding.MASKS, (3, True): Coding.HUFFMAN,
        (4, False): Coding.JPEG, (4, True): Coding.RLE24,
        (5, False): Coding.PNG, (6, False): Coding.MASKS,
    }  # fmt: skip
    coding = known.get((compression, os2))
    # OS/2 headers are as long as Windows writes them too: the bits tell the two apart.
    if coding is Coding.MASKS and bits == 1:
        coding = Coding.HUFFMAN
    elif coding is Coding.JPEG and bits == 24:
        coding = Coding.RLE24
    fits = {Coding.RLE8: (8,), Coding.RLE4: (4,), Coding.RLE24: (24,), Coding.HUFFMAN: (1,)}
    if coding is None or bits not in fits.get(coding, (bits,)) or (coding is Coding.MASKS and bits < 16):
        raise CorruptDocument(f"the BMP's compression {compression} with {bits} bits does not exist")
    if bits == 0 and coding not in (Coding.JPEG, Coding.PNG):
        raise CorruptDocument("the BMP's pixels have 0 bits")
    return coding


def _masks(head: bytes, size: int, compression: int, bits: int) -> tuple[tuple[int, int, int, int], int]:
    """The masks and the offset behind the header and them, where the palette begins."""
    after = _FILE_HEADER + size
    if compression in (3, 6) and bits in (16, 32):
        count = 4 if size >= 56 or compression == 6 else 3
        # Where the header is too short to hold them they follow it.
        start = _FILE_HEADER + 40
        if len(head) < start + 4 * count:
            raise CorruptDocument("the BMP ends within its bit masks", hint="the file seems to be truncated")
        red, green, blue, *alpha = struct.unpack_from(f"<{count}I", head, start)
        if size < _MASKS_IN_HEADER:
            after += 4 * count
        return (red, green, blue, alpha[0] if alpha else 0), after
    if bits == 16:
        return (0x7C00, 0x03E0, 0x001F, 0), after
    return (0xFF0000, 0x00FF00, 0x0000FF, 0), after


def _palette(data: Buffer, start: int, count: int, entry: int, pixels: int) -> bytes:
    # Some writers announce more colours than there is room for before the pixels.
    count = min(count, max(0, pixels - start) // entry)
    raw = bytes(data[start : start + count * entry])
    colors = bytearray(len(raw) // entry * 3)
    for channel in range(3):
        colors[channel::3] = raw[2 - channel :: entry][: len(colors) // 3]
    return bytes(colors)


def _dpi(per_metre: int) -> float:
    dpi = per_metre * METRES_PER_INCH
    whole = round(dpi)
    # 300 dpi is stored as 11811 pixels a metre.
    return 0.0 if not 1 < dpi < 100_000 else float(whole) if abs(dpi - whole) < 0.02 else dpi
