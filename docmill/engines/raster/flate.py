"""Pixels to Flate streams, with the predictor and the compressor chosen by a sample of the page.

No one setting is good for all pages (A4 at 300 dpi, sizes against Pillow's PNG encoder):

- on scans with noise matches are useless, so zlib's run-length strategy is best: 1.02 at a sixth of the
  time, where level 6 makes 1.10; on colour it needs the row above as a predictor (1.02 instead of 1.21);
- on drawings, text and smooth pictures libdeflate is best: 1.00 at a fifth of the time, where run lengths
  make up to 8 times as much.

The compressors release the GIL, so that pages can be made in threads.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import deflate

if TYPE_CHECKING:
    from PIL import Image

# Levels above 6 take twice the time for 1 %.
_LIBDEFLATE_LEVEL = 6
# A sample is a few bands of the page: 1 byte in 50, within bounds that keep it below a fifth of the time.
_SAMPLE_SHARE, _SAMPLE_MIN, _SAMPLE_MAX, _BANDS = 50, 96 << 10, 384 << 10, 3
# Level 4 ranks the predictors as level 6 does; level 1 misjudges text.
_SAMPLE_LEVEL = 4
# libdeflate takes and makes whole buffers only; larger pages are compressed in parts.
_WHOLE_MAX = 128 << 20
_PART = 8 << 20
# The run-length strategy is preferred where it is about as good: its time does not depend on the content.
_RLE_BONUS = 0.99


@dataclass(frozen=True, slots=True)
class Flate:
    """A zlib stream in parts, and the DecodeParms that undo its predictor (empty: none)."""

    data: tuple[bytes, ...]
    decode_parms: bytes = b""


def deflate_pixels(image: Image.Image) -> Flate:
    """Compress an image of 8 bit bands (`L`, `RGB`, `CMYK`), rows from the top.

    The predictors tried are none, the pixel above (PNG Up) and the pixel to the left (TIFF 2).
    """
    bands = list(_bands(image))
    samples = [(filter, b"".join(_without_first_row(filter, band) for band in bands)) for filter in _FILTERS]
    sizes = [len(deflate.zlib_compress(sample, _SAMPLE_LEVEL)) for _, sample in samples]
    best = min(sizes)
    filter, sample = samples[sizes.index(best)]
    compress = _run_lengths if _run_lengths_size(sample) < best else _matches
    channels = len(image.getbands())
    return Flate(tuple(compress(filter(image))), _decode_parms(filter, image.width, channels))


def deflate_bytes(raw: bytes) -> tuple[bytes, ...]:
    """Compress packed rows as they are: palette indexes, bits, 16 bit samples."""
    start = max(0, len(raw) // 2 - _SAMPLE_MAX // 2)
    sample = raw[start : start + _SAMPLE_MAX]
    matches = len(deflate.zlib_compress(sample, _SAMPLE_LEVEL))
    compress = _run_lengths if _run_lengths_size(sample) < matches else _matches
    return tuple(compress(raw))


_Filter = Callable[["Image.Image"], bytes]


def _bands(image: Image.Image) -> Iterator[Image.Image]:
    row = image.width * len(image.getbands())
    size = min(max(row * image.height // _SAMPLE_SHARE, _SAMPLE_MIN), _SAMPLE_MAX)
    rows = max(4, size // _BANDS // row)
    if rows * _BANDS >= image.height:
        yield image.crop((0, -1, image.width, image.height))
        return
    for band in range(_BANDS):
        top = (image.height - rows) * (2 * band + 1) // (2 * _BANDS)
        yield image.crop((0, top - 1, image.width, top + rows))


def _without_first_row(filter: _Filter, band: Image.Image) -> bytes:
    """A band's filtered rows but the first, which is there to predict the second."""
    raw = filter(band)
    return raw[len(raw) // band.height :]


def _run_lengths_size(sample: bytes) -> float:
    return sum(map(len, _run_lengths(sample))) * _RLE_BONUS


def _plain(image: Image.Image) -> bytes:
    return image.tobytes()


def _up(image: Image.Image) -> bytes:
    """PNG rows of filter type 2: each byte less the one above."""
    raw = memoryview(_difference(image, (0, 1)))
    stride = len(raw) // image.height
    return b"\2" + b"\2".join(raw[start : start + stride] for start in range(0, len(raw), stride))


def _left(image: Image.Image) -> bytes:
    """Each byte less that of the pixel before (TIFF 6.0, section 14)."""
    return _difference(image, (1, 0))


def _difference(image: Image.Image, offset: tuple[int, int]) -> bytes:
    from PIL import Image, ImageChops

    shifted = Image.new(image.mode, image.size)
    shifted.paste(image, offset)
    return ImageChops.subtract_modulo(image, shifted).tobytes()


_FILTERS: tuple[_Filter, ...] = (_plain, _up, _left)


def _decode_parms(filter: _Filter, columns: int, colors: int) -> bytes:
    if filter is _plain:
        return b""
    predictor = 15 if filter is _up else 2
    return b"<</Predictor %d/Colors %d/BitsPerComponent 8/Columns %d>>" % (predictor, colors, columns)


def _run_lengths(raw: bytes) -> Iterator[bytes]:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    yield from _in_parts(raw, compressor)


def _matches(raw: bytes) -> Iterator[bytes]:
    if len(raw) <= _WHOLE_MAX:
        yield bytes(deflate.zlib_compress(raw, _LIBDEFLATE_LEVEL))
    else:
        yield from _in_parts(raw, zlib.compressobj(6, zlib.DEFLATED, 15, 9))


def _in_parts(raw: bytes, compressor: zlib._Compress) -> Iterator[bytes]:
    view = memoryview(raw)
    for start in range(0, len(view), _PART):
        part = compressor.compress(view[start : start + _PART])
        if part:
            yield part
    yield compressor.flush()
