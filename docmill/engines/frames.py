"""The pages of a picture file of any format that Pillow reads, each decoded on its own.

Every process opens the file for itself: decoders move about in it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from docmill.engines.base import EngineOptions
from docmill.engines.described import exif_of_directory, exif_of_image, xmp_of_directory, xmp_of_image
from docmill.engines.raster.png_pages import with_scaled_key
from docmill.engines.raster.png_rows import samples
from docmill.engines.raster.source import RESUME_HINT, count_pages, left_frames, on_page
from docmill.engines.raster.tiff_decode import decode
from docmill.engines.raster.tiff_image import read_image
from docmill.engines.raster.wide import Wide
from docmill.engines.raster.wide_pictures import as_wide, loss_notes, wide_picture
from docmill.errors import CorruptDocument
from docmill.facts import upright_size
from docmill.formats import JP2, JPEG, MPO, PNG, TIFF
from docmill.jp2 import profile_of
from docmill.jpeg import read_jpeg_header
from docmill.options import Frames
from docmill.page_limits import check_page_count, check_pixels
from docmill.pictures import decoding, open_picture, picture_exif, picture_format, pillow_names, resolution
from docmill.png import color_chunks, read_png_header
from docmill.tiff import Tiff
from docmill.tiff_directory import Directory
from docmill.tiff_fields import Ifd
from docmill.tiff_tags import Tag

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(slots=True)
class Frame:
    """A decoded page, turned upright, and what the file says of it.

    `wide` has all 16 bits of samples that Pillow cuts to 8: rows x pixels x samples, of RGB or gray with or
    without alpha; `notes` tell of what is lost all the same. `dpi` is None where the file names none;
    `aspect` then is a pixel's shape, vertical to horizontal resolution. `orientation` is how a TIFF stores
    the page.
    """

    image: Image.Image
    wide: NDArray[np.uint16] | None
    dpi: tuple[float, float] | None
    orientation: int
    icc: bytes
    exif: Ifd
    aspect: float = 1.0
    xmp: bytes = b""
    png_colors: tuple[tuple[bytes, bytes], ...] = ()
    notes: tuple[str, ...] = ()
    damage: CorruptDocument | None = None


class PictureFile:
    """The pages of a picture file; TIFF's thumbnails and masks are none, and further frames of an animation
    only where the options ask for them."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._path = path
        self._options = options
        self._formats = pillow_names(options.mime_type)
        self._offsets: tuple[int, ...] = ()
        self.notes: tuple[str, ...] = ()
        self._is_tiff = options.mime_type == TIFF.mime_type
        self._open = ExitStack()
        if self._is_tiff:
            self._tiff = self._open.enter_context(Tiff(path, options.max_pages))
            self.count = len(self._tiff)
        elif options.mime_type == MPO.mime_type:
            with _mapped(path) as data:
                self._offsets = read_jpeg_header(data).pictures
            check_page_count(len(self._offsets), options.max_pages)
            self.count = 1 if options.options.frames is Frames.FIRST else len(self._offsets)
        else:
            image = self._open.enter_context(open_picture(path, formats=self._formats))
            self.count = count_pages(image, options)
            self.notes = left_frames(picture_format(image), getattr(image, "n_frames", 1), options)
        self.damage = self._tiff.damage if self._is_tiff else None

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def frame(self, number: int, *, salvage: bool = False) -> Frame:
        """Decode a page (from 1); with `salvage` what can be decoded of a damaged one, and the damage.

        Raises `CorruptDocument`, which names the page, and `LimitExceeded`.
        """
        try:
            return self._frame(number, truncated=False)
        except CorruptDocument as error:
            damage = error if error.page else on_page(error, number, "" if salvage else RESUME_HINT)
            if not salvage:
                raise damage from error
            try:
                frame = self._frame(number, truncated=True)
            except CorruptDocument:
                raise damage from error
            if _is_empty(frame.image):
                raise damage from error
            frame.damage = damage
            return frame

    def size_pt(self, number: int) -> tuple[float, float]:
        """The size in points of a page that cannot be decoded, by what its header says."""
        default = self._options.options.dpi or self._options.default_dpi
        if self._is_tiff:
            return self._tiff.page(number).size_pt(default)
        with self._picture(number) as image:
            dpi, aspect, orientation = self._density(image, number)
            return upright_size(image.size, dpi, orientation, default, aspect)

    def _frame(self, number: int, *, truncated: bool) -> Frame:
        if self._is_tiff and not truncated:
            return self._tiff_frame(number)
        with self._picture(number) as image, decoding(truncated=truncated):
            check_pixels(image.width, image.height, self._options.max_page_pixels, page=number)
            wide = self._wide(image)
            notes = loss_notes(self._path, image, has_all_bits=wide is not None)
            image.load()
            frame = Frame(
                image=self._eight_bit(image, wide),
                wide=wide,
                dpi=None,
                orientation=1,
                icc=image.info.get("icc_profile") or self._jp2_profile(),
                exif=exif_of_image(image),
                xmp=xmp_of_image(image),
                png_colors=self._png_colors(),
                notes=notes,
            )
            if self._is_tiff:
                # Pillow has turned it, and forgotten so.
                directory = self._tiff.page(number)
                frame.orientation = directory.orientation
                frame.exif = exif_of_directory(directory)
                _measure(frame, directory.dpi(), directory.aspect(), directory.orientation)
            else:
                dpi, aspect, orientation = self._density(image, number)
                _turn(frame, orientation)
                _measure(frame, dpi, aspect, orientation)
            return frame

    def _tiff_frame(self, number: int) -> Frame:
        """A page by docmill's own reader, which knows more layouts of TIFF than Pillow."""
        directory = self._tiff.page(number)
        with decoding():
            decoded = decode(read_image(directory, self._options))
        wide = None
        if isinstance(decoded, Wide):
            if decoded.space in ("L", "RGB"):
                alpha = [] if decoded.alpha is None else [decoded.alpha[:, :, None]]
                wide = np.concatenate([decoded.colors, *alpha], axis=2)
            decoded = decoded.eight_bit()
        frame = Frame(
            image=decoded,
            wide=wide,
            dpi=None,
            orientation=directory.orientation,
            icc=directory.raw(Tag.ICC_PROFILE),
            exif=exif_of_directory(directory),
            xmp=xmp_of_directory(directory),
        )
        _turn(frame, directory.orientation)
        _measure(frame, directory.dpi(), directory.aspect(), directory.orientation)
        return frame

    @contextmanager
    def _picture(self, number: int) -> Iterator[Any]:
        """The file anew, at that page, with nothing decoded yet."""
        with open_picture(self._file(number), formats=self._formats) as image:
            if self._is_tiff:
                _seek_directory(image, self._tiff.page(number), number)
            elif self.count > 1 and not self._offsets:
                image.seek(number - 1)
            yield image

    def _file(self, number: int) -> Path | BytesIO:
        """The file of a page; of a Multi-Picture file what begins with its JPEG."""
        if not self._offsets:
            return self._path
        with _mapped(self._path) as data:
            return BytesIO(data[self._offsets[number - 1] :])

    def _density(self, image: Image.Image, number: int) -> tuple[tuple[float, float], float, int]:
        """Pixels per inch, or their shape, and the orientation, as the probe reads them."""
        if self._options.mime_type in (JPEG.mime_type, MPO.mime_type, PNG.mime_type):
            start = self._offsets[number - 1] if self._offsets else 0
            with suppress(CorruptDocument), _mapped(self._path) as data:
                is_png = self._options.mime_type == PNG.mime_type
                header = read_png_header(data) if is_png else read_jpeg_header(data, start)
                return (header.dpi_x, header.dpi_y), header.aspect, header.orientation
        exif = picture_exif(image)
        return resolution(image), exif.aspect, exif.orientation

    def _jp2_profile(self) -> bytes:
        return profile_of(self._path) if self._options.mime_type == JP2.mime_type else b""

    def _png_colors(self) -> tuple[tuple[bytes, bytes], ...]:
        if self._options.mime_type != PNG.mime_type:
            return ()
        with _mapped(self._path) as data:
            return color_chunks(data)

    def _eight_bit(self, image: Image.Image, wide: NDArray[np.uint16] | None) -> Image.Image:
        """The image as Pillow decodes it, but where that is wrong.

        Pillow keeps the transparent colour of a PNG in the file's own scale, while samples of 2 and 4 bits
        are widened to 8, and those of 16 cut to as many. The brightest samples of a JPEG 2000 of more than 8
        bits it rounds up to 256, of which it keeps 0.
        """
        is_png = self._options.mime_type == PNG.mime_type
        if is_png and "transparency" not in image.info:
            return image
        if wide is not None and (is_png or not image.mode.startswith("I")):
            return as_wide(wide).eight_bit()
        if not is_png:
            return image
        with _mapped(self._path) as data:
            return with_scaled_key(image, read_png_header(data))

    def _wide(self, image: Image.Image) -> NDArray[np.uint16] | None:
        if self._options.mime_type == PNG.mime_type:
            return _wide_png(self._path)
        return wide_picture(self._path, image)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _seek_directory(image: Any, directory: Directory, number: int) -> None:
    """Go to the directory's frame: Pillow counts thumbnails too, which are no pages."""
    tag = Tag.TILE_OFFSETS if Tag.TILE_OFFSETS in directory else Tag.STRIP_OFFSETS
    wanted = directory.numbers(tag)
    frame = number - 1
    while True:
        try:
            image.seek(frame)
        except EOFError:
            raise directory.corrupt("Pillow does not find it") from None
        if tuple(image.tag_v2.get(tag, ())) == wanted:
            return
        frame += 1


def _is_empty(image: Image.Image) -> bool:
    """If no pixel differs from another: what decoders leave where they found nothing."""
    extrema = np.array(image.getextrema()).reshape(-1, 2)
    return bool((extrema[:, 0] == extrema[:, 1]).all())


def _wide_png(path: Path) -> NDArray[np.uint16] | None:
    """The samples of a PNG with 16 bit colour or alpha."""
    with _mapped(path) as data:
        header = read_png_header(data)
        if header.bits != 16 or (header.channels == 1 and header.transparency is None):
            return None
        color, alpha = samples(data, header)
        shape = header.height, header.width
        rows = np.frombuffer(color, ">u2").astype(np.uint16).reshape(*shape, -1)
        if alpha is None:
            return rows
        if alpha.bits == 16:
            opacity = np.frombuffer(alpha.samples, ">u2").astype(np.uint16)
        else:
            opacity = np.frombuffer(alpha.samples, np.uint8).astype(np.uint16) * 257
        return np.concatenate([rows, opacity.reshape(*shape, 1)], axis=2)


def _measure(frame: Frame, dpi: tuple[float, float], aspect: float, orientation: int) -> None:
    """Note the resolution of a frame that has been turned."""
    x, y = dpi
    if x and y:
        frame.dpi = (y, x) if orientation >= 5 else (x, y)
    else:
        frame.aspect = 1 / aspect if orientation >= 5 else aspect


def _turn(frame: Frame, orientation: int) -> None:
    if orientation in _TRANSPOSES:
        frame.image = frame.image.transpose(_TRANSPOSES[orientation])
        if frame.wide is not None:
            frame.wide = turn(frame.wide, orientation)


def turn(rows: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Rows x pixels as stored with an Orientation, turned upright (TIFF 6.0, section 8)."""
    if orientation >= 5:
        rows = rows.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        rows = rows[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rows = rows[::-1]
    return rows
