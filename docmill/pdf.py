"""The streaming PDF writer: pages of one image each, written as they come, memory flat in their number.

What is kept of a page is one offset for each of its objects (8 bytes) until the cross-reference table at the
end. The same input makes the same bytes, so that a rerun can recognise its own output: there is no date, and
the file identifier is a digest of the content. Sections are those of ISO 32000-1:2008.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from isal import isal_zlib

from docmill import __version__
from docmill.errors import DocmillError

# Pages of a node of the page tree; readers find a page through two levels.
_KIDS = 64
# A page is at most 200 inches a side in plain units (Annex C.2); UserUnit scales larger ones.
_MAX_UNITS = 14400.0


@dataclass(frozen=True, slots=True)
class PdfImage:
    """An image XObject (8.9.5): its dictionary's entries in PDF syntax and its encoded stream.

    `color_space` is e.g. `b"/DeviceGray"` or an Indexed array; with `icc_profile` set it is the alternate of
    an ICCBased space of `components` components (of an Indexed array: its base is). `data` yields the encoded
    bytes in order. `color_key` is the Mask array of the samples that are not painted (8.9.6.4).
    """

    width: int
    height: int
    bits_per_component: int
    color_space: bytes
    data: Iterable[bytes | memoryview]
    filter: bytes = b""
    decode_parms: bytes = b""
    decode: bytes = b""
    components: int = 1
    icc_profile: bytes | None = None
    soft_mask: PdfImage | None = None
    color_key: bytes = b""


@dataclass(frozen=True, slots=True)
class PdfPage:
    """A page of one image. The size is that of the upright page in points; `orientation` is the TIFF and EXIF
    Orientation (1 to 8) by which the image is turned onto it; `how` says how its stream came about, e.g.
    `copied (CCITT Group 4)`. `damage` says what is wrong with a page that was made all the same, `notes` what
    of it the output does not hold."""

    image: PdfImage
    width_pt: float
    height_pt: float
    orientation: int = 1
    how: str = ""
    damage: DocmillError | None = None
    notes: tuple[str, ...] = ()


class PdfWriter:
    """Writes a PDF file page by page; `close`, or leaving the `with` block without an error, completes it.

    Raises what the file system raises (`OSError`).
    """

    def __init__(self, path: Path, title: str = "") -> None:
        self._file = path.open("wb", buffering=1 << 20)
        self._position = 0
        self._offsets = array("Q")  # of object 1, 2, ...; 0 while it is only reserved
        self._digest = hashlib.md5(usedforsecurity=False)
        self._profiles: dict[bytes, bytes] = {}
        self._nodes: list[tuple[int, int]] = []  # finished page tree nodes: object and page count
        self._kids: list[int] = []
        self._title = title
        # The comment's bytes above 127 mark the file as binary (7.5.2).
        self._write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
        self._catalog, self._root, self._node = self._reserve(), self._reserve(), self._reserve()

    def __enter__(self) -> PdfWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    @property
    def page_count(self) -> int:
        return sum(count for _, count in self._nodes) + len(self._kids)

    def add_page(self, page: PdfPage) -> None:
        """Write a page; its image's data is read here, to its end."""
        image = self._add_image(page.image)
        unit = max(1, math.ceil(max(page.width_pt, page.height_pt) / _MAX_UNITS))
        width, height = _down(page.width_pt / unit), _down(page.height_pt / unit)
        contents = self._add_bytes(b"", b"q %b cm /Im0 Do Q" % _matrix(page.orientation, width, height))
        number = self._add(
            b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 %.4f %.4f]/Contents %d 0 R"
            b"/Resources<</XObject<</Im0 %d 0 R>>>>%b>>"
            % (self._node, width, height, contents, image, b"/UserUnit %d" % unit if unit > 1 else b"")
        )
        self._kids.append(number)
        if len(self._kids) == _KIDS:
            self._finish_node()
            self._node = self._reserve()

    def close(self) -> None:
        """Write the page tree, the document's information and the cross-reference table."""
        if self._kids or not self._nodes:
            self._finish_node()
        else:  # reserved for pages that did not come
            self._put(self._node, b"null")
        self._put(
            self._root,
            b"<</Type/Pages/Count %d/Kids[%b]>>" % (self.page_count, _references(n for n, _ in self._nodes)),
        )
        self._put(self._catalog, b"<</Type/Catalog/Pages %d 0 R>>" % self._root)
        title = b"/Title %b" % _text(self._title) if self._title else b""
        info = self._add(b"<<%b/Producer %b>>" % (title, _text(f"docmill {__version__}")))
        table = self._position
        self._write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(self._offsets) + 1))
        for start in range(0, len(self._offsets), 4096):
            self._write(b"".join(b"%010d 00000 n \n" % at for at in self._offsets[start : start + 4096]))
        identifier = self._digest.hexdigest().encode()
        self._write(
            b"trailer\n<</Size %d/Root %d 0 R/Info %d 0 R/ID[<%b><%b>]>>\nstartxref\n%d\n%%%%EOF\n"
            % (len(self._offsets) + 1, self._catalog, info, identifier, identifier, table)
        )
        self._file.close()

    def _finish_node(self) -> None:
        self._put(
            self._node,
            b"<</Type/Pages/Parent %d 0 R/Count %d/Kids[%b]>>"
            % (self._root, len(self._kids), _references(self._kids)),
        )
        self._nodes.append((self._node, len(self._kids)))
        self._kids = []

    def _add_image(self, image: PdfImage) -> int:
        entries = [
            b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent %d/ColorSpace %b"
            % (image.width, image.height, image.bits_per_component, self._color_space(image))
        ]
        if image.soft_mask:
            entries.append(b"/SMask %d 0 R" % self._add_image(image.soft_mask))
        elif image.color_key:
            entries.append(b"/Mask" + image.color_key)
        if image.filter:
            entries.append(b"/Filter " + image.filter)
        if image.decode_parms:
            entries.append(b"/DecodeParms " + image.decode_parms)
        if image.decode:
            entries.append(b"/Decode " + image.decode)
        return self._add_stream(b"".join(entries), image.data)

    def _color_space(self, image: PdfImage) -> bytes:
        space = image.color_space
        if not image.icc_profile:
            return space
        alternate = b"/DeviceRGB" if space.startswith(b"[") else space
        key = hashlib.sha256(image.icc_profile + alternate).digest()
        if key not in self._profiles:
            number = self._add_bytes(
                b"/N %d/Alternate %b/Filter/FlateDecode" % (image.components, alternate),
                zlib.compress(image.icc_profile),
            )
            self._profiles[key] = b"[/ICCBased %d 0 R]" % number
        based = self._profiles[key]
        return space.replace(alternate, based, 1) if space.startswith(b"[") else based

    def _add_bytes(self, entries: bytes, data: bytes) -> int:
        return self._add(b"<<%b/Length %d>>stream\n%b\nendstream" % (entries, len(data), data))

    def _add_stream(self, entries: bytes, data: Iterable[bytes | memoryview]) -> int:
        """A stream object; where the length is not known it is an object of its own that follows it."""
        number = self._reserve()
        if isinstance(data, tuple):
            length, known = 0, b"%d" % sum(map(len, data))
        else:
            length = self._reserve()
            known = b"%d 0 R" % length
        self._begin(number, b"<<%b/Length %b>>stream\n" % (entries, known))
        start = self._position
        for part in data:
            self._write(part)
        size = self._position - start
        self._write(b"\nendstream\nendobj\n")
        if length:
            self._put(length, b"%d" % size)
        return number

    def _reserve(self) -> int:
        self._offsets.append(0)
        return len(self._offsets)

    def _add(self, body: bytes) -> int:
        number = self._reserve()
        self._put(number, body)
        return number

    def _put(self, number: int, body: bytes) -> None:
        self._begin(number, body + b"\nendobj\n")

    def _begin(self, number: int, body: bytes) -> None:
        self._offsets[number - 1] = self._position
        self._write(b"%d 0 obj\n%b" % (number, body))

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._position += len(data)
        # A checksum of long data is enough to tell two files apart, at a fifth of the digest's time.
        self._digest.update(data if len(data) < 1024 else b"%d %d" % (isal_zlib.crc32(data), len(data)))


# How far an image stays off its page's edges, in parts of the side: 0.005 pixels of 2,480. Renderers take the
# floor and the ceiling of an image's corners after arithmetic in 32 bits; an image that ends right at the
# edge then covers a pixel more at times, and pdfium and poppler resample it. Tried over 8 orientations and
# many sizes and resolutions: with 0 every second page, from 5e-7 on none.
_INSET = 2e-6


def _matrix(orientation: int, width: float, height: float) -> bytes:
    """The matrix that maps the unit square of an image onto its upright page (8.3.4, 8.9.5.1).

    An image's first row is at the top of the square; Orientation says where on the page its first row and
    column belong (TIFF 6.0, section 8).
    """
    a, b, c, d, e, f = _TURNS[orientation]
    left, bottom = width * _INSET, height * _INSET
    w, h = width - 2 * left, height - 2 * bottom
    values = a * w, b * h, c * w, d * h, left + e * w, bottom + f * h
    return b" ".join(b"%.6f" % value if value else b"0" for value in values)


# The matrix of each Orientation for a page of one by one.
_TURNS = {
    1: (1, 0, 0, 1, 0, 0),
    2: (-1, 0, 0, 1, 1, 0),
    3: (-1, 0, 0, -1, 1, 1),
    4: (1, 0, 0, -1, 0, 1),
    5: (0, -1, -1, 0, 1, 1),
    6: (0, -1, 1, 0, 0, 1),
    7: (0, 1, 1, 0, 0, 0),
    8: (0, 1, -1, 0, 1, 0),
}


def _down(value: float) -> float:
    """A page's side in points with four decimals, rounded down.

    Renderers take the ceiling of size times resolution, some after rounding to 32 bits: a side that is up by
    one unit in the last place becomes another column of pixels.
    """
    return max(math.floor(value * 1e4 - 0.5) / 1e4, 1e-4)


def _references(numbers: Iterable[int]) -> bytes:
    return b" ".join(b"%d 0 R" % number for number in numbers)


def _text(text: str) -> bytes:
    """A text string (7.9.2.2): plain where it is ASCII, else UTF-16 with its mark."""
    if text.isascii() and text.isprintable():
        escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        return b"(" + escaped.encode() + b")"
    return b"<" + ("\ufeff" + text).encode("utf-16-be", "replace").hex().encode() + b">"
