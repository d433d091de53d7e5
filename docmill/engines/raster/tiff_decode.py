"""Decoding a TIFF page: by Pillow as it is where it knows the layout, else from its bare samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docmill.engines.raster.tiff_image import TiffImage
from docmill.engines.raster.tiff_single import FAX, page_by_pillow
from docmill.tiff_tags import (
    COMPRESSION_NAMES,
    PHOTOMETRIC_NAMES,
    Compression,
    Photometric,
    SampleFormat,
    Tag,
)

if TYPE_CHECKING:
    from PIL import Image

    from docmill.engines.raster.wide import Wide

CHANNELS: dict[int, int] = {
    Photometric.MIN_IS_WHITE: 1,
    Photometric.MIN_IS_BLACK: 1,
    Photometric.RGB: 3,
    Photometric.PALETTE: 1,
    Photometric.MASK: 1,
    Photometric.SEPARATED: 4,
    Photometric.YCBCR: 3,
    Photometric.CIELAB: 3,
    Photometric.ICCLAB: 3,
    Photometric.ITULAB: 3,
}
_UNKNOWN_CODECS = (
    Compression.NEXT,
    Compression.PIXARLOG,
    Compression.JBIG,
    Compression.SGILOG,
    Compression.SGILOG24,
    Compression.JPEG_2000,
    Compression.LERC,
    Compression.JPEG_XL,
)
_LOSSY = (Compression.JPEG, Compression.WEBP)
# What a Pillow mode is of, by photometric interpretation, and the ExtraSamples that it then knows.
_GRAYS = (Photometric.MIN_IS_WHITE, Photometric.MIN_IS_BLACK)
_KNOWN_EXTRAS: dict[int, tuple[tuple[int, ...], ...]] = {
    Photometric.MIN_IS_WHITE: ((),),
    Photometric.MIN_IS_BLACK: ((), (0,), (1,), (2,)),
    Photometric.RGB: ((), (0,), (1,), (2,)),
    Photometric.PALETTE: ((),),
    Photometric.SEPARATED: ((),),
    Photometric.CIELAB: ((),),
}


def decode(image: TiffImage) -> Image.Image | Wide:
    """The page's pixels: gray with 0 black, CMYK with 0 no ink; not turned upright.

    Samples of 32 bits and floats of gray come as they are, in the modes `I` and `F`. Raises
    `CorruptDocument` where the pixels cannot be decoded in full and `UnsupportedConversion`, by its name, for
    what is not known.
    """
    refuse_unknown(image)
    if _pillow_knows(image):
        return page_by_pillow(image)
    from docmill.engines.raster.tiff_pixels import pixels

    return pixels(image)


def salvage(image: TiffImage) -> Image.Image | None:
    """What there is of a page whose CCITT data is damaged; None where there is nothing, or no such data."""
    if image.compression not in FAX or not _pillow_knows(image):
        return None
    pixels = page_by_pillow(image, salvage=True)
    return pixels if pixels.getcolors(1) is None else None


def refuse_unknown(image: TiffImage) -> None:
    """Raise `UnsupportedConversion` for pages that `decode` does not know."""
    if what := _unknown(image):
        raise image.directory.unsupported(what)


def _unknown(image: TiffImage) -> str:
    compression, photometric, bits = image.compression, image.photometric, image.bits
    if compression not in COMPRESSION_NAMES:
        return f"compression {compression}"
    if compression in _UNKNOWN_CODECS:
        return f"{COMPRESSION_NAMES[compression]} compression"
    if compression == Compression.OLD_JPEG:
        return ""
    if photometric not in CHANNELS:
        return f"the photometric interpretation {PHOTOMETRIC_NAMES.get(photometric, photometric)}"
    if image.planar not in (1, 2):
        return f"planar configuration {image.planar}"
    formats = set(image.directory.numbers(Tag.SAMPLE_FORMAT)[: image.samples])
    if len(formats) > 1:
        return "samples of different formats"
    if image.sample_format >= SampleFormat.COMPLEX_SIGNED:
        return "complex samples" if image.sample_format <= 6 else f"sample format {image.sample_format}"
    if image.sample_format == SampleFormat.FLOAT and bits not in (16, 24, 32, 64):
        return f"floats of {bits} bits"
    if bits > 32 and bits != 64:
        return f"{bits} bit samples"
    return _unknown_colors(image) or _unknown_coding(image)


def _unknown_colors(image: TiffImage) -> str:
    photometric, bits = image.photometric, image.bits
    inks = image.directory.number(Tag.INK_SET, 1)
    if photometric == Photometric.SEPARATED and (inks != 1 or image.samples < 4):
        return f"separations of {image.samples} inks"
    if image.samples < CHANNELS[photometric]:
        raise image.directory.corrupt(f"it has {image.samples} samples for {PHOTOMETRIC_NAMES[photometric]}")
    if photometric == Photometric.PALETTE and bits > 16:
        return f"a palette of {bits} bits"
    if photometric in (Photometric.CIELAB, Photometric.ICCLAB, Photometric.ITULAB) and bits not in (8, 16):
        return f"Lab of {bits} bits"
    if photometric == Photometric.YCBCR and (bits != 8 or image.samples != 3):
        return f"YCbCr of {image.samples} samples of {bits} bits"
    if photometric == Photometric.YCBCR and image.planar == 2 and _subsampling(image) != (1, 1):
        return "subsampled YCbCr in separate planes"
    return ""


def _subsampling(image: TiffImage) -> tuple[int, ...]:
    return image.directory.numbers(Tag.YCBCR_SUBSAMPLING) or (2, 2)


def _unknown_coding(image: TiffImage) -> str:
    bits = image.bits
    if image.compression in _LOSSY:
        name = COMPRESSION_NAMES[image.compression]
        if bits != 8:
            return f"{name} of {bits} bit samples"
        counts = (3, 4) if image.compression == Compression.WEBP else (1, 3, 4)
        if not _pillow_knows(image) and image.samples // image.planes not in counts:
            return f"{name} of {image.samples} samples"
    if image.predictor not in (1, 2, 3):
        return f"predictor {image.predictor}"
    if image.predictor == 2 and bits not in (8, 16, 32, 64):
        return f"a predictor of {bits} bit samples"
    if image.predictor == 3 and image.sample_format != SampleFormat.FLOAT:
        return "the predictor of floats for integers"
    if image.compression == Compression.THUNDERSCAN and not _pillow_knows(image):
        return "ThunderScan compression of other than gray of 4 bits"
    return ""


def _pillow_knows(image: TiffImage) -> bool:
    """Whether Pillow reads this layout, and reads it right."""
    if image.compression == Compression.OLD_JPEG:
        return True
    if image.photometric == Photometric.YCBCR:
        return image.planar == 1
    extras = image.extra_samples[: image.samples]
    known = (
        extras in _KNOWN_EXTRAS.get(image.photometric, ())
        and image.samples == CHANNELS[image.photometric] + len(extras)
        and image.planar == 1
        and image.sample_format in (SampleFormat.UNSIGNED, SampleFormat.UNDEFINED, SampleFormat.SIGNED)
    )
    if not known or image.bits > 8 or (image.samples > 1 and image.bits != 8):
        return False
    if image.compression == Compression.WEBP:
        return False
    if image.compression == Compression.THUNDERSCAN:
        return image.bits == 4 and image.photometric in _GRAYS and not image.tiled
    return image.bits in (1, 2, 4, 8) and (not image.tiled or image.compression == Compression.JPEG)
