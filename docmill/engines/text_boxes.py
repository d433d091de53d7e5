"""Boxes of characters: their turning and joining, and the memory that pdfium writes them into."""

from __future__ import annotations

import ctypes

import pypdfium2.raw as pdfium

Box = tuple[float, float, float, float]


class Room:
    """An array of boxes for pdfium to write into, with a reference to each made once."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._boxes = (pdfium.FS_RECTF * count)()
        self._floats = memoryview(self._boxes).cast("B").cast("f")
        self.references = [ctypes.byref(box) for box in self._boxes]

    def values(self, count: int) -> list[float]:
        values: list[float] = self._floats[: 4 * count].tolist()  # type: ignore[assignment]  # cast to "f"
        return values


def on_page(box: Box, frame: Box) -> bool:
    """Whether a character stands on the page at least in part; both are left, top, right, bottom, y upwards.
    Where pdfium knows no box it is taken to."""
    left, top, right, bottom = frame
    return not any(box) or (box[2] >= left and box[0] <= right and box[1] >= bottom and box[3] <= top)


def union(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), min(a[3], b[3])


def runs_right(first: Box, last: Box, both: Box) -> bool:
    """Whether a line plainly runs to the right on the unturned page; where it does, its angle need not be
    asked for."""
    height = both[1] - both[3]
    return last[0] > first[0] and both[2] - both[0] > 1.5 * height and height < 1.8 * (first[1] - first[3])


def upright(box: Box, angle: int) -> Box:
    """A box of the shown page in the frame in which text of that angle is upright."""
    x0, y0, x1, y1 = box
    if angle == 90:
        return y0, -x1, y1, -x0
    if angle == 180:
        return -x1, -y1, -x0, -y0
    if angle == 270:
        return -y1, x0, -y0, x1
    return box
