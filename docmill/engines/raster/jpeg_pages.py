"""JPEG pages for PDF: the stream copied as it is, checked for completeness without decoding it."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from docmill.engines.base import EngineOptions
from docmill.engines.raster.decoded import DEVICE_SPACES, decoded_page, icc_fits
from docmill.engines.raster.source import RESUME_HINT, on_page, page_size
from docmill.errors import CorruptDocument, DocmillError, UnsupportedConversion
from docmill.jpeg import JpegHeader, adobe_segment, copied_segments, read_jpeg_header
from docmill.jpeg_check import end_of_image
from docmill.options import OnError
from docmill.page_limits import check_pixels
from docmill.pdf import PdfImage, PdfPage
from docmill.pictures import decoding

if TYPE_CHECKING:
    from PIL import Image

_PART = 1 << 20
_EOI = b"\xff\xd9"
# No byte is FF, and any Huffman code comes up soon.
_NOISE = bytes(index * 89 % 251 for index in range(512))


class JpegPages:
    """The pictures of a JPEG or Multi-Picture file, as a `PageSource`."""

    damage: DocmillError | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._options = options
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._offsets = read_jpeg_header(self._data).pictures

    def __len__(self) -> int:
        return len(self._offsets)

    def page(self, number: int) -> PdfPage | Callable[[], PdfPage]:
        start = self._offsets[number - 1]
        try:
            header = read_jpeg_header(self._data, start)
        except CorruptDocument as error:
            raise on_page(error, number) from None
        check_pixels(header.width, header.height, self._options.max_page_pixels, page=number)
        if header.bits not in (8,) or "hierarchical" in header.process:
            raise UnsupportedConversion(
                f"page {number}: a JPEG with {_what(header)} cannot be converted", page=number
            )
        picture = _Picture(self._data, start, header, number, self._options)
        if self._options.options.quality is None and header.fits_pdf and header.has_tables:
            return picture.copied()
        return partial(picture.decoded, "decoded")

    def close(self) -> None:
        self._data.close()


class _Picture:
    """One JPEG stream in a file and the page it makes."""

    def __init__(
        self, data: mmap.mmap, start: int, header: JpegHeader, number: int, options: EngineOptions
    ) -> None:
        self.data = data
        self.start = start
        self.header = header
        self.number = number
        self.options = options

    def copied(self) -> PdfPage:
        """The page with the stream as it is, if it is whole; else what can be decoded of it."""
        try:
            end, has_eoi = end_of_image(self.data, self.header, self.start)
        except CorruptDocument as error:
            return self._partly(error)
        if not has_eoi and not self._is_whole_without_end():
            return self._partly(CorruptDocument("the JPEG ends within a scan", hint="it is truncated"))
        image = PdfImage(
            self.header.width,
            self.header.height,
            8,
            DEVICE_SPACES[len(self.header.components)],
            self._stream(end),
            filter=b"/DCTDecode",
            decode=_decode_array(self.header),
            components=len(self.header.components),
            icc_profile=self._profile(),
        )
        return self._page(image, f"copied ({self.header.encoding})")

    def decoded(self, how: str) -> PdfPage:
        """The page with its pixels encoded anew."""
        try:
            image = self._decode()
        except CorruptDocument as error:
            return self._partly(error)
        width_pt, height_pt = self._size()
        return decoded_page(
            image,
            width_pt=width_pt,
            height_pt=height_pt,
            orientation=self.header.orientation,
            how=how,
            options=self.options,
            icc_profile=self._profile(),
        )

    def _partly(self, error: CorruptDocument) -> PdfPage:
        if self.options.options.on_error is not OnError.RESUME:
            raise on_page(error, self.number, RESUME_HINT) from None
        width_pt, height_pt = self._size()
        page = decoded_page(
            self._decode(_EOI),
            width_pt=width_pt,
            height_pt=height_pt,
            orientation=self.header.orientation,
            how="decoded in part",
            options=self.options,
            icc_profile=self._profile(),
        )
        return replace(page, damage=on_page(error, self.number))

    def _is_whole_without_end(self) -> bool:
        """Whether only EOI is missing: what is put in its place then changes no pixel.

        Some cameras and programs write no EOI, and libjpeg does not tell whether it had to make up pixels.
        """
        try:
            return self._decode(_EOI).tobytes() == self._decode(_NOISE + _EOI).tobytes()
        except CorruptDocument:
            return False

    def _decode(self, end: bytes = b"") -> Image.Image:
        """The pixels; with EOI as the `end` libjpeg makes up those that are missing, in gray."""
        from io import BytesIO

        from PIL import Image

        stream = self.data[self.start :] + end
        with decoding():
            image = Image.open(BytesIO(stream), formats=("JPEG",))
            image.load()
        return image

    def _stream(self, end: int) -> Iterator[bytes]:
        """The stream from SOI to EOI, byte for byte unless its colour markers mean another thing in PDF."""
        position = self.start
        if transform := _adobe_marker(self.header):
            segments = copied_segments(self.data, self.start, self.header)
            yield next(segments) + transform
            yield from segments
            position = self.header.scan_start
        for start in range(position, end, _PART):
            yield self.data[start : min(start + _PART, end)]
        yield _EOI

    def _page(self, image: PdfImage, how: str) -> PdfPage:
        return PdfPage(image, *self._size(), self.header.orientation, how)

    def _size(self) -> tuple[float, float]:
        return page_size(self.header, self.options)

    def _profile(self) -> bytes | None:
        profile = self.header.icc_profile
        return profile if profile and icc_fits(profile, len(self.header.components)) else None


def _adobe_marker(header: JpegHeader) -> bytes:
    """The Adobe marker that a PDF reader needs to see the right colour; empty: none, or the file's own.

    PDF readers know the Adobe marker and, without one, take three components for YCbCr. They differ on files
    whose component identifiers spell RGB, and on those that have both a JFIF and an Adobe marker.
    """
    if len(header.components) != 3:
        return b""
    if header.color == "RGB" and header.adobe_transform is None:
        return adobe_segment(0)
    if header.color == "YCbCr" and header.adobe_transform not in (None, 1):
        return adobe_segment(1)
    return b""


def _decode_array(header: JpegHeader) -> bytes:
    # Photoshop stores CMYK inverted, and so does everyone who followed; Pillow takes it for granted as well.
    return b"[1 0 1 0 1 0 1 0]" if len(header.components) == 4 else b""


def _what(header: JpegHeader) -> str:
    return f"{header.bits} bit samples" if header.bits != 8 else f"{header.process} coding"
