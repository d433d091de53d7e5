"""Fields of TIFF directories and the directories that hang on them, as bytes: what a TIFF and an Exif block
are made of (TIFF 6.0, section 2; BigTIFF; CIPA DC-008, 4.6)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
_LONG8 = 16
# Bytes of a value by its type, and of the numbers that it is made of.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_NUMBERS = {3: "H", 8: "H", 4: "I", 9: "I", 5: "I", 10: "I", 11: "I", 12: "Q"}
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
# Which directories hang on a directory, by the tags that point to them.
_HANGING: dict[int, frozenset[int]] = {
    0: frozenset({EXIF, GPS}),
    EXIF: frozenset({INTEROPERABILITY}),
}
_PREFIX = b"Exif\0\0"


@dataclass(frozen=True, slots=True)
class TiffField:
    """A field of a directory: its type, the count of its values, and these as little-endian bytes."""

    type: int
    count: int
    data: bytes

    @property
    def first(self) -> int:
        """The first value, of a type of whole numbers."""
        return int.from_bytes(self.data[: len(self.data) // self.count], "little")


@dataclass(frozen=True, slots=True)
class Ifd:
    """A directory: its fields, and the directories that hang on it, by tag."""

    fields: Mapping[int, TiffField] = field(default_factory=dict)
    hanging: Mapping[int, Ifd] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fields or self.hanging)

    @property
    def size(self) -> int:
        """About as many bytes as it takes."""
        own = sum(20 + len(field.data) for field in self.fields.values())
        return 40 + own + sum(20 + other.size for other in self.hanging.values())


class Room:
    """How many bytes of values are read at most of what describes a picture: thousands of fields may all
    claim the same megabytes."""

    def __init__(self, most: int = 16 << 20, most_of_one: int = 1 << 20) -> None:
        self._left = most
        self._most_of_one = most_of_one

    def takes(self, size: int) -> bool:
        """Whether there is room for a value, which is then taken."""
        if size > min(self._left, self._most_of_one):
            return False
        self._left -= size
        return True


def value_size(kind: int, count: int) -> int:
    """The bytes of so many values of a type; 0 of one that there is not."""
    return _SIZES.get(kind, 0) * count


def ascii_field(text: bytes) -> TiffField:
    return TiffField(ASCII, len(text) + 1, text + b"\0")


def little_endian(kind: int, count: int, raw: bytes, order: str) -> TiffField | None:
    """A field by its value as a file of the byte order `<` or `>` has it; None of a type that there is not,
    and of one that is cut off."""
    size = value_size(kind, count)
    if not size or len(raw) < size:
        return None
    data = raw[:size]
    if order == ">" and kind in _NUMBERS:
        numbers = array(_NUMBERS[kind], data)
        numbers.byteswap()
        data = numbers.tobytes()
    return TiffField(kind, count, data)


def hanging_on(tag: int) -> frozenset[int]:
    """The tags by which directories hang on that of a tag, 0 for the main one."""
    return _HANGING.get(tag, frozenset())


def read_block(data: bytes) -> Ifd:
    """The directories of an Exif block, with or without its prefix; the thumbnail's is left out.

    Never raises: what is broken of metadata counts as absent.
    """
    data = data.removeprefix(_PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return Ifd()
    return _read(data, order, struct.unpack_from(order + "I", data, 4)[0], 0, Room())


def _read(data: bytes, order: str, offset: int, tag_of_it: int, room: Room) -> Ifd:
    fields: dict[int, TiffField] = {}
    hanging: dict[int, Ifd] = {}
    count = int.from_bytes(data[offset : offset + 2], "little" if order == "<" else "big")
    for entry in range(offset + 2, offset + 2 + 12 * count, 12):
        if entry + 12 > len(data):
            break
        tag, kind, number, place = struct.unpack_from(order + "HHII", data, entry)
        if tag in hanging_on(tag_of_it):
            if other := _read(data, order, place, tag, room):
                hanging[tag] = other
            continue
        size = value_size(kind, number)
        start = entry + 8 if size <= 4 else place
        if room.takes(size) and (made := little_endian(kind, number, data[start : start + size], order)):
            fields[tag] = made
    return Ifd(fields, hanging)


def write_block(ifd: Ifd) -> bytes:
    """An Exif block with its prefix; empty of an empty directory."""
    if not ifd:
        return b""
    start = len(CLASSIC.header(0))
    return _PREFIX + CLASSIC.header(start) + CLASSIC.directory_with_values(ifd, start, is_last=True)


@dataclass(frozen=True, slots=True)
class Layout:
    """The sizes in which classic TIFF and BigTIFF differ, as struct codes."""

    version: bytes
    count: str
    offset_code: str
    offset_type: int

    @property
    def inline(self) -> int:
        """The bytes of a value that stand in its entry."""
        return struct.calcsize(self.offset_code)

    def header(self, first: int) -> bytes:
        return b"II" + self.version + self.offset(first)

    def offset(self, value: int) -> bytes:
        return struct.pack("<" + self.offset_code, value)

    def offsets(self, values: Sequence[int]) -> TiffField:
        data = struct.pack(f"<{len(values)}{self.offset_code}", *values)
        return TiffField(self.offset_type, len(values), data)

    def directory_with_values(self, ifd: Ifd, start: int, *, is_last: bool) -> bytes:
        """A directory that begins at the offset `start`, with all that hangs on it behind it; the next one,
        unless it is the last, is to follow at its end."""
        count = len(ifd.fields) + len(ifd.hanging)
        end = start + struct.calcsize("<" + self.count) + count * (4 + 2 * self.inline) + self.inline
        entries = {}
        outside = bytearray()
        for tag, value in sorted(ifd.fields.items()):
            place = value.data
            if len(place) > self.inline:
                # Also a profile that all pages have: Pillow skips shared ones once they add up to the file.
                offset = end + len(outside)
                outside += place + bytes(len(place) % 2)
                place = self.offset(offset)
            entries[tag] = self._entry(tag, value.type, value.count, place)
        for tag, other in sorted(ifd.hanging.items()):
            offset = end + len(outside)
            outside += self.directory_with_values(other, offset, is_last=True)
            entries[tag] = self._entry(tag, self.offset_type, 1, self.offset(offset))
        following = 0 if is_last else end + len(outside)
        head = struct.pack("<" + self.count, count)
        return head + b"".join(entries[tag] for tag in sorted(entries)) + self.offset(following) + outside

    def _entry(self, tag: int, kind: int, count: int, place: bytes) -> bytes:
        return struct.pack("<HH" + self.offset_code, tag, kind, count) + place.ljust(self.inline, b"\0")


CLASSIC = Layout(struct.pack("<H", 42), "H", "I", LONG)
BIG = Layout(struct.pack("<HHH", 43, 8, 0), "Q", "Q", _LONG8)
