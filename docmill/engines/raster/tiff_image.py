"""A TIFF page as it is stored: its layout and the whereabouts of its strips, checked against the file."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from docmill.engines.base import EngineOptions
from docmill.errors import LimitExceeded
from docmill.tiff import Compression, Directory, Photometric, Tag

# FillOrder 2: the bits of each byte from the lowest to the highest.
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# Codecs whose data FillOrder does not touch, as libtiff has it.
_BYTE_ORIENTED = (Compression.JPEG, Compression.OLD_JPEG, Compression.WEBP)
_WHOLE = 0xFFFFFFFF


@dataclass(slots=True)
class TiffImage:
    """A page's stored form. `segments` are its strips (or tiles) as offset and size, in order; widths are in
    pixels, `bits` those of a sample, `rows_per_strip` those of every strip but the last."""

    directory: Directory
    width: int
    height: int
    compression: int
    photometric: int
    bits: int
    samples: int
    planar: int
    predictor: int
    sample_format: int
    extra_samples: tuple[int, ...]
    fill_order: int
    rows_per_strip: int
    tiled: bool
    segments: tuple[tuple[int, int], ...]
    orientation: int
    width_pt: float
    height_pt: float

    @property
    def page(self) -> int:
        return self.directory.number_of_page

    @property
    def row_bytes(self) -> int:
        """Bytes of an uncompressed row of all samples together."""
        return (self.width * self.samples * self.bits + 7) // 8

    def read(self, index: int) -> bytes:
        """A segment's bytes, each with its highest bit first."""
        offset, size = self.segments[index]
        return self._upright(self.directory.tiff.read(offset, size))

    def read_all(self) -> list[bytes]:
        """The bytes of all segments; read at once where they lie together."""
        start = min(offset for offset, _ in self.segments)
        end = max(offset + size for offset, size in self.segments)
        if end - start > 2 * sum(size for _, size in self.segments):
            return [self.read(index) for index in range(len(self.segments))]
        span = self._upright(self.directory.tiff.read(start, end - start))
        return [span[offset - start : offset - start + size] for offset, size in self.segments]

    def _upright(self, data: bytes) -> bytes:
        return data.translate(REVERSED_BITS) if self.fill_order == 2 else data

    def icc_profile(self) -> bytes | None:
        return self.directory.raw(Tag.ICC_PROFILE) or None

    def palette(self) -> bytes:
        """The color map as RGB bytes; empty where the page has none."""
        values = self.directory.numbers(Tag.COLOR_MAP)
        count = len(values) // 3
        # Some writers give bytes where the specification has 16 bit values.
        shift = 8 if any(value > 255 for value in values) else 0
        channels = [bytes(v >> shift for v in values[i * count : (i + 1) * count]) for i in range(3)]
        return bytes(value for color in zip(*channels, strict=True) for value in color)


def read_image(directory: Directory, options: EngineOptions) -> TiffImage:
    """Check a page's directory and the whereabouts of its data.

    Raises `CorruptDocument`, or `LimitExceeded` for more pixels than the installation allows: nothing has
    been decoded then.
    """
    width, height = directory.width, directory.height
    page = directory.number_of_page
    if width * height > options.max_page_pixels:
        raise LimitExceeded(
            f"page {page} has {width} x {height} pixels, more than the {options.max_page_pixels} allowed",
            limit="page pixels",
            setting="DOCMILL_MAX_PAGE_PIXELS",
            page=page,
        )
    bits, samples = directory.bits_per_sample, directory.samples_per_pixel
    if not 1 <= bits <= 64 or not 1 <= samples <= 64:
        raise directory.corrupt(f"it has {samples} samples of {bits} bits a pixel")
    compression = directory.compression
    tiled = Tag.TILE_WIDTH in directory
    rows = directory.number(Tag.ROWS_PER_STRIP, _WHOLE) or _WHOLE
    planar = directory.number(Tag.PLANAR_CONFIGURATION, 1)
    facts = directory.facts(options.options.dpi or options.default_dpi)
    image = TiffImage(
        directory=directory,
        width=width,
        height=height,
        compression=compression,
        photometric=directory.photometric,
        bits=bits,
        samples=samples,
        planar=planar if samples > 1 else 1,
        predictor=directory.number(Tag.PREDICTOR, 1),
        sample_format=directory.number(Tag.SAMPLE_FORMAT, 1),
        extra_samples=directory.numbers(Tag.EXTRA_SAMPLES),
        fill_order=1 if compression in _BYTE_ORIENTED else directory.number(Tag.FILL_ORDER, 1),
        rows_per_strip=min(rows, height),
        tiled=tiled,
        segments=(),
        orientation=directory.orientation,
        width_pt=facts.width_pt,
        height_pt=facts.height_pt,
    )
    if not tiled:
        image.segments = _strips(image)
    return image


def _strips(image: TiffImage) -> tuple[tuple[int, int], ...]:
    directory, rows = image.directory, image.rows_per_strip
    planes = image.samples if image.planar == 2 else 1
    a_plane = -(-image.height // rows)
    expected = a_plane * planes
    offsets = directory.numbers(Tag.STRIP_OFFSETS)[:expected]
    if len(offsets) < expected:
        raise directory.corrupt(f"it has {len(offsets)} strips where {expected} are needed")
    counts = directory.numbers(Tag.STRIP_BYTE_COUNTS)[:expected]
    if len(counts) < expected or 0 in counts:
        counts = _guess_counts(image, offsets)
    size = directory.tiff.size
    if image.compression == Compression.NONE:
        counts = _trim_counts(image, counts, a_plane)
    for index, (offset, count) in enumerate(zip(offsets, counts, strict=True), 1):
        if not offset or offset + count > size or not count:
            raise directory.corrupt(
                f"its strip {index} is at byte {offset} to {offset + count} of a file of {size} bytes"
            )
    return tuple(zip(offsets, counts, strict=True))


def _guess_counts(image: TiffImage, offsets: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of strips where the file names none: up to what follows, as libtiff does."""
    size = image.directory.tiff.size
    starts = sorted({*offsets, image.directory.offset, size})
    following = dict(pairwise(starts))
    return tuple(max(0, following.get(offset, size) - offset) for offset in offsets)


def _trim_counts(image: TiffImage, counts: tuple[int, ...], a_plane: int) -> tuple[int, ...]:
    """What the rows need of uncompressed strips; less than that is damage."""
    samples = 1 if image.planar == 2 else image.samples
    row = (image.width * samples * image.bits + 7) // 8
    if image.photometric == Photometric.YCBCR:
        return counts  # its rows depend on the subsampling
    trimmed = []
    for index, count in enumerate(counts):
        strip = index % a_plane
        rows = min(image.rows_per_strip, image.height - strip * image.rows_per_strip)
        if count < rows * row:
            raise image.directory.corrupt(
                f"its strip {index + 1} has {count} bytes where {rows * row} are needed"
            )
        trimmed.append(rows * row)
    return tuple(trimmed)
