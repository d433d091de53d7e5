"""Pixels of 16 bit samples, which Pillow has no room for beyond gray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Full white by colour space: no ink, and for Lab no colour.
_WHITE: dict[str, tuple[int, ...]] = {
    "L": (0xFFFF,), "RGB": (0xFFFF,) * 3, "CMYK": (0,) * 4, "LAB": (0xFFFF, 0x8000, 0x8000),
}  # fmt: skip
# What full white is where samples are numbers without a stated range: the first that covers them.
_WHITE_LEVELS = (1.0, 255.0, 65535.0)
# Worked on at a time: in 64 bits samples take four times the room.
_ROWS = 256


@dataclass(frozen=True, slots=True)
class Wide:
    """Rows x pixels x samples of a page in the colour space `L`, `RGB`, `CMYK` or `LAB`, 0 to 65535.

    `LAB` has L* of 0 to 100 and a* and b* of -128 to 127.996. `alpha` is rows x pixels, not multiplied in.
    """

    colors: NDArray[np.uint16]
    space: str
    alpha: NDArray[np.uint16] | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.colors.shape[1], self.colors.shape[0]

    def on_white(self) -> Wide:
        """The pixels laid on white, opaque."""
        if self.alpha is None:
            return self
        alpha = self.alpha[:, :, None].astype(np.uint32)
        white = np.array(_WHITE[self.space], np.uint32)
        mixed = (self.colors * alpha + white * (0xFFFF - alpha) + 0x7FFF) // 0xFFFF
        return Wide(mixed.astype(np.uint16), self.space)

    def scaled(self, size: tuple[int, int]) -> Wide:
        """The pixels of gray or RGB drawn `size` wide and high; what is transparent lends no colour."""
        opacity = None if self.alpha is None else self.alpha / np.float32(0xFFFF)
        bands = [band.astype(np.float32) for band in np.moveaxis(self.colors, 2, 0)]
        if opacity is None:
            return Wide(np.stack([_whole(_scaled(band, size)) for band in bands], 2), self.space)
        below = _scaled(opacity, size)
        visible = np.maximum(below, np.float32(1 / 0xFFFF))
        colors = [_whole(_scaled(band * opacity, size) / visible) for band in bands]
        return Wide(np.stack(colors, 2), self.space, _whole(below * np.float32(0xFFFF)))

    def eight_bit(self) -> Image.Image:
        """The pixels rounded, in Pillow's mode of that space, or RGB for Lab with alpha."""
        bands = [*np.moveaxis(self.colors, 2, 0)]
        mode = self.space
        if self.alpha is not None and mode in ("L", "RGB"):
            bands.append(self.alpha)
            mode += "A"
        if mode == "LAB":
            # a* and b* in whole steps, of which Pillow has 0 in the middle.
            level, a, b = (band.astype(np.uint32) for band in bands)
            narrow = [(level + 128) // 257, np.minimum((a + 128) >> 8, 255), np.minimum((b + 128) >> 8, 255)]
        else:
            narrow = [(band.astype(np.uint32) + 128) // 257 for band in bands]
        made = Image.merge(mode, [Image.fromarray(band.astype(np.uint8)) for band in narrow])
        if mode == "LAB" and self.alpha is not None:
            made = made.convert("RGB")
            made.putalpha(Image.fromarray((self.alpha >> 8).astype(np.uint8)))
        return made


def _scaled(band: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    image = Image.fromarray(band, "F").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    scaled: NDArray[np.float32] = np.asarray(image)
    return scaled


def _whole(values: NDArray[Any]) -> NDArray[np.uint16]:
    whole: NDArray[np.uint16] = np.clip(np.rint(values), 0, 0xFFFF).astype(np.uint16)
    return whole


def full_range(values: NDArray[Any], most: int, lowest: int = 0) -> NDArray[np.uint16]:
    """Whole samples, by rows, of which `most` steps lie between black and white, as 0 to 65535.

    Black is `-lowest`; what is beyond either is taken for it.
    """
    out = np.empty(values.shape, np.uint16)
    for top in range(0, len(values), _ROWS):
        rows = (values[top : top + _ROWS].astype(np.int64) + lowest).clip(0, most)
        out[top : top + _ROWS] = (rows * 65535 + most // 2) // most
    return out


def sixteen_bit(
    values: NDArray[Any], black_and_white: tuple[float, float] | None = None
) -> NDArray[np.uint16]:
    """Samples without a stated range, 32 bit integers and floats, as 16 bit; what is no number is black.

    Such files seldom name their white level. It is taken to be that of the narrowest usual range that covers
    the samples: 1 (of floats), 255 or 65535; others are stretched from their least to their greatest sample.
    With `black_and_white`, by these values.
    """
    low, white = black_and_white or value_range(values)
    scale = 65535 / (white - low) if white > low else 0.0
    out = np.empty(values.shape, np.uint16)
    for top in range(0, len(values), _ROWS):
        rows = (values[top : top + _ROWS].astype(np.float64) - low) * scale
        rows = np.nan_to_num(rows, nan=0.0, posinf=65535.0, neginf=0.0)
        out[top : top + _ROWS] = np.clip(np.rint(rows), 0, 65535)
    return out


def sixteen_bit_with_alpha(
    colors: NDArray[Any], alpha: NDArray[Any], bits: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Colours and alpha as `sixteen_bit`, but that alpha is never stretched: what covers all is opaque.

    Of integers that value is the white of the colours as well: 255, 65535, or the most that `bits` hold.
    """
    if colors.dtype.kind == "f":
        return sixteen_bit(colors), sixteen_bit(alpha, (0.0, _level(alpha, _WHITE_LEVELS)))
    most = float((1 << (bits - 1 if colors.dtype.kind == "i" else bits)) - 1)
    levels = (*(level for level in _WHITE_LEVELS[1:] if level < most), most)
    opaque = max(_level(colors, levels), _level(alpha, levels))
    return sixteen_bit(colors, (0.0, opaque)), sixteen_bit(alpha, (0.0, opaque))


def _level(values: NDArray[Any], levels: tuple[float, ...]) -> float:
    """The first of `levels` that no value is above, else the last."""
    highest = float(np.nanmax(values)) if values.size else 0.0
    return next((level for level in levels if highest <= level), levels[-1])


def value_range(values: NDArray[Any]) -> tuple[float, float]:
    """The values of black and of white by the rule of `sixteen_bit`."""
    is_float = values.dtype.kind == "f"
    finite = values[np.isfinite(values)] if is_float and not np.isfinite(values).all() else values
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    for level in _WHITE_LEVELS[0 if is_float else 1 :]:
        if low >= 0 and high <= level:
            return 0.0, level
    return low, high
