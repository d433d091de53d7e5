"""PNG (W3C PNG, third edition) read by its chunks: header, colour, resolution, completeness."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

from docmill.errors import CorruptDocument
from docmill.exif import read_exif, xmp_orientation
from docmill.facts import METRES_PER_INCH, plausible_aspect

Buffer = bytes | mmap

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGB_ALPHA: 4}
_DEPTHS = {
    GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGB_ALPHA: (8, 16),
}  # fmt: skip
_COLORS = {
    GRAY: "gray",
    RGB: "RGB",
    PALETTE: "palette",
    GRAY_ALPHA: "gray and alpha",
    RGB_ALPHA: "RGB and alpha",
}
_COLOR_CHUNKS = {b"cICP": 4, b"mDCV": 24, b"cLLI": 8, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1}
# A profile is kilobytes, seldom megabytes; a bomb in iCCP must not take the memory of the whole job.
_MAX_PROFILE = 16 << 20
# Of texts only those are of interest that carry metadata of other formats, which are small.
_MAX_TEXTS, _MAX_TEXT = 100, 1 << 20
# The bytes of one pass of an interlaced image: x and y of its first pixel, and the steps (Adam7).
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk: its type, and where its data begins and ends."""

    type: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What a PNG says beside its pixels.

    `dpi_x` and `dpi_y` are 0 where there is no resolution in metres; `aspect` is then their ratio, vertical
    to horizontal, if there is one. `transparency` is tRNS as it stands; `chromaticities` are the eight
    numbers of cHRM (white, red, green, blue as x, y); `idat` are the ranges of the image's data; `frames` are
    those of an animation.
    """

    width: int
    height: int
    bits: int
    color_type: int
    interlaced: bool
    palette: bytes
    transparency: bytes | None
    gamma: float | None
    chromaticities: tuple[float, ...] | None
    icc_profile: bytes | None
    is_srgb: bool
    orientation: int
    dpi_x: float
    dpi_y: float
    aspect: float
    idat: tuple[tuple[int, int], ...]
    ends: bool
    frames: int = 1

    @property
    def channels(self) -> int:
        return _CHANNELS[self.color_type]

    @property
    def color(self) -> str:
        return _COLORS[self.color_type]

    @property
    def row_bytes(self) -> int:
        """The bytes of a row, without its filter byte."""
        return (self.width * self.channels * self.bits + 7) // 8

    @property
    def has_alpha(self) -> bool:
        return self.color_type in (GRAY_ALPHA, RGB_ALPHA) or self.transparency is not None


def is_png(head: bytes) -> bool:
    """Whether a file that begins so is a PNG."""
    return head[:8] == SIGNATURE


def read_png_header(data: Buffer) -> PngHeader:
    """Read all chunks but the pixels.

    Raises `CorruptDocument` where the header is missing or names what the standard does not allow.
    """
    first: dict[bytes, bytes] = {}
    idat: list[tuple[int, int]] = []
    texts: list[bytes] = []
    ends = False
    for chunk in chunks(data):
        if chunk.type == b"IDAT":
            idat.append((chunk.start, chunk.end))
        elif chunk.type in (b"IHDR", b"PLTE"):
            # The pixels' own checksum (Adler-32) is looked at when they are read; these have only this one.
            body = bytes(data[chunk.start : chunk.end])
            if zlib.crc32(chunk.type + body) != int.from_bytes(data[chunk.end : chunk.end + 4], "big"):
                name = chunk.type.decode()
                raise CorruptDocument(f"the PNG's {name} chunk is damaged: its checksum is wrong")
            first.setdefault(chunk.type, body)
        elif chunk.type == b"IEND":
            ends = True
        elif chunk.type in (b"tEXt", b"zTXt", b"iTXt"):
            if len(texts) < _MAX_TEXTS:
                texts.append(bytes(data[chunk.start : min(chunk.end, chunk.start + _MAX_TEXT)]))
        else:
            # Colour and resolution count only where they stand, before the pixels.
            if not idat or chunk.type == b"eXIf":
                first.setdefault(chunk.type, bytes(data[chunk.start : chunk.end]))
    header = first.get(b"IHDR", b"")
    if len(header) != 13:
        raise CorruptDocument("the PNG has no header chunk", hint="the file seems to be damaged")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits, color_type, method, filtering, interlace = header[8:13]
    if not 0 < width < 1 << 31 or not 0 < height < 1 << 31:
        raise CorruptDocument(f"the PNG's size of {width} x {height} is out of range")
    if bits not in _DEPTHS.get(color_type, ()) or method or filtering or interlace > 1:
        raise CorruptDocument(f"the PNG's header is out of range: {bits} bit, colour type {color_type}")
    palette = first.get(b"PLTE", b"")
    if color_type == PALETTE and (not palette or len(palette) % 3 or len(palette) > 768):
        raise CorruptDocument("the PNG's palette is missing or broken")
    if not idat:
        raise CorruptDocument("the PNG has no image data", hint="the file seems to be truncated")
    density = _density(first.get(b"pHYs", b""))
    exif = read_exif(first.get(b"eXIf") or _raw_profile(texts))
    orientation = exif.orientation if exif.orientation != 1 else _xmp_orientation(texts)
    gamma = int.from_bytes(first.get(b"gAMA", b"")[:4], "big") / 100_000
    return PngHeader(
        width=width,
        height=height,
        bits=bits,
        color_type=color_type,
        interlaced=interlace == 1,
        palette=palette,
        transparency=_transparency(first.get(b"tRNS"), color_type),
        gamma=gamma or None,
        chromaticities=_chromaticities(first.get(b"cHRM", b"")),
        icc_profile=_icc_profile(first.get(b"iCCP", b"")),
        is_srgb=b"sRGB" in first,
        orientation=orientation,
        dpi_x=_dpi(density[0]) if density[2] else exif.dpi_x,
        dpi_y=_dpi(density[1]) if density[2] else exif.dpi_y,
        aspect=plausible_aspect(*density[:2]),
        idat=tuple(idat),
        ends=ends,
        frames=int.from_bytes(first.get(b"acTL", b"")[:4], "big") or 1,
    )


def color_chunks(data: Buffer) -> tuple[tuple[bytes, bytes], ...]:
    """The chunks that say what the colours are beside an ICC profile, each with its type."""
    found = []
    for chunk in chunks(data):
        if chunk.type == b"IDAT":
            break
        if chunk.type in _COLOR_CHUNKS and chunk.end - chunk.start == _COLOR_CHUNKS[chunk.type]:
            found.append((chunk.type, bytes(data[chunk.start : chunk.end])))
    return tuple(dict(found).items())


def chunks(data: Buffer) -> Iterator[Chunk]:
    """The chunks in order, up to IEND or the end of the data; one that is cut off ends with the data."""
    position = len(SIGNATURE)
    while True:
        head = data[position : position + 8]
        if len(head) < 8:
            return
        start, end = position + 8, position + 8 + int.from_bytes(head[:4], "big")
        chunk = Chunk(bytes(head[4:]), start, min(end, len(data)))
        yield chunk
        if chunk.type == b"IEND":
            return
        position = end + 4


def _density(body: bytes) -> tuple[int, int, bool]:
    """Pixels a metre on each axis and True, or False where they tell a pixel's shape only."""
    x, y = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
    return (x, y, body[8] == 1) if len(body) == 9 and x and y else (1, 1, False)


def _dpi(per_metre: int) -> float:
    # 300 dpi is stored as 11811 pixels a metre, 299.9994: meant is the whole number.
    dpi = per_metre * METRES_PER_INCH
    if not 1 < dpi < 100_000:  # never meant
        return 0.0
    return float(round(dpi)) if round(round(dpi) / METRES_PER_INCH) == per_metre else dpi


def _transparency(body: bytes | None, color_type: int) -> bytes | None:
    expected = {GRAY: 2, RGB: 6}.get(color_type)
    if body is None or color_type in (GRAY_ALPHA, RGB_ALPHA) or (expected and len(body) < expected):
        return None
    return body[:expected] if expected else body[:256]


def _chromaticities(body: bytes) -> tuple[float, ...] | None:
    if len(body) != 32:
        return None
    return tuple(int.from_bytes(body[at : at + 4], "big") / 100_000 for at in range(0, 32, 4))


def _raw_profile(texts: list[bytes]) -> bytes:
    """Exif as ImageMagick stores it: a text of a name, a length and hex digits, often compressed."""
    for text in texts:
        name, _, body = text.partition(b"\0")
        if name not in (b"Raw profile type exif", b"Raw profile type APP1"):
            continue
        if body[:1] == b"\0":  # zTXt: the compression method
            try:
                body = zlib.decompressobj().decompress(body[1:], _MAX_TEXT)
            except zlib.error:
                continue
        try:
            return bytes.fromhex(b"".join(body.split()[2:]).decode("ascii"))
        except ValueError:
            continue
    return b""


def _xmp_orientation(texts: list[bytes]) -> int:
    for text in texts:
        if text.startswith(b"XML:com.adobe.xmp\0"):
            return xmp_orientation(text)
    return 1


def _icc_profile(body: bytes) -> bytes | None:
    name, _, rest = body.partition(b"\0")
    if not name or rest[:1] != b"\0":
        return None
    try:
        profile = zlib.decompressobj().decompress(rest[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if len(profile) > 128 and profile[36:40] == b"acsp" else None
