"""Encoded pages as a PDF of pictures: what TIFF holds of a page in one strip, an image of PDF holds as it is.

Sections are those of ISO 32000-1:2008.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from docmill.engines.base import PageResult
from docmill.engines.output.tiff_page import TiffPage
from docmill.engines.raster.decoded import DEVICE_SPACES
from docmill.pdf import PdfImage, PdfPage, PdfWriter
from docmill.tiff_fields import TiffField
from docmill.tiff_tags import Compression, Photometric, Tag

_FILTERS: dict[int, bytes] = {
    Compression.NONE: b"",
    Compression.PACKBITS: b"/RunLengthDecode",
    Compression.CCITT_RLE: b"/CCITTFaxDecode",
    Compression.CCITT_G3: b"/CCITTFaxDecode",
    Compression.CCITT_G4: b"/CCITTFaxDecode",
    Compression.LZW: b"/LZWDecode",
    Compression.DEFLATE: b"/FlateDecode",
    Compression.JPEG: b"/DCTDecode",
}
# RunLengthDecode is PackBits with a mark of its own for the end (7.4.5).
_END_OF_RUNS = b"\x80"


class PictureDocument:
    """Writes a PDF page by page, each a picture; a context manager that completes the file, unless an
    exception passes."""

    def __init__(self, path: Path) -> None:
        self._pdf = PdfWriter(path)

    def __enter__(self) -> PictureDocument:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pdf.__exit__(kind, error, trace)

    def add(self, page: TiffPage, result: PageResult) -> None:
        """Take over the only strip of a page from its file, which stays; the page is as large as its result
        says."""
        self._pdf.add_page(PdfPage(_image(page), result.width_pt, result.height_pt))


def _image(page: TiffPage) -> PdfImage:
    fields = page.fields
    bits, samples = fields[Tag.BITS_PER_SAMPLE].first, fields[Tag.SAMPLES_PER_PIXEL].first
    profile = fields.get(Tag.ICC_PROFILE)
    is_palette = fields[Tag.PHOTOMETRIC].first == Photometric.PALETTE
    compression = fields[Tag.COMPRESSION].first
    return PdfImage(
        width=fields[Tag.IMAGE_WIDTH].first,
        height=fields[Tag.IMAGE_LENGTH].first,
        bits_per_component=bits,
        color_space=_indexed(fields[Tag.COLOR_MAP]) if is_palette else DEVICE_SPACES[samples],
        data=_data(page, compression),
        filter=_FILTERS[compression],
        decode_parms=_parms(fields, compression),
        components=3 if is_palette else samples,
        icc_profile=profile.data if profile else None,
    )


def _data(page: TiffPage, compression: int) -> Iterator[bytes]:
    yield page.path.read_bytes()
    if compression == Compression.PACKBITS:
        yield _END_OF_RUNS


def _parms(fields: Mapping[int, TiffField], compression: int) -> bytes:
    width, height = fields[Tag.IMAGE_WIDTH].first, fields[Tag.IMAGE_LENGTH].first
    kind = {
        Compression.CCITT_RLE: b"/K 0/EncodedByteAlign true/EndOfBlock false",
        Compression.CCITT_G3: b"/K 0/EndOfLine true/EndOfBlock false",
        Compression.CCITT_G4: b"/K -1",
    }.get(Compression(compression))
    if kind:
        if Tag.T4_OPTIONS in fields and fields[Tag.T4_OPTIONS].first & 1:
            kind = kind.replace(b"/K 0", b"/K 1")
        return b"<<%b/Columns %d/Rows %d>>" % (kind, width, height)
    if Tag.PREDICTOR not in fields:
        return b""
    samples, bits = fields[Tag.SAMPLES_PER_PIXEL].first, fields[Tag.BITS_PER_SAMPLE].first
    predictor = fields[Tag.PREDICTOR].first
    return b"<</Predictor %d/Colors %d/BitsPerComponent %d/Columns %d>>" % (predictor, samples, bits, width)


def _indexed(color_map: TiffField) -> bytes:
    """The colours of a palette (8.6.6.3) from TIFF's: all reds, greens, blues, of 16 bits each."""
    high = color_map.data[1::2]
    count = len(high) // 3
    colors = bytes(high[plane * count + index] for index in range(count) for plane in range(3))
    return b"[/Indexed/DeviceRGB %d<%b>]" % (count - 1, colors.hex().encode())
