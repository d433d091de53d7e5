"""JPEG (ITU-T T.81) read by its markers, without decoding: size, colour, resolution, metadata."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

from docmill.errors import CorruptDocument
from docmill.exif import Exif, read_exif, xmp_orientation
from docmill.facts import plausible_aspect

Buffer = bytes | mmap

_SOI, EOI, SOS, DHT, DQT, DRI, _COM = 0xD8, 0xD9, 0xDA, 0xC4, 0xDB, 0xDD, 0xFE
_DAC = 0xCC
_APP0, _APP1, _APP2, _APP13, _APP14 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, _DAC}
_PROCESSES = {
    0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive", 0xC3: "lossless",
    0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical",
    0xC9: "arithmetic", 0xCA: "arithmetic progressive", 0xCB: "arithmetic lossless",
    0xCD: "hierarchical", 0xCE: "hierarchical", 0xCF: "hierarchical",
}  # fmt: skip
_ICC, _ADOBE, _PHOTOSHOP = b"ICC_PROFILE\0", b"Adobe", b"Photoshop 3.0\0"
# Multi-Picture Format (CIPA DC-007): the entries' tag, and the type of a preview of the first picture.
_MPF, _MP_ENTRIES, _MP_LARGE_THUMBNAIL = b"MPF\0", 0xB002, 0x01
_MAX_PICTURES = 1000
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF_DPI = 72.0
# The second picture is then a gain map, by which a display brightens the first.
_GAIN_MAP = b' hdrgm:Version="'


@dataclass(frozen=True, slots=True)
class Component:
    """A component of the frame: its identifier, sampling factors, and quantization table."""

    identifier: int
    horizontal: int
    vertical: int
    quantization: int

    @property
    def blocks(self) -> int:
        """Its blocks in a coded unit of an interleaved scan."""
        return self.horizontal * self.vertical


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker segment: `start` is that of its FF, `payload` the bytes after its length field."""

    marker: int
    start: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the markers before the first scan say.

    `width` and `height` are those of the stored rows, before the Exif orientation is applied. `dpi_x` and
    `dpi_y` are 0 where the file names no resolution; `aspect` is then their ratio, vertical to horizontal, if
    it names that. `adobe_transform` is None without an Adobe marker.
    `has_tables` is false for a frame cut out of a Motion JPEG, which relies on the standard's example tables.
    `pictures` are the offsets of the pictures that are pages of their own, more than one in Multi-Picture
    Format. `scan_start` is the offset of the first SOS marker.
    """

    width: int
    height: int
    bits: int
    process: str
    components: tuple[Component, ...]
    orientation: int
    dpi_x: float
    dpi_y: float
    aspect: float
    has_jfif: bool
    adobe_transform: int | None
    icc_profile: bytes | None
    restart_interval: int
    has_tables: bool
    pictures: tuple[int, ...]
    scan_start: int

    @property
    def color(self) -> str:
        """`gray`, `YCbCr`, `RGB`, `CMYK` or `YCCK`, by the rules that libjpeg made the custom."""
        identifiers = bytes(component.identifier for component in self.components)
        match len(self.components):
            case 1:
                return "gray"
            case 3 if self.has_jfif:
                return "YCbCr"
            case 3 if self.adobe_transform is not None:
                return "RGB" if self.adobe_transform == 0 else "YCbCr"
            case 3:
                return "RGB" if identifiers == b"RGB" else "YCbCr"
            case 4:
                return "YCCK" if self.adobe_transform else "CMYK"
            case count:
                return f"{count} components"

    @property
    def fits_pdf(self) -> bool:
        """Whether a PDF's DCTDecode can hold the stream as it is (ISO 32000-1, 7.4.8)."""
        return (
            self.process in ("baseline", "extended", "progressive")
            and self.bits == 8
            and len(self.components) in (1, 3, 4)
        )

    @property
    def encoding(self) -> str:
        """The name that people see, e.g. `JPEG (progressive)`."""
        if self.process == "baseline":
            return "JPEG"
        return f"JPEG ({self.process}{', 12 bit' if self.bits == 12 else ''})"


def is_jpeg(head: bytes) -> bool:
    """Whether a file that begins so is a JPEG."""
    return head[:3] == b"\xff\xd8\xff"


def read_jpeg_header(data: Buffer, start: int = 0) -> JpegHeader:
    """Read the markers from SOI at `start` to the first SOS.

    Raises `CorruptDocument` where the file ends before its first scan or contradicts itself.
    """
    frame: Segment | None = None
    jfif = b""
    has_jfif = False
    adobe: int | None = None
    exif: Exif | None = None
    orientation_by_xmp = 1
    photoshop_dpi: tuple[float, float] | None = None
    icc_chunks: dict[int, bytes] = {}
    interval = 0
    tables: set[int] = set()
    pictures: tuple[int, ...] = (start,)
    has_gain_map = False
    for segment in _segments(data, start):
        payload = segment.payload
        if segment.marker in _FRAMES:
            if frame is not None:
                raise CorruptDocument("the JPEG has two frame headers")
            frame = segment
        elif segment.marker == _APP0 and payload[:5] == b"JFIF\0":
            has_jfif = True
            jfif = payload
        elif segment.marker == _APP1 and payload[:4] == b"Exif" and exif is None:
            exif = read_exif(payload)
        elif segment.marker == _APP1 and payload.startswith(_XMP):
            orientation_by_xmp = xmp_orientation(payload)
            has_gain_map = has_gain_map or _GAIN_MAP in payload
        elif segment.marker == _APP2 and payload[:4] == _MPF and start == 0:
            pictures = _pictures(payload[4:], segment.start + 8, len(data))
        elif segment.marker == _APP2 and payload[:12] == _ICC and len(payload) > 14:
            icc_chunks.setdefault(payload[12], payload[14:])
        elif segment.marker == _APP13 and payload.startswith(_PHOTOSHOP):
            photoshop_dpi = _photoshop_resolution(payload) or photoshop_dpi
        elif segment.marker == _APP14 and payload[:5] == _ADOBE and len(payload) >= 12:
            adobe = payload[11]
        elif segment.marker == DRI and len(payload) >= 2:
            interval = int.from_bytes(payload[:2], "big")
        elif segment.marker in (DHT, DQT, _DAC):
            tables.add(segment.marker)
        elif segment.marker == SOS:
            break
    else:
        raise CorruptDocument("the JPEG ends before its first scan", hint="the file seems to be truncated")
    if frame is None:
        raise CorruptDocument("the JPEG has no frame header")
    bits, height, width, components = _frame_header(frame.payload)
    # Exif that names no resolution means 72 dpi, by its standard, unless JFIF or it knows better.
    aspect = plausible_aspect(*(_jfif_density(jfif, {0: 1.0}) or (1.0, 1.0)))
    is_unitless = exif is not None and not exif.dpi_x and (exif.is_unitless or aspect != 1)
    exif_dpi = (exif.dpi_x or _EXIF_DPI, exif.dpi_y or _EXIF_DPI) if exif and not is_unitless else None
    dpi_x, dpi_y = _jfif_density(jfif, _JFIF_UNITS) or exif_dpi or photoshop_dpi or (0.0, 0.0)
    return JpegHeader(
        width=width,
        height=height,
        bits=bits,
        process=_PROCESSES[frame.marker],
        components=components,
        orientation=exif.orientation if exif and exif.orientation != 1 else orientation_by_xmp,
        dpi_x=dpi_x,
        dpi_y=dpi_y,
        aspect=aspect,
        has_jfif=has_jfif,
        adobe_transform=adobe,
        icc_profile=b"".join(icc_chunks[number] for number in sorted(icc_chunks)) or None,
        restart_interval=interval,
        pictures=(start,) if has_gain_map else pictures,
        has_tables={DHT, DQT} <= tables,
        scan_start=segment.start,
    )


def copied_segments(data: Buffer, start: int, header: JpegHeader) -> Iterator[bytes]:
    """The segments before the first scan that decoding needs: without metadata and application data.

    A copied stream carries its resolution, profile and orientation in the PDF's own terms, and readers differ
    on what these segments mean there.
    """
    yield b"\xff\xd8"
    for segment in _segments(data, start):
        if segment.marker == SOS:
            return
        if not (_APP0 <= segment.marker <= 0xEF or segment.marker == _COM):
            yield bytes(data[segment.start : segment.start + 4]) + segment.payload


def adobe_segment(transform: int) -> bytes:
    """An Adobe APP14 marker that names the colour transform: 0 none, 1 YCbCr, 2 YCCK."""
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])


def _segments(data: Buffer, start: int) -> Iterator[Segment]:
    if data[start : start + 2] != b"\xff\xd8":
        raise CorruptDocument("the data is no JPEG")
    position = start + 2
    while True:
        segment = segment_at(data, position)
        if segment.marker == EOI:
            return
        yield segment
        position = segment.start + 4 + len(segment.payload)


def segment_at(data: Buffer, position: int) -> Segment:
    """The marker segment at `position` or after fill bytes and stray bytes behind it, which decoders skip."""
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            raise CorruptDocument("the JPEG has no end", hint="the file seems to be truncated")
        marker = data[position + 1]
        if marker not in (0x00, 0xFF) and not 0xD0 <= marker <= 0xD8 and marker != 0x01:
            break
        position += 1
    if marker == EOI:
        return Segment(marker, position, b"")
    length = int.from_bytes(data[position + 2 : position + 4], "big")
    payload = bytes(data[position + 4 : position + 2 + length])
    if length < 2 or len(payload) != length - 2:
        raise CorruptDocument(
            "the JPEG ends within a marker segment"
            if length >= 2
            else "a marker segment of the JPEG has no length",
            hint="the file seems to be damaged",
        )
    return Segment(marker, position, payload)


def _frame_header(payload: bytes) -> tuple[int, int, int, tuple[Component, ...]]:
    count = payload[5] if len(payload) >= 6 else 0
    if count == 0 or len(payload) != 6 + 3 * count:
        raise CorruptDocument("the JPEG's frame header is broken")
    height, width = int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
    if height == 0 and width:
        raise CorruptDocument("the JPEG names its height only behind its first scan (DNL), which is not read")
    if width == 0:
        raise CorruptDocument("the JPEG has a width of 0")
    components = []
    for at in range(6, 6 + 3 * count, 3):
        component = Component(payload[at], payload[at + 1] >> 4, payload[at + 1] & 15, payload[at + 2])
        if not (1 <= component.horizontal <= 4 and 1 <= component.vertical <= 4):
            raise CorruptDocument("the JPEG's sampling factors are out of range")
        components.append(component)
    return payload[0], height, width, tuple(components)


# Dots an inch and dots a centimetre; unit 0 means that the densities tell a pixel's shape only.
_JFIF_UNITS = {1: 1.0, 2: 2.54}


def _jfif_density(payload: bytes, units: dict[int, float]) -> tuple[float, float] | None:
    if len(payload) < 12:
        return None
    x, y = int.from_bytes(payload[8:10], "big"), int.from_bytes(payload[10:12], "big")
    factor = units.get(payload[7])
    # 1 dot an inch is how programs write that they do not know.
    return (x * factor, y * factor) if factor and x and y and (x, y) != (1, 1) else None


def _photoshop_resolution(payload: bytes) -> tuple[float, float] | None:
    """The ResolutionInfo resource (0x03ED): fixed-point pixels per inch, whatever unit is displayed."""
    at = payload.find(b"8BIM\x03\xed")
    if at < 0:
        return None
    at += 6
    at += (payload[at] + 2) & ~1 if at < len(payload) else 0  # a Pascal string padded to even length
    body = payload[at + 4 : at + 20]
    if len(body) < 16:
        return None
    x, y = int.from_bytes(body[0:4], "big") / 65536, int.from_bytes(body[8:12], "big") / 65536
    return (x, y) if x and y else None


def _pictures(mpf: bytes, base: int, size: int) -> tuple[int, ...]:
    """The offsets of a Multi-Picture file's pictures, without the previews of the first."""
    order = {b"II": "<", b"MM": ">"}.get(mpf[:2])
    offsets = [0]
    if order is None:
        return (0,)
    try:
        (index,) = struct.unpack_from(order + "I", mpf, 4)
        (count,) = struct.unpack_from(order + "H", mpf, index)
        for at in range(index + 2, index + 2 + 12 * count, 12):
            tag, _, length, value = struct.unpack_from(order + "HHII", mpf, at)
            if tag != _MP_ENTRIES:
                continue
            for entry in range(value + 16, value + min(length, 16 * _MAX_PICTURES), 16):
                attribute, _, offset = struct.unpack_from(order + "III", mpf, entry)
                if (attribute >> 16) & 0xFF != _MP_LARGE_THUMBNAIL and 0 < base + offset < size:
                    offsets.append(base + offset)
    except struct.error:
        return (0,)
    return tuple(offsets)
