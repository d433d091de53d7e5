"""Rows of pixels behind PNG's predictors, and which of them a page is best compressed with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from isal import isal_zlib

from docmill.engines import deflate
from docmill.engines.deflate import Compress, Filter
from docmill.engines.output.page import Bytes

_SAMPLE_BANDS, _SAMPLE_ROWS, _SAMPLE_BYTES = 3, 32, 64 << 10
_PAETH_ROWS = 64


def choose(rows: Bytes, pixel_bytes: int, filters: Sequence[Filter]) -> tuple[Filter, Compress]:
    """The predictor and the compressor that make the least of these rows, by a sample."""
    bands = list(_sample(rows))
    return deflate.choose(
        (filter, np.concatenate([predict(band, pixel_bytes, filter) for band in bands])) for filter in filters
    )


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
    if filter is Filter.AVERAGE:
        return rows - _mean(rows, pixel_bytes, above)
    return _paeth(rows, pixel_bytes, above)


def _mean(rows: Bytes, pixel_bytes: int, above: Bytes | None) -> Bytes:
    """The mean, rounded down, of the byte above and that of the pixel before."""
    up, left = np.zeros_like(rows), np.zeros_like(rows)
    up[1:] = rows[:-1]
    if above is not None:
        up[0] = above
    left[:, pixel_bytes:] = rows[:, :-pixel_bytes]
    # The sum would not fit into a byte: the bits that both have, and half of those that one has.
    mean: Bytes = (up & left) + ((up ^ left) >> 1)
    return mean


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
