"""A TIFF of a single page, made in memory for Pillow and libtiff to decode.

Pillow finds a page by walking the chain from its start; a page on its own is decoded in any thread, in any
order, and whatever the other pages' state.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from docmill.engines.raster.fax_damage import is_damaged
from docmill.engines.raster.source import RESUME_HINT
from docmill.engines.raster.tiff_image import TiffImage
from docmill.tiff_tags import (
    ALIGNED_FAX,
    ALIGNED_FAX_END,
    COMPRESSION_NAMES,
    Compression,
    Photometric,
    Tag,
)

if TYPE_CHECKING:
    from PIL import Image

# Tags that decoding depends on, beside those that are written anew.
_CODEC_TAGS = (Tag.T4_OPTIONS, Tag.T6_OPTIONS, Tag.JPEG_TABLES)
_COLOR_TAGS = (
    Tag.INK_SET,
    Tag.YCBCR_COEFFICIENTS,
    Tag.YCBCR_SUBSAMPLING,
    Tag.YCBCR_POSITIONING,
    Tag.REFERENCE_BLACK_WHITE,
    Tag.COLOR_MAP,
    Tag.EXTRA_SAMPLES,
)
_LONG_TAGS = (Tag.T4_OPTIONS, Tag.T6_OPTIONS)
_FLOAT_TAGS = (Tag.YCBCR_COEFFICIENTS, Tag.REFERENCE_BLACK_WHITE)
FAX = (Compression.CCITT_RLE, Compression.CCITT_G3, Compression.CCITT_G4, Compression.CCITT_RLE_WORD)
# What shows libtiff so many samples of JPEG or WebP as they are, without a change of colours.
_PLAIN = {1: Photometric.MIN_IS_BLACK, 3: Photometric.RGB, 4: Photometric.SEPARATED}

_Tags: TypeAlias = dict[int, tuple[str, tuple[int, ...] | tuple[float, ...] | bytes]]


def page_by_pillow(image: TiffImage, *, salvage: bool = False) -> Image.Image:
    """The page's pixels as Pillow gives them; not turned upright. Raises `CorruptDocument`.

    `salvage` takes what there is of CCITT data that is damaged.
    """
    if image.compression == Compression.OLD_JPEG:
        return _opened(image, _file_that_begins_with(image))
    page = single_page(image, _whole(image, image.read_all()))
    if not salvage:
        _refuse_damaged_fax(image, page)
    return _opened(image, page)


def refuse_damaged_fax(image: TiffImage) -> None:
    """Raise `CorruptDocument` where a page in strips of CCITT data does not decode in full."""
    _refuse_damaged_fax(image, single_page(image, _whole(image, image.read_all())))


def segments_by_pillow(image: TiffImage, data: list[bytes], rows: int) -> bytes:
    """The uncompressed bytes of a plane's segments, one below the other: `rows` rows in all.

    Of codecs that know of pixels (CCITT, JPEG, WebP) with samples as the codec has them; of the others it is
    shown as gray of a byte a pixel, so that neither libtiff nor Pillow touches the order of bytes.
    Raises `CorruptDocument`.
    """
    width, samples, bits = image.block_row_bytes, 1, 8
    if image.compression == Compression.WEBP:
        return b"".join(_webp(image, part) for part in data)
    if image.compression in FAX:
        width, bits = image.block[0], 1
    elif image.compression == Compression.JPEG:
        width, samples = image.block[0], image.samples // image.planes
    tags: _Tags = {
        Tag.IMAGE_WIDTH: ("I", (width,)),
        Tag.IMAGE_LENGTH: ("I", (rows,)),
        Tag.BITS_PER_SAMPLE: ("H", (bits,) * samples),
        Tag.COMPRESSION: ("H", (image.compression,)),
        Tag.PHOTOMETRIC: ("H", (_PLAIN[samples],)),
        Tag.SAMPLES_PER_PIXEL: ("H", (samples,)),
        Tag.ROWS_PER_STRIP: ("I", (image.block[1],)),
        **_carried(image, _CODEC_TAGS),
    }
    page = _assemble(image.directory.tiff.byte_order, tags, _whole(image, data), tiled=False)
    _refuse_damaged_fax(image, page)
    return _opened(image, page).tobytes()


def single_page(image: TiffImage, data: list[bytes]) -> bytes:
    """A classic TIFF of this page alone, of these segments, in the byte order of its file."""
    compression = image.compression
    if compression == Compression.NONE and image.photometric == Photometric.YCBCR:
        # Pillow leaves subsampled rows to libtiff only where they are compressed.
        compression, data = Compression.DEFLATE, [zlib.compress(part, 0) for part in data]
    tags: _Tags = {
        Tag.IMAGE_WIDTH: ("I", (image.width,)),
        Tag.IMAGE_LENGTH: ("I", (image.height,)),
        Tag.BITS_PER_SAMPLE: ("H", (image.bits,) * image.samples),
        Tag.COMPRESSION: ("H", (compression,)),
        Tag.PHOTOMETRIC: ("H", (image.photometric,)),
        Tag.SAMPLES_PER_PIXEL: ("H", (image.samples,)),
        Tag.PLANAR_CONFIGURATION: ("H", (image.planar,)),
        Tag.PREDICTOR: ("H", (image.predictor,)),
        **_carried(image, _CODEC_TAGS + _COLOR_TAGS),
    }
    if image.tile:
        tags[Tag.TILE_WIDTH] = ("I", (image.tile[0],))
        tags[Tag.TILE_LENGTH] = ("I", (image.tile[1],))
    else:
        tags[Tag.ROWS_PER_STRIP] = ("I", (image.rows_per_strip,))
    return _assemble(image.directory.tiff.byte_order, tags, data, tiled=image.tiled)


def _webp(image: TiffImage, data: bytes) -> bytes:
    """A segment's samples: Pillow's own libtiff may be without WebP."""
    return _opened(image, data, "WEBP").convert("RGBA" if image.samples == 4 else "RGB").tobytes()


def _opened(image: TiffImage, page: bytes, format: str = "TIFF") -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # checked by docmill against its own setting, before
    try:
        decoded = Image.open(io.BytesIO(page), formats=(format,))
        decoded.load()
    except MemoryError:
        raise image.too_large() from None
    except Exception as error:  # Pillow raises what its parsing ran into: OSError, KeyError, SyntaxError, ...
        reason = "Pillow cannot read it" if isinstance(error, UnidentifiedImageError) else error
        raise image.directory.corrupt(f"its pixels cannot be decoded: {reason}") from error
    return decoded


def _whole(image: TiffImage, data: list[bytes]) -> list[bytes]:
    """The segments as libtiff reads all of them; raises `CorruptDocument` for JPEG that is cut off: libtiff
    makes it gray, in silence."""
    if image.compression in ALIGNED_FAX:
        return [part + ALIGNED_FAX_END for part in data]
    if image.compression == Compression.JPEG:
        for index, part in enumerate(data, 1):
            if b"\xff\xd9" not in part:
                what = "tile" if image.tiled else "strip"
                raise image.directory.corrupt(f"the JPEG data of its {what} {index} is cut off")
    return data


def _refuse_damaged_fax(image: TiffImage, page: bytes) -> None:
    if image.compression in FAX and is_damaged(page):
        raise image.directory.corrupt(
            f"its {COMPRESSION_NAMES[image.compression]} data is damaged", RESUME_HINT
        )


def _file_that_begins_with(image: TiffImage) -> bytes:
    """The whole file with this page first: old-style JPEG is strewn over it by offsets of its own tags."""
    tiff = image.directory.tiff
    head, rest = (8, "Q") if tiff.big else (4, "I")
    data = bytearray(tiff.read(0, tiff.size))
    struct.pack_into(tiff.byte_order + rest, data, head, image.directory.offset)
    if at := image.directory.position(Tag.ORIENTATION):  # else Pillow would turn it
        struct.pack_into(tiff.byte_order + "H", data, at, 1)
    return bytes(data)


def _carried(image: TiffImage, tags: Sequence[Tag]) -> _Tags:
    directory = image.directory
    carried: _Tags = {}
    for tag in tags:
        if tag not in directory:
            continue
        if tag == Tag.JPEG_TABLES:
            if value := directory.raw(tag):
                carried[tag] = ("B", value)
        elif tag in _FLOAT_TAGS:
            carried[tag] = ("f", directory.reals(tag))
        elif numbers := directory.numbers(tag):
            carried[tag] = ("I" if tag in _LONG_TAGS else "H", numbers)
    return carried


_CODES = {"B": 7, "H": 3, "I": 4, "f": 11}


def _assemble(
    order: str,
    tags: _Tags,
    data: list[bytes],
    *,
    tiled: bool,
) -> bytes:
    starts_tag, sizes_tag = Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS
    if tiled:
        starts_tag, sizes_tag = Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS
    tags = tags | {starts_tag: ("I", (0,) * len(data)), sizes_tag: ("I", tuple(map(len, data)))}
    beside = 8 + 2 + 12 * len(tags) + 4
    starts = beside + sum(
        size + size % 2 for code, values in tags.values() if (size := struct.calcsize(code) * len(values)) > 4
    )
    offsets = []
    for part in data:
        offsets.append(starts)
        starts += len(part)
    tags[starts_tag] = ("I", tuple(offsets))
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
