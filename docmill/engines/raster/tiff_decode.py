"""Decoding a TIFF page by Pillow and libtiff, from a TIFF of just that page made in memory.

Pillow finds a page by walking the chain from its start, and libtiff reads the first directory whatever page
is asked for; a page on its own is decoded in any thread, in any order, and whatever the other pages' state.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from docmill.engines.raster.tiff_image import TiffImage
from docmill.errors import LimitExceeded
from docmill.tiff import Compression, Tag

if TYPE_CHECKING:
    from PIL import Image

# Tags that decoding depends on, beside those that are written anew.
_CARRIED = (
    Tag.T4_OPTIONS,
    Tag.T6_OPTIONS,
    Tag.INK_SET,
    Tag.YCBCR_COEFFICIENTS,
    Tag.YCBCR_SUBSAMPLING,
    Tag.YCBCR_POSITIONING,
    Tag.REFERENCE_BLACK_WHITE,
    Tag.JPEG_TABLES,
    Tag.COLOR_MAP,
    Tag.EXTRA_SAMPLES,
    Tag.SAMPLE_FORMAT,
)


def decode(image: TiffImage) -> Image.Image:
    """The page's pixels as Pillow gives them: gray with 0 black, CMYK with 0 no ink; not turned upright.

    Raises `CorruptDocument` where they cannot be decoded in full.
    """
    from PIL import Image

    data = image.read_all()
    if image.compression == Compression.JPEG:
        _check_ends(image, data)
    Image.MAX_IMAGE_PIXELS = None  # checked by docmill against its own setting, before
    try:
        decoded = Image.open(io.BytesIO(single_page(image, data)), formats=("TIFF",))
        decoded.load()
    except MemoryError:
        raise LimitExceeded(
            f"page {image.page} takes more memory than an engine may use",
            limit="memory",
            setting="DOCMILL_ENGINE_MEMORY",
            page=image.page,
        ) from None
    except Exception as error:  # Pillow raises what its parsing ran into: OSError, KeyError, SyntaxError, ...
        raise image.directory.corrupt(f"its pixels cannot be decoded: {error}") from error
    return decoded


def _check_ends(image: TiffImage, data: list[bytes]) -> None:
    """Raise `CorruptDocument` for a JPEG strip that is cut off: libtiff makes it gray and says nothing."""
    for index, strip in enumerate(data, 1):
        if b"\xff\xd9" not in strip:
            raise image.directory.corrupt(f"the JPEG data of its strip {index} is cut off")


def single_page(image: TiffImage, data: list[bytes]) -> bytes:
    """A classic TIFF of this page alone, of these strips, in the byte order of its file."""
    directory = image.directory
    order = directory.tiff.byte_order
    tags: dict[int, tuple[str, tuple[int, ...] | tuple[float, ...] | bytes]] = {
        Tag.IMAGE_WIDTH: ("I", (image.width,)),
        Tag.IMAGE_LENGTH: ("I", (image.height,)),
        Tag.BITS_PER_SAMPLE: ("H", (image.bits,) * image.samples),
        Tag.COMPRESSION: ("H", (image.compression,)),
        Tag.PHOTOMETRIC: ("H", (image.photometric,)),
        Tag.STRIP_OFFSETS: ("I", (0,) * len(data)),
        Tag.SAMPLES_PER_PIXEL: ("H", (image.samples,)),
        Tag.ROWS_PER_STRIP: ("I", (image.rows_per_strip,)),
        Tag.STRIP_BYTE_COUNTS: ("I", tuple(map(len, data))),
        Tag.PLANAR_CONFIGURATION: ("H", (image.planar,)),
        Tag.PREDICTOR: ("H", (image.predictor,)),
    }
    for tag in _CARRIED:
        if tag == Tag.JPEG_TABLES:
            value = directory.raw(tag)
            if value:
                tags[tag] = ("B", value)
        elif tag in (Tag.YCBCR_COEFFICIENTS, Tag.REFERENCE_BLACK_WHITE):
            if tag in directory:
                tags[tag] = ("f", directory.reals(tag))
        elif numbers := directory.numbers(tag):
            tags[tag] = ("I" if tag in (Tag.T4_OPTIONS, Tag.T6_OPTIONS) else "H", numbers)
    return _assemble(order, tags, data)


_CODES = {"B": 7, "H": 3, "I": 4, "f": 11}


def _assemble(
    order: str,
    tags: dict[int, tuple[str, tuple[int, ...] | tuple[float, ...] | bytes]],
    data: list[bytes],
) -> bytes:
    beside = 8 + 2 + 12 * len(tags) + 4
    starts = beside + sum(
        size + size % 2 for code, values in tags.values() if (size := struct.calcsize(code) * len(values)) > 4
    )
    offsets = []
    for part in data:
        offsets.append(starts)
        starts += len(part)
    tags[Tag.STRIP_OFFSETS] = ("I", tuple(offsets))
    entries, values_after = [], []
    for tag, (code, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        head = struct.pack(order + "HHI", tag, _CODES[code], len(values))
        if len(packed) > 4:
            entries.append(head + struct.pack(order + "I", beside))
            packed += b"\0" * (len(packed) % 2)
            values_after.append(packed)
            beside += len(packed)
        else:
            entries.append(head + packed.ljust(4, b"\0"))
    magic = b"II" if order == "<" else b"MM"
    header = magic + struct.pack(order + "HIH", 42, 8, len(entries))
    return b"".join([header, *entries, bytes(4), *values_after, *data])
