"""Whether a JPEG stream is whole, told from its markers without decoding (ITU-T T.81, annexes B and C).

What libjpeg stops at is found here: tables that are missing or impossible, scans of what the frame does not
have, scans or restart intervals that are cut off. Damage within the entropy-coded data that leaves all of it
in place decodes to wrong pixels in every reader, and is not looked for.
"""

from __future__ import annotations

import re

from docmill.errors import CorruptDocument
from docmill.jpeg import DHT, DQT, DRI, EOI, SOS, Buffer, JpegHeader, Segment, segment_at

# In entropy-coded data FF is followed by 00 (stuffing) or a restart marker; any other marker ends the scan.
_END_OF_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# Frame headers, which were read before, arithmetic conditioning, DNL, application data and comments.
_PASSED_OVER = frozenset({*range(0xC0, 0xD0), 0xDC, *range(0xE0, 0xF0), 0xFE}) - {DHT, 0xC8}
# An interleaved scan's minimum coded unit has at most so many blocks (B.2.3).
_MAX_BLOCKS = 10


def end_of_image(data: Buffer, header: JpegHeader, start: int) -> tuple[int, bool]:
    """The offset behind the last scan of the image that begins at `start`, and whether EOI follows there.

    Raises `CorruptDocument` for a table, scan or restart interval that is missing or broken. A stream without
    EOI may be whole or not: that, only decoding tells.
    """
    tables = _Tables(header)
    position = start + 2
    while True:
        try:
            segment = segment_at(data, position)
        except CorruptDocument:
            if len(tables.scanned) < len(header.components):
                raise
            return position, False
        position = segment.start + 4 + len(segment.payload)
        if segment.marker == EOI:
            break
        if segment.marker != SOS:
            tables.read(segment)
            continue
        components = tables.scan(segment.payload)
        match = _END_OF_SCAN.search(data, position)
        end = match.start() if match else len(data)
        _check_data(data, position, end, header, components, tables.restart_interval)
        position = end
    missing = len(header.components) - len(tables.scanned)
    if missing:
        raise CorruptDocument(
            f"the JPEG lacks the data of {missing} of its {len(header.components)} components"
        )
    return segment.start, True


class _Tables:
    """The tables that a decoder has at some place in the stream, and the components that it has seen."""

    def __init__(self, header: JpegHeader) -> None:
        self.header = header
        self.quantization: set[int] = set()
        self.huffman: set[int] = set()  # destination, with 16 for AC
        self.restart_interval = 0
        self.scanned: set[int] = set()

    def read(self, segment: Segment) -> None:
        if segment.marker == DQT:
            self._quantization(segment.payload)
        elif segment.marker == DHT:
            self._huffman(segment.payload)
        elif segment.marker == DRI and len(segment.payload) == 2:
            self.restart_interval = int.from_bytes(segment.payload, "big")
        elif segment.marker not in _PASSED_OVER:
            raise CorruptDocument(f"the JPEG has a marker that does not belong there, {segment.marker:02X}")

    def scan(self, payload: bytes) -> set[int]:
        """The components of the scan that this header begins; its tables must be there."""
        count = payload[0] if payload else 0
        if not 1 <= count <= 4 or len(payload) != 4 + 2 * count:
            raise CorruptDocument("a scan header of the JPEG is broken")
        first, last, approximation = payload[-3:]
        progressive = "progressive" in self.header.process
        if progressive and not (
            (first == last == 0 or (count == 1 and 1 <= first <= last <= 63)) and approximation & 15 <= 13
        ):
            raise CorruptDocument("a scan header of the JPEG is broken")
        known = {component.identifier: index for index, component in enumerate(self.header.components)}
        components = set()
        for at in range(1, 1 + 2 * count, 2):
            if payload[at] not in known:
                raise CorruptDocument("a scan of the JPEG names a component that its frame does not have")
            components.add(known[payload[at]])
            self._check_destinations(payload[at + 1], known[payload[at]], first, last, approximation)
        if len(components) < count:
            raise CorruptDocument("a scan of the JPEG names a component twice")
        blocks = [self.header.components[index].blocks for index in components]
        if count > 1 and sum(blocks) > _MAX_BLOCKS:
            raise CorruptDocument("a scan of the JPEG has too many blocks in its coded units")
        self.scanned |= components
        return components

    def _check_destinations(self, byte: int, index: int, first: int, last: int, approximation: int) -> None:
        needed = set()
        if "progressive" not in self.header.process:
            needed = {byte >> 4, 16 + (byte & 15)}
        elif first == 0 and not approximation >> 4:
            needed = {byte >> 4}
        elif first > 0:
            needed = {16 + (byte & 15)}
        if not needed <= self.huffman:
            raise CorruptDocument("a scan of the JPEG uses a Huffman table that is not there")
        if self.header.components[index].quantization not in self.quantization:
            raise CorruptDocument("a component of the JPEG uses a quantization table that is not there")

    def _quantization(self, payload: bytes) -> None:
        at = 0
        while at < len(payload):
            size = 1 + (128 if payload[at] >> 4 else 64)
            if payload[at] >> 4 > 1 or payload[at] & 15 > 3 or at + size > len(payload):
                raise CorruptDocument("a quantization table of the JPEG is broken")
            self.quantization.add(payload[at] & 15)
            at += size

    def _huffman(self, payload: bytes) -> None:
        at = 0
        while at < len(payload):
            counts = payload[at + 1 : at + 17]
            size = sum(counts)
            symbols = payload[at + 17 : at + 17 + size]
            is_ac, destination = payload[at] >> 4, payload[at] & 15
            if is_ac > 1 or destination > 3 or len(counts) < 16 or len(symbols) < size or size > 256:
                raise CorruptDocument("a Huffman table of the JPEG is broken")
            if not _is_prefix_code(counts) or (not is_ac and max(symbols, default=0) > 15):
                raise CorruptDocument("a Huffman table of the JPEG is broken")
            self.huffman.add(destination + 16 * is_ac)
            at += 17 + size


def _is_prefix_code(counts: bytes) -> bool:
    """Whether there can be so many codes of each length, 1 to 16 (C.2)."""
    free = 1
    for count in counts:
        free = free * 2 - count
        if free < 0:
            return False
    return True


def _check_data(
    data: Buffer, start: int, end: int, header: JpegHeader, components: set[int], interval: int
) -> None:
    wide = max(component.horizontal for component in header.components)
    high = max(component.vertical for component in header.components)
    if len(components) == 1:
        component = header.components[next(iter(components))]
        columns = -(-header.width * component.horizontal // (8 * wide))
        rows = -(-header.height * component.vertical // (8 * high))
        units = blocks = columns * rows
    else:
        units = -(-header.width // (8 * wide)) * -(-header.height // (8 * high))
        blocks = units * sum(header.components[index].blocks for index in components)
    if interval:
        restarts = sum(1 for _ in _RESTART.finditer(data, start, end))
        expected = -(-units // interval) - 1
        if restarts < expected:
            raise CorruptDocument(
                f"the JPEG lacks {expected - restarts} of a scan's {expected} restart markers",
                hint="the file seems to be damaged",
            )
    # A block of a sequential scan takes a bit or more for DC and one for AC; progressive runs can take none.
    if "progressive" not in header.process and (end - start) * 8 < blocks * 2:
        raise CorruptDocument(
            f"a scan of the JPEG has {end - start} bytes, too few for its {blocks} blocks",
            hint="the file seems to be truncated",
        )
