"""What the bare samples of a TIFF page mean: gray, palette, RGB, CMYK or Lab, of any depth, with alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from docmill.engines.raster.tiff_decode import CHANNELS
from docmill.engines.raster.tiff_image import TiffImage
from docmill.engines.raster.tiff_samples import samples
from docmill.engines.raster.wide import Wide, sixteen_bit, sixteen_bit_with_alpha, value_range
from docmill.tiff_tags import Photometric, SampleFormat, Tag

_ASSOCIATED = 1
# 999 is what an old drawing program wrote for alpha.
_ALPHA = (1, 2, 999)
_SPACES: dict[int, str] = {
    Photometric.RGB: "RGB",
    Photometric.YCBCR: "RGB",
    Photometric.SEPARATED: "CMYK",
    Photometric.CIELAB: "LAB",
    Photometric.ICCLAB: "LAB",
    Photometric.ITULAB: "LAB",
}
# Ranges of a* and b* of ITULAB without a Decode tag (RFC 2301, 6.2.3): least value, and the steps of 255.
_ITU_A, _ITU_B = (-85.0, 170 / 255), (-75.0, 200 / 255)


def pixels(image: TiffImage) -> Image.Image | Wide:
    """The page's pixels; see `tiff_decode.decode`."""
    try:
        return _pixels(image)
    except MemoryError:
        raise image.too_large() from None


def _pixels(image: TiffImage) -> Image.Image | Wide:
    stored = samples(image)
    count = CHANNELS[image.photometric]
    colors = stored[:, :, :count]
    alpha, associated = _alpha(image, stored, count)
    if image.photometric == Photometric.PALETTE:
        return _of_palette(image, colors[:, :, 0], alpha)
    if image.photometric == Photometric.ITULAB:
        colors = _itu_lab(colors)
    if image.photometric == Photometric.YCBCR:
        colors = _rgb_of_ycbcr(image, colors)
    is_bare = image.sample_format == SampleFormat.FLOAT or image.bits > 16 or colors.dtype.kind == "i"
    if is_bare and count == 1 and alpha is None:
        return _bare_gray(colors[:, :, 0], inverted=image.photometric == Photometric.MIN_IS_WHITE)
    if is_bare and image.photometric not in (Photometric.CIELAB, Photometric.ICCLAB):
        if alpha is None:
            colors = sixteen_bit(colors)
        else:
            colors, alpha = sixteen_bit_with_alpha(colors, alpha, image.bits)
    else:
        colors = _unsigned_lab(image, colors) if count == 3 and image.photometric in _SPACES else colors
        colors = _full_range(colors, image.bits)
        alpha = None if alpha is None else _full_range(alpha, image.bits)
    if alpha is not None and associated:
        colors = _divided(colors, alpha)
    if image.photometric == Photometric.MIN_IS_WHITE:
        colors = np.iinfo(colors.dtype).max - colors
    return _image(colors, _SPACES.get(image.photometric, "L"), alpha)


def _alpha(image: TiffImage, stored: NDArray[Any], colors: int) -> tuple[NDArray[Any] | None, bool]:
    """The alpha samples, if any, and whether the colours are multiplied by them (section 18)."""
    extras = image.samples - colors
    kinds = image.extra_samples[:extras] if image.extra_samples else ()
    if not image.extra_samples and extras == 1 and image.photometric == Photometric.RGB:
        kinds = (2,)  # writers that leave the tag out mean alpha, as readers have it
    for index, kind in enumerate(kinds):
        if kind in _ALPHA:
            return stored[:, :, colors + index], kind == _ASSOCIATED
    return None, False


def _of_palette(image: TiffImage, indexes: NDArray[Any], alpha: NDArray[Any] | None) -> Image.Image | Wide:
    if image.bits <= 8 and alpha is None:
        made = Image.fromarray(indexes.astype(np.uint8), "L")
        made.putpalette(image.palette())
        return made
    table = np.frombuffer(image.palette(), np.uint8).reshape(-1, 3)
    if len(table) <= int(indexes.max()):
        raise image.directory.corrupt(f"its palette has {len(table)} colours, too few for its pixels")
    return _image(table[indexes], "RGB", None if alpha is None else _full_range(alpha, image.bits))


def _bare_gray(values: NDArray[Any], *, inverted: bool) -> Image.Image | Wide:
    """Gray of 32 bits as it is, for targets that hold it; signed 16 bits are among them."""
    if values.dtype.kind == "f":
        values = values.astype(np.float32)
    elif values.dtype.itemsize < 4:
        values = values.astype(np.int32)
    if inverted:
        black, white = value_range(values)
        values = (black + white - values).astype(values.dtype)
    if values.dtype.kind == "f":
        return Image.fromarray(np.ascontiguousarray(values), "F")
    if values.min() >= -(1 << 31) and values.max() < 1 << 31:
        return Image.fromarray(np.ascontiguousarray(values.astype(np.int32)), "I")
    return Image.fromarray(values.astype(np.float32), "F")


def _full_range(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Unsigned samples of `bits` bits, at most 16, scaled to the range of their type."""
    if bits in (8, 16):
        return values
    most = (1 << bits) - 1
    target = 255 if bits < 8 else 65535
    scaled: NDArray[Any] = (values.astype(np.uint32) * target + most // 2) // most
    return scaled.astype(values.dtype)


def _divided(colors: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Colours without the alpha that was multiplied into them."""
    most = int(np.iinfo(colors.dtype).max)
    below = np.maximum(alpha, 1)[:, :, None].astype(np.uint32)
    divided: NDArray[Any] = np.minimum((colors.astype(np.uint32) * most + below // 2) // below, most)
    return divided.astype(colors.dtype)


def _rgb_of_ycbcr(image: TiffImage, colors: NDArray[Any]) -> NDArray[np.uint8]:
    """YCbCr of 8 bits in full range (TIFF 6.0, section 21; the coefficients of BT.601 if none are named)."""
    named = image.directory.reals(Tag.YCBCR_COEFFICIENTS)
    red, green, blue = named if len(named) == 3 and all(each > 0 for each in named) else (0.299, 0.587, 0.114)
    y, cb, cr = np.moveaxis(colors.astype(np.float32), 2, 0)
    r = y + (cr - 128) * (2 - 2 * red)
    b = y + (cb - 128) * (2 - 2 * blue)
    g = (y - red * r - blue * b) / green
    rgb: NDArray[np.uint8] = np.stack((r, g, b), 2).round().clip(0, 255).astype(np.uint8)
    return rgb


def _unsigned_lab(image: TiffImage, colors: NDArray[Any]) -> NDArray[Any]:
    """Lab with a* and b* from 0 on, 0 in the middle; other colours as they are."""
    if image.photometric not in (Photometric.CIELAB, Photometric.ICCLAB):
        return colors
    colors = colors.view(f"u{colors.dtype.itemsize}").copy()
    if image.photometric == Photometric.CIELAB:
        colors[:, :, 1:] ^= 1 << (image.bits - 1)
    elif image.bits == 16:  # ICC's L* of 100 is 0xFF00
        level = colors[:, :, 0].astype(np.uint32)
        colors[:, :, 0] = np.minimum((level * 65535 + 32640) // 65280, 65535)
    return colors


def _itu_lab(colors: NDArray[Any]) -> NDArray[Any]:
    """ITULAB of 8 or 16 bits as unsigned Lab of the same depth."""
    most, half = int(np.iinfo(colors.dtype).max), 128
    step = 1 if most == 255 else 256
    lab = colors.copy()
    for band, (least, width) in ((1, _ITU_A), (2, _ITU_B)):
        value = least + colors[:, :, band] * (width * 255 / most)
        lab[:, :, band] = np.clip(np.rint((value + half) * step), 0, most)
    return lab


def _image(colors: NDArray[Any], space: str, alpha: NDArray[Any] | None) -> Image.Image | Wide:
    if colors.dtype == np.uint8 and (alpha is None or space in ("L", "RGB")):
        bands = [*np.moveaxis(colors, 2, 0), *([] if alpha is None else [alpha])]
        mode = space if alpha is None else space + "A"
        return Image.merge(mode, [Image.fromarray(np.ascontiguousarray(band)) for band in bands])
    if colors.dtype == np.uint8:  # Pillow has no alpha beside these
        colors = colors.astype(np.uint16) * (256 if space == "LAB" else 257)
        if space == "LAB":
            colors[:, :, 0] += colors[:, :, 0] >> 8
        alpha = None if alpha is None else alpha.astype(np.uint16) * 257
    if space == "L" and alpha is None:
        return Image.fromarray(np.ascontiguousarray(colors[:, :, 0]))
    return Wide(np.ascontiguousarray(colors), space, alpha)
