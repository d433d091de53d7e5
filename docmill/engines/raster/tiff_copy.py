"""TIFF pages whose stream PDF can hold as it is: Group 4, its strips joined, and one strip of Deflate."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from docmill.engines.raster.ccitt import Unjoinable, ends_with_eofb, has_hole, join_strips
from docmill.engines.raster.decoded import DEVICE_SPACES, icc_fits
from docmill.engines.raster.tiff_image import TiffImage
from docmill.pdf import PdfImage, PdfPage
from docmill.tiff_tags import Photometric, Tag

logger = logging.getLogger(__name__)

# T6Options: uncompressed mode, which readers of PDF do not know.
_UNCOMPRESSED_MODE = 2
_COMPONENTS: dict[int, int] = {
    Photometric.MIN_IS_WHITE: 1,
    Photometric.MIN_IS_BLACK: 1,
    Photometric.RGB: 3,
    Photometric.PALETTE: 1,
    Photometric.SEPARATED: 4,
}
_CHUNK = 1 << 20


def group4_page(image: TiffImage) -> PdfPage | None:
    """A Group 4 page copied, or joined from its strips; None where only decoding can tell what it holds.

    Neither decodes anything, so of damage only a hole of zeros is noticed, and a strip without a proper first
    row or end.
    """
    if _components(image) is None or image.directory.number(Tag.T6_OPTIONS, 0) & _UNCOMPRESSED_MODE:
        return None
    strips = image.read_all()
    if len(strips) == 1:
        if not ends_with_eofb(strips[0]):
            return None  # cut off, or by a writer that leaves it out
        data, how = strips[0], "copied (CCITT Group 4)"
    else:
        try:
            data = join_strips(strips, image.width)
        except Unjoinable as reason:
            logger.info("page %d is decoded: %s", image.page, reason)
            return None
        how = f"joined from {len(strips)} strips (CCITT Group 4)"
    if has_hole(data):
        return None
    # Coded white is a 0 bit to TIFF: white for MinIsWhite, black for MinIsBlack, index 0 of a palette.
    black_is_1 = b"" if image.photometric == Photometric.MIN_IS_WHITE else b"/BlackIs1 true"
    parms = b"<</K -1/Columns %d/Rows %d%b>>" % (image.width, image.height, black_is_1)
    return stored_page(image, (data,), b"/CCITTFaxDecode", parms, how, inverted=False)


def deflate_page(image: TiffImage) -> PdfPage | None:
    """A page of one Deflate strip copied; None where it can't be.

    The strip is decompressed, to nowhere, to see that it is whole: a reader of PDF would show the rest white.
    """
    components = _components(image)
    if components is None or len(image.segments) > 1 or image.predictor not in (1, 2):
        return None
    if image.predictor == 2 and image.bits != 8:  # the specification has it so; readers differ
        return None
    data = image.read(0)
    if _inflated_size(data, image.row_bytes * image.height) != image.row_bytes * image.height:
        return None
    parms = b""
    if image.predictor == 2:
        parms = b"<</Predictor 2/Colors %d/BitsPerComponent 8/Columns %d>>" % (image.samples, image.width)
    return stored_page(image, (data,), b"/FlateDecode", parms, "copied (Deflate)")


def _inflated_size(data: bytes, expected: int) -> int:
    """Bytes that a whole zlib stream holds; -1 where it is damaged or holds much more than expected."""
    from isal import isal_zlib

    inflater = isal_zlib.decompressobj()
    size = 0
    try:
        while data and not inflater.eof and size <= expected:
            size += len(inflater.decompress(data, _CHUNK))
            data = inflater.unconsumed_tail
    except isal_zlib.IsalError:  # type: ignore[misc]  # its stub has an instance
        return -1
    return size if inflater.eof else -1


def stored_page(
    image: TiffImage,
    data: Iterable[bytes | memoryview],
    filter: bytes,
    decode_parms: bytes,
    how: str,
    *,
    inverted: bool | None = None,
) -> PdfPage:
    """A page of samples as TIFF stores them; `inverted` defaults to what MinIsWhite asks for."""
    components = image.samples
    if inverted is None:
        inverted = image.photometric == Photometric.MIN_IS_WHITE
    space = DEVICE_SPACES[components]
    profile = image.icc_profile()
    if image.photometric == Photometric.PALETTE:
        colors = image.palette()
        last = len(colors) // 3 - 1
        space, components = b"[/Indexed/DeviceRGB %d<%b>]" % (last, colors.hex().encode()), 3
    pdf = PdfImage(
        width=image.width,
        height=image.height,
        bits_per_component=image.bits,
        color_space=space,
        data=data,
        filter=filter,
        decode_parms=decode_parms,
        decode=b"[1 0]" if inverted else b"",
        components=components,
        icc_profile=profile if profile and icc_fits(profile, components) else None,
    )
    return PdfPage(pdf, image.width_pt, image.height_pt, image.orientation, how)


def _components(image: TiffImage) -> int | None:
    """Colour components where the samples mean in PDF what they mean here, else None."""
    components = _COMPONENTS.get(image.photometric)
    simple = (
        components == image.samples
        and image.planar == 1
        and not image.tiled
        and image.bits in (1, 2, 4, 8)
        and image.sample_format in (1, 4)
    )
    if not simple:
        return None
    if image.photometric == Photometric.PALETTE and len(image.palette()) != 3 << image.bits:
        return None
    return components
