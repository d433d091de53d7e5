"""What a picture says of itself travels with it: Exif with its directories, from each format to each."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from docmill.engines.output import tiff_file
from docmill.tiff_fields import Ifd, read_block, write_block
from tests.engines.raster_support import convert, picture

MAKER_NOTE = b"a camera's own words" * 5
SAVED = {"jpg": {}, "png": {}, "webp": {"lossless": True}, "avif": {}}


def exif(*, orientation: int = 6) -> Image.Exif:
    made = Image.Exif()
    made[271], made[272], made[274], made[33432] = "Maker", "Model", orientation, "me"
    made[282] = made[283] = 240.0
    taken = made.get_ifd(34665)
    taken[0x829A], taken[0x9003], taken[0x927C] = 0.008, "2020:01:02 03:04:05", MAKER_NOTE
    taken[0xA002], taken[0xA003], taken[40965] = 60, 40, {1: "R98"}
    place = made.get_ifd(34853)
    place[1], place[2], place[3], place[4] = "N", (52.0, 30.0, 1.5), "E", (13.0, 20.0, 2.5)
    return made


def check(path: Path, size: tuple[int, int]) -> None:
    with Image.open(path) as image:
        found = image.getexif()
        taken, place, interoperability = (found.get_ifd(tag) for tag in (34665, 34853, 40965))
    assert (found[271], found[272], found[33432]) == ("Maker", "Model", "me")
    assert found.get(274, 1) == 1
    assert (found[282], found[283], found[296]) == (240, 240, 2)
    assert float(taken[0x829A]) == pytest.approx(0.008)
    assert (taken[0x9003], taken[0x927C]) == ("2020:01:02 03:04:05", MAKER_NOTE)
    # What it says of the pixels is true of them.
    assert (taken[0xA002], taken[0xA003]) == size
    assert interoperability[1] == "R98"
    assert (place[1], place[2], place[4]) == ("N", (52, 30, 1.5), (13, 20, 2.5))
    assert 513 not in found


@pytest.mark.parametrize("to", ["jpeg-444", "png", "webp", "tiff", "tiff-jpeg"])
@pytest.mark.parametrize("source", [*SAVED, "tif"])
def test_exif_travels(tmp_path: Path, source: str, to: str) -> None:
    first = "jpg" if source == "tif" else source
    picture("RGB", (60, 40)).save(
        tmp_path / f"a.{first}", exif=exif().tobytes(), dpi=(240, 240), **SAVED[first]
    )
    path = tmp_path / f"a.{first}"
    if source == "tif":
        (path,) = convert(path, "tiff", tmp_path / "tif").outputs
        subprocess.run(["tiffinfo", path], check=True, capture_output=True)
        path = path.rename(tmp_path / "a.tif")
    result = convert(path, to, tmp_path / "out")
    check(result.outputs[0], (40, 60))
    assert not result.notes


def test_exif_of_a_scaled_page_names_its_size(tmp_path: Path) -> None:
    picture("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif().tobytes())
    (made,) = convert(tmp_path / "a.jpg", "jpeg", tmp_path / "out", size="20x").outputs
    with Image.open(made) as image:
        taken = image.getexif().get_ifd(34665)
        assert (taken[0xA002], taken[0xA003]) == image.size == (20, 30)


def test_exif_in_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_file.TiffFile.__init__, "__kwdefaults__", {"classic_limit": 1})
    picture("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif().tobytes(), dpi=(240, 240))
    (made,) = convert(tmp_path / "a.jpg", "tiff", tmp_path / "out").outputs
    assert made.read_bytes()[2] == 43
    check(made, (40, 60))
    (made,) = convert(made.rename(tmp_path / "b.tif"), "png", tmp_path / "png").outputs
    check(made, (40, 60))


def test_a_thumbnail_is_left_out(tmp_path: Path) -> None:
    block = bytearray(exif().tobytes())
    # The thumbnail's directory hangs on the end of the main one.
    (count,) = struct.unpack_from(">H", block, 14)
    thumbnail = io.BytesIO()
    Image.new("L", (8, 8)).save(thumbnail, "JPEG")
    at = len(block) - 6
    struct.pack_into(">I", block, 16 + 12 * count, at)
    block += struct.pack(">HHHIIHHIII", 2, 513, 4, 1, at + 30, 514, 4, 1, len(thumbnail.getvalue()), 0)
    picture("RGB").save(tmp_path / "a.jpg", exif=bytes(block) + thumbnail.getvalue())
    for to in ("png", "tiff"):
        (made,) = convert(tmp_path / "a.jpg", to, tmp_path / to).outputs
        assert made.read_bytes().find(thumbnail.getvalue()) < 0


def test_exif_that_is_too_long_for_jpeg(tmp_path: Path) -> None:
    long = exif(orientation=1)
    long.get_ifd(34665)[0x927C] = bytes(70_000)
    picture("RGB", (60, 40)).save(tmp_path / "a.png", exif=long.tobytes(), dpi=(240, 240))
    result = convert(tmp_path / "a.png", "jpeg", tmp_path / "out")
    with Image.open(result.outputs[0]) as image:
        assert image.getexif()[271] == "Maker"
        assert 0x927C not in image.getexif().get_ifd(34665)
    long.get_ifd(34665)[0x9286] = bytes(70_000)
    picture("RGB", (60, 40)).save(tmp_path / "b.png", exif=long.tobytes())
    result = convert(tmp_path / "b.png", "jpeg", tmp_path / "none")
    assert result.notes == ("page 1: Exif was left out: it is too long for JPEG",)


def test_what_a_format_is_written_without_is_told(tmp_path: Path) -> None:
    picture("L").save(tmp_path / "a.jpg", exif=exif().tobytes(), xmp=b"<x:xmpmeta/>")
    assert convert(tmp_path / "a.jpg", "bmp", tmp_path / "out").notes == (
        "page 1: Exif was left out: BMP is written without",
        "page 1: XMP was left out: BMP is written without",
    )


def test_fields_that_all_claim_the_same_bytes_are_not_all_read() -> None:
    count = 60_000
    entries = b"".join(struct.pack("<HHII", tag, 7, 900_000, 8) for tag in range(1, count + 1))
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(300_000)
    assert read_block(block).size < 20 << 20


@given(st.binary(max_size=200))
def test_any_block_reads(tail: bytes) -> None:
    for head in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        found = read_block(head + tail)
        assert read_block(write_block(found)) == found


def test_either_byte_order_reads_the_same() -> None:
    little = struct.pack("<2sHIHHHIIHHIHHI", b"II", 42, 8, 2, 271, 2, 2, 65, 296, 3, 1, 3, 0, 0)
    big = struct.pack(">2sHIHHHI4sHHIHHI", b"MM", 42, 8, 2, 271, 2, 2, b"A", 296, 3, 1, 3, 0, 0)
    assert read_block(little) == read_block(big) != Ifd()
