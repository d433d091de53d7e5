"""What PNG's colour chunks mean in PDF: sRGB, or a calibrated colour space from gAMA and cHRM.

A gAMA without cHRM leaves the primaries open and defines no colour space, so it does not change the page:
most writers that set it alone did not mean what it says, and few viewers look at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from docmill.engines.icc import profile_of_primaries, srgb_profile
from docmill.pdf import PdfImage
from docmill.png import PngHeader

_SRGB_GAMMA = 1 / 2.2
# White D65, red, green and blue of sRGB (IEC 61966-2-1), as cHRM has them.
_SRGB_CHROMATICITIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
# What 8 bit writers round to.
_TOLERANCE = 0.002
# The primaries and the transfer function of sRGB (ITU-T H.273).
_CODED_SRGB = b"\x01\x0d"


def color_space(image: PdfImage, header: PngHeader) -> PdfImage:
    """The image with its colours defined as the file's chunks do; unchanged where they do not.

    An sRGB picture gets the sRGB profile, which renderers leave as it is to the last bit; gray ones stay in
    DeviceGray, which readers take for sRGB's gray.
    """
    if header.is_srgb or _is_srgb(header.gamma, header.chromaticities):
        return image if image.components == 1 else replace(image, icc_profile=srgb_profile())
    if header.gamma is None or header.chromaticities is None:
        return image
    calibrated = _calibrated(header.gamma, header.chromaticities, gray=image.components == 1)
    if calibrated is None:
        return image
    if image.color_space.startswith(b"["):
        return replace(image, color_space=image.color_space.replace(b"/DeviceRGB", calibrated, 1))
    return replace(image, color_space=calibrated)


def profile_of_chunks(chunks: Mapping[bytes, bytes], *, gray: bool) -> bytes:
    """The ICC profile that says what PNG's colour chunks say, for formats that hold no such chunks; empty
    where they define no colours, and for gray of sRGB, which is what readers take gray for."""
    gamma = gamma_of(chunks)
    chromaticities = numbers_of(chunks.get(b"cHRM", b""))
    if is_srgb(chunks) or _is_srgb(gamma, chromaticities):
        return b"" if gray else srgb_profile()
    if gamma is None or len(chromaticities) != 8:
        return b""
    return profile_of_primaries(gamma, chromaticities, gray=gray)


def is_srgb(chunks: Mapping[bytes, bytes]) -> bool:
    """Whether the chunks name sRGB."""
    coded = chunks.get(b"cICP")
    return coded[:2] == _CODED_SRGB if coded else b"sRGB" in chunks


def gamma_of(chunks: Mapping[bytes, bytes]) -> float | None:
    """The value of gAMA."""
    numbers = numbers_of(chunks.get(b"gAMA", b""))
    return numbers[0] if numbers and numbers[0] else None


def lost_color(chunks: Mapping[bytes, bytes]) -> str:
    """What there is to tell of chunks that cannot be said by a profile; empty where they can be."""
    coded, gamma = chunks.get(b"cICP"), gamma_of(chunks)
    if coded:
        named = f"colour space of PNG's cICP (primaries {coded[0]}, transfer {coded[1]})"
        return "" if is_srgb(chunks) else f"the {named} was left out"
    if b"sRGB" in chunks or gamma is None or b"cHRM" in chunks or abs(gamma - _SRGB_GAMMA) <= _TOLERANCE:
        return ""
    return f"PNG's gamma of {gamma:g} was left out, since it names no primaries"


def numbers_of(body: bytes) -> tuple[float, ...]:
    """The numbers of gAMA and cHRM, which are stored as hundred-thousandths."""
    return tuple(int.from_bytes(body[at : at + 4], "big") / 100_000 for at in range(0, len(body), 4))


def _is_srgb(gamma: float | None, chromaticities: tuple[float, ...] | None) -> bool:
    if gamma is None or abs(gamma - _SRGB_GAMMA) > _TOLERANCE or not chromaticities:
        return False
    return all(
        abs(value - srgb) <= _TOLERANCE
        for value, srgb in zip(chromaticities, _SRGB_CHROMATICITIES, strict=True)
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
