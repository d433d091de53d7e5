"""What PNG's colour chunks mean in PDF: sRGB, or a calibrated colour space from gAMA and cHRM.

A gAMA without cHRM leaves the primaries open and defines no colour space, so it does not change the page:
most writers that set it alone did not mean what it says, and few viewers look at it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from docmill.pdf import PdfImage
from docmill.png import PngHeader

_SRGB_GAMMA = 1 / 2.2
# White D65, red, green and blue of sRGB (IEC 61966-2-1), as cHRM has them.
_SRGB_CHROMATICITIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
# What 8 bit writers round to.
_TOLERANCE = 0.002


def color_space(image: PdfImage, header: PngHeader) -> PdfImage:
    """The image with its colours defined as the file's chunks do; unchanged where they do not.

    An sRGB picture gets the sRGB profile, which renderers leave as it is to the last bit; gray ones stay in
    DeviceGray, which readers take for sRGB's gray.
    """
    if header.is_srgb or _is_srgb(header):
        return image if image.components == 1 else replace(image, icc_profile=_srgb_profile())
    if header.gamma is None or header.chromaticities is None:
        return image
    calibrated = _calibrated(header.gamma, header.chromaticities, gray=image.components == 1)
    if calibrated is None:
        return image
    if image.color_space.startswith(b"["):
        return replace(image, color_space=image.color_space.replace(b"/DeviceRGB", calibrated, 1))
    return replace(image, color_space=calibrated)


def _is_srgb(header: PngHeader) -> bool:
    if header.gamma is None or abs(header.gamma - _SRGB_GAMMA) > _TOLERANCE or not header.chromaticities:
        return False
    return all(
        abs(value - srgb) <= _TOLERANCE
        for value, srgb in zip(header.chromaticities, _SRGB_CHROMATICITIES, strict=True)
    )


def _calibrated(gamma: float, chromaticities: tuple[float, ...], *, gray: bool) -> bytes | None:
    """A CalGray or CalRGB space (ISO 32000-1, 8.6.5); None for chromaticities that define no space."""
    white_x, white_y, *primaries = chromaticities
    if white_y <= 0 or gamma <= 0:
        return None
    white = (white_x / white_y, 1.0, (1 - white_x - white_y) / white_y)
    if min(white) <= 0:
        return None
    exponent = b"%.5f" % (1 / gamma)
    if gray:
        return b"[/CalGray<</WhitePoint[%b]/Gamma %b>>]" % (_numbers(white), exponent)
    columns = [(x, y, 1 - x - y) for x, y in zip(primaries[::2], primaries[1::2], strict=True)]
    scales = _solve(columns, white)
    if scales is None:
        return None
    matrix = [value * scale for column, scale in zip(columns, scales, strict=True) for value in column]
    return b"[/CalRGB<</WhitePoint[%b]/Gamma[%b]/Matrix[%b]>>]" % (
        _numbers(white),
        b" ".join([exponent] * 3),
        _numbers(matrix),
    )


def _solve(columns: list[tuple[float, float, float]], right: tuple[float, ...]) -> list[float] | None:
    """The amounts of the three primaries that make white, by Cramer's rule."""
    determinant = _determinant(columns)
    if abs(determinant) < 1e-9:
        return None
    scales = []
    for index in range(3):
        replaced = list(columns)
        replaced[index] = (right[0], right[1], right[2])
        scales.append(_determinant(replaced) / determinant)
    return scales


def _determinant(columns: list[tuple[float, float, float]]) -> float:
    (a, d, g), (b, e, h), (c, f, i) = columns
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _numbers(values: tuple[float, ...] | list[float]) -> bytes:
    return b" ".join(b"%.6f" % value for value in values)


@cache
def _srgb_profile() -> bytes:
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)  # the date: the same picture must make the same bytes again
    return bytes(profile)
