"""TIFF to PDF: what is copied and what is not, several pages, options, limits and damage."""

from __future__ import annotations

import io
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms, ImageDraw

from docmill.engines.base import EngineOptions, EngineResult, Progress
from docmill.engines.raster_to_pdf import RasterToPdf
from docmill.errors import (
    CorruptDocument,
    DocmillError,
    InvalidJobData,
    LimitExceeded,
    UnsupportedConversion,
)
from docmill.formats import PDF, Target
from docmill.options import ConvertOptions
from tests.engines import tiffs
from tests.engines.tiffs import Layout, tiff_bytes
from tests.support import check_pdf, page_count, rendered_by_poppler

SIZE = (203, 131)


def convert(path: Path, *, max_page_pixels: int = 10**8, workers: int = 2, **options: Any) -> EngineResult:
    asked = EngineOptions(
        Target(PDF),
        ConvertOptions(**options),
        mime_type="image/tiff",
        workers=workers,
        name="out",
        max_page_pixels=max_page_pixels,
    )
    return RasterToPdf().convert(path, path.parent, asked, lambda progress: None)


def drawing(mode: str = "RGB", size: tuple[int, int] = SIZE, seed: int = 1) -> Image.Image:
    """Lines, boxes and a gradient in colours."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    draw, rng = ImageDraw.Draw(image), random.Random(seed)
    for n in range(0, size[0], 7):
        draw.line((n, 0, size[0] - n, size[1]), fill=(rng.randrange(256), n % 256, 128))
    draw.rectangle((20, 20, 60, 90), fill=(200, 30, 40))
    return image.convert(mode)


def saved(folder: Path, *images: Image.Image, **options: Any) -> Path:
    path = folder / "in.tif"
    images[0].save(path, "TIFF", save_all=True, append_images=images[1:], **{"dpi": (100, 100)} | options)
    return path


def written(folder: Path, data: bytes) -> Path:
    path = folder / "in.tif"
    path.write_bytes(data)
    return path


def tiffcp(folder: Path, image: Image.Image, *arguments: str) -> Path:
    """The image as `tiffcp` writes it."""
    raw, path = folder / "raw.tif", folder / "in.tif"
    image.save(raw, dpi=(100, 100))
    subprocess.run(["tiffcp", *arguments, raw, path], check=True)
    return path


def rendered(result: EngineResult, page: int = 1) -> Image.Image:
    check_pdf(result.outputs[0])
    return rendered_by_poppler(result.outputs[0], 100, 100, page)


def difference(one: Image.Image, other: Image.Image) -> int:
    assert one.size == other.size
    return max(
        high for _, high in ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getextrema()
    )


def test_one_strip_of_group_4_is_copied_as_it_is(tmp_path: Path) -> None:
    image = drawing("1")
    source = saved(tmp_path, image, compression="group4", tiffinfo={278: SIZE[1]})
    result = convert(source)
    assert result.pages[0].how == "copied (CCITT Group 4)"
    with Image.open(source) as tiff:
        start, size = tiff.tag_v2[273][0], tiff.tag_v2[279][0]
    with pikepdf.open(result.outputs[0]) as pdf:
        stream = pdf.pages[0].Resources.XObject.Im0.read_raw_bytes()
    assert stream == source.read_bytes()[start : start + size]
    assert difference(rendered(result), image) == 0


def test_strips_of_group_4_are_joined(tmp_path: Path) -> None:
    image = drawing("1")
    result = convert(saved(tmp_path, image, compression="group4", tiffinfo={278: 16}))
    assert result.pages[0].how == "joined from 9 strips (CCITT Group 4)"
    assert difference(rendered(result), image) == 0


def test_group_4_without_its_end_is_decoded(tmp_path: Path) -> None:
    """Some writers leave EOFB out; readers of PDF differ on what they make of that."""
    rows = drawing("1").tobytes()
    layout = Layout(compression=tiffs.G4, bits=1, photometric=1, dpi=(100, 100))
    data = tiff_bytes([(rows, *SIZE, layout)])
    (strip,) = tiffs.encoded_strips(rows, *SIZE, layout)
    value = int.from_bytes(strip)
    after = (value & -value).bit_length() + 23
    cut = value >> after << after
    result = convert(written(tmp_path, data.replace(strip, cut.to_bytes(len(strip)))))
    assert result.pages[0].how.startswith("CCITT Group 4 re-encoded as ")
    assert difference(rendered(result), drawing("1")) == 0


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("mode, photometric", [("L", 1), ("L", 0), ("RGB", 2), ("CMYK", 5)])
def test_one_strip_of_deflate_is_copied(tmp_path: Path, predictor: int, mode: str, photometric: int) -> None:
    image = drawing(mode)
    layout = Layout(
        compression=tiffs.DEFLATE,
        photometric=photometric,
        samples=len(image.getbands()),
        predictor=predictor,
        dpi=(100, 100),
    )
    result = convert(written(tmp_path, tiff_bytes([(image.tobytes(), *SIZE, layout)])))
    assert result.pages[0].how == "copied (Deflate)"
    if mode == "CMYK":
        with pikepdf.open(result.outputs[0]) as pdf:
            assert pdf.pages[0].Resources.XObject.Im0.read_bytes() == image.tobytes()
    else:
        shown = ImageChops.invert(image) if photometric == 0 else image
        assert difference(rendered(result), shown) == 0


def test_deflate_that_breaks_off_names_its_page(tmp_path: Path) -> None:
    good = (drawing("L").tobytes(), *SIZE, Layout(compression=tiffs.DEFLATE))
    data = tiff_bytes([good, good])
    (strip,) = tiffs.encoded_strips(*good)
    second = data.rindex(strip)
    broken = data[: second + 300] + b"\xff" * (len(strip) - 300) + data[second + len(strip) :]
    source = written(tmp_path, broken)
    with pytest.raises(CorruptDocument, match="page 2") as caught:
        convert(source)
    assert caught.value.page == 2
    result = convert(source, on_error="resume")
    assert [page.source_page for page in result.pages] == [1]
    assert [(failure.page, failure.error["code"]) for failure in result.failures] == [(2, "CorruptDocument")]
    assert page_count(result.outputs[0]) == 1


JPEGS = {
    "Pillow": lambda folder: saved(folder, drawing(), compression="jpeg", quality=90),
    "gray in strips": lambda folder: tiffcp(folder, drawing("L"), "-c", "jpeg:90", "-r", "32"),
    "RGB in strips": lambda folder: tiffcp(folder, drawing(), "-c", "jpeg:r:90", "-r", "16"),
    "gray in one": lambda folder: tiffcp(folder, drawing("L"), "-c", "jpeg:90", "-r", "1000"),
    "4:2:0 in one": lambda folder: tiffcp(folder, drawing(), "-c", "jpeg:90", "-r", "1008"),
    "4:2:0 in strips, neutral": lambda folder: tiffcp(
        folder, drawing("L").convert("RGB"), "-c", "jpeg:90", "-r", "16"
    ),
}


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_is_copied_within_2_of_libtiff(tmp_path: Path, name: str) -> None:
    source = JPEGS[name](tmp_path)
    result = convert(source)
    assert result.pages[0].how.startswith(("copied (JPEG)", "joined from")), result.pages[0].how
    assert result.pages[0].how.startswith("copied") == ("in one" in name)
    with Image.open(source) as image:
        assert difference(rendered(result), image) <= 2
    with pikepdf.open(result.outputs[0]) as pdf:
        stream = pdf.pages[0].Resources.XObject.Im0.read_raw_bytes()
    with Image.open(io.BytesIO(stream)) as jpeg:
        assert jpeg.size == SIZE


def test_jpeg_strips_whose_colours_would_blend_at_the_seams_are_decoded(tmp_path: Path) -> None:
    source = tiffcp(tmp_path, drawing(), "-c", "jpeg:90", "-r", "16")
    result = convert(source)
    assert result.pages[0].how == "JPEG re-encoded as Flate"
    with Image.open(source) as image:
        assert difference(rendered(result), image) == 0


def test_jpeg_strips_that_end_within_a_block_are_decoded(tmp_path: Path) -> None:
    image = drawing("L")
    layout = Layout(compression=tiffs.JPEG, photometric=1, samples=1, rows_per_strip=12)
    result = convert(written(tmp_path, tiff_bytes([(image.tobytes(), *image.size, layout)])))
    assert result.pages[0].how == "JPEG re-encoded as Flate"
    with Image.open(tmp_path / "in.tif") as source, pikepdf.open(result.outputs[0]) as pdf:
        assert pdf.pages[0].Resources.XObject.Im0.read_bytes() == source.tobytes()


@pytest.mark.parametrize("rows", [8, 1000])
def test_cmyk_jpeg_keeps_its_inks(tmp_path: Path, rows: int) -> None:
    """TIFF does not invert CMYK as Adobe's JPEG files do."""
    inks = Image.merge("CMYK", [Image.new("L", SIZE, level) for level in (250, 180, 60, 10)])
    layout = Layout(compression=tiffs.JPEG, photometric=5, samples=4, rows_per_strip=rows)
    result = convert(written(tmp_path, tiff_bytes([(inks.tobytes(), *SIZE, layout)])))
    assert "re-encoded" not in result.pages[0].how
    with pikepdf.open(result.outputs[0]) as pdf:
        stored = pdf.pages[0].Resources.XObject.Im0
        assert "/Decode" not in stored
        subprocess.run(["pdfimages", "-tiff", result.outputs[0], tmp_path / "image"], check=True)
    with Image.open(tmp_path / "image-000.tif") as image:
        assert image.mode == "CMYK"
        assert (
            max(map(abs, (a - b for a, b in zip(image.getpixel((50, 50)), (250, 180, 60, 10), strict=True))))
            <= 2
        )


def test_a_jpeg_strip_cut_short_is_not_joined_in_silence(tmp_path: Path) -> None:
    source = tiffcp(tmp_path, drawing("L"), "-c", "jpeg:90", "-r", "32")
    data = bytearray(source.read_bytes())
    with Image.open(source) as image:
        start, size = image.tag_v2[273][1], image.tag_v2[279][1]
    data[start + size // 2 : start + size] = bytes(size - size // 2)
    with pytest.raises(CorruptDocument, match="page 1"):
        convert(written(tmp_path, bytes(data)))


def test_pages_keep_their_order_sizes_and_resolutions_with_threads(tmp_path: Path) -> None:
    images = [drawing("RGB" if n % 2 else "1", (50 + n, 70 + 2 * n), n) for n in range(12)]
    pages = []
    for n, image in enumerate(images):
        layout = Layout(
            compression=[tiffs.LZW, tiffs.G4, tiffs.DEFLATE][n % 3] if n % 2 == 0 else tiffs.LZW,
            bits=8 if n % 2 else 1,
            photometric=2 if n % 2 else 1,
            samples=3 if n % 2 else 1,
            rows_per_strip=9,
            dpi=(100 + n, 200),
        )
        pages.append((image.tobytes(), *image.size, layout))
    progress: list[Progress] = []
    source = written(tmp_path, tiff_bytes(pages, ">", big=True))
    asked = EngineOptions(Target(PDF), mime_type="image/tiff", workers=3, name="many")
    result = RasterToPdf().convert(source, tmp_path, asked, progress.append)
    assert result.outputs == (tmp_path / "many.pdf",)
    check_pdf(result.outputs[0])
    assert [page.source_page for page in result.pages] == list(range(1, 13))
    assert [(p.page, p.page_count) for p in progress] == [(n, 12) for n in range(1, 13)]
    for n, image in enumerate(images):
        assert (
            rendered_by_poppler(result.outputs[0], 100 + n, 200, n + 1).tobytes()
            == image.convert("RGB").tobytes()
        )


def test_page_ranges_in_the_order_asked_for(tmp_path: Path) -> None:
    source = saved(tmp_path, *(Image.new("1", (10 + n, 10)) for n in range(5)), compression="group4")
    result = convert(source, pages="4-5,2,2")
    assert [page.source_page for page in result.pages] == [4, 5, 2, 2]
    assert [page.width_px for page in result.pages] == [13, 14, 11, 11]
    assert page_count(result.outputs[0]) == 4
    with pytest.raises(InvalidJobData, match="page 6"):
        convert(source, pages="3-6")


def test_dpi_stands_in_only_where_the_file_names_none(tmp_path: Path) -> None:
    image = Image.new("L", (600, 300))
    named = convert(saved(tmp_path, image, dpi=(200, 100)), dpi=50).pages[0]
    assert (named.width_pt, named.height_pt) == pytest.approx((216, 216))
    layout = Layout(unit=1, dpi=(1, 1))
    unnamed = written(tmp_path, tiff_bytes([(image.tobytes(), 600, 300, layout)]))
    page = convert(unnamed).pages[0]
    assert (page.width_pt, page.height_pt) == pytest.approx((144, 72))
    page = convert(unnamed, dpi=150).pages[0]
    assert (page.width_pt, page.height_pt) == pytest.approx((288, 144))


def test_quality_makes_jpeg_of_colours_and_leaves_black_and_white(tmp_path: Path) -> None:
    source = saved(tmp_path, drawing("RGB"), drawing("L"), drawing("1"), compression="tiff_lzw")
    hows = [page.how for page in convert(source, quality=60).pages]
    assert hows[:2] == ["LZW re-encoded as JPEG at quality 60"] * 2
    assert "JPEG" not in hows[2]


def test_the_profile_travels(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        source = saved(tmp_path, drawing(), compression=compression, icc_profile=profile)
        with pikepdf.open(convert(source).outputs[0]) as pdf:
            space = pdf.pages[0].Resources.XObject.Im0.ColorSpace
            assert space[0] == "/ICCBased"
            assert space[1].read_bytes() == profile


def test_the_title_is_written(tmp_path: Path) -> None:
    result = convert(saved(tmp_path, Image.new("1", (9, 9))), title="Akte 7/ä")
    with pikepdf.open(result.outputs[0]) as pdf:
        assert pdf.docinfo.Title == "Akte 7/ä"


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    layout = Layout(compression=tiffs.DEFLATE, extra={257: (4, (1 << 30,)), 278: (4, (1 << 30,))})
    source = written(tmp_path, tiff_bytes([(bytes(100), 100, 1, layout)]))
    with pytest.raises(LimitExceeded, match=r"1073741824 pixels.*DOCMILL_MAX_PAGE_PIXELS") as caught:
        convert(source)
    assert (caught.value.setting, caught.value.page) == ("DOCMILL_MAX_PAGE_PIXELS", 1)


def test_a_page_over_the_limit_is_left_out_on_resume(tmp_path: Path) -> None:
    source = saved(tmp_path, Image.new("1", (10, 10)), Image.new("1", (100, 100)), compression="group4")
    result = convert(source, max_page_pixels=500, on_error="resume")
    assert [page.source_page for page in result.pages] == [1]
    assert result.failures[0].error["code"] == "LimitExceeded"


def test_a_page_that_fails_is_blank_where_that_is_asked_for(tmp_path: Path) -> None:
    """As large as it says that it is, so that the others keep their place."""
    pictures = [Image.new("1", (10, 10)), Image.new("1", (100, 50)), Image.new("1", (10, 10))]
    source = saved(tmp_path, *pictures, compression="group4", dpi=(144, 72))
    result = convert(source, max_page_pixels=500, on_error="resume", bad_page="blank")
    assert [failure.page for failure in result.failures] == [2]
    assert [page.source_page for page in result.pages] == [1, 2, 3]
    with pikepdf.open(result.outputs[0]) as pdf:
        assert [float(side) for side in pdf.pages[1].MediaBox[2:]] == pytest.approx([50, 50], abs=0.001)
    assert rendered_by_poppler(result.outputs[0], 72, 72, 2).convert("L").getextrema() == (255, 255)


@pytest.mark.parametrize("compression", ["group4", "tiff_lzw", "raw", "packbits", "jpeg"])
def test_a_truncated_file_names_its_page(tmp_path: Path, compression: str) -> None:
    mode = "1" if compression == "group4" else "L"
    source = saved(tmp_path, *(drawing(mode, seed=n) for n in range(3)), compression=compression)
    whole = source.read_bytes()
    with Image.open(source) as image:
        image.seek(1)
        start = min(image.tag_v2[273])
    source.write_bytes(whole[: start + 200])
    with pytest.raises(CorruptDocument, match=r"page [23]") as caught:
        convert(source)
    assert caught.value.page in (2, 3)
    result = convert(source, on_error="resume")
    assert [page.source_page for page in result.pages] == [1]
    assert result.failures


def test_where_no_page_can_be_had_resume_fails_too(tmp_path: Path) -> None:
    source = saved(tmp_path, drawing("L"), compression="raw")
    source.write_bytes(source.read_bytes()[: SIZE[0] * 20])
    with pytest.raises(CorruptDocument):
        convert(source, on_error="resume")


fuzzing = settings(max_examples=120)


@fuzzing
@given(
    st.sampled_from([tiffs.NONE, tiffs.G4, tiffs.G3, tiffs.LZW, tiffs.JPEG, tiffs.DEFLATE, tiffs.PACKBITS]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.sampled_from(["abort", "resume"]),
)
def test_damage_anywhere_is_a_docmill_error_or_a_pdf(
    compression: int, flips: list[tuple[float, int]], on_error: str
) -> None:
    bilevel = compression in (tiffs.G3, tiffs.G4)
    image = drawing("1" if bilevel else "L", (60, 50))
    layout = Layout(compression=compression, bits=1 if bilevel else 8, rows_per_strip=16)
    data = bytearray(tiff_bytes([(image.tobytes(), 60, 50, layout)] * 2))
    for where, value in flips:
        data[int(where * (len(data) - 1))] = value
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = convert(written(Path(folder), bytes(data)), on_error=on_error, max_page_pixels=10**6)
        except DocmillError as error:
            assert isinstance(error, CorruptDocument | LimitExceeded | UnsupportedConversion)
        else:
            with pikepdf.open(result.outputs[0]) as pdf:
                assert len(pdf.pages) == len(result.pages)
