"""Pictures to pictures: the same pixels, resolution, profile and descriptions, in every format."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo

from docmill.documents.identify import identify
from docmill.errors import CorruptDocument, InvalidJobData, LimitExceeded, UnsupportedConversion
from docmill.formats import Compression
from docmill.jp2 import profile_of
from tests.engines.picture_support import convert as convert_to_pdf
from tests.engines.raster_support import convert, picture, read_wide, same

SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
SRGB = SRGB_PROFILE.tobytes()


@pytest.mark.parametrize("to", ["tiff", "tiff-lzw", "tiff-none", "tiff-packbits", "png"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16", "CMYK", "F", "I"])
def test_nothing_is_lost(tmp_path, mode, to):
    source = tmp_path / "a.tif"
    image = picture(mode)
    image.save(source, compression="tiff_lzw", dpi=(200, 100))
    if to == "png" and mode in ("F", "I"):
        with pytest.raises(UnsupportedConversion, match="32 bits do not fit PNG"):
            convert(source, to, tmp_path / "out")
        return
    (path,) = convert(source, to, tmp_path / "out").outputs
    same(path, image, "RGB" if to == "png" and mode == "CMYK" else None if mode not in "1P" else "RGB")
    with Image.open(path) as made:
        assert made.mode == ("RGB" if to == "png" and mode == "CMYK" else mode)
        assert made.info["dpi"] == pytest.approx((200, 100), abs=0.02)


@pytest.mark.parametrize(
    ("source", "to"),
    [
        ("png", "bmp"), ("bmp", "png"), ("png", "webp"), ("webp", "tiff"), ("png", "jp2"), ("jp2", "png"),
        ("tga", "png"), ("ppm", "tiff"), ("pcx", "png"), ("sgi", "pcx"), ("gif", "png"), ("jpg", "png"),
        ("dds", "j2k"), ("ico", "png"), ("qoi", "tiff-zip"),
    ],
)  # fmt: skip
def test_formats(tmp_path, source, to):
    path = tmp_path / f"a.{source}"
    size = (32, 32) if source == "ico" else (61, 47)
    picture("RGB", size).save(path, **({"lossless": True} if source in ("webp",) else {}))
    (made,) = convert(path, to, tmp_path / "out").outputs
    with Image.open(path) as original:
        original.load()
        same(made, original, "RGB")


@pytest.mark.parametrize(("to", "begins"), [("j2k", b"\xff\x4f\xff\x51"), ("jp2", b"\0\0\0\x0cjP  ")])
def test_a_codestream_is_bare_and_jp2_is_not(tmp_path, to, begins):
    picture("RGB", (61, 47)).save(tmp_path / "a.png", dpi=(200, 200))
    (made,) = convert(tmp_path / "a.png", to, tmp_path / "out").outputs
    assert made.read_bytes().startswith(begins)


@pytest.mark.parametrize("source", ["png", "tif"])
@pytest.mark.parametrize("to", ["png", "tiff", "tiff-lzw"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("big", [False, True])
def test_16_bits_stay(tmp_path, source, to, channels, big):
    samples = np.random.default_rng(5).integers(0, 1 << 16, (40, 30, channels)).astype(np.uint16)
    path = tmp_path / f"a.{source}"
    if source == "tif":
        extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
        photometric = "minisblack" if channels == 1 else "rgb"
        tifffile.imwrite(
            path,
            samples[:, :, 0] if channels == 1 else samples,
            photometric=photometric,
            compression="lzw" if big else None,
            byteorder=">" if big else "<",
            metadata=None,
            **extra,
        )
    else:
        write_wide_png(path, samples)
    (made,) = convert(path, to, tmp_path / "out").outputs
    assert np.array_equal(read_wide(made), samples)


def test_16_bits_of_a_pnm_stay(tmp_path):
    samples = np.random.default_rng(1).integers(0, 65536, (47, 61, 3), dtype=np.uint16)
    (tmp_path / "a.ppm").write_bytes(b"P6 61 47 65535\n" + samples.astype(">u2").tobytes())
    (made,) = convert(tmp_path / "a.ppm", "png", tmp_path / "out").outputs
    assert np.array_equal(imagecodecs.png_decode(made.read_bytes()), samples)


def write_wide_png(path: Path, samples: np.ndarray) -> None:
    import imagecodecs

    path.write_bytes(imagecodecs.png_encode(samples.squeeze()))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_2000_keeps_resolution_and_profile(tmp_path, mode):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() if mode == "RGB" else None
    image = picture(mode)
    image.save(tmp_path / "a.png", dpi=(300, 150), icc_profile=icc)
    (path,) = convert(tmp_path / "a.png", "jp2", tmp_path / "out").outputs
    same(path, image)
    with Image.open(path) as made:
        assert made.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    # Pillow does not tell the profile of JPEG 2000: it comes back through docmill.
    (path,) = convert(path, "png", tmp_path / "back").outputs
    with Image.open(path) as back:
        assert back.info.get("icc_profile") == icc
        assert back.info["dpi"] == pytest.approx((300, 150), abs=0.02)


def test_alpha_is_kept_or_laid_on_white(tmp_path):
    image = picture("RGBA")
    image.save(tmp_path / "a.png")
    for to in ("webp", "tiff", "jp2"):
        (path,) = convert(tmp_path / "a.png", to, tmp_path / to).outputs
        same(path, image, "RGBA")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    for to, asked in (("bmp", {}), ("png", {"alpha": "white"})):
        (path,) = convert(tmp_path / "a.png", to, tmp_path / f"white-{to}", **asked).outputs
        with Image.open(path) as flat:
            assert flat.mode == "RGB"
            difference = np.asarray(flat).astype(int) - np.asarray(white.convert("RGB"))
            assert np.abs(difference).max() <= 1
    (path,) = convert(tmp_path / "a.png", "jpeg", tmp_path / "jpeg", quality=100).outputs
    with Image.open(path) as flat:
        difference = np.asarray(flat).astype(int) - np.asarray(white.convert("RGB"))
        assert np.abs(difference).mean() < 2


def test_a_transparent_colour_becomes_alpha(tmp_path):
    picture("P").save(tmp_path / "a.png", transparency=3)
    (path,) = convert(tmp_path / "a.png", "tiff", tmp_path / "out").outputs
    with Image.open(tmp_path / "a.png") as original:
        same(path, original, "RGBA")


@pytest.mark.parametrize("to", ["png", "tiff", "jpeg"])
@pytest.mark.parametrize(
    ("bits", "kind", "key"), [(2, 0, (1,)), (4, 0, (9,)), (16, 0, (4660,)), (16, 2, (1, 2, 3))]
)
def test_a_transparent_colour_of_any_depth(tmp_path, bits, kind, key, to):
    """Pillow keeps the colour in the file's own scale, and 8 bits of the samples."""
    samples = np.full((40, 40, len(key)), (1 << bits) - 1, np.uint16)
    samples[:20] = 0
    samples[10:30, 10:30] = key
    rows = np.packbits(
        np.unpackbits(samples.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 16 - bits :].reshape(
            40, -1
        ),
        axis=1,
    )
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 40, 40, bits, kind, 0, 0, 0)),
        (b"tRNS", struct.pack(f">{len(key)}H", *key)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))),
        (b"IEND", b""),
    ]
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
    )
    (made,) = convert(tmp_path / "a.png", to, tmp_path / "out").outputs
    expected = np.full((40, 40), 255)
    expected[:20] = 0
    expected[10:30, 10:30] = 255
    if to == "tiff":
        opaque = tifffile.imread(made)[:, :, -1] > 0
        assert not opaque[10:30, 10:30].any()
        assert opaque.sum() == 1200
        return
    with Image.open(made) as image:
        if to == "png":
            opaque = imagecodecs.png_decode(made.read_bytes())[:, :, -1] > 0
            assert not opaque[10:30, 10:30].any()
            assert opaque.sum() == 1200
        else:
            assert abs(np.asarray(image.convert("L")).astype(int) - expected).max() < 40


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("to", ["png", "tiff", "jpeg"])
def test_orientation(tmp_path, orientation, to):
    image = picture("RGB")
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = "Maker"
    source = tmp_path / "a.tif"
    image.save(source, exif=exif, dpi=(200, 100))
    result = convert(source, to, tmp_path / "out", **({"quality": 100} if to == "jpeg" else {}))
    upright = ImageOps.exif_transpose(Image.open(source))
    with Image.open(result.outputs[0]) as made:
        if to == "tiff":
            assert made.tag_v2[274] == orientation
            assert made.tag_v2[271] == "Maker"
            assert np.array_equal(tifffile.imread(result.outputs[0]), np.asarray(image))
        else:
            assert made.getexif().get(274, 1) == 1
            assert made.info["dpi"] == pytest.approx((100, 200) if orientation >= 5 else (200, 100), abs=0.02)
        shown = np.asarray(ImageOps.exif_transpose(made)).astype(int)
        assert np.abs(shown - np.asarray(upright)).mean() < (2 if to == "jpeg" else 1e-9)
    page = result.pages[0]
    expected = (61 * 72 / 200, 47 * 72 / 100)
    assert (page.width_pt, page.height_pt) == pytest.approx(expected[::-1] if orientation >= 5 else expected)


def test_exif_of_a_photograph(tmp_path):
    exif = Image.Exif()
    exif[271], exif[274], exif[306] = "Maker", 6, "2024:05:06 07:08:09"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    picture("RGB").save(tmp_path / "a.jpg", exif=exif, icc_profile=SRGB, dpi=(240, 240))
    for to in ("png", "webp", "tiff"):
        (path,) = convert(tmp_path / "a.jpg", to, tmp_path / to).outputs
        with Image.open(path) as made:
            assert made.getexif()[271] == "Maker"
            assert made.getexif()[306] == "2024:05:06 07:08:09"
            if to != "tiff":
                assert made.getexif().get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
            assert made.info["icc_profile"] == SRGB
            upright = ImageOps.exif_transpose(made)
            with Image.open(tmp_path / "a.jpg") as original:
                assert np.array_equal(np.asarray(upright), np.asarray(ImageOps.exif_transpose(original)))


def test_a_jpeg_that_stays_one_is_copied(tmp_path):
    picture("RGB").save(tmp_path / "a.jpg", quality=70, dpi=(240, 240))
    result = convert(tmp_path / "a.jpg", "jpeg", tmp_path / "out")
    assert result.outputs[0].read_bytes() == (tmp_path / "a.jpg").read_bytes()
    assert result.pages[0].how == "copied"
    result = convert(tmp_path / "a.jpg", "jpeg", tmp_path / "again", quality=20)
    assert result.outputs[0].stat().st_size < (tmp_path / "a.jpg").stat().st_size


def test_cmyk_by_its_profile(tmp_path):
    picture("CMYK").save(tmp_path / "a.tif")
    (path,) = convert(tmp_path / "a.tif", "jpeg", tmp_path / "jpeg", quality=100).outputs
    with Image.open(path) as made:
        assert made.mode == "CMYK"
        assert np.abs(np.asarray(made).astype(int) - np.asarray(picture("CMYK"))).mean() < 2
    (path,) = convert(tmp_path / "a.tif", "tiff-jpeg", tmp_path / "tiff", quality=100).outputs
    with Image.open(path) as made:
        assert made.mode == "CMYK"
        assert np.abs(np.asarray(made).astype(int) - np.asarray(picture("CMYK"))).mean() < 2
    (path,) = convert(tmp_path / "a.tif", "webp", tmp_path / "webp").outputs
    same(path, picture("CMYK").convert("RGB"))


@pytest.fixture
def many(tmp_path) -> Path:
    """A TIFF of four pages, each of its own mode and size, with a thumbnail between them."""
    path = tmp_path / "many.tif"
    with tifffile.TiffWriter(path) as tiff:
        for mode in ("1", "L", "RGB"):
            pixels = np.asarray(picture(mode, (60 + len(mode), 40)))
            tiff.write(pixels, resolution=(300, 300), photometric="rgb" if mode == "RGB" else "minisblack")
        tiff.write(np.zeros((8, 8), np.uint8), subfiletype=1)
        tiff.write(
            np.asarray(picture("L", (100, 80))), tile=(16, 16), compression="zlib", resolution=(72, 72)
        )
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_pages_of_a_tiff(tmp_path, many, workers):
    result = convert(many, "png", tmp_path / "out", workers=workers)
    assert [path.name for path in result.outputs] == [f"doc_Page({page}).png" for page in (1, 2, 3, 4)]
    for path, expected in zip(
        result.outputs,
        [picture("1", (61, 40)), picture("L", (61, 40)), picture("RGB", (63, 40)), picture("L", (100, 80))],
        strict=True,
    ):
        same(path, expected)
    (path,) = convert(many, "tiff-zip", tmp_path / "tiff", pages="4,1", workers=workers).outputs
    with Image.open(path) as made:
        assert [frame.size for frame in ImageSequence.Iterator(made)] == [(100, 80), (61, 40)]


@pytest.mark.parametrize("compression", Compression)
def test_one_compression_to_another(tmp_path, many, compression):
    (path,) = convert(many, f"tiff-{compression}", tmp_path / "out", pages="1").outputs
    with Image.open(path) as made:
        assert made.info["dpi"] == (300, 300)
        if compression is not Compression.JPEG:
            assert made.mode == "1"
            assert np.array_equal(np.asarray(made), np.asarray(picture("1", (61, 40))))


def test_frames_of_an_animation(tmp_path):
    frames = [picture("RGB", (30, 20)).rotate(turn) for turn in (0, 90, 180)]
    for name in ("a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        first = convert(tmp_path / name, "tiff", tmp_path / f"first-{name}").outputs
        assert Image.open(first[0]).n_frames == 1
        every = convert(tmp_path / name, "tiff", tmp_path / f"all-{name}", frames="all").outputs
        with Image.open(every[0]) as made:
            for frame, expected in zip(ImageSequence.Iterator(made), frames, strict=True):
                assert np.array_equal(np.asarray(frame.convert("RGB")), np.asarray(expected))


def test_every_picture_of_an_mpo_is_a_page(tmp_path):
    first, second = picture("RGB"), picture("RGB", (40, 50)).rotate(180)
    first.save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=[second], quality=95)
    with Image.open(tmp_path / "a.mpo") as image:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
    result = convert(tmp_path / "a.mpo", "png", tmp_path / "out")
    assert len(result.outputs) == 2
    for path, frame in zip(result.outputs, frames, strict=True):
        same(path, frame)
    assert len(convert(tmp_path / "a.mpo", "png", tmp_path / "first", frames="first").outputs) == 1
    (made,) = convert(tmp_path / "a.mpo", "png", tmp_path / "second", pages="2").outputs
    same(made, frames[1])


@pytest.mark.parametrize("to", ["png", "pdf"])
@pytest.mark.parametrize("source", ["png", "webp", "avif", "gif"])
def test_frames_that_are_left_out_are_told(tmp_path, source, to):
    path = tmp_path / f"a.{source}"
    picture("RGB").save(path, save_all=True, append_images=[picture("RGB").rotate(180)])

    def notes(**asked):
        return (
            convert_to_pdf(path.read_bytes(), tmp_path, **asked).notes
            if to == "pdf"
            else (convert(path, to, tmp_path / f"out{len(asked)}", **asked).notes)
        )

    told = ("only the first of 2 frames was converted (--frames all converts all)",)
    assert notes() == (() if source == "gif" else told)
    assert notes(frames="first") == ()


def test_bits_and_dither(tmp_path):
    image = picture("RGB", (200, 100))
    image.save(tmp_path / "a.png")
    gray = np.asarray(image.convert("L"))
    for to, asked, expected in (
        ("png-8bit", {}, gray),
        ("png-1bit", {}, gray >= 128),
        ("tiff-g4", {"threshold": 60}, gray >= 60),
    ):
        (path,) = convert(tmp_path / "a.png", to, tmp_path / to, **asked).outputs
        with Image.open(path) as made:
            assert np.array_equal(np.asarray(made), expected)
    (path,) = convert(tmp_path / "a.png", "tiff-g4", tmp_path / "dither", dither=True).outputs
    with Image.open(path) as made:
        assert np.asarray(made).mean() == pytest.approx(gray.mean() / 255, abs=0.02)


def test_a_size_in_pixels_keeps_the_size_on_paper(tmp_path):
    for mode in ("1", "L", "P", "RGBA", "I;16"):
        source = tmp_path / f"{mode.replace(';', '')}.png"
        picture(mode, (120, 80)).save(source, dpi=(300, 300))
        result = convert(source, "png", tmp_path / f"out{mode.replace(';', '')}", size="60x")
        with Image.open(result.outputs[0]) as made:
            assert made.size == (60, 40)
            assert made.info["dpi"] == pytest.approx((150, 150), abs=0.02)
        assert (result.pages[0].width_pt, result.pages[0].height_pt) == pytest.approx((28.8, 19.2), rel=1e-4)


def test_a_resolution_where_the_file_names_none(tmp_path):
    picture("L").save(tmp_path / "a.png")
    (path,) = convert(tmp_path / "a.png", "tiff", tmp_path / "a").outputs
    with Image.open(path) as made:
        assert made.tag_v2[296] == 1
    (path,) = convert(tmp_path / "a.png", "tiff", tmp_path / "b", dpi=150).outputs
    with Image.open(path) as made:
        assert made.info["dpi"] == (150, 150)


def test_limits(tmp_path, many):
    picture("L").save(tmp_path / "a.png")
    with pytest.raises(LimitExceeded, match="61 x 47"):
        convert(tmp_path / "a.png", "tiff", tmp_path / "a", max_page_pixels=2866)
    with pytest.raises(LimitExceeded, match="610 x 470"):
        convert(tmp_path / "a.png", "tiff", tmp_path / "b", size="610x", max_page_pixels=2867)
    with pytest.raises(LimitExceeded):
        convert(many, "tiff", tmp_path / "c", max_pages=3)
    with pytest.raises(InvalidJobData, match="beyond the last"):
        convert(many, "tiff", tmp_path / "d", pages="5")


def test_damage(tmp_path):
    picture("RGB", (300, 200)).save(tmp_path / "a.jpg", quality=95)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptDocument):
        convert(tmp_path / "cut.jpg", "png", tmp_path / "a")
    result = convert(tmp_path / "cut.jpg", "png", tmp_path / "b", on_error="resume")
    assert [failure.page for failure in result.failures] == [1]
    with Image.open(result.outputs[0]) as made, Image.open(tmp_path / "a.jpg") as original:
        assert made.size == (300, 200)
        assert np.array_equal(np.asarray(made)[:60], np.asarray(original)[:60])


@pytest.mark.parametrize("to", ["png", "jpeg", "webp", "tiff"])
def test_what_a_tiff_says_of_itself_is_kept(tmp_path, to):
    said = {270: "A map", 315: "Ann", 33432: "(c) Ann"}
    picture("RGB").save(tmp_path / "a.tif", tiffinfo=said)
    (made,) = convert(tmp_path / "a.tif", to, tmp_path / "out").outputs
    with Image.open(made) as image:
        exif = image.getexif()
        assert {tag: exif.get(tag) for tag in said} == said


@pytest.mark.parametrize("to", ["png", "jpeg", "webp", "tiff"])
def test_what_a_png_says_of_itself_is_kept(tmp_path, to):
    chunks = PngInfo()
    chunks.add_text("Title", "A map")
    chunks.add_itxt("Author", "Ann")
    chunks.add_text("Copyright", "(c) Ann", zip=True)
    picture("RGB").save(tmp_path / "a.png", pnginfo=chunks)
    (made,) = convert(tmp_path / "a.png", to, tmp_path / "out").outputs
    with Image.open(made) as image:
        exif = image.getexif()
        assert {tag: exif.get(tag) for tag in (270, 315, 33432)} == {
            270: "A map",
            315: "Ann",
            33432: "(c) Ann",
        }


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("to", ["png", "jpeg", "webp", "tiff"])
@pytest.mark.parametrize("source", ["png", "jpg", "webp", "tif"])
def test_xmp_is_kept_and_its_orientation_applied(tmp_path, source, to):
    path = tmp_path / f"a.{source}"
    how = {"tif": {"tiffinfo": {700: XMP % 1}}, "jpg": {"xmp": XMP % 6}, "webp": {"xmp": XMP % 6}}.get(
        source, {}
    )
    if source == "png":
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", (XMP % 6).decode())
        how = {"pnginfo": chunks}
    picture("RGB").save(path, **how)
    (made,) = convert(
        path, to, tmp_path / "out", **({"alpha": "white", "quality": 90} if to == "jpeg" else {})
    ).outputs
    with Image.open(made) as image:
        assert image.size == (61, 47) if source == "tif" else (47, 61)
        assert image.info.get("xmp", image.info.get("XML:com.adobe.xmp")) in (XMP % 1, (XMP % 1).decode())
        assert image.getexif().get(274, 1) == 1


def test_what_a_png_says_of_its_colours_is_kept(tmp_path):
    chunks = PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100_000))
    chunks.add(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000))
    picture("RGB").save(tmp_path / "a.png", pnginfo=chunks)
    (made,) = convert(tmp_path / "a.png", "png", tmp_path / "out").outputs
    with Image.open(tmp_path / "a.png") as before, Image.open(made) as after:
        assert after.info["gamma"] == before.info["gamma"] == 1.0
        assert after.info["chromaticity"] == before.info["chromaticity"]


def test_pages_cut_off_from_a_file_are_a_failure_of_the_job(tmp_path, many):
    """Not a note only: the job is to end with errors."""
    with tifffile.TiffFile(many) as tiff:
        offset = tiff.pages[2].offset
    data = bytearray(many.read_bytes())
    end = len(data).to_bytes(4, "little")
    data = data.replace(offset.to_bytes(4, "little"), end)
    (tmp_path / "cut.tif").write_bytes(data)
    result = convert(tmp_path / "cut.tif", "png", tmp_path / "a", on_error="resume")
    assert len(result.outputs) == 2
    assert [(failure.page, failure.error["code"]) for failure in result.failures] == [(3, "CorruptDocument")]


def test_a_page_that_cannot_be_read_is_blank(tmp_path, many):
    data = bytearray(many.read_bytes())
    with tifffile.TiffFile(many) as tiff:
        tag = tiff.pages[1].tags[273]
        data[tag.valueoffset : tag.valueoffset + 4] = (0x7FFFFFFF).to_bytes(4, "little")
    broken = tmp_path / "broken.tif"
    broken.write_bytes(data)
    with pytest.raises(CorruptDocument) as caught:
        convert(broken, "tiff-lzw", tmp_path / "a")
    assert caught.value.page == 2
    result = convert(broken, "tiff-lzw", tmp_path / "b", on_error="resume", bad_page="blank", workers=2)
    assert [failure.page for failure in result.failures] == [2]
    with Image.open(result.outputs[0]) as made:
        sizes = [frame.size for frame in ImageSequence.Iterator(made)]
        assert sizes == [(61, 40), (61, 40), (63, 40), (100, 80)]
        made.seek(1)
        assert np.asarray(made.convert("L")).min() == 255


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_a_picture_that_breaks_off_is_named_by_its_page_and_what_to_do(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"cut.{kind.lower()}"
    Image.effect_noise((300, 200), 50).save(path, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(CorruptDocument, match="page 1: ") as caught:
        convert(path, "tiff", tmp_path / "out")
    assert "--on-error resume" in caught.value.hint

    result = convert(path, "tiff", tmp_path / "out", on_error="resume")
    (failure,) = result.failures
    assert failure.error["message"].count("page 1") == 1


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("to", ["tiff", "png", "jpeg", "tiff-jpeg", "webp"])
@pytest.mark.parametrize("source", ["tif", "png", "jpg", "webp"])
def test_the_shape_of_a_pixel_is_kept(tmp_path, source, to, orientation):
    """A fax has 204 x 98 dots an inch, and some writers say no more than that they are oblong."""
    path = tmp_path / f"a.{source}"
    image, turned = picture("L", (60, 40)), Image.Exif()
    turned[274] = orientation
    if source == "tif":
        image.save(path, tiffinfo={274: orientation, 282: 2.0, 283: 1.0, 296: 1})
    elif source == "webp":
        turned[282], turned[283], turned[296] = 2.0, 1.0, 1
        image.convert("RGB").save(path, exif=turned, lossless=True)
    elif source == "png":
        image.save(path, exif=turned)
        insert_chunk(path, b"pHYs", struct.pack(">IIB", 2, 1, 0))
    else:
        image.save(path, exif=turned)
        data = bytearray(path.read_bytes())
        data[13:18] = struct.pack(">BHH", 0, 2, 1)
        path.write_bytes(data)
    before = facts(path)
    result = convert(path, to, tmp_path / "out")
    after = facts(result.outputs[0])
    want = (before.width_pt, before.height_pt)
    assert want == pytest.approx((14.4, 19.2) if orientation == 1 else (19.2, 14.4))
    assert (after.width_pt, after.height_pt, after.dpi_x) == pytest.approx((*want, 0))
    assert (result.pages[0].width_pt, result.pages[0].height_pt) == pytest.approx(want)
    # At a resolution, a pixel still has its shape.
    result = convert(path, to, tmp_path / "at", dpi=150)
    page = facts(result.outputs[0])
    assert (page.width_pt, page.height_pt) == pytest.approx((2 * want[0], 2 * want[1]))


def facts(path):
    return identify(path, max_page_pixels=10**8, max_pages=9, default_dpi=300).pages[0]


def insert_chunk(path, kind, body):
    data = path.read_bytes()
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(data[:33] + chunk + data[33:])


def test_a_resolution_that_only_photoshop_tells(tmp_path):
    resolution = b"8BIM\x03\xed\0\0" + struct.pack(">I", 16)
    resolution += struct.pack(">IHHIHH", 200 << 16, 1, 1, 100 << 16, 1, 1)
    segment = b"Photoshop 3.0\0" + resolution
    picture("L").save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    app13 = b"\xff\xed" + struct.pack(">H", 2 + len(segment)) + segment
    (tmp_path / "a.jpg").write_bytes(data[:2] + app13 + data[20:])  # without JFIF's
    (made,) = convert(tmp_path / "a.jpg", "png", tmp_path / "out").outputs
    assert (facts(made).dpi_x, facts(made).dpi_y) == (200, 100)


@pytest.mark.parametrize("source", ["jpg", "webp", "jp2", "tif"])
@pytest.mark.parametrize("to", ["png", "webp", "jp2"])
def test_pillow_reads_in_only_the_formats_that_are_needed(tmp_path, source, to):
    """All of them take 40 ms, in each process that opens a picture."""
    picture("RGB").save(tmp_path / f"a.{source}")
    script = f"""
import sys
from pathlib import Path
from docmill.documents.identify import identify
from docmill.engines.base import EngineOptions
from docmill.engines.raster_to_raster import RasterToRaster
from docmill.formats import target_from_name
facts = identify(Path("a.{source}"), max_page_pixels=10**8, max_pages=9, default_dpi=300)
options = EngineOptions(target_from_name("{to}"), mime_type=facts.mime_type)
RasterToRaster().convert(Path("a.{source}"), Path("."), options, lambda progress: None)
assert "PIL.FliImagePlugin" not in sys.modules and "pi_heif" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


LINEAR = struct.pack(">I", 100_000)
WIDE_GAMUT = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)


@pytest.mark.parametrize("to", ["tiff", "jpeg", "webp", "jp2", "tiff-jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_a_png_says_of_its_colours_becomes_a_profile_elsewhere(tmp_path, mode, to):
    picture(mode).save(tmp_path / "a.png")
    insert_chunk(tmp_path / "a.png", b"cHRM", WIDE_GAMUT)
    insert_chunk(tmp_path / "a.png", b"gAMA", LINEAR)
    result = convert(tmp_path / "a.png", to, tmp_path / "out")
    assert not result.notes
    (made,) = result.outputs
    with Image.open(made) as image:
        icc = image.info.get("icc_profile") or profile_of(made)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    levels = Image.linear_gradient("L").convert(mode)
    seen = np.asarray(ImageCms.profileToProfile(levels, profile, SRGB_PROFILE, outputMode="RGB"))[:, 0, 0]
    light = np.arange(256) / 255
    want = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    # lcms draws curves of gray in steps, which are coarse where a linear one begins.
    first = 24 if mode == "L" else 0
    assert np.abs(seen - want)[first:].max() < 2
    if mode == "RGB":
        green = Image.new("RGB", (1, 1), (0, 255, 0))
        measured = ImageCms.profileToProfile(green, profile, ImageCms.createProfile("LAB"), outputMode="LAB")
        by_lcms = measured.getpixel((0, 0))
        # Green of Adobe RGB in Lab (D50).
        assert (by_lcms[0] / 2.55, by_lcms[1] - 128, by_lcms[2] - 128) == pytest.approx(
            (83, -128, 87), abs=1.5
        )


def test_srgb_of_a_png_is_named_elsewhere(tmp_path):
    picture("RGB").save(tmp_path / "a.png")
    insert_chunk(tmp_path / "a.png", b"sRGB", b"\0")
    (made,) = convert(tmp_path / "a.png", "tiff", tmp_path / "out").outputs
    with Image.open(made) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
    for plain in ("bmp", "jp2"):
        assert not convert(tmp_path / "a.png", plain, tmp_path / plain).notes


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        (b"gAMA", LINEAR, "page 1: PNG's gamma of 1 was left out, since it names no primaries"),
        (
            b"cICP",
            b"\x09\x10\0\1",
            "page 1: the colour space of PNG's cICP (primaries 9, transfer 16) was left out",
        ),
    ],
)
def test_colours_that_only_png_can_name_are_kept_or_told(tmp_path, kind, body, words):
    picture("RGB").save(tmp_path / "a.png")
    insert_chunk(tmp_path / "a.png", kind, body)
    assert convert(tmp_path / "a.png", "tiff", tmp_path / "tiff").notes == (words,)
    result = convert(tmp_path / "a.png", "png", tmp_path / "png")
    assert not result.notes
    assert kind + body in result.outputs[0].read_bytes()


@pytest.mark.parametrize("height", [2, 7, 1025])
def test_narrow_rows_of_ccitt_rle_are_all_there(tmp_path: Path, height: int) -> None:
    """libtiff loses the last row where nothing is behind it, also of what it has written itself."""
    for seed in range(40):
        rows = np.random.default_rng(seed).integers(0, 2, (height, 3)).astype(bool)
        Image.fromarray(rows).save(tmp_path / "a.png")
        Image.fromarray(rows).save(tmp_path / "a.tif", compression="tiff_ccitt")
        made = convert(tmp_path / "a.png", "tiff-ccitt", tmp_path / f"out{seed}").outputs[0]
        with Image.open(made) as by_libtiff:
            assert np.array_equal(np.asarray(by_libtiff), rows)
        assert np.array_equal(tifffile.imread(made) == 0, rows)
        read = convert(tmp_path / "a.tif", "png", tmp_path / f"png{seed}").outputs[0]
        with Image.open(read) as image:
            assert np.array_equal(np.asarray(image), rows)
