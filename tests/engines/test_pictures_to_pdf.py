"""JPEG, PNG and Pillow's other formats to PDF: the same pixels in two independent readers."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from docmill.errors import CorruptDocument, DocmillError, LimitExceeded, UnsupportedConversion
from docmill.jpeg import adobe_segment
from tests.engines.picture_support import (
    JPEG_TOLERANCE,
    SIZE,
    assert_same,
    bmp,
    convert,
    decoded,
    drawing,
    encoded,
    image_object,
    interlaced,
    on_white,
    renders,
)

# JPEG


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "options",
    [
        {"quality": 75},
        {"quality": 95, "subsampling": "4:2:0", "progressive": True},
        {"quality": 90, "restart_marker_rows": 1},
    ],
    ids=["baseline", "progressive", "restarts"],
)
def test_jpeg_is_copied(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    content = encoded(drawing(mode), "JPEG", dpi=(150, 75), **options)
    result = convert(content, tmp_path)
    image = image_object(result)
    assert image["/Filter"] == "/DCTDecode"
    assert image["data"] == content
    assert (result.pages[0].width_pt, result.pages[0].height_pt) == (61 * 72 / 150, 43 * 72 / 75)
    assert_same(result, decoded(content), tolerance=JPEG_TOLERANCE)


def test_rgb_jpeg_without_an_adobe_marker_is_given_one(tmp_path: Path) -> None:
    content = encoded(drawing("RGB"), "JPEG", keep_rgb=True)
    assert image_object(convert(content, tmp_path))["data"] == content
    marker = content.index(adobe_segment(0)[:4])
    size = int.from_bytes(content[marker + 2 : marker + 4], "big")
    content = content[:marker] + content[marker + 2 + size :]
    result = convert(content, tmp_path)
    assert adobe_segment(0) in image_object(result)["data"]
    assert_same(result, decoded(content), tolerance=JPEG_TOLERANCE)


def test_jfif_goes_before_adobe_as_in_libjpeg(tmp_path: Path) -> None:
    content = encoded(drawing("RGB"), "JPEG")
    at = 2 + 2 + int.from_bytes(content[4:6], "big")
    content = content[:at] + adobe_segment(0) + content[at:]
    assert_same(convert(content, tmp_path), decoded(content), tolerance=JPEG_TOLERANCE)


def test_cmyk_jpeg_is_inverted(tmp_path: Path) -> None:
    content = encoded(drawing("CMYK"), "JPEG", quality=95)
    result = convert(content, tmp_path)
    image = image_object(result)
    assert (image["/ColorSpace"], list(image["/Decode"])) == ("/DeviceCMYK", [1, 0] * 4)
    assert image["data"] == content
    white = Image.new("CMYK", SIZE)
    assert_same(convert(encoded(white, "JPEG"), tmp_path), Image.new("RGB", SIZE, "white"), tolerance=1)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_turns_the_page(tmp_path: Path, format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    content = encoded(drawing("RGB"), format, exif=exif, **options)
    want = decoded(content)
    if 1 <= orientation <= 8:
        want = ImageOps.exif_transpose(want)
    assert_same(convert(content, tmp_path), want, tolerance=JPEG_TOLERANCE)


def test_xmp_orientation_counts_where_exif_has_none(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    content = encoded(drawing("RGB"), "JPEG", xmp=xmp)
    want = decoded(content).transpose(Image.Transpose.ROTATE_270)
    assert_same(convert(content, tmp_path), want, tolerance=JPEG_TOLERANCE)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_icc_profiles_travel(tmp_path: Path, format: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    result = convert(encoded(drawing("RGB"), format, icc_profile=profile), tmp_path)
    with pikepdf.open(result.outputs[0]) as pdf:
        (image,) = pdf.pages[0].get_images().values()
        assert image.ColorSpace[0] == "/ICCBased"
        assert image.ColorSpace[1].read_bytes() == profile


def test_an_icc_profile_for_other_colours_stays_behind(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    result = convert(encoded(drawing("L"), "JPEG", icc_profile=profile), tmp_path)
    assert image_object(result)["/ColorSpace"] == "/DeviceGray"


def test_an_icc_profile_without_white_stays_behind(tmp_path: Path) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * profile[131], 12):
        if profile[at + 1 : at + 4] == b"XYZ":
            place = int.from_bytes(profile[at + 4 : at + 8])
            profile[place + 8 : place + 20] = bytes(12)
    content = encoded(drawing("RGB"), "JPEG", icc_profile=bytes(profile))
    assert image_object(convert(content, tmp_path))["/ColorSpace"] == "/DeviceRGB"


def test_pictures_of_an_mpo_are_pages_but_not_its_preview(tmp_path: Path) -> None:
    pictures = [drawing("RGB"), drawing("L").convert("RGB")]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "MPO", save_all=True, append_images=pictures[1:])
    result = convert(buffer.getvalue(), tmp_path)
    with Image.open(buffer) as mpo:
        for index in range(2):
            mpo.seek(index)
            assert_same(result, mpo, tolerance=JPEG_TOLERANCE, page=index + 1)
    preview = bytearray(buffer.getvalue())
    second = preview.index(struct.pack("<I", 0x030000), preview.index(b"MPF\0") + 30) + 16
    preview[second : second + 4] = struct.pack("<I", 0x010001)
    assert len(convert(bytes(preview), tmp_path).pages) == 1


def test_jpeg_at_a_quality_is_encoded_anew(tmp_path: Path) -> None:
    content = encoded(drawing("L", (600, 400)), "JPEG", quality=98)
    result = convert(content, tmp_path, quality=60)
    assert len(image_object(result)["data"]) < len(content) / 2
    assert_same(result, decoded(content), tolerance=60)


def test_jpeg_of_12_bit_is_refused_by_name(tmp_path: Path) -> None:
    content = bytearray(encoded(drawing("L"), "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 1], content[frame + 4] = 0xC1, 12
    with pytest.raises(UnsupportedConversion, match="12 bit"):
        convert(bytes(content), tmp_path)


# The other formats


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("GIF", "P", {}),
        ("BMP", "1", {}),
        ("BMP", "P", {}),
        ("BMP", "RGB", {}),
        ("BMP", "RGBA", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": True, "exact": True}),
        ("JPEG2000", "RGB", {}),
        ("JPEG2000", "L", {}),
        ("JPEG2000", "RGBA", {}),
        ("AVIF", "RGB", {"quality": 100}),
        ("PPM", "1", {}),
        ("PPM", "L", {}),
        ("PPM", "RGB", {}),
        ("TGA", "RGB", {"compression": "tga_rle"}),
        ("TGA", "RGBA", {}),
        ("PCX", "1", {}),
        ("PCX", "RGB", {}),
        ("SGI", "L", {}),
        ("SGI", "RGBA", {}),
        ("DDS", "RGBA", {}),
        ("QOI", "RGBA", {}),
        ("IM", "RGB", {}),
        ("XBM", "1", {}),
        ("ICO", "RGBA", {"sizes": [(61, 43)]}),
        ("MSP", "1", {}),
    ],
)
def test_what_pillow_reads_comes_out_as_pillow_reads_it(
    tmp_path: Path, format: str, mode: str, options: dict[str, Any]
) -> None:
    content = encoded(drawing(mode), format, **options)
    assert_same(convert(content, tmp_path), on_white(decoded(content)), tolerance=1)


@pytest.mark.parametrize("no_jp2", [False, True], ids=["file", "codestream"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_2000_is_copied(tmp_path: Path, mode: str, no_jp2: bool) -> None:
    content = encoded(drawing(mode), "JPEG2000", no_jp2=no_jp2)
    result = convert(content, tmp_path)
    image = image_object(result)
    assert image["/Filter"] == "/JPXDecode"
    assert image["data"].endswith(content)
    assert_same(result, decoded(content))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "I;16"])
def test_jpeg_2000_that_readers_differ_on_is_decoded(tmp_path: Path, mode: str) -> None:
    content = encoded(drawing(mode), "JPEG2000")
    result = convert(content, tmp_path)
    assert image_object(result)["/Filter"] == "/FlateDecode"
    want = (
        drawing(mode) if mode != "I;16" else Image.fromarray((np.asarray(drawing(mode)) >> 8).astype("uint8"))
    )
    assert_same(result, on_white(want), tolerance=1)


def test_jpeg_2000_with_a_tile_of_32_bits_is_decoded(tmp_path: Path) -> None:
    """poppler's OpenJPEG counts no tile in it, and shows nothing."""
    content = bytearray(encoded(drawing("RGB"), "JPEG2000", no_jp2=True))
    content[24:32] = b"\xff" * 8
    result = convert(bytes(content), tmp_path)
    assert_same(result, decoded(bytes(content)))


def test_truncated_jpeg_2000_is_told(tmp_path: Path) -> None:
    content = encoded(drawing("RGB"), "JPEG2000")
    with pytest.raises(CorruptDocument, match=r"page 1.*ends early.*resume"):
        convert(content[:-300], tmp_path)
    result = convert(content[:-2], tmp_path, on_error="resume")
    assert result.pages[0].source_page == result.failures[0].page == 1


@pytest.mark.parametrize("format", ["TGA", "SGI", "GIF", "PPM"])
def test_what_a_truncated_picture_has_is_kept(tmp_path: Path, format: str) -> None:
    content = encoded(drawing("RGB"), format)
    with pytest.raises(CorruptDocument, match=r"page 1.*resume"):
        convert(content[: len(content) * 3 // 4], tmp_path)
    result = convert(content[: len(content) * 3 // 4], tmp_path, on_error="resume")
    assert result.pages[0].source_page == result.failures[0].page == 1
    assert np.asarray(renders(result)[0]).std() > 0


def test_a_last_tile_of_jpeg_2000_that_names_no_length_reaches_to_the_end(tmp_path: Path) -> None:
    content = bytearray(encoded(drawing("RGB"), "JPEG2000"))
    length = content.index(b"\xff\x90\x00\x0a") + 6
    content[length : length + 4] = bytes(4)
    assert convert(bytes(content), tmp_path).pages[0].how == "copied (JPEG 2000)"
    with pytest.raises(CorruptDocument, match=r"page 1.*ends early"):
        convert(bytes(content[:-300]), tmp_path)


def test_every_frame_of_a_gif_is_a_page(tmp_path: Path) -> None:
    frames = [Image.new("RGB", SIZE, color) for color in ("red", "lime", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    result = convert(buffer.getvalue(), tmp_path)
    for number, frame in enumerate(frames, 1):
        assert_same(result, frame, page=number)
    assert len(convert(buffer.getvalue(), tmp_path, frames="first", pages="1").pages) == 1


def test_a_gif_cut_within_the_head_of_a_frame_names_that_page(tmp_path: Path) -> None:
    frames = [drawing("L"), ImageOps.mirror(drawing("L"))]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    content = buffer.getvalue()
    descriptor = content.rindex(b"\x21\xf9\x04") + 8
    with pytest.raises(CorruptDocument, match="page 2"):
        convert(content[: descriptor + 5], tmp_path)
    result = convert(content[: descriptor + 5], tmp_path, on_error="resume")
    assert len(result.pages) == 1


def test_16_bit_gray_of_pnm_keeps_its_bits(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (43, 61), dtype=np.uint16)
    result = convert(b"P5\n61 43\n65535\n" + samples.astype(">u2").tobytes(), tmp_path)
    with pikepdf.open(result.outputs[0]) as pdf:
        (image,) = pdf.pages[0].get_images().values()
        assert image.read_bytes() == samples.astype(">u2").tobytes()


@pytest.mark.parametrize("most", [1000, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_16_bit_colours_of_pnm_keep_their_bits(tmp_path: Path, plain: bool, most: int) -> None:
    samples = np.random.default_rng(0).integers(0, most + 1, (43, 61, 3), dtype=np.uint16)
    body = samples.astype(">u2").tobytes()
    if plain:
        body = b" ".join(b"%d" % value for value in samples.ravel())
    content = b"P%d\n61 43\n%d\n" % (3 if plain else 6, most) + body
    result = convert(content, tmp_path)
    scaled = (samples.astype(int) * 65535 + most // 2) // most
    with pikepdf.open(result.outputs[0]) as pdf:
        (image,) = pdf.pages[0].get_images().values()
        assert image.read_bytes() == scaled.astype(">u2").tobytes()
    assert_same(result, decoded(content), tolerance=1)
    with pytest.raises(CorruptDocument, match="page 1"):
        convert(content[:-900], tmp_path)


def test_bmp_of_2_bits(tmp_path: Path) -> None:
    indexes = (np.asarray(drawing("L")) >> 6)[::-1]
    padded = np.pad(indexes, ((0, 0), (0, 3)))
    packed = (padded.reshape(43, 16, 4) << np.array([6, 4, 2, 0])).sum(-1).astype("uint8")
    palette = bytes((0, 0, 0, 0, 85, 85, 85, 0, 170, 170, 170, 0, 255, 255, 255, 0))
    want = Image.fromarray(((np.asarray(drawing("L")) >> 6) * 85).astype("uint8"))
    assert_same(convert(bmp(2, 0, (), packed.tobytes(), palette), tmp_path), want)


@pytest.mark.parametrize(
    ("bits", "masks"),
    [(16, (0xE0, 0x1C00, 0x3)), (16, (0xF00, 0xF0, 0xF)), (32, (0xFFE00000, 0x1FFC00, 0x3FF))],
)
def test_bmp_of_any_bit_masks(tmp_path: Path, bits: int, masks: tuple[int, int, int]) -> None:
    rgb = np.asarray(drawing("RGB")).astype(np.uint64)[::-1]
    pixels = np.zeros(rgb.shape[:2], np.uint64)
    want = np.zeros(rgb.shape, np.uint8)
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        highest = mask >> shift
        field = (rgb[..., channel] * highest + 127) // 255
        pixels |= field << np.uint64(shift)
        want[..., channel] = (field * 255 + highest // 2) // highest
    rows = pixels.astype(f"<u{bits // 8}")
    if bits == 16:
        rows = np.pad(rows, ((0, 0), (0, 1)))
    assert_same(convert(bmp(bits, 3, masks, rows.tobytes()), tmp_path), Image.fromarray(want[::-1]))


def test_bmp_with_a_jpeg_inside(tmp_path: Path) -> None:
    jpeg = encoded(drawing("RGB"), "JPEG")
    assert_same(convert(bmp(0, 4, (), jpeg), tmp_path), decoded(jpeg), tolerance=JPEG_TOLERANCE)


@pytest.mark.parametrize("mode", ["1", "P", "RGB"])
def test_a_dib_is_a_bmp_without_the_head_of_a_file(tmp_path: Path, mode: str) -> None:
    image = drawing(mode)
    assert_same(convert(encoded(image, "BMP")[14:], tmp_path), image)


# Damage


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_rows": 1}),
        ("PNG", {}),
        ("PNG", {"interlace": True}),
        ("BMP", {}),
        ("GIF", {}),
        ("TGA", {}),
    ],
)
def test_a_truncated_picture_fails_or_comes_in_part(
    tmp_path: Path, format: str, options: dict[str, Any], share: float
) -> None:
    image = drawing("RGB", (200, 150))
    content = encoded(image, format, **{k: v for k, v in options.items() if k != "interlace"})
    if options.get("interlace"):
        content = interlaced(content)
    content = content[: int(len(content) * share)]
    with pytest.raises(CorruptDocument, match="page 1") as caught:
        convert(content, tmp_path)
    assert caught.value.page == 1
    try:
        result = convert(content, tmp_path, on_error="resume")
    except CorruptDocument:
        assert format not in ("JPEG", "PNG")
        return
    assert (result.pages[0].width_px, result.pages[0].height_px) == (200, 150)
    assert [failure.page for failure in result.failures] == [1]
    # What came before the cut is right.
    want = decoded(encoded(image, format)).convert("RGB").crop((0, 0, 200, 5))
    if format == "PNG" and not options:
        for got in renders(result):
            assert got.crop((0, 0, 200, 5)).tobytes() == want.tobytes()


def test_a_jpeg_that_lacks_only_its_end_is_whole(tmp_path: Path) -> None:
    content = encoded(drawing("RGB"), "JPEG")
    result = convert(content[:-2], tmp_path)
    assert image_object(result)["data"] == content


def test_a_jpeg_that_lacks_a_restart_interval_is_told(tmp_path: Path) -> None:
    content = encoded(drawing("RGB"), "JPEG", restart_marker_blocks=2)
    first, second = content.index(b"\xff\xd1"), content.index(b"\xff\xd2")
    with pytest.raises(CorruptDocument, match=r"page 1.*lacks 1 of .* restart markers"):
        convert(content[:first] + content[second:], tmp_path)


def test_a_page_above_the_limit_is_not_decoded(tmp_path: Path) -> None:
    for format in ("JPEG", "PNG", "BMP", "GIF", "WEBP"):
        with pytest.raises(LimitExceeded, match="DOCMILL_MAX_PAGE_PIXELS"):
            convert(encoded(drawing("RGB"), format), tmp_path, max_page_pixels=100)


DAMAGED = [
    encoded(drawing("RGB"), "JPEG"),
    encoded(drawing("RGB"), "JPEG", progressive=True, restart_marker_blocks=3),
    encoded(drawing("CMYK"), "JPEG"),
    encoded(drawing("P"), "PNG", transparency=2),
    encoded(drawing("RGBA"), "PNG"),
    encoded(drawing("I;16"), "PNG"),
    encoded(drawing("P"), "GIF"),
    encoded(drawing("P"), "BMP"),
    encoded(drawing("RGB"), "WEBP"),
    encoded(drawing("RGB"), "TGA", compression="tga_rle"),
    encoded(drawing("L"), "SGI"),
    encoded(drawing("RGB"), "PCX"),
]


@settings(max_examples=150)
@given(data=st.data(), on_error=st.sampled_from(["abort", "resume"]))
def test_damage_never_raises_but_by_name(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, on_error: str
) -> None:
    content = bytearray(data.draw(st.sampled_from(DAMAGED)))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content))) :]
    try:
        convert(bytes(content), tmp_path_factory.getbasetemp(), max_page_pixels=10**6, on_error=on_error)
    except subprocess.CalledProcessError as error:
        # qpdf decodes JPEG too: what it finds wrong within the coded data, only decoding tells.
        assert b"DCT" in error.stderr + error.stdout, error.stderr
    except DocmillError as error:
        assert error.message and "\n" not in error.message
