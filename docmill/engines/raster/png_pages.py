"""PNG pages for PDF: the compressed rows copied as they are, where PDF knows their layout.

PDF's Flate filter with predictor 15 reads PNG's rows (ISO 32000-1, 7.4.4.4), but neither the passes of an
interlaced image nor alpha among the colours: those are decoded.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from docmill.engines.base import EngineOptions
from docmill.engines.raster import png_rows
from docmill.engines.raster.decoded import DEVICE_SPACES, decoded_page, icc_fits, soft_mask
from docmill.engines.raster.flate import deflate_bytes
from docmill.engines.raster.png_color import color_space
from docmill.engines.raster.source import RESUME_HINT, left_frames, on_page, page_size
from docmill.errors import CorruptDocument, DocmillError
from docmill.formats import PNG
from docmill.options import Alpha, OnError
from docmill.page_limits import check_pixels
from docmill.pdf import PdfImage, PdfPage
from docmill.pictures import decoding
from docmill.png import GRAY_ALPHA, PALETTE, RGB_ALPHA, PngHeader, read_png_header

if TYPE_CHECKING:
    from PIL import Image

_PART = 1 << 20


class PngPages:
    """The picture of a PNG file, as a `PageSource`; of an animated one the still picture."""

    damage: DocmillError | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._options = options
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._header = read_png_header(self._data)
        self.notes = left_frames(PNG, self._header.frames, options)

    def __len__(self) -> int:
        return 1

    def page(self, number: int) -> PdfPage | Callable[[], PdfPage]:
        header, job = self._header, self._options.options
        check_pixels(header.width, header.height, self._options.max_page_pixels)
        try:
            png_rows.check(self._data, header)
        except CorruptDocument as error:
            if job.on_error is not OnError.RESUME:
                raise on_page(error, 1, RESUME_HINT) from None
            return self._partly(error)
        if job.quality is not None or (header.has_alpha and job.alpha is Alpha.WHITE):
            return self._decoded
        if header.bits == 16 and (header.has_alpha or header.interlaced):
            return self._sixteen_bit
        if header.color_type in (GRAY_ALPHA, RGB_ALPHA) or header.interlaced:
            return self._decoded
        if header.color_type == PALETTE and header.transparency is not None:
            return self._copied_with_soft_mask
        return self._page(self._copied(), "copied (Deflate)")

    def close(self) -> None:
        self._data.close()

    def _copied(self) -> PdfImage:
        return self._image(self._idat(), predictor=True)

    def _copied_with_soft_mask(self) -> PdfPage:
        """A palette with alpha: the rows copied, the alpha of each pixel looked up for the mask."""
        alpha = self._decode().convert("RGBA").getchannel("A")
        if alpha.getextrema() == (255, 255):
            return self._page(self._copied(), "copied (Deflate)")
        return self._page(replace(self._copied(), soft_mask=soft_mask(alpha)), "copied (Deflate)")

    def _sixteen_bit(self) -> PdfPage:
        """16 bit samples with alpha, or interlaced: Pillow would round the colours to 8 bit."""
        color, alpha = png_rows.samples(self._data, self._header)
        image = self._image(deflate_bytes(color), predictor=False)
        if alpha is not None:
            mask = PdfImage(
                image.width,
                image.height,
                alpha.bits,
                b"/DeviceGray",
                deflate_bytes(alpha.samples),
                filter=b"/FlateDecode",
            )
            image = replace(image, soft_mask=mask)
        return self._page(image, "decoded as Flate")

    def _decoded(self) -> PdfPage:
        width_pt, height_pt = self._size()
        page = decoded_page(
            self._decode(),
            width_pt=width_pt,
            height_pt=height_pt,
            orientation=self._header.orientation,
            how="decoded",
            options=self._options,
        )
        if page.image.icc_profile or page.image.color_space not in DEVICE_SPACES.values():
            return page
        return replace(page, image=self._colored(page.image))

    def _partly(self, error: CorruptDocument) -> PdfPage:
        """What can be had of broken data: whole rows, and white for the rest."""
        if self._header.interlaced or self._header.color_type in (GRAY_ALPHA, RGB_ALPHA):
            with decoding(truncated=True):
                image = self._open()
                image.load()
            width_pt, height_pt = self._size()
            page = decoded_page(
                image,
                width_pt=width_pt,
                height_pt=height_pt,
                orientation=self._header.orientation,
                how="decoded in part",
                options=self._options,
            )
        else:
            rows = png_rows.salvage(self._data, self._header)
            page = self._page(self._image(deflate_bytes(rows), predictor=True), "decoded in part as Flate")
        return replace(page, damage=on_page(error, 1))

    def _image(self, data: Iterator[bytes] | tuple[bytes, ...], *, predictor: bool) -> PdfImage:
        """The image of PNG rows, or without `predictor` of bare samples without their alpha."""
        header = self._header
        channels = header.channels - (header.color_type in (GRAY_ALPHA, RGB_ALPHA))
        parms = b"<</Predictor 15/Colors %d/BitsPerComponent %d/Columns %d>>"
        device = DEVICE_SPACES[channels]
        if header.color_type == PALETTE:
            last = len(header.palette) // 3 - 1
            device = b"[/Indexed/DeviceRGB %d<%b>]" % (last, header.palette.hex().encode())
        image = PdfImage(
            header.width,
            header.height,
            header.bits,
            device,
            data,
            filter=b"/FlateDecode",
            decode_parms=parms % (channels, header.bits, header.width) if predictor else b"",
            components=3 if header.color_type == PALETTE else channels,
            color_key=_color_key(header),
        )
        return self._colored(image)

    def _colored(self, image: PdfImage) -> PdfImage:
        """The image with the colour space that the file's colour chunks define."""
        profile = self._header.icc_profile
        if profile and icc_fits(profile, image.components):
            return replace(image, icc_profile=profile)
        return color_space(image, self._header)

    def _idat(self) -> Iterator[bytes]:
        for start, end in self._header.idat:
            for part in range(start, end, _PART):
                yield self._data[part : min(part + _PART, end)]

    def _open(self) -> Image.Image:
        from PIL import Image

        return Image.open(BytesIO(self._data[:]), formats=("PNG",))

    def _decode(self) -> Image.Image:
        with decoding():
            image = self._open()
            image.load()
        return with_scaled_key(image, self._header)

    def _page(self, image: PdfImage, how: str) -> PdfPage:
        return PdfPage(image, *self._size(), self._header.orientation, how)

    def _size(self) -> tuple[float, float]:
        return page_size(self._header, self._options)


def _color_key(header: PngHeader) -> bytes:
    """The Mask array of a single transparent colour; not for 16 bit, where poppler looks at 8 of them."""
    if header.transparency is None or header.color_type == PALETTE or header.bits == 16:
        return b""
    values = [
        int.from_bytes(header.transparency[at : at + 2], "big") & ((1 << header.bits) - 1)
        for at in range(0, len(header.transparency), 2)
    ]
    return b"[%b]" % b" ".join(b"%d %d" % (value, value) for value in values)


def with_scaled_key(image: Image.Image, header: PngHeader) -> Image.Image:
    """Pillow keeps tRNS in the file's own scale while it widens 2 and 4 bit gray samples to 8."""
    if image.mode == "L" and header.bits in (2, 4) and isinstance(image.info.get("transparency"), int):
        image.info["transparency"] *= 255 // ((1 << header.bits) - 1)
    return image
