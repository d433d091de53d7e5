"""AVIF of more than 8 bits a sample, of which Pillow keeps 8: decoded by the libavif that Pillow has loaded.

Its structures are those of avif.h of version 1.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from docmill.engines.raster.pillow_library import Prototype, loaded_library

_OK = 0
_RGB, _RGBA = 0, 1  # avifRGBFormat


class _ImageHead(ctypes.Structure):
    """The first fields of avifImage."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in ("width", "height", "depth"))


class _Pixels(ctypes.Structure):
    """avifRGBImage."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("width", "height", "depth")),
        *((name, ctypes.c_int) for name in ("format", "upsampling", "downsampling", "avoid_libyuv")),
        *((name, ctypes.c_int) for name in ("ignore_alpha", "premultiplied", "is_float", "max_threads")),
        ("pixels", ctypes.c_void_p),
        ("row_bytes", ctypes.c_uint32),
        ("spare", ctypes.c_uint8 * 256),  # for what a later release may add
    )


def wide_avif(path: Path, size: tuple[int, int], channels: int) -> NDArray[np.uint16] | None:
    """Rows x pixels x samples, 0 to 65535, of a still picture as gray or RGB, alpha last: 1 to 4 `channels`.

    None where libavif cannot be asked or does not decode it.
    """
    library = _libavif()
    if library is None:
        return None
    decoder, image = library.avifDecoderCreate(), library.avifImageCreateEmpty()
    try:
        if library.avifDecoderReadFile(decoder, image, os.fsencode(path)) != _OK:
            return None
        head = ctypes.cast(image, ctypes.POINTER(_ImageHead)).contents
        if (head.width, head.height) != size or head.depth <= 8:
            return None
        return _samples(library, image, size, channels)
    finally:
        library.avifImageDestroy(image)
        library.avifDecoderDestroy(decoder)


def _samples(library: Any, image: int, size: tuple[int, int], channels: int) -> NDArray[np.uint16] | None:
    width, height = size
    has_alpha = channels in (2, 4)
    # Gray as well is written as RGB, three samples that are the same: before 1.4 there is no other way.
    out = np.empty((height, width, 4 if has_alpha else 3), np.uint16)
    pixels = _Pixels()
    library.avifRGBImageSetDefaults(ctypes.byref(pixels), image)
    if (pixels.width, pixels.height) != size:
        return None
    pixels.depth, pixels.format = 16, _RGBA if has_alpha else _RGB
    pixels.ignore_alpha = not has_alpha
    pixels.pixels, pixels.row_bytes = out.ctypes.data, out.strides[0]
    if library.avifImageYUVToRGB(image, ctypes.byref(pixels)) != _OK:
        return None
    return out if channels > 2 else np.ascontiguousarray(out[:, :, [0, 3] if has_alpha else [0]])


@cache
def _libavif() -> Any:
    library = loaded_library("libavif", _PROTOTYPES)
    return library if library and library.avifVersion().startswith(b"1.") else None


_POINTER = ctypes.c_void_p
_PROTOTYPES: tuple[Prototype, ...] = (
    ("avifVersion", ctypes.c_char_p, ()),
    ("avifDecoderCreate", _POINTER, ()),
    ("avifDecoderDestroy", None, (_POINTER,)),
    ("avifImageCreateEmpty", _POINTER, ()),
    ("avifImageDestroy", None, (_POINTER,)),
    ("avifDecoderReadFile", ctypes.c_int, (_POINTER, _POINTER, ctypes.c_char_p)),
    ("avifRGBImageSetDefaults", None, (_POINTER, _POINTER)),
    ("avifImageYUVToRGB", ctypes.c_int, (_POINTER, _POINTER)),
)
