"""Deflate for rows of pixels: the predictor and the compressor that suit the page, chosen on a sample of it.

On A4 at 300 dpi: text is smallest and quickest without predictor by libdeflate (20 ms); in gray scans, where
matches are noise, Paeth and run lengths beat matches by a tenth in half the time; in colour scans libdeflate
behind Up is a quarter smaller than run lengths.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum

import deflate
import numpy as np
from isal import isal_zlib

from docmill.engines.output.page import Bytes

Compress = Callable[[Bytes], bytes]


class Filter(IntEnum):
    """The predictors, by their number in PNG; SUB is also TIFF's predictor 2."""

    NONE = 0
    SUB = 1
    UP = 2
    PAETH = 4


# Level 6 saves 7 % of text for no time; of scans 3 to 5 % for twice the time.
_LEVEL, _TIGHT_LEVEL, _TIGHT_RATIO = 4, 6, 8
_SAMPLE_BANDS, _SAMPLE_ROWS, _SAMPLE_BYTES = 3, 32, 64 << 10
# Run lengths take the same time whatever the page, matches up to three times as long.
_RUNS_BONUS = 0.98
_PAETH_ROWS = 64


def choose(rows: Bytes, pixel_bytes: int, filters: Sequence[Filter]) -> tuple[Filter, Compress]:
    """The predictor and the compressor that make the least of these rows, by a sample."""
    best = (float("inf"), filters[0], matches)
    sample = list(_sample(rows))
    for filter in filters:
        filtered = [predict(band, pixel_bytes, filter) for band in sample]
        for compress, bonus in ((matches, 1.0), (runs, _RUNS_BONUS)):
            size = sum(len(compress(band)) for band in filtered) * bonus
            if size < best[0]:
                best = (size, filter, compress)
    size, filter, compress = best
    if compress is matches and size * _TIGHT_RATIO < sum(band.size for band in sample):
        compress = tight_matches
    return filter, compress


def matches(data: Bytes) -> bytes:
    """A zlib stream by libdeflate: text, drawings, smooth pictures."""
    return bytes(deflate.zlib_compress(np.ascontiguousarray(data).data, _LEVEL))


def tight_matches(data: Bytes) -> bytes:
    """The same with more effort, which pays where there is much to match."""
    return bytes(deflate.zlib_compress(np.ascontiguousarray(data).data, _TIGHT_LEVEL))


def runs(data: Bytes) -> bytes:
    """A zlib stream with run lengths only: scans with noise."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    return compressor.compress(np.ascontiguousarray(data).data) + compressor.flush()


def stream(parts: Iterator[Bytes]) -> Iterator[bytes]:
    """One zlib stream of many parts, which libdeflate cannot make."""
    compressor = isal_zlib.compressobj(2)
    for part in parts:
        yield compressor.compress(np.ascontiguousarray(part).data)
    yield compressor.flush()


def predict(rows: Bytes, pixel_bytes: int, filter: Filter, above: Bytes | None = None) -> Bytes:
    """Rows less their prediction (PNG, third edition, 9.2); `above` is the row before the first."""
    if filter is Filter.NONE:
        return rows
    if filter is Filter.SUB:
        left = rows.copy()
        left[:, pixel_bytes:] -= rows[:, :-pixel_bytes]
        return left
    if filter is Filter.UP:
        up = rows.copy()
        up[1:] -= rows[:-1]
        if above is not None:
            up[0] -= above
        return up
    return _paeth(rows, pixel_bytes, above)


def _paeth(rows: Bytes, pixel_bytes: int, above: Bytes | None) -> Bytes:
    out = np.empty_like(rows)
    first = np.zeros_like(rows[0]) if above is None else above
    # A few rows at a time stay in the processor's cache.
    for top in range(0, len(rows), _PAETH_ROWS):
        block = rows[top : top + _PAETH_ROWS].astype(np.int16)
        up = np.empty_like(block)
        up[0] = rows[top - 1] if top else first
        up[1:] = block[:-1]
        left = np.zeros_like(block)
        left[:, pixel_bytes:] = block[:, :-pixel_bytes]
        corner = np.zeros_like(block)
        corner[:, pixel_bytes:] = up[:, :-pixel_bytes]
        by_left = up - corner
        by_up = left - corner
        by_corner = np.abs(by_left + by_up)
        np.abs(by_left, out=by_left)
        np.abs(by_up, out=by_up)
        use_left = (by_left <= by_up) & (by_left <= by_corner)
        guess = np.where(use_left, left, np.where(by_up <= by_corner, up, corner))
        np.subtract(block, guess, out=out[top : top + _PAETH_ROWS], casting="unsafe")
    return out


def _sample(rows: Bytes) -> Iterator[Bytes]:
    count = min(_SAMPLE_ROWS, max(4, _SAMPLE_BYTES // rows.shape[1]))
    if len(rows) <= count * _SAMPLE_BANDS:
        yield rows
        return
    for band in range(_SAMPLE_BANDS):
        top = (len(rows) - count) * (2 * band + 1) // (2 * _SAMPLE_BANDS)
        yield rows[top : top + count]
