"""Pictures of more than 8 bits a sample: all bits are kept where the target holds them, else it is told."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace

import imagecodecs
import numpy as np
import pikepdf
import pytest
import tifffile
from PIL import Image, ImageCms

from docmill.engines.base import EngineResult
from docmill.engines.page_notes import page_notes
from docmill.engines.raster import libavif, wide_pictures
from docmill.engines.raster.wide import Wide
from docmill.jp2 import with_metadata
from tests.engines.picture_support import convert as convert_to_pdf
from tests.engines.picture_support import image_object
from tests.engines.raster_support import convert, read_wide


def ramp(channels: int, bits: int, size: tuple[int, int] = (61, 47)) -> np.ndarray:
    """Samples that go through all of their range."""
    width, height = size
    steps = np.add.outer(np.arange(height) * 37, np.arange(width) * 11)[:, :, None] * np.arange(
        1, channels + 1
    )
    return (steps * 13 % (1 << bits)).astype(np.uint16)


def full(samples: np.ndarray, bits: int) -> np.ndarray:
    most = (1 << bits) - 1
    return ((samples.astype(np.int64) * 65535 + most // 2) // most).astype(np.uint16)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["jp2", "j2k"])
def test_jpeg_2000(tmp_path: Path, kind: str, channels: int, bits: int) -> None:
    samples = ramp(channels, bits)
    data = imagecodecs.jpeg2k_encode(
        samples.squeeze(), level=0, codecformat=kind, bitspersample=bits, reversible=True
    )
    (tmp_path / f"a.{kind}").write_bytes(data)
    result = convert(tmp_path / f"a.{kind}", "png", tmp_path / "out")
    assert np.array_equal(read_wide(result.outputs[0]), full(samples, bits))
    assert not result.notes
    pdf = convert_to_pdf(data, tmp_path)
    image = image_object(pdf)
    assert (image["/BitsPerComponent"], pdf.notes) == (16, ())


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_avif(tmp_path: Path, channels: int, bits: int) -> None:
    samples = ramp(channels, bits)
    pixels = "yuv444" if channels > 2 else "yuv400"
    data = imagecodecs.avif_encode(samples, level=100, bitspersample=bits, pixelformat=pixels)
    (tmp_path / "a.avif").write_bytes(data)
    result = convert(tmp_path / "a.avif", "tiff", tmp_path / "out")
    made = read_wide(result.outputs[0])
    assert np.abs(made.astype(int) - full(samples, bits)).max() <= 1
    assert not result.notes


def test_libavif_writes_no_more_samples_than_there_is_room_for(tmp_path: Path) -> None:
    """It knows RGB alone, also of gray: asked for fewer samples it wrote over the heap."""
    data = imagecodecs.avif_encode(ramp(4, 10), level=100, bitspersample=10, pixelformat="yuv444")
    (tmp_path / "a.avif").write_bytes(data)
    gray, gray_alpha, rgb, rgba = (
        libavif.wide_avif(tmp_path / "a.avif", (61, 47), channels) for channels in (1, 2, 3, 4)
    )
    assert gray is not None and gray_alpha is not None and rgb is not None and rgba is not None
    assert np.array_equal(gray, rgb[:, :, :1])
    assert np.array_equal(gray_alpha, rgba[:, :, [0, 3]])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("packed", [False, True])
def test_sgi(tmp_path: Path, channels: int, packed: bool) -> None:
    samples = ramp(channels, 16)
    write_sgi(tmp_path / "a.sgi", samples, packed=packed)
    result = convert(tmp_path / "a.sgi", "png", tmp_path / "out")
    assert np.array_equal(read_wide(result.outputs[0]), samples)
    with Image.open(tmp_path / "a.sgi") as image:
        by_pillow = np.asarray(image.convert("RGBA" if channels == 4 else "RGB"))
    assert np.array_equal(by_pillow[:, :, 0], samples[:, :, 0] >> 8)


def write_sgi(path: Path, samples: np.ndarray, *, packed: bool) -> None:
    height, width, channels = samples.shape
    head = struct.pack(
        ">HBBHHHHII", 474, packed, 2, 3 if channels > 1 else 2, width, height, channels, 0, 65535
    )
    planes = samples[::-1].transpose(2, 0, 1).astype(">u2")
    if not packed:
        path.write_bytes(head.ljust(512, b"\0") + planes.tobytes())
        return
    rows = []
    for row in planes.reshape(-1, width):
        # A run of one sample three times over, or as they are.
        runs = struct.pack(">HH", 1, row[0])
        for start in range(1, width, 100):
            part = row[start : start + 100]
            runs += struct.pack(">H", 0x80 | len(part)) + part.tobytes()
        rows.append(runs + b"\0\0")
    starts = 512 + 8 * len(rows) + np.cumsum([0, *map(len, rows[:-1])])
    tables = np.array([*starts, *map(len, rows)], ">u4").tobytes()
    path.write_bytes(head.ljust(512, b"\0") + tables + b"".join(rows))


def test_heic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By what pi-heif gives, since nothing in the tests' reach writes HEIC."""
    import pi_heif

    samples = ramp(3, 10, (8, 4))

    class Picture(SimpleNamespace):
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return samples << 6

    picture = Picture(size=(8, 4), mode="RGB;16", info={"bit_depth": 10})
    asked = []

    def open_heif(path: Path, *, convert_hdr_to_8bit: bool) -> list[Picture]:
        asked.append(convert_hdr_to_8bit)
        return [picture]

    monkeypatch.setattr(pi_heif, "open_heif", open_heif)
    image = Image.new("RGB", (8, 4))
    image.format, image.info["bit_depth"] = "HEIF", 10
    found = wide_pictures.wide_picture(tmp_path / "a.heic", image)
    assert np.array_equal(found, full(samples, 10))
    assert asked == [False]


@pytest.mark.parametrize("to", ["tiff", "pdf"])
def test_bits_that_nobody_keeps_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, to: str) -> None:
    """Such as those of chroma that has fewer samples, or of a Pillow whose libraries are a part of it."""
    data = imagecodecs.jpeg2k_encode(ramp(3, 12), level=0, codecformat="jp2", bitspersample=12)
    monkeypatch.setattr(wide_pictures, "wide_jp2", lambda *_: None)
    result = made_of(data, to, tmp_path)
    assert result.notes == (
        "page 1: 12 bits a sample became 8, which are all that can be decoded of this JPEG 2000",
    )


def made_of(data: bytes, to: str, folder: Path) -> EngineResult:
    if to == "pdf":
        return convert_to_pdf(data, folder)
    (folder / "a.jp2").write_bytes(data)
    return convert(folder / "a.jp2", to, folder / "out")


def test_what_a_format_does_not_hold_is_told(tmp_path: Path) -> None:
    plain = {"metadata": None, "software": False}
    tifffile.imwrite(tmp_path / "a.tif", ramp(4, 16), extrasamples=["unassalpha"], photometric="rgb", **plain)
    assert convert(tmp_path / "a.tif", "jpeg", tmp_path / "out").notes == (
        "page 1: more than 8 bits a sample became 8, which are all that JPEG holds",
        "page 1: what is transparent was laid on white, since JPEG holds no alpha",
    )
    # What could be held is not told as what cannot.
    assert convert(tmp_path / "a.tif", "jp2", tmp_path / "jp2").notes == (
        "page 1: more than 8 bits a sample became 8, which are all that docmill writes in JPEG 2000",
    )
    # Whoever asks for it knows.
    assert not convert(tmp_path / "a.tif", "tiff-24bit", tmp_path / "asked", alpha="white").notes
    tifffile.imwrite(tmp_path / "b.tif", ramp(4, 8).astype(np.uint8), photometric="separated", **plain)
    assert convert(tmp_path / "b.tif", "png", tmp_path / "inks").notes == (
        "page 1: the inks (CMYK) became RGB, since PNG holds none",
    )
    assert convert(tmp_path / "b.tif", "jp2", tmp_path / "inks-jp2").notes == (
        "page 1: the inks (CMYK) became RGB, since docmill writes none in JPEG 2000",
    )
    noise = np.random.default_rng(1).integers(0, 256, (40, 30, 3), np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", noise, photometric="rgb", metadata=None)
    assert convert(tmp_path / "c.tif", "gif", tmp_path / "few").notes == (
        "page 1: the colours became the nearest of 256, which are all that GIF holds",
    )


def test_opaque_alpha_is_no_loss(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 9), "teal").save(tmp_path / "a.png")
    assert not convert(tmp_path / "a.png", "jpeg", tmp_path / "out").notes


def test_notes_name_their_pages_in_a_line() -> None:
    assert page_notes({"dim": [1, 2, 3, 7], "dull": [4]}) == ("pages 1-3, 7: dim", "page 4: dull")
    (note,) = page_notes({"odd": range(1, 99, 2)})
    assert note == "pages 1, 3, 5, 7 and 45 more places: odd"


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_stay_when_a_page_is_scaled(tmp_path: Path, kind: str, channels: int) -> None:
    samples = np.full((40, 30, channels), 30_001, np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(samples.squeeze()))
    result = convert(tmp_path / "a.png", kind, tmp_path / "out", size="15x")
    made = read_wide(result.outputs[0])
    assert made.shape == (20, 15, channels)
    assert np.abs(made.astype(int) - 30_001).max() <= 1


def test_16_bits_stay_on_white(tmp_path: Path) -> None:
    samples = ramp(4, 16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(samples))
    result = convert(tmp_path / "a.png", "png", tmp_path / "out", alpha="white")
    white = Wide(samples[:, :, :3], "RGB", samples[:, :, 3]).on_white().colors
    assert np.array_equal(read_wide(result.outputs[0]), white)


def test_a_decoded_jpeg_2000_keeps_its_profile_in_pdf(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = imagecodecs.jpeg2k_encode(ramp(3, 16), level=0, codecformat="jp2", bitspersample=16)
    result = convert_to_pdf(with_metadata(data, None, profile), tmp_path)
    with pikepdf.open(result.outputs[0]) as pdf:
        (image,) = pdf.pages[0].get_images().values()
        assert image.ColorSpace[1].read_bytes() == profile


@pytest.mark.parametrize(("primaries", "transfer"), [(1, 13), (2, 2), (12, 13), (9, 16)])
def test_colours_that_avif_names_by_code_points_are_told_unless_they_are_srgb(
    tmp_path: Path, primaries: int, transfer: int
) -> None:
    path = tmp_path / "a.avif"
    Image.new("RGB", (64, 48), "teal").save(path)
    head, box, rest = path.read_bytes().partition(b"colrnclx")
    path.write_bytes(head + box + struct.pack(">HH", primaries, transfer) + rest[4:])
    told = (
        f"page 1: the colour space of AVIF's CICP (primaries {primaries}, transfer {transfer}) was left out"
    )
    expected = () if primaries < 9 else (told,)
    assert convert(path, "png", tmp_path / "out").notes == expected
    assert convert_to_pdf(path.read_bytes(), tmp_path).notes == expected
