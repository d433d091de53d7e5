"""The tags of TIFF that docmill reads or writes, the values of some, and what these are called.

Names and numbers are those of the TIFF 6.0 specification and of libtiff's tiff.h.
"""

from __future__ import annotations

from enum import IntEnum


class Tag(IntEnum):
    """The tags that docmill reads or writes, by the specification's names; Exif has them too."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    IMAGE_DESCRIPTION = 270
    MAKE = 271
    MODEL = 272
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR_CONFIGURATION = 284
    T4_OPTIONS = 292
    T6_OPTIONS = 293
    RESOLUTION_UNIT = 296
    PAGE_NUMBER = 297
    SOFTWARE = 305
    DATE_TIME = 306
    ARTIST = 315
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    YCBCR_COEFFICIENTS = 529
    YCBCR_SUBSAMPLING = 530
    YCBCR_POSITIONING = 531
    REFERENCE_BLACK_WHITE = 532
    XMP = 700
    COPYRIGHT = 33432
    ICC_PROFILE = 34675


class Compression(IntEnum):
    """Values of the Compression tag."""

    NONE = 1
    CCITT_RLE = 2
    CCITT_G3 = 3
    CCITT_G4 = 4
    LZW = 5
    OLD_JPEG = 6
    JPEG = 7
    DEFLATE = 8
    NEXT = 32766
    CCITT_RLE_WORD = 32771
    PACKBITS = 32773
    THUNDERSCAN = 32809
    PIXARLOG = 32909
    OLD_DEFLATE = 32946
    JBIG = 34661
    SGILOG = 34676
    SGILOG24 = 34677
    JPEG_2000 = 34712
    LERC = 34887
    LZMA = 34925
    ZSTD = 50000
    WEBP = 50001
    JPEG_XL = 50002


# What libtiff wants behind a strip of rows that each end at a whole byte or word: it looks 13 bits ahead, and
# where the strip ends before, it counts them as there and looks for the last row in another place.
ALIGNED_FAX = (Compression.CCITT_RLE, Compression.CCITT_RLE_WORD)
ALIGNED_FAX_END = b"\0\0"


class Photometric(IntEnum):
    """Values of the PhotometricInterpretation tag."""

    MIN_IS_WHITE = 0
    MIN_IS_BLACK = 1
    RGB = 2
    PALETTE = 3
    MASK = 4
    SEPARATED = 5
    YCBCR = 6
    CIELAB = 8
    ICCLAB = 9
    ITULAB = 10
    CFA = 32803
    LOGL = 32844
    LOGLUV = 32845
    LINEAR_RAW = 34892


class SampleFormat(IntEnum):
    """Values of the SampleFormat tag."""

    UNSIGNED = 1
    SIGNED = 2
    FLOAT = 3
    UNDEFINED = 4
    COMPLEX_SIGNED = 5
    COMPLEX_FLOAT = 6


COMPRESSION_NAMES: dict[int, str] = {
    Compression.NONE: "uncompressed",
    Compression.CCITT_RLE: "CCITT RLE",
    Compression.CCITT_G3: "CCITT Group 3",
    Compression.CCITT_G4: "CCITT Group 4",
    Compression.LZW: "LZW",
    Compression.OLD_JPEG: "old-style JPEG",
    Compression.JPEG: "JPEG",
    Compression.DEFLATE: "Deflate",
    Compression.NEXT: "NeXT",
    Compression.CCITT_RLE_WORD: "CCITT RLE, word aligned",
    Compression.PACKBITS: "PackBits",
    Compression.THUNDERSCAN: "ThunderScan",
    Compression.PIXARLOG: "PixarLog",
    Compression.OLD_DEFLATE: "Deflate",
    Compression.JBIG: "JBIG",
    Compression.SGILOG: "SGILog",
    Compression.SGILOG24: "SGILog24",
    Compression.JPEG_2000: "JPEG 2000",
    Compression.LERC: "LERC",
    Compression.LZMA: "LZMA",
    Compression.ZSTD: "ZSTD",
    Compression.WEBP: "WebP",
    Compression.JPEG_XL: "JPEG XL",
}
PHOTOMETRIC_NAMES: dict[int, str] = {
    Photometric.MIN_IS_WHITE: "gray",
    Photometric.MIN_IS_BLACK: "gray",
    Photometric.RGB: "RGB",
    Photometric.PALETTE: "palette",
    Photometric.MASK: "mask",
    Photometric.SEPARATED: "CMYK",
    Photometric.YCBCR: "YCbCr",
    Photometric.CIELAB: "Lab",
    Photometric.ICCLAB: "Lab",
    Photometric.ITULAB: "Lab",
    Photometric.CFA: "colour filter array",
    Photometric.LOGL: "LogL",
    Photometric.LOGLUV: "LogLuv",
    Photometric.LINEAR_RAW: "linear raw",
}
