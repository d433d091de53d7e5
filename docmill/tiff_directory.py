"""One directory of a TIFF, which is one page: its tags by name, and the facts that follow from them.

Tags and their defaults are those of the TIFF 6.0 specification, sections 2, 8 and 11.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from docmill.errors import CorruptDocument, UnsupportedConversion
from docmill.facts import PageFacts, plausible_aspect, upright_size
from docmill.tiff_tags import COMPRESSION_NAMES, PHOTOMETRIC_NAMES, Compression, Photometric, Tag

if TYPE_CHECKING:
    from docmill.tiff import Tiff

DAMAGED = "the file is damaged or cut off; get a whole copy of it"

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

# Tags that say nothing of how the pixels are stored. One whose value cannot be read counts as missing, as in
# libtiff: it is no reason to lose the page.
_BESIDE = frozenset(
    {
        *(Tag.NEW_SUBFILE_TYPE, Tag.SUBFILE_TYPE, Tag.PAGE_NUMBER, Tag.ORIENTATION),
        *(Tag.X_RESOLUTION, Tag.Y_RESOLUTION, Tag.RESOLUTION_UNIT, Tag.ICC_PROFILE, Tag.XMP),
        *(Tag.IMAGE_DESCRIPTION, Tag.MAKE, Tag.MODEL, Tag.SOFTWARE, Tag.DATE_TIME, Tag.ARTIST, Tag.COPYRIGHT),
    }
)
_NO_UNIT, _INCH, _CENTIMETRE = 1, 2, 3


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

    def corrupt(self, message: str, hint: str = DAMAGED) -> CorruptDocument:
        """The error that this page is damaged, to be raised."""
        page = self.number_of_page
        return CorruptDocument(f"page {page}: {message}", hint=hint, page=page)

    def unsupported(self, what: str) -> UnsupportedConversion:
        """The error that this page is of a kind that docmill does not convert, to be raised."""
        page = self.number_of_page
        return UnsupportedConversion(f"page {page}: a TIFF with {what} cannot be converted", page=page)

    def raw(self, tag: int) -> bytes:
        """A tag's value as it is in the file; empty where the directory lacks it.

        Raises `CorruptDocument` where it reaches beyond the end of the file, unless it says nothing of the
        pixels.
        """
        entry = self._entries.get(tag)
        if entry is None or entry[0] not in _TYPES:
            return b""
        kind, count, offset, at = entry
        size = count * _TYPES[kind][1]
        tiff = self.tiff
        if size <= tiff.offset_size:
            return self._window[at : at + size]
        near = offset - self.offset
        if near >= 0 and near + size <= len(self._window):
            return self._window[near : near + size]
        if offset + size > tiff.size:
            if tag in _BESIDE:
                return b""
            raise self.corrupt(
                f"the value of TIFF tag {tag} is at byte {offset} to {offset + size},"
                f" beyond the end of the file ({tiff.size} bytes)"
            )
        return tiff.read(offset, size)

    @property
    def tags(self) -> tuple[int, ...]:
        """The tags of the directory."""
        return tuple(self._entries)

    def kind(self, tag: int) -> tuple[int, int]:
        """The type and the count of a tag's values; the directory has it."""
        kind, count, *_ = self._entries[tag]
        return kind, count

    def position(self, tag: int) -> int:
        """Where in the file a tag's value, or the offset to it, stands; 0 where the directory lacks it."""
        entry = self._entries.get(tag)
        return self.offset + entry[3] if entry else 0

    def numbers(self, tag: int) -> tuple[int, ...]:
        """A tag's integers; empty where the directory lacks it. Raises `CorruptDocument` for other types, of
        a tag that says something of the pixels."""
        entry = self._entries.get(tag)
        if entry is None or entry[0] not in _TYPES:
            return ()
        code = _TYPES[entry[0]][0]
        if code in ("II", "ii", "f", "d"):
            if tag in _BESIDE:
                return ()
            raise self.corrupt(f"TIFF tag {tag} is no whole number")
        raw = self.raw(tag)
        return struct.unpack(f"{self.tiff.byte_order}{entry[1]}{code}", raw) if raw else ()

    def number(self, tag: int, default: int) -> int:
        """A tag's first integer."""
        entry = self._entries.get(tag)
        if entry is None:
            return default
        kind, count, value, _ = entry
        if count == 1:  # nearly all; the general way takes ten times as long
            if kind == 3:
                return value >> self.tiff.short_shift & 0xFFFF
            if kind == 4:
                return value >> self.tiff.long_shift & 0xFFFFFFFF
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
        if not raw:
            return ()
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
        unit = self.number(Tag.RESOLUTION_UNIT, _INCH)
        if unit == _NO_UNIT:
            return 0.0, 0.0
        per_inch = 2.54 if unit == _CENTIMETRE else 1.0  # others mean inches, as in libtiff
        x, y = self._density(Tag.X_RESOLUTION) * per_inch, self._density(Tag.Y_RESOLUTION) * per_inch
        # Writers that know one only, or write 0 for the other, mean square pixels.
        return x or y, y or x

    def _density(self, tag: Tag) -> float:
        value = self.real(tag)
        # 1 dot an inch or less is how programs write 'unknown' without changing the unit.
        return value if 1.0 < value < 1e6 else 0.0

    def aspect(self) -> float:
        """Vertical to horizontal resolution where the file names none in a unit: a pixel's shape."""
        if all(self.dpi()):
            return 1.0
        return plausible_aspect(self.real(Tag.X_RESOLUTION), self.real(Tag.Y_RESOLUTION))

    def size_pt(self, default_dpi: float) -> tuple[float, float]:
        """Width and height of the upright page in points, at `default_dpi` where the file names none."""
        size = self.width, self.height
        return upright_size(size, self.dpi(), self.orientation, default_dpi, self.aspect())

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
