"""Deflate streams of pixels: the predictor and the compressor that suit a page, chosen on a sample of it.

No one setting is good for all pages (A4 at 300 dpi, sizes against Pillow's PNG encoder):

- in scans matches are noise: run lengths behind a predictor (Average 1.03, Paeth 1.02) are smaller than what
  level 6 makes, in a sixth of its time;
- text, drawings and smooth pictures are smallest by libdeflate (1.00 at a fifth of the time), text without a
  predictor; run lengths make up to 8 times as much.

The compressors release the GIL, so that pages can be made in threads. How rows are predicted is up to who has
them: `output.deflate` has arrays, `raster.flate` has images of Pillow's.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, TypeAlias

import deflate

# Bytes, or an array of them: NumPy does not tell mypy that its arrays are buffers.
Data: TypeAlias = Any
Compress: TypeAlias = Callable[[Data], bytes]


class Filter(IntEnum):
    """The predictors, by their number in PNG; SUB is also TIFF's predictor 2."""

    NONE = 0
    SUB = 1
    UP = 2
    AVERAGE = 3
    PAETH = 4


# Level 6 saves 7 % of text for no time; of scans 3 to 5 % for a fifth more time. Levels above take twice the
# time for 1 %.
_LEVEL, _TIGHT_LEVEL, _TIGHT_RATIO = 4, 6, 8
# Run lengths take the same time whatever the page, matches up to three times as long.
_RUNS_BONUS = 0.98
_MOST_MEMORY = 9
# libdeflate takes and makes whole buffers only, and room for the worst case.
_WHOLE_MAX = 128 << 20


def choose(samples: Iterable[tuple[Filter, Data]]) -> tuple[Filter, Compress]:
    """The predictor and the compressor that make the least of a page, by its sample behind each predictor."""
    best: tuple[float, int, Filter, Compress] = (float("inf"), 0, Filter.NONE, matches)
    compressors: tuple[tuple[Compress, float], ...] = ((matches, 1.0), (runs, _RUNS_BONUS))
    for filter, sample in samples:
        raw = memoryview(sample).nbytes
        for compress, bonus in compressors:
            size = len(compress(sample)) * bonus
            if size < best[0]:
                best = (size, raw, filter, compress)
    size, raw, filter, compress = best
    if compress is matches and size * _TIGHT_RATIO < raw:
        compress = tight_matches
    return filter, compress


def matches(data: Data) -> bytes:
    """A zlib stream by libdeflate: text, drawings, smooth pictures."""
    return _libdeflate(data, _LEVEL)


def tight_matches(data: Data) -> bytes:
    """The same with more effort, which pays where there is much to match."""
    return _libdeflate(data, _TIGHT_LEVEL)


def runs(data: Data) -> bytes:
    """A zlib stream with run lengths only: scans with noise."""
    return _zlib(data, 1, zlib.Z_RLE)


def _libdeflate(data: Data, level: int) -> bytes:
    if memoryview(data).nbytes > _WHOLE_MAX:
        return _zlib(data, level)
    return bytes(deflate.zlib_compress(_flat(data), level))


def _zlib(data: Data, level: int, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, _MOST_MEMORY, strategy)
    return compressor.compress(_flat(data)) + compressor.flush()


def _flat(data: Data) -> bytes | memoryview:
    view = memoryview(data)
    return view if view.c_contiguous else view.tobytes()
