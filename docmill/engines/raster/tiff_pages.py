"""TIFF pages for PDF: copied, joined or re-encoded, whichever is the least work without loss."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from docmill.engines.base import EngineOptions
from docmill.engines.raster.source import PageWork
from docmill.engines.raster.tiff_decode import decode
from docmill.engines.raster.tiff_image import TiffImage, read_image
from docmill.errors import DocmillError, UnsupportedConversion
from docmill.pdf import PdfImage, PdfPage
from docmill.tiff import COMPRESSION_NAMES, Compression, Photometric, Tag, Tiff


class TiffPages:
    """The pages of a TIFF file, as a `PageSource`."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._tiff = Tiff(path, options.max_pages)
        self._options = options

    @property
    def damage(self) -> DocmillError | None:
        return self._tiff.damage

    def __len__(self) -> int:
        return len(self._tiff)

    def page(self, number: int) -> PdfPage | PageWork:
        image = read_image(self._tiff.page(number), self._options)
        _refuse_unsupported(image)
        if image.compression == Compression.CCITT_G4 and len(image.segments) == 1:
            return _page(image, _copied_g4(image), f"copied ({COMPRESSION_NAMES[image.compression]})")
        return partial(_recoded, image)

    def close(self) -> None:
        self._tiff.close()


def _copied_g4(image: TiffImage) -> PdfImage:
    black_is_1 = b"/BlackIs1 true" if image.photometric == Photometric.MIN_IS_BLACK else b""
    return PdfImage(
        width=image.width,
        height=image.height,
        bits_per_component=1,
        color_space=b"/DeviceGray",
        data=_segments(image),
        filter=b"/CCITTFaxDecode",
        decode_parms=b"<</K -1/Columns %d/Rows %d%b>>" % (image.width, image.height, black_is_1),
    )


def _segments(image: TiffImage) -> Iterator[bytes]:
    for index in range(len(image.segments)):
        yield image.read(index)


def _recoded(image: TiffImage) -> PdfPage:
    import zlib

    pixels = decode(image)
    space = {"1": b"/DeviceGray", "L": b"/DeviceGray", "RGB": b"/DeviceRGB", "CMYK": b"/DeviceCMYK"}
    if pixels.mode == "P":
        pixels = pixels.convert("RGB")
    pdf = PdfImage(
        width=image.width,
        height=image.height,
        bits_per_component=1 if pixels.mode == "1" else 8,
        color_space=space[pixels.mode],
        data=(zlib.compress(pixels.tobytes()),),
        filter=b"/FlateDecode",
        components=len(pixels.getbands()),
    )
    return _page(image, pdf, "re-encoded (Deflate)")


def _page(image: TiffImage, pdf: PdfImage, how: str) -> PdfPage:
    return PdfPage(pdf, image.width_pt, image.height_pt, image.orientation, how)


def _refuse_unsupported(image: TiffImage) -> None:
    what = ""
    if image.compression not in COMPRESSION_NAMES:
        what = f"compression {image.compression}"
    elif image.compression in (Compression.OLD_JPEG, Compression.LZMA, Compression.ZSTD, Compression.WEBP):
        what = COMPRESSION_NAMES[image.compression]
    elif image.tiled:
        what = "tiles"
    elif image.planar != 1:
        what = "separate planes"
    elif image.bits not in (1, 2, 4, 8):
        what = f"{image.bits} bit samples"
    elif image.sample_format not in (1, 4):
        what = f"sample format {image.sample_format}"
    elif image.photometric > Photometric.YCBCR or image.photometric == Photometric.MASK:
        what = f"photometric interpretation {image.photometric}"
    elif image.directory.numbers(Tag.EXTRA_SAMPLES):
        what = "alpha or other extra samples"
    if what:
        raise UnsupportedConversion(
            f"page {image.page}: a TIFF with {what} cannot be converted yet", page=image.page
        )
