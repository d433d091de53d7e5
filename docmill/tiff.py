"""Reading TIFF directories: classic and BigTIFF, either byte order, damage told by page.

`page_facts(path)` is what a probe needs; `Tiff(path)` is what a converter needs::

    with Tiff(path) as tiff:
        for number in range(1, len(tiff) + 1):
            page = tiff.page(number)  # a Directory
            page.width, page.dpi, page.number(Tag.COMPRESSION, 1)
        tiff.damage  # CorruptDocument where the chain of directories breaks off after some pages, or None

Only directories are read here, never pixels, and only what is asked for: 500 pages take about 10 ms. Tags and
their defaults are those of the TIFF 6.0 specification, sections 2, 8 and 11, its Technical Note 1 (sub-IFDs)
and the BigTIFF design of libtiff. Everything that is wrong with a file is a `CorruptDocument`.
"""

from __future__ import annotations

import math
import os
import struct
from array import array
from pathlib import Path
from types import TracebackType

from docmill.errors import CorruptDocument, LimitExceeded, UnsupportedConversion
from docmill.facts import PageFacts
from docmill.tiff_tags import COMPRESSION_NAMES, PHOTOMETRIC_NAMES, Compression, Photometric, Tag

MAX_PAGES = 100_000
_DAMAGED = "the file is damaged or cut off; get a whole copy of it"
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
            raise CorruptDocument(f"the file is {what}", hint=_DAMAGED)
        self.byte_order = order
        self.big = magic == 43
        if self.big and (len(head) < 16 or struct.unpack_from(order + "HH", head, 4) != (8, 0)):
            raise CorruptDocument("the BigTIFF header is damaged", hint=_DAMAGED)
        # An entry is tag, type, count, and the value or its offset.
        self._count_format, self._entry, self._entry_size, self._offset_format = (
            ("Q", "HHQQ", 20, "Q") if self.big else ("H", "HHII", 12, "I")
        )
        self._count_size = 8 if self.big else 2
        self._offset_size = 8 if self.big else 4
        # How far down a single short or long stands in the value's field, read as one number.
        bits = 8 * self._offset_size
        self._short_shift, self._long_shift = (bits - 16, bits - 32) if order == ">" else (0, 0)
        return int(struct.unpack_from(order + self._offset_format, head, 8 if self.big else 4)[0])

    def _walk(self, offset: int, max_pages: int) -> array[int]:
        pages, reduced = array("Q"), array("Q")
        seen: set[int] = set()
        while offset:
            number = len(pages) + 1
            if offset in seen:
                self.damage = CorruptDocument(
                    f"the chain of TIFF directories loops after page {len(pages)}", hint=_DAMAGED, page=number
                )
                break
            seen.add(offset)
            if len(seen) > max_pages:
                raise LimitExceeded(
                    f"the document has over {max_pages} pages", limit="pages", setting="DOCMILL_MAX_PAGES"
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
            raise self.damage or CorruptDocument("the TIFF has no pages", hint=_DAMAGED)
        return pages

    def _read_directory(self, offset: int, number: int) -> Directory:
        window = self.read(offset, _WINDOW)
        if len(window) < self._count_size:
            raise CorruptDocument(
                f"page {number}: its TIFF directory is at byte {offset}, beyond the end of the file"
                f" ({self.size} bytes)",
                hint=_DAMAGED,
                page=number,
            )
        (count,) = struct.unpack_from(self.byte_order + self._count_format, window)
        end = self._count_size + count * self._entry_size
        if not count or offset + end > self.size:
            raise CorruptDocument(
                f"page {number}: its TIFF directory has {count} entries at byte {offset} of {self.size}",
                hint=_DAMAGED,
                page=number,
            )
        if len(window) < end + self._offset_size:
            window = self.read(offset, end + self._offset_size)
        fields = struct.unpack_from(self.byte_order + self._entry * count, window, self._count_size)
        starts = range(self._count_size + self._entry_size - self._offset_size, end, self._entry_size)
        tags = fields[0::4]
        values = list(zip(fields[1::4], fields[2::4], fields[3::4], starts, strict=True))
        entries = dict(zip(tags, values, strict=True))
        if len(entries) < count:  # a tag twice: the first counts, as in libtiff
            entries = dict(zip(reversed(tags), reversed(values), strict=True))
        # Some writers end the file without the last link.
        link = window[end : end + self._offset_size]
        next_offset = (
            struct.unpack(self.byte_order + self._offset_format, link)[0]
            if len(link) == self._offset_size
            else 0
        )
        return Directory(self, offset, number, entries, next_offset, window)


# struct codes and sizes of the value types; the specification's section 2 and BigTIFF's 16 to 18.
_TYPES: dict[int, tuple[str, int]] = {
    1: ("B", 1), 2: ("B", 1), 3: ("H", 2), 4: ("I", 4), 5: ("II", 8), 6: ("b", 1), 7: ("B", 1), 8: ("h", 2),
    9: ("i", 4), 10: ("ii", 8), 11: ("f", 4), 12: ("d", 8), 13: ("I", 4), 16: ("Q", 8), 17: ("q", 8),
    18: ("Q", 8),
}  # fmt: skip


# What `Directory.facts` reads, but for values that stand beside the directory.
_FACTS_TAGS = (
    *(Tag.IMAGE_WIDTH, Tag.IMAGE_LENGTH, Tag.SAMPLES_PER_PIXEL, Tag.COMPRESSION, Tag.PHOTOMETRIC),
    *(Tag.ORIENTATION, Tag.RESOLUTION_UNIT),
)


class Directory:
    """One image file directory: its tags, read when asked for, with the specification's defaults."""

    __slots__ = ("_entries", "_window", "next_offset", "number_of_page", "offset", "tiff")

    def __init__(
        self,
        tiff: Tiff,
        offset: int,
        number_of_page: int,
        entries: dict[int, tuple[int, int, int, int]],
        next_offset: int,
        window: bytes,
    ) -> None:
        self.tiff = tiff
        self.offset = offset
        self.number_of_page = number_of_page
        self.next_offset = next_offset
        self._entries = entries
        self._window = window

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def corrupt(self, message: str, hint: str = _DAMAGED) -> CorruptDocument:
        """The error that this page is damaged, to be raised."""
        page = self.number_of_page
        return CorruptDocument(f"page {page}: {message}", hint=hint, page=page)

    def unsupported(self, what: str) -> UnsupportedConversion:
        """The error that this page is of a kind that docmill does not convert, to be raised."""
        page = self.number_of_page
        return UnsupportedConversion(f"page {page}: a TIFF with {what} cannot be converted", page=page)

    def raw(self, tag: int) -> bytes:
        """A tag's value as it is in the file; empty where the directory lacks it.

        Raises `CorruptDocument` where it reaches beyond the end of the file.
        """
        entry = self._entries.get(tag)
        if entry is None or entry[0] not in _TYPES:
            return b""
        kind, count, offset, at = entry
        size = count * _TYPES[kind][1]
        tiff = self.tiff
        if size <= tiff._offset_size:
            return self._window[at : at + size]
        near = offset - self.offset
        if near >= 0 and near + size <= len(self._window):
            return self._window[near : near + size]
        if offset + size > tiff.size:
            raise self.corrupt(
                f"the value of TIFF tag {tag} is at byte {offset} to {offset + size},"
                f" beyond the end of the file ({tiff.size} bytes)"
            )
        return tiff.read(offset, size)

    def position(self, tag: int) -> int:
        """Where in the file a tag's value, or the offset to it, stands; 0 where the directory lacks it."""
        entry = self._entries.get(tag)
        return self.offset + entry[3] if entry else 0

    def numbers(self, tag: int) -> tuple[int, ...]:
        """A tag's integers; empty where the directory lacks it. Raises `CorruptDocument` for other types."""
        entry = self._entries.get(tag)
        if entry is None or entry[0] not in _TYPES:
            return ()
        code = _TYPES[entry[0]][0]
        if code in ("II", "ii", "f", "d"):
            raise self.corrupt(f"TIFF tag {tag} is no whole number")
        return struct.unpack(f"{self.tiff.byte_order}{entry[1]}{code}", self.raw(tag))

    def number(self, tag: int, default: int) -> int:
        """A tag's first integer."""
        entry = self._entries.get(tag)
        if entry is None:
            return default
        kind, count, value, _ = entry
        if count == 1:  # nearly all; the general way takes ten times as long
            if kind == 3:
                return value >> self.tiff._short_shift & 0xFFFF
            if kind == 4:
                return value >> self.tiff._long_shift & 0xFFFFFFFF
        values = self.numbers(tag)
        return values[0] if values else default

    def real(self, tag: int) -> float:
        """A tag's first value as a float, a rational divided out; NaN where there is none."""
        values = self.reals(tag)
        return values[0] if values else math.nan

    def reals(self, tag: int) -> tuple[float, ...]:
        """A tag's values as floats, rationals divided out (0/0 and n/0 are NaN)."""
        entry = self._entries.get(tag)
        if entry is None or entry[0] not in _TYPES:
            return ()
        code = _TYPES[entry[0]][0]
        raw = self.raw(tag)
        values = struct.unpack(f"{self.tiff.byte_order}{entry[1] * len(code)}{code[0]}", raw)
        if len(code) == 1:
            return tuple(map(float, values))
        pairs = zip(values[0::2], values[1::2], strict=True)
        return tuple(above / below if below else math.nan for above, below in pairs)

    @property
    def is_reduced(self) -> bool:
        """Whether this is a thumbnail or a transparency mask and not a page."""
        if self.number(Tag.NEW_SUBFILE_TYPE, 0) & 0b101:
            return True
        # The older tag: 1 full image, 2 reduced image, 3 page.
        return Tag.SUBFILE_TYPE in self._entries and self.number(Tag.SUBFILE_TYPE, 1) == 2

    @property
    def width(self) -> int:
        """Pixels in a row, before Orientation."""
        return self._extent(Tag.IMAGE_WIDTH, "ImageWidth")

    @property
    def height(self) -> int:
        """Rows, before Orientation."""
        return self._extent(Tag.IMAGE_LENGTH, "ImageLength")

    def _extent(self, tag: Tag, name: str) -> int:
        value = self.number(tag, 0)
        if not 0 < value < 1 << 31:
            raise self.corrupt(f"its {name} is {value}" if tag in self._entries else f"it has no {name}")
        return value

    @property
    def compression(self) -> int:
        return self.number(Tag.COMPRESSION, Compression.NONE)

    @property
    def samples_per_pixel(self) -> int:
        return self.number(Tag.SAMPLES_PER_PIXEL, 1)

    @property
    def bits_per_sample(self) -> int:
        """Bits of a sample; raises `UnsupportedConversion` where the samples differ in it."""
        bits = self.numbers(Tag.BITS_PER_SAMPLE)[: self.samples_per_pixel] or (1,)
        if len(set(bits)) > 1:
            raise self.unsupported(f"samples of different sizes: {', '.join(map(str, bits))} bits")
        return bits[0]

    @property
    def photometric(self) -> int:
        """PhotometricInterpretation; where it is missing, what the samples suggest."""
        if Tag.PHOTOMETRIC in self._entries:
            return self.number(Tag.PHOTOMETRIC, 0)
        if self.samples_per_pixel >= 3:
            return Photometric.RGB
        bits = self.number(Tag.BITS_PER_SAMPLE, 1)
        return Photometric.MIN_IS_WHITE if bits == 1 else Photometric.MIN_IS_BLACK

    @property
    def orientation(self) -> int:
        """Orientation, 1 to 8; what is out of range means 1, as readers have it."""
        value = self.number(Tag.ORIENTATION, 1)
        return value if 1 <= value <= 8 else 1

    def dpi(self) -> tuple[float, float]:
        """Pixels per inch along the rows and down them, before Orientation; 0.0 where the file names none."""
        unit = self.number(Tag.RESOLUTION_UNIT, 2)
        if unit not in (2, 3):
            return 0.0, 0.0
        per_inch = 2.54 if unit == 3 else 1.0
        x, y = self._density(Tag.X_RESOLUTION) * per_inch, self._density(Tag.Y_RESOLUTION) * per_inch
        # Writers that know one only, or write 0 for the other, mean square pixels.
        return x or y, y or x

    def _density(self, tag: Tag) -> float:
        value = self.real(tag)
        # 1 dot an inch or less is how programs write 'unknown' without changing the unit.
        return value if 1.0 < value < 1e6 else 0.0

    def size_pt(self, default_dpi: float) -> tuple[float, float]:
        """Width and height of the upright page in points, at `default_dpi` where the file names none."""
        dpi_x, dpi_y = self.dpi()
        x, y = (dpi_x, dpi_y) if dpi_x else (default_dpi, default_dpi * self._aspect())
        width, height = self.width * 72 / x, self.height * 72 / y
        return (height, width) if self.orientation >= 5 else (width, height)

    def _aspect(self) -> float:
        """Vertical to horizontal density where the unit is 'none': what the resolutions then tell."""
        x, y = self.real(Tag.X_RESOLUTION), self.real(Tag.Y_RESOLUTION)
        return y / x if x > 0 and y > 0 and 0.1 <= y / x <= 10 else 1.0

    def facts_key(self) -> object:
        """Pages with the same key have the same facts."""
        far = (self.raw(Tag.BITS_PER_SAMPLE), self.raw(Tag.X_RESOLUTION), self.raw(Tag.Y_RESOLUTION))
        return tuple(map(self._entries.get, _FACTS_TAGS)), far

    def facts(self, default_dpi: float) -> PageFacts:
        """This page's facts; raises `CorruptDocument` where the directory lacks what it must have."""
        width, height = self.width, self.height
        dpi_x, dpi_y = self.dpi()
        width_pt, height_pt = self.size_pt(default_dpi)
        if self.orientation >= 5:
            width, height, dpi_x, dpi_y = height, width, dpi_y, dpi_x
        bits = self.numbers(Tag.BITS_PER_SAMPLE) or (1,)
        samples = self.samples_per_pixel
        per_pixel = sum(bits) if len(bits) == samples else bits[0] * samples
        compression, photometric = self.compression, self.photometric
        color = PHOTOMETRIC_NAMES.get(photometric) or f"photometric {photometric}"
        return PageFacts(
            width,
            height,
            width_pt,
            height_pt,
            dpi_x,
            dpi_y,
            per_pixel,
            COMPRESSION_NAMES.get(compression) or f"compression {compression}",
            "bilevel" if per_pixel == 1 else color,
        )
