"""A TIFF page's bare samples: segments decompressed, predictors undone, tiles and planes put together.

Sections are those of the TIFF 6.0 specification; the predictor of floats is that of Adobe's Technical Note 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from docmill.engines.raster.tiff_image import TiffImage
from docmill.engines.raster.tiff_single import segments_by_pillow
from docmill.tiff_tags import Compression, SampleFormat

# Bits that are unpacked at a time, a byte each.
_BAND = 1 << 24


def samples(image: TiffImage) -> NDArray[Any]:
    """Rows x pixels x samples, of the type that the file has, in this machine's byte order.

    Integers of other than 8, 16, 32 or 64 bits come in the next larger type, by their own values. Raises
    `CorruptDocument`.
    """
    planes = [_plane(image, number) for number in range(image.planes)]
    return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)


def _plane(image: TiffImage, number: int) -> NDArray[Any]:
    width, rows_in = image.block
    count = image.segments_in_plane
    rows = count * rows_in if image.tiled else image.height
    stored = _stored(image, slice(number * count, (number + 1) * count), rows)
    per_pixel = image.samples // image.planes
    values = _values(image, stored, per_pixel).reshape(rows, width, per_pixel)
    if not image.tiled:
        return values
    across = -(-image.width // width)
    grid = values.reshape(-1, across, rows_in, width, per_pixel).swapaxes(1, 2)
    return grid.reshape(-1, across * width, per_pixel)[: image.height, : image.width]


def _stored(image: TiffImage, which: slice, rows: int) -> NDArray[np.uint8]:
    """The uncompressed bytes of a plane, rows x bytes."""
    data = image.read_all()[which]
    raw = b"".join(data) if image.compression == Compression.NONE else segments_by_pillow(image, data, rows)
    if len(raw) != rows * image.block_row_bytes:
        raise image.directory.corrupt("its pixels are not as many as its directory says")
    return np.frombuffer(raw, np.uint8).reshape(rows, image.block_row_bytes)


def _values(image: TiffImage, stored: NDArray[np.uint8], per_pixel: int) -> NDArray[Any]:
    """Rows x samples."""
    bits, order = image.bits, image.directory.tiff.byte_order
    if image.predictor == 3:
        return _undone_float(stored, bits, per_pixel)
    if bits == 24:
        whole = _of_24_bits(stored, order)
        return _float_of_24(whole) if image.sample_format == SampleFormat.FLOAT else whole
    if bits not in (8, 16, 32, 64):
        return _unpacked(stored, bits, image.block[0] * per_pixel)
    words = stored.view(f"{order}u{bits // 8}").astype(f"u{bits // 8}", copy=False)
    if image.predictor == 2:
        pixels = words.reshape(len(words), -1, per_pixel)
        words = np.cumsum(pixels, axis=1, dtype=words.dtype).reshape(words.shape)
    if image.sample_format == SampleFormat.FLOAT:
        return words.view(f"f{bits // 8}")
    # Whatever it is called, every reader takes bytes for unsigned.
    return words.view(f"i{bits // 8}") if image.sample_format == SampleFormat.SIGNED and bits > 8 else words


def _undone_float(stored: NDArray[np.uint8], bits: int, per_pixel: int) -> NDArray[Any]:
    """The predictor of floats: differences of bytes, the highest bytes of a row first."""
    rows, size = len(stored), bits // 8
    summed = np.cumsum(stored.reshape(rows, -1, per_pixel), axis=1, dtype=np.uint8)
    together = np.ascontiguousarray(summed.reshape(rows, size, -1).swapaxes(1, 2))
    if size == 3:
        return _float_of_24(_of_24_bits(together.reshape(rows, -1), ">"))
    return together.reshape(rows, -1).view(f">f{size}").astype(f"f{size}")


def _of_24_bits(stored: NDArray[np.uint8], order: str) -> NDArray[np.uint32]:
    parts = stored.reshape(len(stored), -1, 3).astype(np.uint32)
    high, low = (2, 0) if order == "<" else (0, 2)
    words = parts[..., high] << 16 | parts[..., 1] << 8 | parts[..., low]
    return words.astype(np.uint32, copy=False)


def _float_of_24(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """A sign, 7 bits of exponent with a bias of 63, 16 bits of fraction (Technical Note 3)."""
    sign = np.where(words >> 23, -1.0, 1.0)
    exponent = (words >> 16 & 0x7F).astype(np.int32)
    fraction = (words & 0xFFFF) / 65536
    normal = np.ldexp(1 + fraction, exponent - 63)
    tiny = np.ldexp(fraction, np.full_like(exponent, -62))
    value = np.where(exponent == 0, tiny, np.where(exponent == 127, np.nan, normal))
    whole: NDArray[np.float32] = (sign * value).astype(np.float32)
    return whole


def _unpacked(stored: NDArray[np.uint8], bits: int, count: int) -> NDArray[Any]:
    """Samples packed from the high bit, each row from a new byte on, whatever the byte order (section 4)."""
    size = 1 if bits <= 8 else 2 if bits <= 16 else 4
    values = np.empty((len(stored), count), f">u{size}")
    band = max(1, _BAND // (count * bits))
    for top in range(0, len(stored), band):
        rows = stored[top : top + band]
        single = np.unpackbits(rows, axis=1, count=count * bits).reshape(len(rows), count, bits)
        padded = np.zeros((len(rows), count, 8 * size), np.uint8)
        padded[:, :, 8 * size - bits :] = single
        values[top : top + band] = np.packbits(padded, axis=2).view(f">u{size}")[..., 0]
    return values.astype(f"u{size}")
