"""The pages of a TIFF: its chain of directories, classic and BigTIFF, either byte order, damage told by page.

`page_facts(path)` is what a probe needs; `Tiff(path)` is what a converter needs::

    with Tiff(path) as tiff:
        for number in range(1, len(tiff) + 1):
            page = tiff.page(number)  # a Directory
            page.width, page.dpi, page.number(Tag.COMPRESSION, 1)
        tiff.damage  # CorruptDocument where the chain of directories breaks off after some pages, or None

Only directories are read here, never pixels, and only what is asked for: 500 pages take about 10 ms. Header
and chain are those of the TIFF 6.0 specification, section 2, and of libtiff's BigTIFF design; what sub-IFDs
(Technical Note 1) hold are no pages. Everything that is wrong with a file is a `CorruptDocument`.
"""

from __future__ import annotations

import os
import struct
from array import array
from pathlib import Path
from types import TracebackType

from docmill.errors import CorruptDocument, LimitExceeded
from docmill.facts import PageFacts
from docmill.settings import variable
from docmill.tiff_directory import DAMAGED, Directory

MAX_PAGES = 100_000
# Most directories and the values beside them fit; one read then serves a page.
_WINDOW = 1024
# Directories of so many pages are kept from the walk, 3 KB each; more are read again when asked for.
_KEPT = 1000


def page_facts(
    path: Path, default_dpi: float, max_pages: int = MAX_PAGES
) -> tuple[tuple[PageFacts, ...], tuple[str, ...]]:
    """The facts of each page, and a line for each damage that left pages to be had.

    A page whose directory lacks what it must have has 0 pixels. Raises `CorruptDocument` where no page can
    be read and `LimitExceeded` above `max_pages`.
    """
    facts: list[PageFacts] = []
    problems: list[str] = []
    known: dict[object, PageFacts] = {}  # most pages are like the one before
    with Tiff(path, max_pages) as tiff:
        for number in range(1, len(tiff) + 1):
            try:
                page = tiff.page(number)
                key = page.facts_key()
                if key not in known:
                    known[key] = page.facts(default_dpi)
                facts.append(known[key])
            except CorruptDocument as error:
                problems.append(error.message)
                facts.append(PageFacts(0, 0, 0.0, 0.0))
        if tiff.damage:
            problems.append(tiff.damage.message)
    return tuple(facts), tuple(problems)


class Tiff:
    """A TIFF file's pages, in the order of its chain of directories.

    Thumbnails (reduced images) and transparency masks are no pages. Holds one open file and 8 bytes a page.
    Raises `CorruptDocument` where there is not one page, `LimitExceeded` where there are over `max_pages`.
    """

    def __init__(self, path: Path, max_pages: int = MAX_PAGES) -> None:
        self.path = path
        self.damage: CorruptDocument | None = None
        self._directories: dict[int, Directory] = {}
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.size = os.fstat(self._fd).st_size
            first = self._read_header()
            self._pages = self._walk(first, max_pages)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Tiff:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._fd)

    def __len__(self) -> int:
        return len(self._pages)

    def page(self, number: int) -> Directory:
        """The directory of a page, counted from 1."""
        offset = self._pages[number - 1]
        return self._directories.get(offset) or self._read_directory(offset, number)

    def directory_at(self, offset: int, number: int) -> Directory:
        """A directory that hangs on that of page `number`; raises `CorruptDocument`."""
        return self._read_directory(offset, number)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file; fewer where it ends before. Several threads may read at once."""
        if offset >= self.size:
            return b""
        return os.pread(self._fd, size, offset)

    def _read_header(self) -> int:
        """Set byte order and flavour; the offset of the first directory is returned."""
        head = self.read(0, 16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        magic = struct.unpack_from(order + "H", head, 2)[0] if order and len(head) >= 8 else 0
        if order is None or magic not in (42, 43):
            what = "empty" if not self.size else "no TIFF" if self.size >= 8 else "too short for a TIFF"
            raise CorruptDocument(f"the file is {what}", hint=DAMAGED)
        self.byte_order = order
        self.big = magic == 43
        if self.big and (len(head) < 16 or struct.unpack_from(order + "HH", head, 4) != (8, 0)):
            raise CorruptDocument("the BigTIFF header is damaged", hint=DAMAGED)
        # An entry is tag, type, count, and the value or its offset.
        self._count_format, self._entry, self._entry_size, self._offset_format = (
            ("Q", "HHQQ", 20, "Q") if self.big else ("H", "HHII", 12, "I")
        )
        self._count_size = 8 if self.big else 2
        self.offset_size = 8 if self.big else 4
        # How far down a single short or long stands in the value's field, read as one number.
        bits = 8 * self.offset_size
        self.short_shift, self.long_shift = (bits - 16, bits - 32) if order == ">" else (0, 0)
        return int(struct.unpack_from(order + self._offset_format, head, 8 if self.big else 4)[0])

    def _walk(self, offset: int, max_pages: int) -> array[int]:
        pages, reduced = array("Q"), array("Q")
        seen: set[int] = set()
        while offset:
            number = len(pages) + 1
            if offset in seen:
                self.damage = CorruptDocument(
                    f"the chain of TIFF directories loops after page {len(pages)}", hint=DAMAGED, page=number
                )
                break
            seen.add(offset)
            if len(seen) > max_pages:
                raise LimitExceeded(
                    f"the document has over {max_pages} pages", limit="pages", setting=variable("max_pages")
                )
            try:
                directory = self._read_directory(offset, number)
                (reduced if directory.is_reduced else pages).append(offset)
                if number <= _KEPT:
                    self._directories[offset] = directory
            except CorruptDocument as error:
                self.damage = error
                break
            offset = directory.next_offset
        if not pages:  # a file of thumbnails only is better shown than refused
            pages = reduced
            self._directories.clear()  # they were numbered as no pages
        if not pages:
            raise self.damage or CorruptDocument("the TIFF has no pages", hint=DAMAGED)
        return pages

    def _read_directory(self, offset: int, number: int) -> Directory:
        window = self.read(offset, _WINDOW)
        if len(window) < self._count_size:
            raise CorruptDocument(
                f"page {number}: its TIFF directory is at byte {offset}, beyond the end of the file"
                f" ({self.size} bytes)",
                hint=DAMAGED,
                page=number,
            )
        (count,) = struct.unpack_from(self.byte_order + self._count_format, window)
        end = self._count_size + count * self._entry_size
        if not count or offset + end > self.size:
            raise CorruptDocument(
                f"page {number}: its TIFF directory has {count} entries at byte {offset} of {self.size}",
                hint=DAMAGED,
                page=number,
            )
        if len(window) < end + self.offset_size:
            window = self.read(offset, end + self.offset_size)
        fields = struct.unpack_from(self.byte_order + self._entry * count, window, self._count_size)
        starts = range(self._count_size + self._entry_size - self.offset_size, end, self._entry_size)
        tags = fields[0::4]
        values = list(zip(fields[1::4], fields[2::4], fields[3::4], starts, strict=True))
        entries = dict(zip(tags, values, strict=True))
        if len(entries) < count:  # a tag twice: the first counts, as in libtiff
            entries = dict(zip(reversed(tags), reversed(values), strict=True))
        # Some writers end the file without the last link.
        link = window[end : end + self.offset_size]
        next_offset = (
            struct.unpack(self.byte_order + self._offset_format, link)[0]
            if len(link) == self.offset_size
            else 0
        )
        return Directory(self, offset, number, entries, next_offset, window)
