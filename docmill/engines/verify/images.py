"""Images as Pillow reads them, to be compared small."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from docmill.engines.verify.compare import Tolerance, from_cmyk
from docmill.errors import DocmillError
from docmill.jp2 import profile_of
from docmill.tiff import Tiff
from docmill.tiff_tags import Tag

# What Pillow raises on damaged files, and on those that it would need too much memory for.
_UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, RuntimeError),
    *(AttributeError, MemoryError, struct.error, zlib.error),
)
# Modes whose colours Pillow turns into RGB as a PDF reader does.
_EXACT_MODES = frozenset({"1", "L", "LA", "RGB", "RGBA", "P", "PA"})
# Of these colours JPEG 2000 may have more bits than Pillow keeps.
_ROUNDED_MODES = frozenset({"LA", "RGB", "RGBA"})
_SEPARATE_PLANES = 2
_NO_UNIT = 1
_QUARTER_TURNS = (5, 6, 7, 8)
# Large pictures are first shrunk by a whole number, which takes a fifth of the time, to this many times their
# size: with fewer, Pillow's mean of what is left is off by as much as docmill looks for.
_GAP = 6.0


@dataclass(frozen=True, slots=True)
class SmallPicture:
    """A page drawn small, in RGB, and how near its colours are to what a PDF reader shows.

    `inks` is the same in CMYK, where it is that; `info` is Pillow's, which has how the file defines its
    colours.
    """

    image: Image.Image
    tolerance: Tolerance = Tolerance.CLOSE
    inks: Image.Image | None = None
    info: Mapping[Any, Any] = field(default_factory=dict)

    def turned(self, degrees: int) -> SmallPicture:
        """The picture turned clockwise."""
        inks = self.inks and self.inks.rotate(-degrees, expand=True)
        return replace(self, image=self.image.rotate(-degrees, expand=True), inks=inks)


@dataclass(frozen=True, slots=True)
class _Directory:
    """A page of a TIFF, upright, by docmill's own reader."""

    size: tuple[int, int]
    dpi: tuple[float, float]


class ImagePages:
    """The pages of one file with many frames, or of files of one each, as Pillow reads them; close it.

    `seeks`: the pages of the one file are its frames in order; else its page is the frame that it opens at,
    which of HEIC is the one that the file names as its picture.
    """

    def __init__(self, paths: Sequence[Path], *, seeks: bool = True) -> None:
        self._paths = paths
        self._seeks = seeks
        self._stack = ExitStack()
        self._first: Image.Image | None = None

    def close(self) -> None:
        self._stack.close()

    def drawn(
        self, index: int, size: tuple[int, int], shown: tuple[int, int] | None, *, slowly: bool = False
    ) -> SmallPicture | None:
        """A frame, upright, on white and shrunk to `size`; None where Pillow cannot tell, or where it is not
        `shown` pixels wide and high: Pillow takes thumbnails in a TIFF for pages. `slowly`, every pixel
        counts as much as another."""
        with _of_any_size():
            try:
                return self._drawn(index, size, shown, slowly)
            except _UNREADABLE:
                return None

    def size_px(self, index: int) -> tuple[int, int] | None:
        """A frame's pixels once it is upright; None where nobody can tell."""
        try:
            return self._frame(index).size
        except _UNREADABLE:
            tiff = self._unknown_tiff(index)
            return tiff.size if tiff else None

    def resolution(self, index: int) -> tuple[float, float] | None:
        """Pixels per inch of a frame once it is upright, where the file names them."""
        if tiff := self._unknown_tiff(index):
            return tiff.dpi if all(tiff.dpi) else None
        image = self._frame(index)
        dpi = None if _has_no_resolution(image) else image.info.get("dpi")
        if not dpi:
            return None
        # Of a TIFF that is to be turned Pillow tells the size as it is then, and the resolution as stored.
        tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
        is_turned = tags.get(Tag.ORIENTATION, 1) in _QUARTER_TURNS
        x, y = (dpi[1], dpi[0]) if is_turned else (dpi[0], dpi[1])
        return float(x), float(y)

    def _unknown_tiff(self, index: int) -> _Directory | None:
        """What the directory of a frame says that is of a kind that Pillow does not know, such as gray of 16
        bits with alpha; None of others."""
        path, number = (self._paths[index], 1) if len(self._paths) > 1 else (self._paths[0], index + 1)
        try:
            self._frame(index)
        except (UnidentifiedImageError, SyntaxError):  # of the first frame, and of another one
            with suppress(DocmillError), Tiff(path) as tiff:
                page = tiff.page(number)
                size, dpi = (page.width, page.height), page.dpi()
                if page.orientation in _QUARTER_TURNS:
                    return _Directory(size[::-1], dpi[::-1])
                return _Directory(size, dpi)
        except _UNREADABLE:
            pass
        return None

    def _drawn(
        self, index: int, size: tuple[int, int], shown: tuple[int, int] | None, slowly: bool
    ) -> SmallPicture | None:
        image = self._frame(index)
        if (shown and sorted(image.size) != sorted(shown)) or _is_misread(image):
            return None
        if not slowly:
            # JPEG is decoded at a fraction of its size, in an eighth of the time.
            image.draft(None, (4 * size[0], 4 * size[1]))
        # Loaded first: a TIFF turns itself then, and would be turned again.
        image.load()
        is_turned = image.getexif().get(Tag.ORIENTATION, 1) != 1
        pixels = _rounded(self._paths[index if len(self._paths) > 1 else 0], image)
        upright = ImageOps.exif_transpose(pixels) if is_turned else pixels
        tolerance = _tolerance(image, upright.mode)
        if upright.mode == "CMYK":
            inks = upright.resize(size, Image.Resampling.BOX, reducing_gap=None if slowly else _GAP)
            return SmallPicture(from_cmyk(upright, size), tolerance, inks, image.info)
        if upright.mode.startswith(("I", "F")):
            if not upright.mode.startswith("I;16") or "transparency" in upright.info:
                return None
            upright = upright.point(lambda value: value / 256).convert("L")
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
            white = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(white, upright)
        elif upright.mode == "1":
            upright = upright.convert("L")
        elif upright.mode not in ("L", "RGB"):
            upright = upright.convert("RGB")
        small = upright.resize(size, Image.Resampling.BOX, reducing_gap=None if slowly else _GAP)
        return SmallPicture(small.convert("RGB"), tolerance, info=image.info)

    def _frame(self, index: int) -> Image.Image:
        with _of_any_size():
            if len(self._paths) > 1:
                return self._open(self._paths[index])
            if self._first is None:
                self._first = self._open(self._paths[0])
            if self._seeks:
                self._first.seek(index)
            return self._first

    def _open(self, path: Path) -> Image.Image:
        # Not by its path: Pillow then maps an uncompressed TIFF and takes its turned size for its rows'.
        file = self._stack.enter_context(path.open("rb"))
        if file.read(2) in (b"II", b"MM"):
            # Pillow imports all its plugins, for 0.2 s, where those that it has do not know the file.
            from PIL import TiffImagePlugin  # noqa: F401 (registers itself)
        file.seek(0)
        image = self._stack.enter_context(Image.open(file))
        if image.format == "JPEG2000" and (profile := profile_of(path)):
            image.info["icc_profile"] = profile
        return image


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Pillow refuses pictures of so many pixels, also to tell their size, and PNGs with an ICC profile of
    more than 1 MiB; what docmill made is within its own limits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = None, PngImagePlugin.MAX_TEXT_MEMORY
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = limits


def _rounded(path: Path, image: Image.Image) -> Image.Image:
    """The pixels of a picture, 8 bits of the more that a JPEG 2000 in colour has: Pillow rounds these up to
    256 where they are white, which is black in the 8 bits that it keeps."""
    if image.format != "JPEG2000" or image.mode not in _ROUNDED_MODES:
        return image
    from docmill.engines.raster.wide_pictures import as_wide, wide_picture

    samples = wide_picture(path, image)
    if samples is None:
        return image
    pixels = as_wide(samples).eight_bit()
    pixels.info = image.info
    return pixels


def _has_no_resolution(image: Image.Image) -> bool:
    """Whether it is a JPEG whose Exif names none, or none in a unit, which Pillow then takes for dpi."""
    if image.format not in ("JPEG", "MPO") or image.info.get("jfif_unit"):
        return False
    exif = image.getexif()
    return Tag.X_RESOLUTION not in exif or exif.get(Tag.RESOLUTION_UNIT) == _NO_UNIT


def _tolerance(image: Image.Image, mode: str) -> Tolerance:
    gamma = float(image.info.get("gamma") or 0.45455)
    if "icc_profile" in image.info or abs(gamma - 0.45455) >= 0.01:
        return Tolerance.WIDE
    if mode == "CMYK":
        return Tolerance.INK
    return Tolerance.CLOSE if mode in _EXACT_MODES else Tolerance.WIDE


def _is_misread(image: Image.Image) -> bool:
    """Whether it is of a kind of TIFF that Pillow shows otherwise than libtiff or TIFF 6.0, or a PNG of which
    it does not see what is transparent."""
    if image.format == "PNG":
        # Of 16 bits it keeps 8, 2 and 4 of gray it widens, and compares these with the colour as it stands.
        stored = str(getattr(image, "tile", ""))
        return "transparency" in image.info and any(mode in stored for mode in ("16B", "'L;2'", "'L;4'"))
    if image.format != "TIFF":
        return False
    tags: Mapping[int, Any] = image.tag_v2  # type: ignore[attr-defined]  # a TIFF's image has it
    bits = tags.get(Tag.BITS_PER_SAMPLE, (1,))
    return (
        # Without it, libtiff takes 0 for black.
        Tag.PHOTOMETRIC not in tags
        # Pillow knows no orientation that is stored in a byte.
        or not isinstance(tags.get(Tag.ORIENTATION, 1), int)
        # The planes' bytes, and chroma between samples that are not compressed.
        or (tags.get(Tag.PLANAR_CONFIGURATION) == _SEPARATE_PLANES and max(bits) > 8)
        or (image.mode == "YCbCr" and tuple(tags.get(Tag.YCBCR_SUBSAMPLING, (2, 2))) != (1, 1))
    )
