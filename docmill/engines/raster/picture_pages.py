"""Pages of all formats that only Pillow reads: decoded, then encoded without loss."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from docmill.engines.base import EngineOptions
from docmill.engines.raster.decoded import decoded_page
from docmill.engines.raster.source import RESUME_HINT, count_pages, left_frames, on_page
from docmill.engines.raster.wide import Wide
from docmill.engines.raster.wide_pictures import as_wide, loss_notes, wide_picture
from docmill.errors import CorruptDocument, DocmillError
from docmill.facts import upright_size
from docmill.jp2 import profile_of
from docmill.options import OnError
from docmill.page_limits import check_pixels
from docmill.pdf import PdfPage
from docmill.pictures import (
    decoding,
    open_picture,
    picture_exif,
    picture_format,
    pillow_names,
    resolution,
)

if TYPE_CHECKING:
    from PIL import Image


class PicturePages:
    """The frames of a picture file that are pages, as a `PageSource`."""

    damage: DocmillError | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._options = options
        self._path = path
        self._open = ExitStack()
        self._formats = pillow_names(options.mime_type)
        self._image = self._open.enter_context(open_picture(path, formats=self._formats))
        self._count = count_pages(self._image, options)
        frames = getattr(self._image, "n_frames", 1)
        self.notes = left_frames(picture_format(self._image), frames, options)

    def __len__(self) -> int:
        return self._count

    def page(self, number: int) -> PdfPage | Callable[[], PdfPage]:
        resume = self._options.options.on_error is OnError.RESUME
        try:
            with decoding():
                pixels, wide, notes = self._decode(number)
        except CorruptDocument as error:
            if not resume:
                raise on_page(error, number, RESUME_HINT) from None
            return self._partly(number, error)
        return self._work(pixels, "decoded", wide, notes)

    def close(self) -> None:
        self._open.close()

    def _decode(self, number: int) -> tuple[Image.Image, Wide | None, tuple[str, ...]]:
        image = self._image
        if self._count > 1:
            image.seek(number - 1)
        check_pixels(*image.size, self._options.max_page_pixels, page=number)
        samples = wide_picture(self._path, image)
        wide = None if samples is None else as_wide(samples)
        notes = loss_notes(self._path, image, has_all_bits=wide is not None)
        image.load()
        if self._count == 1:
            return image, wide, notes
        # The file goes on to its next frame while this one is encoded in a thread.
        copy = image.copy()
        copy.format = image.format
        return copy, wide, notes

    def _partly(self, number: int, error: CorruptDocument) -> PdfPage:
        """What Pillow can make of broken data, from a fresh start: a decoder that failed has no way back."""
        with open_picture(self._path, formats=self._formats) as image, decoding(truncated=True):
            if self._count > 1:
                image.seek(number - 1)
            image.load()
            page = self._work(
                image, "decoded in part", notes=loss_notes(self._path, image, has_all_bits=False)
            )()
        return replace(page, damage=on_page(error, number))

    def _jp2_profile(self, image: Image.Image) -> bytes:
        return profile_of(self._path) if image.format == "JPEG2000" else b""

    def _work(
        self, image: Image.Image, how: str, wide: Wide | None = None, notes: tuple[str, ...] = ()
    ) -> Callable[[], PdfPage]:
        """The page of an image, or of all bits of its pixels where Pillow keeps fewer."""
        exif = picture_exif(image)
        default = self._options.options.dpi or self._options.default_dpi
        density = resolution(image)
        width_pt, height_pt = upright_size(image.size, density, exif.orientation, default, exif.aspect)
        return partial(
            decoded_page,
            wide or image,
            width_pt=width_pt,
            height_pt=height_pt,
            orientation=exif.orientation,
            how=f"{how} from {picture_format(image).title}",
            options=self._options,
            icc_profile=image.info.get("icc_profile") or self._jp2_profile(image),
            notes=notes,
        )
