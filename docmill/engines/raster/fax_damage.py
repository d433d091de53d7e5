"""Hears from libtiff whether CCITT data is damaged.

libtiff decodes such data row by row as far as it can: a code that is none, a row of another length and an end
that comes too early are messages to it and no failures, and Pillow does not pass them on. So the data is
decoded to nowhere by the functions of the very libtiff that Pillow has loaded. That takes 2 to 6 ms for a
scan of A4 at 300 dpi, without the GIL.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

from docmill.engines.raster.pillow_library import Prototype, loaded_library

# TIFFErrorHandlerExtR of tiffio.h; the last argument is a va_list.
_Handler = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p
)
_HEARD = 1
# Some writers of Group 3 leave EOL out: libtiff says so, and begins anew without.
_WITHOUT_EOL = b"Try to decode"


def is_damaged(page: bytes) -> bool:
    """Whether libtiff has something to say against the strips of a TIFF of one page in CCITT coding.

    False as well where Pillow's libtiff cannot be asked.
    """
    library = _libtiff()
    if library is None:
        return False
    heard: list[bytes] = []

    def hear(tiff: int, data: int, module: bytes, message: bytes, values: int) -> int:
        if module.startswith(b"Fax") and not message.startswith(_WITHOUT_EOL):
            heard.append(message)
        return _HEARD

    handler = _Handler(hear)  # held here as long as libtiff may call it
    options, file = library.TIFFOpenOptionsAlloc(), os.memfd_create("page")
    try:
        library.TIFFOpenOptionsSetErrorHandlerExtR(options, handler, None)
        library.TIFFOpenOptionsSetWarningHandlerExtR(options, handler, None)
        os.pwrite(file, page, 0)
        tiff = library.TIFFFdOpenExt(file, b"page", b"r", options)
        return bool(tiff) and (_stumbles(library, tiff) or bool(heard))
    finally:
        library.TIFFOpenOptionsFree(options)
        os.close(file)


def _stumbles(library: Any, tiff: int) -> bool:
    """Whether a strip cannot be decoded at all."""
    size = library.TIFFStripSize(tiff)
    rows = ctypes.create_string_buffer(size)
    try:
        return any(
            library.TIFFReadEncodedStrip(tiff, strip, rows, size) < 0
            for strip in range(library.TIFFNumberOfStrips(tiff))
        )
    finally:
        library.TIFFCleanup(tiff)  # and leaves the file open


@cache
def _libtiff() -> Any:
    """The libtiff that Pillow has loaded; None where it is older than 4.5, or a part of Pillow itself."""
    from PIL import Image  # noqa: F401 (brings it)

    return loaded_library("libtiff", _PROTOTYPES)


_POINTER, _SIZE, _STRIP = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_uint32
_PROTOTYPES: tuple[Prototype, ...] = (
    ("TIFFOpenOptionsAlloc", _POINTER, ()),
    ("TIFFOpenOptionsFree", None, (_POINTER,)),
    ("TIFFOpenOptionsSetErrorHandlerExtR", None, (_POINTER, _Handler, _POINTER)),
    ("TIFFOpenOptionsSetWarningHandlerExtR", None, (_POINTER, _Handler, _POINTER)),
    ("TIFFFdOpenExt", _POINTER, (ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, _POINTER)),
    ("TIFFStripSize", _SIZE, (_POINTER,)),
    ("TIFFNumberOfStrips", _STRIP, (_POINTER,)),
    ("TIFFReadEncodedStrip", _SIZE, (_POINTER, _STRIP, _POINTER, _SIZE)),
    ("TIFFCleanup", None, (_POINTER,)),
)
