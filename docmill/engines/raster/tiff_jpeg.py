"""JPEG in TIFF, copied: tables merged, strips joined into one stream by restart markers (ITU-T T.81).

Every strip is a JPEG image of its own. With a restart interval of a strip's length a decoder starts anew at
each strip, as their encoder did; nothing is decoded or coded again.
"""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass

from docmill.engines.raster.tiff_copy import stored_page
from docmill.engines.raster.tiff_image import TiffImage
from docmill.engines.raster.tiff_seams import seams_show
from docmill.errors import CorruptDocument
from docmill.jpeg import JpegHeader, adobe_segment, copied_segments, read_jpeg_header
from docmill.pdf import PdfPage
from docmill.tiff_tags import Photometric, Tag

logger = logging.getLogger(__name__)

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
# What libtiff makes of the components, whatever markers the streams carry, as an Adobe marker says it.
_TRANSFORMS = {Photometric.RGB: 0, Photometric.YCBCR: 1}
_COMPONENTS: dict[int, int] = {
    Photometric.MIN_IS_WHITE: 1,
    Photometric.MIN_IS_BLACK: 1,
    Photometric.RGB: 3,
    Photometric.YCBCR: 3,
    Photometric.SEPARATED: 4,
}
_FRAME_MARKERS = b"\xc0\xc1\xc2"
_MAX_INTERVAL = 0xFFFF


class _Unjoinable(Exception):
    """The page's strips don't make one stream; decoding them will."""


def jpeg_page(image: TiffImage, seam_budget: int) -> PdfPage | None:
    """The page's JPEG stream copied, or joined from its strips; None where it must be decoded.

    `seam_budget` is `tiff_seams.page_budget`.
    """
    components = _COMPONENTS.get(image.photometric)
    if components != image.samples or image.bits != 8 or image.tiled or image.planar != 1:
        return None
    try:
        data = _joined(image, _Strips(*image.read_span()), seam_budget)
    except (_Unjoinable, CorruptDocument) as reason:
        logger.info("page %d is decoded: %s", image.page, reason)
        return None
    count = len(image.segments)
    how = f"joined from {count} strips (JPEG)" if count > 1 else "copied (JPEG)"
    return stored_page(image, data, b"/DCTDecode", b"", how)


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before a strip's coded data: `tables` and the frame and scan headers."""

    header: JpegHeader
    before_frame: bytes
    frame: bytes
    after_frame: bytes
    scan: bytes

    @property
    def mcu_height(self) -> int:
        return 8 * max(component.vertical for component in self.header.components)

    @property
    def mcus_in_row(self) -> int:
        return -(-self.header.width // (8 * max(c.horizontal for c in self.header.components)))

    @property
    def shared(self) -> tuple[bytes, ...]:
        """All that the strips of a page must have in common: everything but the frame's height."""
        return self.before_frame, self.frame[:5], self.frame[7:], self.after_frame, self.scan


@dataclass(frozen=True, slots=True)
class _Strips:
    """The strips of a page, in one piece: copies of each would take as long as all else."""

    span: bytes
    places: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.places)

    def read(self, index: int) -> bytes:
        start, end = self.places[index]
        return self.span[start:end]

    def starts_with(self, index: int, common: bytes) -> bool:
        return self.span.startswith(common, *self.places[index])

    def coded(self, index: int, offset: int) -> memoryview:
        """A strip's coded data: from `offset` in it to its EOI."""
        start, end = self.places[index]
        last = self.span.rfind(_EOI, start + offset, end)
        if last < 0:
            raise _Unjoinable("a strip has no end")
        return memoryview(self.span)[start + offset : last]


def _joined(image: TiffImage, strips: _Strips, seam_budget: int) -> tuple[bytes | memoryview, ...]:
    """One JPEG stream of all strips' rows, in a few parts: many small ones would have the threads that make
    pages wait for the one that writes them."""
    tables_stream = image.directory.raw(Tag.JPEG_TABLES)
    first = strips.read(0)
    head = _head(first)
    _check_first(image, head)
    tables = b"".join(copied_segments(tables_stream, 0, head.header))[2:] if tables_stream else b""
    marker = _TRANSFORMS.get(Photometric(image.photometric))
    adobe = adobe_segment(marker) if marker is not None else b""
    interval = b""
    if len(strips) == 1:
        coded: bytes | memoryview = _rest(first, head)
    else:
        coded = b"".join(_coded_strips(image, strips, head))
        mcus = head.mcus_in_row * (image.rows_per_strip // head.mcu_height)
        interval = b"\xff\xdd\x00\x04" + struct.pack(">H", mcus)
        if head.mcu_height > 8 and seams_show(image, strips.read, tables, seam_budget):
            raise _Unjoinable("the colours of its strips would blend at their seams")
    frame = head.frame[:5] + struct.pack(">H", image.height) + head.frame[7:]
    start = (_SOI, adobe, tables, head.before_frame, interval, frame, head.after_frame, head.scan)
    return b"".join(start), coded


def _check_first(image: TiffImage, head: _Head) -> None:
    header = head.header
    if len(image.segments) == 1:
        rows, whole = image.height, header.fits_pdf
    else:
        rows = image.rows_per_strip
        # One scan of all components, and no restart markers of its own: then no marker but EOI follows.
        one_scan = len(head.scan) > 4 and head.scan[4] == image.samples
        whole = header.fits_pdf and one_scan and header.process != "progressive"
        whole = whole and not header.restart_interval
        mcus = head.mcus_in_row * (rows // head.mcu_height)
        if rows % head.mcu_height or mcus > _MAX_INTERVAL:
            raise _Unjoinable(f"its strips of {rows} rows are no restart intervals")
    if not whole:
        raise _Unjoinable(f"its strips are {header.encoding}")
    if (header.width, header.height, len(header.components)) != (image.width, rows, image.samples):
        raise _Unjoinable("its frame header does not agree with the TIFF directory")


def _coded_strips(image: TiffImage, strips: _Strips, head: _Head) -> list[bytes | memoryview]:
    """The coded data of all strips with restart markers between them, and EOI."""
    first = strips.read(0)
    data_start = len(first) - len(_rest(first, head))
    common = first[:data_start]
    parts: list[bytes | memoryview] = []
    for index in range(len(strips)):
        if strips.starts_with(index, common):
            parts.append(strips.coded(index, data_start))
        else:
            strip = strips.read(index)
            other = _head(strip)
            rows = min(image.rows_per_strip, image.height - index * image.rows_per_strip)
            # A last strip that is coded in full is cut by the frame's height, if not by whole rows of blocks.
            extra = other.header.height - rows
            if other.shared != head.shared or not 0 <= extra < head.mcu_height:
                raise _Unjoinable("its strips have different headers")
            parts.append(strips.coded(index, len(strip) - len(_rest(strip, other))))
        parts.append(bytes((0xFF, 0xD0 + index % 8)))
    if len(strips) > 1 and strips.starts_with(len(strips) - 1, common):
        extra = image.rows_per_strip * len(strips) - image.height
        if extra >= head.mcu_height:
            raise _Unjoinable("its last strip has more rows than the image")
    parts[-1] = _EOI
    return parts


def _rest(strip: bytes, head: _Head) -> memoryview:
    """What follows the first scan header, to EOI."""
    return memoryview(strip)[head.header.scan_start + len(head.scan) :]


def _head(strip: bytes) -> _Head:
    header = read_jpeg_header(strip)
    segments = list(copied_segments(strip, 0, header))[1:]
    frames = [i for i, segment in enumerate(segments) if segment[1:2] in _FRAME_MARKERS]
    if len(frames) != 1:
        raise _Unjoinable(f"its strips are {header.encoding}")
    at = frames[0]
    length = int.from_bytes(strip[header.scan_start + 2 : header.scan_start + 4])
    return _Head(
        header,
        b"".join(segments[:at]),
        segments[at],
        b"".join(segments[at + 1 :]),
        strip[header.scan_start : header.scan_start + 2 + length],
    )
