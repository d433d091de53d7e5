"""ICC profiles of colours that a file defines by other means: primaries and a gamma, as PNG's cHRM and gAMA.

A profile of version 2 by matrix and curves, which every reader knows (ICC.1:2001-04, 6.3.1.2 and 6.3.2.2).
"""

from __future__ import annotations

import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray

# White of the profile connection space (D50), and what adapts another white to it (Bradford).
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_HEADER, _ENTRY = 128, 12


def profile_of_primaries(gamma: float, chromaticities: tuple[float, ...], *, gray: bool) -> bytes:
    """The profile of samples that were encoded with `gamma` (PNG's: 0.45455 for 1/2.2); the chromaticities
    are x and y of white, red, green and blue. Empty for those that define no colours."""
    points = np.array(chromaticities, float).reshape(4, 2)
    if gamma <= 0 or (points[:, 1] <= 0).any():
        return b""
    xyz = np.column_stack([points[:, 0], points[:, 1], 1 - points.sum(axis=1)]) / points[:, 1:2]
    white = xyz[0]
    if (white <= 0).any():
        return b""
    curve = struct.pack(">4sIIH", b"curv", 0, 1, min(0xFFFF, round(256 / gamma)))
    if gray:
        return _profile(b"GRAY", {b"wtpt": _xyz(white), b"kTRC": curve})
    try:
        amounts = np.linalg.solve(xyz[1:].T, white)
    except np.linalg.LinAlgError:
        return b""
    colorants = (_adaptation(white) @ (xyz[1:].T * amounts)).T
    tags = {b"wtpt": _xyz(white)}
    for name, colorant in zip(b"rgb", colorants, strict=True):
        tags[bytes([name]) + b"XYZ"] = _xyz(colorant)
        tags[bytes([name]) + b"TRC"] = curve
    return _profile(b"RGB ", tags)


def _adaptation(white: NDArray[np.float64]) -> NDArray[np.float64]:
    scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    matrix: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD
    return matrix


def _xyz(values: NDArray[np.float64]) -> bytes:
    numbers = [max(-(1 << 31), min((1 << 31) - 1, round(float(value) * 65536))) for value in values]
    return struct.pack(">4sIiii", b"XYZ ", 0, *numbers)


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"defined by the picture\0"
    tags = {
        b"desc": struct.pack(">4sII", b"desc", 0, len(text)) + text + bytes(78),
        b"cprt": struct.pack(">4sI", b"text", 0) + b"none\0",
        **tags,
    }
    body = bytearray()
    table = struct.pack(">I", len(tags))
    start = _HEADER + 4 + _ENTRY * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = start + len(body)
    kind = b"mntr" + space + b"XYZ "
    head = struct.pack(">I4sI12s12s4s", size, bytes(4), 0x02400000, kind, bytes(12), b"acsp")
    head += bytes(28) + _xyz(_D50)[8:]
    return head.ljust(_HEADER, b"\0") + table + bytes(body)


@cache
def srgb_profile() -> bytes:
    """The profile of sRGB, by lcms."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)  # the date: the same picture must make the same bytes again
    return bytes(profile)
