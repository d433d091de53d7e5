"""Colours by what a picture defines them to be, where Pillow shows the bare numbers."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

from docmill.engines.raster.decoded import icc_fits
from docmill.engines.verify.compare import Tolerance
from docmill.engines.verify.images import SmallPicture

_SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def other_ways(small: SmallPicture) -> Iterator[tuple[Image.Image, Tolerance]]:
    """A picture in RGB as it looks by other rules than Pillow's or pdfium's own, each with how near that is.

    By its ICC profile, or PNG's gAMA and cHRM; and inks as light, which is how CMYK without a profile becomes
    RGB.
    """
    info = small.info
    if small.inks is not None:
        yield small.inks.convert("RGB"), Tolerance.INK
    profile, gamma, primaries = info.get("icc_profile"), info.get("gamma"), info.get("chromaticity")
    if isinstance(profile, bytes):
        managed = _by_profile(small.inks or small.image, profile)
    elif gamma and primaries and "srgb" not in info:
        managed = _by_primaries(small.image, float(gamma), primaries)
    else:
        managed = None
    if managed is not None:
        yield managed, Tolerance.WIDE


def _by_profile(picture: Image.Image, profile: bytes) -> Image.Image | None:
    modes = ("CMYK",) if picture.mode == "CMYK" else ("RGB", "L")
    mode = next((mode for mode in modes if icc_fits(profile, len(mode))), None)
    if mode is None:
        return None
    try:
        return ImageCms.profileToProfile(
            picture.convert(mode),
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # a broken profile says nothing


def _by_primaries(picture: Image.Image, gamma: float, primaries: tuple[float, ...]) -> Image.Image | None:
    """By white, red, green and blue as x and y, without adaptation to another white."""
    points = np.array(primaries, float).reshape(4, 2)
    xyz = np.column_stack([points, 1 - points.sum(axis=1)])
    if (xyz[:, 1] <= 0).any() or gamma <= 0:
        return None
    xyz /= xyz[:, 1:2]
    try:
        to_xyz = xyz[1:].T * np.linalg.solve(xyz[1:].T, xyz[0])
    except np.linalg.LinAlgError:
        return None
    linear = (np.asarray(picture, float) / 255) ** (1 / gamma) @ to_xyz.T @ np.linalg.inv(_SRGB_TO_XYZ).T
    linear = linear.clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return Image.fromarray((encoded * 255).round().astype(np.uint8))
