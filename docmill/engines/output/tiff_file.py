"""The streaming writer of a TIFF with any number of pages, in memory that does not grow with their size.

Strips go to the file as they come, all directories after them: whether offsets need 32 bits or the 64 of
BigTIFF is then known, and a reader finds all directories side by side.
"""

from __future__ import annotations

import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

from docmill.engines.output.tiff_page import TiffPage
from docmill.tiff_fields import ASCII, BIG, CLASSIC, LONG, SHORT, Ifd, Layout, TiffField
from docmill.tiff_tags import Tag

_ONE_PAGE_OF_MANY = 2
_COPY = 1 << 20
# The larger header, of BigTIFF; the smaller one leaves 8 bytes of it unused.
_HEADER = 16
_CLASSIC_LIMIT = 1 << 32


@dataclass(frozen=True, slots=True)
class _Stored:
    """A page in the file: where its strips begin, and what its directory is to say."""

    offset: int
    page: TiffPage


class TiffFile:
    """Writes a TIFF page by page; a context manager that completes the file, unless an exception passes.

    BigTIFF where the file would reach `classic_limit` bytes, by default the 4 GiB that TIFF's offsets hold.
    """

    def __init__(self, path: Path, *, classic_limit: int = _CLASSIC_LIMIT) -> None:
        self._limit = classic_limit
        self._file = path.open("wb")
        self._file.write(bytes(_HEADER))
        self._pages: list[_Stored] = []

    def __enter__(self) -> TiffFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._file:
            if kind is None:
                self._write_directories()

    def add(self, page: TiffPage) -> None:
        """Take over the strips of a page from its file, which stays."""
        self._align()
        self._pages.append(_Stored(self._file.tell(), page))
        with page.path.open("rb") as strips:
            shutil.copyfileobj(strips, self._file, _COPY)

    def _write_directories(self) -> None:
        self._align()
        start = self._file.tell()
        # All values of all directories at their largest; the limit need not be hit to the byte.
        room = sum(_room(stored.page) for stored in self._pages)
        layout = BIG if start + room >= self._limit else CLASSIC
        self._file.seek(0)
        self._file.write(layout.header(start))
        self._file.seek(start)
        for number, stored in enumerate(self._pages):
            self._write_directory(layout, stored, number)

    def _write_directory(self, layout: Layout, stored: _Stored, number: int) -> None:
        ifd = Ifd(self._fields(layout, stored, number), stored.page.hanging)
        is_last = number + 1 == len(self._pages)
        self._file.write(layout.directory_with_values(ifd, self._file.tell(), is_last=is_last))

    def _fields(self, layout: Layout, stored: _Stored, number: int) -> dict[int, TiffField]:
        page = stored.page
        offsets, at = [], stored.offset
        for size in page.strip_sizes:
            offsets.append(at)
            at += size
        fields = dict(page.fields)
        fields[Tag.STRIP_OFFSETS] = layout.offsets(offsets)
        fields[Tag.STRIP_BYTE_COUNTS] = layout.offsets(page.strip_sizes)
        fields.setdefault(Tag.SOFTWARE, TiffField(ASCII, 8, b"docmill\0"))
        count = len(self._pages)
        if count > 1:
            fields[Tag.NEW_SUBFILE_TYPE] = TiffField(LONG, 1, struct.pack("<I", _ONE_PAGE_OF_MANY))
            if count <= 0xFFFF:
                fields[Tag.PAGE_NUMBER] = TiffField(SHORT, 2, struct.pack("<HH", number, count))
        return fields

    def _align(self) -> None:
        """Offsets are even (TIFF 6.0, section 2)."""
        if self._file.tell() % 2:
            self._file.write(b"\0")


def _room(page: TiffPage) -> int:
    return 1024 + Ifd(page.fields, page.hanging).size + 16 * len(page.strip_sizes)
