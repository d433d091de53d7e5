"""SGI pictures of 16 bits a sample, of which Pillow keeps 8 (SGI Image File Format, version 1.0)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HEADER = 512
_LITERAL, _COUNT = 0x80, 0x7F


def is_wide_sgi(head: bytes) -> bool:
    """Whether a file that begins so has samples of two bytes."""
    return head[:2] == b"\x01\xda" and head[3:4] == b"\x02"


def wide_sgi(path: Path, size: tuple[int, int], channels: int) -> NDArray[np.uint16] | None:
    """Rows x pixels x samples, 0 to 65535; None where there are fewer samples than the header says."""
    width, height = size
    data = path.read_bytes()
    if data[2:3] == b"\0":
        count = width * height * channels
        if len(data) < _HEADER + 2 * count:
            return None
        planes = np.frombuffer(data, ">u2", count, _HEADER).reshape(channels, height, width)
    else:
        rows = height * channels
        if len(data) < _HEADER + 8 * rows:
            return None
        starts, lengths = np.frombuffer(data, ">u4", 2 * rows, _HEADER).reshape(2, rows).tolist()
        unpacked = [
            _unpacked(np.frombuffer(data[at : at + size // 2 * 2], ">u2"), width)
            for at, size in zip(starts, lengths, strict=True)
        ]
        whole = [row for row in unpacked if row is not None]
        if len(whole) < rows:
            return None
        planes = np.stack(whole).reshape(channels, height, width)
    # The planes one after the other, their rows from the bottom.
    return np.ascontiguousarray(planes[:, ::-1].transpose(1, 2, 0), np.uint16)


def _unpacked(words: NDArray[np.uint16], width: int) -> NDArray[np.uint16] | None:
    """A row of run lengths; None where it has fewer samples."""
    row = np.empty(width, np.uint16)
    filled = at = 0
    while filled < width:
        if at + 1 >= len(words):
            return None
        count = min(int(words[at]) & _COUNT, width - filled)
        if not count:
            return None
        if words[at] & _LITERAL:
            run = words[at + 1 : at + 1 + count]
            if len(run) < count:
                return None
            at += 1 + count
        else:
            run = words[at + 1 : at + 2]
            at += 2
        row[filled : filled + count] = run
        filled += count
    return row
