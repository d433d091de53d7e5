"""Images to the Flate streams of a PDF, with the predictor and the compressor that suit them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from docmill.engines import deflate
from docmill.engines.deflate import Compress, Filter

if TYPE_CHECKING:
    from PIL import Image

# A sample is some bands of the page: 1 byte in 50, within bounds that keep it below a tenth of the time. Of
# fewer bands a picture in the middle has too large a part; smaller ones share a Huffman code, which hides
# what each would come to.
_SAMPLE_SHARE, _SAMPLE_MIN, _SAMPLE_MAX, _BANDS = 50, 96 << 10, 384 << 10, 12


@dataclass(frozen=True, slots=True)
class Flate:
    """A zlib stream, and the DecodeParms that undo its predictor (empty: none)."""

    data: tuple[bytes, ...]
    decode_parms: bytes = b""


def deflate_pixels(image: Image.Image) -> Flate:
    """Compress an image of 8 bit bands (`L`, `RGB`, `CMYK`), rows from the top."""
    bands = list(_bands(image))
    filter, compress = deflate.choose(
        (filter, b"".join(_without_first_row(predict, band) for band in bands))
        for filter, predict in _PREDICT.items()
    )
    data = _thorough(compress)(_PREDICT[filter](image))
    return Flate((data,), _decode_parms(filter, image.width, len(image.getbands())))


def deflate_bytes(raw: bytes) -> tuple[bytes, ...]:
    """Compress packed rows as they are: palette indexes, bits, 16 bit samples."""
    start = max(0, len(raw) // 2 - _SAMPLE_MAX // 2)
    _, compress = deflate.choose([(Filter.NONE, raw[start : start + _SAMPLE_MAX])])
    return (_thorough(compress)(raw),)


def _thorough(compress: Compress) -> Compress:
    """PDFs are kept for long: matches are worth some more time."""
    return deflate.tight_matches if compress is deflate.matches else compress


_Predict = Callable[["Image.Image"], bytes]


def _bands(image: Image.Image) -> Iterator[Image.Image]:
    row = image.width * len(image.getbands())
    size = min(max(row * image.height // _SAMPLE_SHARE, _SAMPLE_MIN), _SAMPLE_MAX)
    rows = max(4, size // _BANDS // row)
    if rows * _BANDS >= image.height:
        yield image.crop((0, -1, image.width, image.height))
        return
    for band in range(_BANDS):
        top = (image.height - rows) * (2 * band + 1) // (2 * _BANDS)
        yield image.crop((0, top - 1, image.width, top + rows))


def _without_first_row(predict: _Predict, band: Image.Image) -> bytes:
    """A band's filtered rows but the first, which is there to predict the second."""
    raw = predict(band)
    return raw[len(raw) // band.height :]


def _plain(image: Image.Image) -> bytes:
    return image.tobytes()


def _left(image: Image.Image) -> bytes:
    """Each byte less that of the pixel before (TIFF 6.0, section 14)."""
    return _difference(image, _shifted(image, 1, 0)).tobytes()


def _up(image: Image.Image) -> bytes:
    """PNG rows of filter type 2: each byte less the one above."""
    return _png_rows(_difference(image, _shifted(image, 0, 1)), Filter.UP)


def _average(image: Image.Image) -> bytes:
    """PNG rows of filter type 3: each byte less the mean of the one above and that of the pixel before."""
    from PIL import ImageChops

    mean = ImageChops.add(_shifted(image, 1, 0), _shifted(image, 0, 1), scale=2.0)
    return _png_rows(_difference(image, mean), Filter.AVERAGE)


def _shifted(image: Image.Image, right: int, down: int) -> Image.Image:
    from PIL import Image

    shifted = Image.new(image.mode, image.size)
    shifted.paste(image, (right, down))
    return shifted


def _difference(image: Image.Image, prediction: Image.Image) -> Image.Image:
    from PIL import ImageChops

    return ImageChops.subtract_modulo(image, prediction)


def _png_rows(image: Image.Image, filter: Filter) -> bytes:
    raw = memoryview(image.tobytes())
    stride = len(raw) // image.height
    tag = bytes([filter])
    return tag + tag.join(raw[start : start + stride] for start in range(0, len(raw), stride))


# Without Paeth, which takes as long as compressing: it saves 1 % of a scan.
_PREDICT: dict[Filter, _Predict] = {
    Filter.NONE: _plain,
    Filter.SUB: _left,
    Filter.UP: _up,
    Filter.AVERAGE: _average,
}


def _decode_parms(filter: Filter, columns: int, colors: int) -> bytes:
    if filter is Filter.NONE:
        return b""
    predictor = 2 if filter is Filter.SUB else 15
    return b"<</Predictor %d/Colors %d/BitsPerComponent 8/Columns %d>>" % (predictor, colors, columns)
