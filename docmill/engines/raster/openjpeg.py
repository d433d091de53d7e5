"""JPEG 2000 of more than 8 bits a sample, of which Pillow keeps 8 in colour: decoded by the OpenJPEG that
Pillow has loaded. Its structures are those of openjpeg.h, the same in all releases of version 2."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from docmill.engines.raster.pillow_library import Prototype, loaded_library
from docmill.engines.raster.wide import full_range
from docmill.jp2 import CODESTREAM

_CODESTREAM, _FILE = 0, 2  # OPJ_CODEC_FORMAT
_READ = 1
# The parameters take 8,264 bytes in 2.5, of which only the defaults are wanted.
_PARAMETERS = 16_384
# Gray and RGB as such, and what a bare codestream says of its colours (OPJ_COLOR_SPACE).
_PLAIN_COLORS = (-1, 0, 1, 2)


class _Component(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("dx", "dy", "w", "h", "x0", "y0", "prec", "bpp", "sgnd")),
        *((name, ctypes.c_uint32) for name in ("resno_decoded", "factor")),
        ("data", ctypes.POINTER(ctypes.c_int32)),
        ("alpha", ctypes.c_uint16),
    )


class _Image(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("x0", "y0", "x1", "y1", "numcomps")),
        ("color_space", ctypes.c_int),
        ("comps", ctypes.POINTER(_Component)),
        ("icc_profile_buf", ctypes.c_void_p),
        ("icc_profile_len", ctypes.c_uint32),
    )


def wide_jp2(path: Path, size: tuple[int, int], channels: int) -> NDArray[np.uint16] | None:
    """Rows x pixels x samples, 0 to 65535, of a picture of so many samples of gray or RGB, alpha last.

    None where OpenJPEG cannot be asked or does not decode it, and for samples of other colours, or of a
    component that has fewer rows or columns than the picture.
    """
    library = _openjpeg()
    if library is None:
        return None
    with path.open("rb") as file:
        is_bare = file.read(4) == CODESTREAM
    stream = library.opj_stream_create_default_file_stream(os.fsencode(path), _READ)
    codec = library.opj_create_decompress(_CODESTREAM if is_bare else _FILE)
    image = ctypes.POINTER(_Image)()
    try:
        parameters = ctypes.create_string_buffer(_PARAMETERS)
        library.opj_set_default_decoder_parameters(parameters)
        if (
            stream
            and codec
            and library.opj_setup_decoder(codec, parameters)
            and library.opj_read_header(stream, codec, ctypes.byref(image))
            and library.opj_decode(codec, stream, image)
        ):
            return _samples(image.contents, size, channels)
        return None
    finally:
        if image:
            library.opj_image_destroy(image)
        if codec:
            library.opj_destroy_codec(codec)
        if stream:
            library.opj_stream_destroy(stream)


def _samples(image: _Image, size: tuple[int, int], channels: int) -> NDArray[np.uint16] | None:
    width, height = size
    components = image.comps[: image.numcomps]
    if len(components) != channels or image.color_space not in _PLAIN_COLORS:
        return None
    if any((each.w, each.h) != size or not each.data or not 1 <= each.prec <= 31 for each in components):
        return None
    out = np.empty((height, width, channels), np.uint16)
    for channel, component in enumerate(components):
        most = (1 << component.prec) - 1
        lowest = 1 << (component.prec - 1) if component.sgnd else 0
        plane = np.ctypeslib.as_array(component.data, (height, width))
        out[:, :, channel] = full_range(plane, most, lowest)
    return out


@cache
def _openjpeg() -> Any:
    return loaded_library("libopenjp2", _PROTOTYPES)


_POINTER, _BOOL = ctypes.c_void_p, ctypes.c_int
_IMAGE = ctypes.POINTER(_Image)
_PROTOTYPES: tuple[Prototype, ...] = (
    ("opj_stream_create_default_file_stream", _POINTER, (ctypes.c_char_p, _BOOL)),
    ("opj_stream_destroy", None, (_POINTER,)),
    ("opj_create_decompress", _POINTER, (ctypes.c_int,)),
    ("opj_destroy_codec", None, (_POINTER,)),
    ("opj_set_default_decoder_parameters", None, (_POINTER,)),
    ("opj_setup_decoder", _BOOL, (_POINTER, _POINTER)),
    ("opj_read_header", _BOOL, (_POINTER, _POINTER, ctypes.POINTER(_IMAGE))),
    ("opj_decode", _BOOL, (_POINTER, _POINTER, _IMAGE)),
    ("opj_image_destroy", None, (_IMAGE,)),
)
