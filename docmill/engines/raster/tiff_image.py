"""A TIFF page as it is stored: its layout and the whereabouts of its strips, checked against the file."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

from docmill.engines.base import EngineOptions
from docmill.errors import LimitExceeded
from docmill.page_limits import check_pixels
from docmill.tiff_directory import Directory
from docmill.tiff_tags import Compression, Photometric, Tag

# FillOrder 2: the bits of each byte from the lowest to the highest.
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# Codecs whose data FillOrder does not touch, as libtiff has it.
_BYTE_ORIENTED = (Compression.JPEG, Compression.OLD_JPEG, Compression.WEBP)
_WHOLE = 0xFFFFFFFF
# Codecs that have a predictor; in others libtiff does not look at the tag.
_PREDICTABLE = (
    Compression.LZW,
    Compression.DEFLATE,
    Compression.OLD_DEFLATE,
    Compression.LZMA,
    Compression.ZSTD,
)


@dataclass(slots=True)
class TiffImage:
    """A page's stored form. `segments` are its strips or tiles as offset and size, in order, plane by plane;
    widths are in pixels, `bits` those of a sample, `rows_per_strip` those of every strip but the last, `tile`
    the width and height of a tile, None for strips."""

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
    tile: tuple[int, int] | None
    segments: tuple[tuple[int, int], ...]
    orientation: int
    width_pt: float
    height_pt: float

    @property
    def page(self) -> int:
        return self.directory.number_of_page

    @property
    def tiled(self) -> bool:
        return self.tile is not None

    @property
    def planes(self) -> int:
        """Separately stored planes: one for all samples together, or one a sample."""
        return self.samples if self.planar == 2 else 1

    @property
    def block(self) -> tuple[int, int]:
        """Width and rows of a segment that is whole: of a tile, or a strip."""
        return self.tile or (self.width, self.rows_per_strip)

    @property
    def segments_in_plane(self) -> int:
        width, height = self.block
        return -(-self.width // width) * -(-self.height // height)

    @property
    def block_row_bytes(self) -> int:
        """Bytes of an uncompressed row of a segment."""
        return (self.block[0] * (self.samples // self.planes) * self.bits + 7) // 8

    @property
    def row_bytes(self) -> int:
        """Bytes of an uncompressed row of all samples together."""
        return (self.width * self.samples * self.bits + 7) // 8

    def read(self, index: int) -> bytes:
        """A segment's bytes, each with its highest bit first."""
        offset, size = self.segments[index]
        return self._upright(self.directory.tiff.read(offset, size))

    def read_all(self) -> list[bytes]:
        """The bytes of all segments."""
        if len(self.segments) == 1:
            return [self.read(0)]
        span, places = self.read_span()
        return [span[start:end] for start, end in places]

    def read_span(self) -> tuple[bytes, list[tuple[int, int]]]:
        """Bytes that hold all segments, and where in them each begins and ends; read at once where they lie
        together."""
        start = min(offset for offset, _ in self.segments)
        end = max(offset + size for offset, size in self.segments)
        sizes = [size for _, size in self.segments]
        if end - start > 2 * sum(sizes):
            ends = list(accumulate(sizes))
            span = b"".join(self.read(index) for index in range(len(sizes)))
            return span, list(pairwise((0, *ends)))
        span = self._upright(self.directory.tiff.read(start, end - start))
        return span, [(offset - start, offset - start + size) for offset, size in self.segments]

    def _upright(self, data: bytes) -> bytes:
        return data.translate(REVERSED_BITS) if self.fill_order == 2 else data

    def too_large(self) -> LimitExceeded:
        """The error that the page's pixels do not fit into memory, to be raised."""
        return LimitExceeded(
            f"page {self.page} takes more memory than an engine may use",
            limit="memory",
            setting="DOCMILL_ENGINE_MEMORY",
            page=self.page,
        )

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
    check_pixels(width, height, options.max_page_pixels, page=page)
    bits, samples = directory.bits_per_sample, directory.samples_per_pixel
    if not 1 <= bits <= 64 or not 1 <= samples <= 64:
        raise directory.corrupt(f"it has {samples} samples of {bits} bits a pixel")
    compression = directory.compression
    tile = _tile(directory, options) if Tag.TILE_WIDTH in directory else None
    rows = directory.number(Tag.ROWS_PER_STRIP, _WHOLE) or _WHOLE
    planar = directory.number(Tag.PLANAR_CONFIGURATION, 1)
    width_pt, height_pt = directory.size_pt(options.options.dpi or options.default_dpi)
    image = TiffImage(
        directory=directory,
        width=width,
        height=height,
        compression=compression,
        photometric=directory.photometric,
        bits=bits,
        samples=samples,
        planar=planar if samples > 1 else 1,
        predictor=directory.number(Tag.PREDICTOR, 1) if compression in _PREDICTABLE else 1,
        sample_format=directory.number(Tag.SAMPLE_FORMAT, 1),
        extra_samples=directory.numbers(Tag.EXTRA_SAMPLES),
        fill_order=1 if compression in _BYTE_ORIENTED else directory.number(Tag.FILL_ORDER, 1),
        rows_per_strip=min(rows, height),
        tile=tile,
        segments=(),
        orientation=directory.orientation,
        width_pt=width_pt,
        height_pt=height_pt,
    )
    if compression != Compression.OLD_JPEG:  # which may have none: libtiff finds its way
        image.segments = _segments(image)
    return image


def _tile(directory: Directory, options: EngineOptions) -> tuple[int, int]:
    """Width and height of a tile; the page's pixels are limited with what its last tiles stand over."""
    width, height = directory.number(Tag.TILE_WIDTH, 0), directory.number(Tag.TILE_LENGTH, 0)
    if not 0 < width < 1 << 31 or not 0 < height < 1 << 31:
        raise directory.corrupt(f"it has tiles of {width} x {height} pixels")
    across, down = -(-directory.width // width), -(-directory.height // height)
    if across * width * down * height > options.max_page_pixels:
        page = directory.number_of_page
        raise LimitExceeded(
            f"page {page} has tiles of {width} x {height} pixels, in all more than the"
            f" {options.max_page_pixels} allowed",
            limit="page pixels",
            setting="DOCMILL_MAX_PAGE_PIXELS",
            page=page,
        )
    return width, height


def _segments(image: TiffImage) -> tuple[tuple[int, int], ...]:
    directory = image.directory
    name, start_tag, size_tag = "strip", Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS
    if image.tiled and Tag.TILE_OFFSETS in directory:  # some writers name tiles strips
        name, start_tag, size_tag = "tile", Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS
    expected = image.segments_in_plane * image.planes
    offsets = directory.numbers(start_tag)[:expected]
    if len(offsets) < expected:
        raise directory.corrupt(f"it has {len(offsets)} {name}s where {expected} are needed")
    counts = directory.numbers(size_tag)[:expected]
    if image.compression == Compression.NONE and not _is_subsampled(image):
        counts = _counts_of_rows(image, offsets, counts, name)
    elif len(counts) < expected or 0 in counts:
        counts = _following_counts(image, offsets)
    size = directory.tiff.size
    for index, (offset, count) in enumerate(zip(offsets, counts, strict=True), 1):
        if not offset or offset + count > size or not count:
            raise directory.corrupt(
                f"its {name} {index} is at byte {offset} to {offset + count} of a file of {size} bytes"
            )
    return tuple(zip(offsets, counts, strict=True))


def _is_subsampled(image: TiffImage) -> bool:
    """Whether the rows' lengths depend on the subsampling of YCbCr."""
    return image.photometric == Photometric.YCBCR and image.planar == 1


def _following_counts(image: TiffImage, offsets: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of segments where the file names none: up to what follows, as libtiff does."""
    size = image.directory.tiff.size
    starts = sorted({*offsets, image.directory.offset, size})
    following = dict(pairwise(starts))
    return tuple(max(0, following.get(offset, size) - offset) for offset in offsets)


def _counts_of_rows(
    image: TiffImage, offsets: tuple[int, ...], counts: tuple[int, ...], name: str
) -> tuple[int, ...]:
    """What the rows need of uncompressed segments.

    Sizes that the file names too small, or leaves out, are not believed where there is room for the rows
    before what follows; else they are damage.
    """
    rows_in = image.block[1]
    needed = []
    for index in range(len(offsets)):
        top = index % image.segments_in_plane * rows_in
        rows = rows_in if image.tiled else min(rows_in, image.height - top)
        needed.append(rows * image.block_row_bytes)
    if len(counts) < len(offsets) or any(c < n for c, n in zip(counts, needed, strict=True)):
        room = _following_counts(image, offsets)
        for index, (count, need) in enumerate(zip(room, needed, strict=True), 1):
            if count < need:
                raise image.directory.corrupt(f"its {name} {index} has {count} bytes where {need} are needed")
    return tuple(needed)
