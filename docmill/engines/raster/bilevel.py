"""Black and white pages: CCITT Group 4, or Flate where a dithered picture defeats it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from docmill.engines.raster.flate import deflate_bytes
from docmill.pdf import PdfImage
from docmill.tiff_tags import Tag

if TYPE_CHECKING:
    from PIL import Image

# Text comes to less than a hundredth of its bits; from an eighth on Flate may be the smaller one.
_DITHERED_SHARE = 8


def bilevel_image(image: Image.Image) -> tuple[PdfImage, str]:
    """The image XObject of a picture of mode `1`, and the name of its encoding."""
    data = group4(image)
    raw_size = (image.width + 7) // 8 * image.height
    if len(data) * _DITHERED_SHARE > raw_size:
        flate = deflate_bytes(image.tobytes())
        if sum(map(len, flate)) < len(data):
            return (
                PdfImage(image.width, image.height, 1, b"/DeviceGray", flate, filter=b"/FlateDecode"),
                "Flate",
            )
    parms = b"<</K -1/Columns %d/Rows %d>>" % image.size
    pdf_image = PdfImage(
        image.width,
        image.height,
        1,
        b"/DeviceGray",
        (data,),
        filter=b"/CCITTFaxDecode",
        decode_parms=parms,
    )
    return pdf_image, "CCITT Group 4"


def group4(image: Image.Image) -> bytes:
    """A picture of mode `1` in CCITT Group 4 (ITU-T T.6), black as black runs, most significant bit first."""
    from PIL import Image, ImageChops

    # Pillow writes BlackIsZero, where white pixels are the 1 bits that Group 4 codes as black runs.
    buffer = io.BytesIO()
    ImageChops.invert(image).save(
        buffer, "TIFF", compression="group4", tiffinfo={Tag.ROWS_PER_STRIP: image.height}
    )
    with Image.open(buffer) as tiff:
        tags = tiff.tag_v2  # type: ignore[attr-defined]  # a TIFF's image has it
        (start,), (size,) = tags[Tag.STRIP_OFFSETS], tags[Tag.STRIP_BYTE_COUNTS]
    return buffer.getvalue()[start : start + size]
