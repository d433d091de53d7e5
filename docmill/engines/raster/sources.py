"""Which reader makes the pages of which picture format."""

from __future__ import annotations

from pathlib import Path

from docmill.engines.base import EngineOptions
from docmill.engines.raster.source import PageSource
from docmill.formats import BMP, J2K, JP2, JPEG, MPO, PNG, TIFF
from docmill.options import Frames


def open_pages(path: Path, options: EngineOptions) -> PageSource:
    """The pages of a picture file of the type `options.mime_type`.

    Readers are imported as they are needed: Pillow's plugins take a tenth of a second. Raises what the reader
    raises for a file that it cannot open.
    """
    match options.mime_type:
        case TIFF.mime_type:
            from docmill.engines.raster.tiff_pages import TiffPages

            return TiffPages(path, options)
        case JPEG.mime_type | MPO.mime_type:
            from docmill.engines.raster.jpeg_pages import JpegPages

            return JpegPages(path, options)
        case PNG.mime_type if options.options.frames is not Frames.ALL:
            from docmill.engines.raster.png_pages import PngPages

            return PngPages(path, options)
        case BMP.mime_type:
            from docmill.engines.raster.bmp_pages import open_bmp

            return open_bmp(path, options)
        case JP2.mime_type | J2K.mime_type:
            from docmill.engines.raster.jp2_pages import Jp2Pages

            return Jp2Pages(path, options)
        case _:
            from docmill.engines.raster.picture_pages import PicturePages

            return PicturePages(path, options)
