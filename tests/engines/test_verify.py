"""Outputs checked against their sources: nothing that is right is refused, what is wrong is found."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pikepdf
import pytest
import tifffile
from pikepdf import Dictionary, Name
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

from docmill.documents.identify import identify
from docmill.engines import registry
from docmill.engines.base import DAMAGED, EngineOptions, EngineResult, PageResult
from docmill.engines.verify import Source, verify
from docmill.engines.verify.pdfium import PdfPages
from docmill.errors import EngineFailed, InvalidJobData
from docmill.formats import PDF, Target, target_from_name
from docmill.jp2 import with_metadata
from docmill.options import ConvertOptions
from docmill.settings import Settings
from tests.engines import bad_pdfs
from tests.engines.picture_support import png16
from tests.engines.tiffs import Layout, tiff_bytes
from tests.support import check_pdf

LONG = 1e6  # seconds of conversion, so that as many pages as ever are compared


def page(seed: int = 0, size: tuple[int, int] = (850, 1100)) -> Image.Image:
    """A page of words, with a red box and a gradient."""
    image = Image.new("RGB", size, "white")
    draw, pick = ImageDraw.Draw(image), random.Random(seed)
    font = ImageFont.load_default(size=max(8, size[1] // 60))
    for y in range(size[1] // 20, size[1] * 19 // 20, size[1] // 45):
        words = [pick.choice(["lorem", "ipsum", "dolor", "scan"]) for _ in range(pick.randrange(3, 11))]
        draw.text((size[0] // 12, y), " ".join(words), fill="black", font=font)
    draw.rectangle((size[0] * 0.6, size[1] * 0.7, size[0] * 0.9, size[1] * 0.9), fill=(200, 60, 30))
    image.paste(
        Image.linear_gradient("L").resize((size[0] // 4, size[1] // 8)), (size[0] // 10, size[1] * 3 // 4)
    )
    return image


def facts_of(path: Path, password: str | None = None) -> Any:
    return identify(
        path, name=path.name, password=password, max_page_pixels=10**9, max_pages=10**5, default_dpi=300.0
    )


def convert(path: Path, to: str = "pdf", **options: Any) -> tuple[list[Source], EngineOptions, EngineResult]:
    """What `verify` is asked about after a conversion by the engine of the route."""
    source = Source(path, facts_of(path))
    asked = EngineOptions(
        target_from_name(to), ConvertOptions(**options), name="out", mime_type=source.facts.mime_type
    )
    step = registry.plan_route(source.facts.mime_type, asked.target, asked.options).steps[0]
    out = path.parent / f"out-{path.stem}"
    out.mkdir(exist_ok=True)
    return [source], asked, registry.load(step.engine).convert(path, out, asked, lambda progress: None)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "CMYK"])
def test_a_tiff_of_any_orientation_is_as_its_pdf(tmp_path: Path, mode: str, orientation: int) -> None:
    path = tmp_path / "a.tif"
    compression = "group4" if mode == "1" else None
    page().convert(mode).save(path, compression=compression, dpi=(100, 200), tiffinfo={274: orientation})
    verify(*convert(path), LONG)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 16), (17, 40), (64, 5), (2000, 30), (700, 1500)])
@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "webp", "bmp", "ppm", "tga"])
def test_noise_of_any_size_is_as_its_pdf(tmp_path: Path, size: tuple[int, int], ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    Image.effect_noise(size, 90).save(path)
    verify(*convert(path), LONG)


def test_transparency_and_16_bits_are_as_their_pdf(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image = page().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(path)
    verify(*convert(path), LONG)
    page().convert("I").point(lambda value: value * 257).convert("I;16").save(path)
    verify(*convert(path), LONG)
    page().convert("I").point(lambda value: value * 257).convert("I;16").save(path, transparency=0)
    verify(*convert(path), LONG)


def dark_png(path: Path) -> Path:
    """A black square that is transparent, in a darkness of 16 bits that is not quite black."""
    samples = np.full((80, 60, 3), 200, np.uint16)
    samples[:20, :20] = 0
    path.write_bytes(png16(samples, transparency=bytes(6)))
    return path


@pytest.mark.parametrize("to", ["pdf", "png", "jpeg"])
def test_a_transparent_gray_of_4_bits_is_not_compared_as_one_of_8(tmp_path: Path, to: str) -> None:
    rows = np.full((128, 128), 12, np.uint8)
    rows[32:96] = 7
    packed = rows[:, ::2] << 4 | rows[:, 1::2]
    content = b"\x89PNG\r\n\x1a\n"
    for name, body in [
        (b"IHDR", struct.pack(">IIBBBBB", 128, 128, 4, 0, 0, 0, 0)),
        (b"tRNS", struct.pack(">H", 12)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))),
        (b"IEND", b""),
    ]:
        content += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    (tmp_path / "a.png").write_bytes(content)
    verify(*convert(tmp_path / "a.png", to), LONG)


def test_a_transparent_colour_of_16_bits_is_not_compared_as_one_of_8(tmp_path: Path) -> None:
    verify(*convert(dark_png(tmp_path / "dark.png")), seconds=1.0)


@pytest.mark.parametrize("to", ["pdf", "png", "tiff", "jpeg"])
@pytest.mark.parametrize("channels", [3, 4])
def test_white_of_12_bits_is_not_compared_with_the_black_that_pillow_makes_of_it(
    tmp_path: Path, channels: int, to: str
) -> None:
    """Pillow rounds the whitest eight of 4096 levels up to 256, of which it keeps 0."""
    samples = np.full((90, 120, channels), 4095, np.uint16)
    samples[20:50, 30:70, 0] = 500
    data = imagecodecs.jpeg2k_encode(samples, level=0, codecformat="j2k", bitspersample=12, reversible=True)
    (tmp_path / "a.j2k").write_bytes(data)
    verify(*convert(tmp_path / "a.j2k", to), LONG)
    sources, asked, result = convert(tmp_path / "a.j2k", "png")
    Image.new("RGB", (120, 90), "white").save(result.outputs[0])
    with pytest.raises(EngineFailed, match="looks different"):
        verify(sources, asked, result, LONG)


@pytest.mark.parametrize("side", [85, 529, 1021])
def test_fine_patterns_in_a_picture_are_as_their_pdf(tmp_path: Path, side: int) -> None:
    """Of a size that no whole number divides, so that the two libraries shrink it each in its own way."""
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    for y in range(3, side, 11):
        for x in range(3, side, 11):
            draw.ellipse((x, y, x + 1 + x * 9 // side, y + 1 + y * 9 // side), fill="black")
    path = tmp_path / "a.png"
    image.save(path)
    verify(*convert(path), LONG)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_picture_on_a_turned_page_is_where_it_was(tmp_path: Path, degrees: int) -> None:
    """pdfium puts one that fills its page a pixel beside, where it turns the page only for drawing it."""
    image = Image.new("RGB", (150, 150), "orange")
    draw = ImageDraw.Draw(image)
    for place in range(0, 150, 10):
        draw.line((place, 0, place, 150), fill="black")
        draw.line((0, place, 150, place), fill="black")
    path = tmp_path / "a.pdf"
    with pikepdf.new() as pdf:
        picture = pdf.make_stream(
            image.tobytes(), Type=Name.XObject, Subtype=Name.Image, Width=150, Height=150,
            BitsPerComponent=8, ColorSpace=Name.DeviceRGB,
        )  # fmt: skip
        pdf.add_blank_page(page_size=(150, 150))
        pdf.pages[0].Resources = Dictionary(XObject=Dictionary(Im0=picture))
        pdf.pages[0].Contents = pdf.make_stream(b"150 0 0 150 0 0 cm /Im0 Do")
        pdf.save(path)
    verify(*convert(path, rotate=degrees), LONG)


def test_cmyk_is_as_its_pdf_in_any_colour(tmp_path: Path) -> None:
    """Where Pillow has the purest blue and green, PDF readers have those of ink."""
    ramps = Image.linear_gradient("L").resize((400, 400))
    inks = [ramps, ramps.rotate(90), ramps.rotate(180), Image.new("L", ramps.size, 0)]
    path = tmp_path / "a.tif"
    Image.merge("CMYK", inks).save(path, compression="tiff_lzw")
    verify(*convert(path), LONG)


@pytest.mark.parametrize("colors", [1, 3, 4])
def test_a_tiff_that_pillow_misreads_is_not_refused_for_it(tmp_path: Path, colors: int) -> None:
    path = tmp_path / "a.tif"
    if colors == 1:
        # An orientation that is stored in a byte, and nothing that says whether 0 is black.
        written = tiff_bytes([(page().convert("L").tobytes(), 850, 1100, Layout(orientation=8))])
        for tag, other in (((274, 3, 1, 8), (274, 1, 1, 8)), ((262, 3, 1, 1), (263, 3, 1, 1))):
            assert written.count(struct.pack("<HHII", *tag)) == 1
            written = written.replace(struct.pack("<HHII", *tag), struct.pack("<HHII", *other))
        path.write_bytes(written)
    else:
        values = np.asarray(page().convert({3: "RGB", 4: "CMYK"}[colors]), np.uint16) * 257
        kind = {3: "rgb", 4: "separated"}[colors]
        tifffile.imwrite(path, np.moveaxis(values, 2, 0), photometric=kind, planarconfig="separate")
    verify(*convert(path), LONG)


def test_a_frame_of_a_gif_that_goes_beyond_the_first_has_a_page_of_its_own_size(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    small, large = (page(size=(side, side)).quantize(256) for side in (200, 300))
    large = large.convert("RGB").quantize(palette=small)
    blocks = []
    for frame in (small, large):
        frame.save(path, optimize=False)
        data = path.read_bytes()
        start = 13 + (3 << 1 + (data[10] & 7))
        blocks += [data[:start], data[start:-1]]
    path.write_bytes(blocks[0] + blocks[1] + blocks[3] + b";")
    sources, options, result = convert(path)
    verify(sources, options, result, LONG)
    with pikepdf.open(result.outputs[0]) as pdf:
        assert [round(float(p.mediabox[2]), 2) for p in pdf.pages] == [48, 72]
    with pytest.raises(EngineFailed, match="page 2 is"):
        verify([replace(sources[0], path=single(tmp_path, small))], options, result, LONG)


def single(folder: Path, image: Image.Image) -> Path:
    """A GIF of one frame."""
    path = folder / "single.gif"
    image.save(path)
    return path


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "turned": lambda image: image.rotate(180),
    "mirrored": ImageOps.mirror,
    "inverted": ImageOps.invert,
    "another": lambda image: page(9),
    "shifted": lambda image: ImageOps.expand(image, (30, 0, 0, 0), "white").crop((0, 0, *image.size)),
    "blank": lambda image: Image.new("RGB", image.size, "white"),
    "without a strip": lambda image: (
        ImageOps.contain(image, image.size) if image.paste("white", (0, 300, 850, 364)) else image
    ),
}


@pytest.mark.parametrize("mode", ["1", "RGB", "CMYK"])
@pytest.mark.parametrize("change", ALTERED)
def test_a_page_that_looks_different_is_found(tmp_path: Path, change: str, mode: str) -> None:
    path = tmp_path / "a.tif"
    page().convert(mode).save(path, dpi=(100, 100))
    sources, options, result = convert(path)
    ALTERED[change](page()).convert(mode).save(path, dpi=(100, 100))
    with pytest.raises(EngineFailed, match="page 1 looks different") as caught:
        verify(sources, options, result, 0)
    assert caught.value.page == 1 and "DOCMILL_VERIFY=warn" in caught.value.hint


def test_colours_that_are_swapped_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    page().save(path)
    sources, options, result = convert(path)
    Image.merge("RGB", page().split()[::-1]).save(path)
    with pytest.raises(EngineFailed, match="looks different"):
        verify(sources, options, result, 0)


def test_a_profile_of_more_than_a_mebibyte_is_read_in_a_png(tmp_path: Path) -> None:
    """As a printer's is; Pillow reads a text or profile of at most 1 MiB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    large = struct.pack(">I", 1_500_000) + profile[4:] + bytes(1_500_000 - len(profile))
    page().convert("RGB").save(tmp_path / "a.tif", icc_profile=large)
    checked = convert(tmp_path / "a.tif", "png")
    verify(*checked, LONG)
    assert imagecodecs.png_decode(checked[2].outputs[0].read_bytes()).shape == (1100, 850, 3)


def many_pages(path: Path) -> Path:
    pages = [page(seed) for seed in range(5)]
    pages[0].save(path, save_all=True, append_images=pages[1:], dpi=(100, 100))
    return path


def test_pages_in_another_order_are_found(tmp_path: Path) -> None:
    sources, options, result = convert(many_pages(tmp_path / "a.tif"))
    verify(sources, options, result, LONG)
    with pikepdf.open(result.outputs[0], allow_overwriting_input=True) as pdf:
        pdf.pages.reverse()
        pdf.save()
    with pytest.raises(EngineFailed, match="page 1 looks different"):
        verify(sources, options, result, 0)


def test_other_pages_than_the_first_are_compared_as_long_as_there_is_time(tmp_path: Path) -> None:
    sources, options, result = convert(many_pages(tmp_path / "a.tif"))
    with pikepdf.open(result.outputs[0], allow_overwriting_input=True) as pdf:
        pdf.pages.append(pdf.pages.p(4))
        del pdf.pages[3]
        pdf.save()
    verify(sources, options, result, 0)
    with pytest.raises(EngineFailed, match="page 5 looks different"):
        verify(sources, options, result, LONG)


def test_a_wrong_size_or_rotation_is_found_on_any_page(tmp_path: Path) -> None:
    sources, options, result = convert(many_pages(tmp_path / "a.tif"))
    with pikepdf.open(result.outputs[0], allow_overwriting_input=True) as pdf:
        pdf.pages[3].Rotate = 90
        pdf.save()
    with pytest.raises(
        EngineFailed, match=r"page 4 is 792\.0 x 612\.0 points in the output, 612\.0 x 792\.0"
    ):
        verify(sources, options, result, 0)


def test_a_page_that_is_missing_is_found(tmp_path: Path) -> None:
    sources, options, result = convert(many_pages(tmp_path / "a.tif"))
    with pytest.raises(EngineFailed, match="4 of 5 pages"):
        verify(sources, options, replace(result, pages=result.pages[:4]), 0)
    with pikepdf.open(result.outputs[0], allow_overwriting_input=True) as pdf:
        del pdf.pages[4]
        pdf.save()
    with pytest.raises(EngineFailed, match="has 4 pages where it should have 5"):
        verify(sources, options, result, 0)


def test_an_output_that_is_no_pdf_is_found(tmp_path: Path) -> None:
    sources, options, result = convert(many_pages(tmp_path / "a.tif"))
    result.outputs[0].write_bytes(b"%PDF-1.7 and no more")
    with pytest.raises(EngineFailed, match="cannot be opened"):
        verify(sources, options, result, 0)


@pytest.mark.parametrize("to", ["pdf-raster", "pdf-g4", "pdf-1bit", "pdf-8bit", "pdf-jpeg-420"])
def test_a_pdf_of_pictures_is_as_the_pdf_that_they_were_drawn_from(tmp_path: Path, to: str) -> None:
    made = convert(many_pages(tmp_path / "a.tif"))[2].outputs[0]
    sources, options, result = convert(made, to, dpi=120)
    verify(sources, options, result, LONG)
    with pikepdf.open(result.outputs[0], allow_overwriting_input=True) as pdf:
        pdf.pages.reverse()
        pdf.save(result.outputs[0])
    with pytest.raises(EngineFailed, match=r"looks different|points in the output"):
        verify(sources, options, result, LONG)


@pytest.mark.parametrize(
    "options", [{}, {"pages": "4,2"}, {"rotate": 90}, {"rotate": 270, "pages": "5"}, {"split": 2}]
)
def test_a_pdf_is_as_its_pdf(tmp_path: Path, options: dict[str, Any]) -> None:
    made = convert(many_pages(tmp_path / "a.tif"))[2].outputs[0]
    verify(*convert(made, **options), LONG)
    check_pdf(made)


@pytest.mark.parametrize(
    "to", ["tiff", "tiff-g4", "tiff-g4-1bit", "tiff-jpeg", "png", "png-8bit", "jpeg", "webp", "png-1bit"]
)
def test_images_are_as_the_pdf_that_they_were_drawn_from(tmp_path: Path, to: str) -> None:
    made = convert(many_pages(tmp_path / "a.tif"))[2].outputs[0]
    sources, options, result = convert(made, to, dpi=120)
    verify(sources, options, result, LONG)
    wrong = [tmp_path / f"wrong{output.suffix}" for output in result.outputs]
    for path in wrong:
        pages = [page(20 + seed, (1020, 1320)).convert("1" if "g4" in to else "RGB") for seed in range(5)]
        pages[0].save(
            path, dpi=(120, 120), **({"save_all": True, "append_images": pages[1:]} if "tiff" in to else {})
        )
    with pytest.raises(EngineFailed, match="looks different"):
        verify(sources, options, replace(result, outputs=tuple(wrong)), 0)


@pytest.mark.parametrize("to", ["tiff", "tiff-g4", "png"])
def test_pages_of_more_pixels_than_pillow_likes_are_compared(
    tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = convert(many_pages(tmp_path / "a.tif"))[2].outputs[0]
    checked = convert(made, to, dpi=120)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    verify(*checked, LONG)
    assert Image.MAX_IMAGE_PIXELS == 100_000


@pytest.mark.parametrize("to", ["png", "webp", "png-8bit", "tiff"])
@pytest.mark.parametrize("ending", ["tif", "jpg"])
def test_inks_are_as_the_rgb_that_they_become(tmp_path: Path, ending: str, to: str) -> None:
    """A pure blue is (0, 0, 255) as light, and (46, 48, 146) printed."""
    picture = Image.new("CMYK", (300, 400))
    picture.paste((255, 255, 0, 0), (30, 30, 270, 200))
    picture.paste((255, 0, 255, 0), (30, 230, 200, 380))
    source = tmp_path / f"a.{ending}"
    picture.save(source, dpi=(100, 100))
    sources, options, result = convert(source, to)
    verify(sources, options, result, LONG)
    picture.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "wrong.tif", dpi=(100, 100))
    other = convert(tmp_path / "wrong.tif", to)[2]
    with pytest.raises(EngineFailed, match="looks different"):
        verify(sources, options, replace(result, outputs=other.outputs), LONG)


def swapped_profile() -> bytes:
    """The profile of sRGB with red and green in each other's place."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(profile[at : at + 4]): at + 4 for at in range(132, 132 + 12 * profile[131], 12)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    places = profile[red : red + 8], profile[green : green + 8]
    profile[green : green + 8], profile[red : red + 8] = places
    return bytes(profile)


@pytest.mark.parametrize("ending", ["tif", "png", "jpg", "chrm.png", "jp2"])
def test_colours_that_a_profile_changes_are_as_their_pdf(tmp_path: Path, ending: str) -> None:
    source, picture = tmp_path / f"a.{ending}", page()
    picture.paste((200, 60, 30), (100, 300, 700, 700))
    if ending == "chrm.png":
        chunks = PngInfo()
        chunks.add(b"gAMA", struct.pack(">I", 45455))
        swapped = (31270, 32900, 30000, 60000, 64000, 33000, 15000, 6000)
        chunks.add(b"cHRM", struct.pack(">8I", *swapped))
        # pdfium goes by the primaries of a palette's colours, not by those of others.
        picture.quantize(64).save(source, pnginfo=chunks)
    elif ending == "jp2":
        picture.save(source)
        source.write_bytes(with_metadata(source.read_bytes(), None, swapped_profile()))
    else:
        picture.save(source, icc_profile=swapped_profile())
    sources, options, result = convert(source)
    verify(sources, options, result, LONG)
    wrong = page(1).transpose(Image.Transpose.ROTATE_180)
    wrong.save(tmp_path / "wrong.png", icc_profile=swapped_profile())
    other = convert(tmp_path / "wrong.png")[2]
    with pytest.raises(EngineFailed, match="looks different"):
        verify(sources, options, replace(result, outputs=other.outputs), LONG)


@pytest.mark.parametrize("ending", ["tif", "png", "webp"])
def test_a_picture_that_names_no_resolution_keeps_its_exif_as_a_jpeg(tmp_path: Path, ending: str) -> None:
    """Pillow takes Exif without a resolution for 72 dpi."""
    exif = Image.Exif()
    exif[270] = "A map"
    source = tmp_path / f"a.{ending}"
    page(size=(170, 220)).save(source, exif=exif)
    sources, options, result = convert(source, "jpeg")
    verify(sources, options, result, LONG)
    with Image.open(result.outputs[0]) as made:
        assert made.getexif()[270] == "A map"


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("known", [True, False])
def test_a_tiff_that_is_to_be_turned_stays_one(tmp_path: Path, known: bool, orientation: int) -> None:
    """Pillow tells the size of its pixels as they are once turned, and their resolution as it is stored."""
    source = tmp_path / "a.tif"
    samples = np.asarray(page(size=(170, 220)).convert("RGB"))
    if not known:
        samples = samples[:, :, :2].astype(np.uint16) * 257
    kind = {"photometric": "rgb"} if known else {"photometric": "minisblack", "extrasamples": [2]}
    turned = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(source, samples, resolution=(200, 100), resolutionunit=2, extratags=turned, **kind)
    sources, options, result = convert(source, "tiff-lzw")
    verify(sources, options, result, LONG)
    made = result.pages[0]
    assert (made.width_px, made.height_px) == ((170, 220) if orientation < 5 else (220, 170))


def test_a_tiff_that_pillow_does_not_know_is_read_by_its_directory(tmp_path: Path) -> None:
    samples = np.zeros((40, 50, 2), np.uint16)
    samples[10:20] = 40_000
    source = tmp_path / "a.tif"
    tifffile.imwrite(
        source, samples, photometric="minisblack", extrasamples=[2], resolution=(100, 50), resolutionunit=2
    )
    sources, options, result = convert(source, "tiff-lzw")
    verify(sources, options, result, LONG)
    wrong = replace(result, pages=(replace(result.pages[0], width_px=51),))
    with pytest.raises(EngineFailed, match="50 x 40 pixels in the output"):
        verify(sources, options, wrong, LONG)


def test_pages_of_merged_documents_are_compared_with_their_own(tmp_path: Path) -> None:
    first, second = many_pages(tmp_path / "a.tif"), tmp_path / "b.png"
    page(7).save(second, dpi=(100, 100))
    parts = [convert(path)[2].outputs[0] for path in (first, second)]
    target = tmp_path / "merged.pdf"
    with pikepdf.new() as pdf:
        for part in parts:
            with pikepdf.open(part) as opened:
                pdf.pages.extend(opened.pages)
                pdf.save(target)
    sources = [Source(path, facts_of(path)) for path in (first, second)]
    pages = tuple(PageResult(number, 612, 792) for number in range(1, 7))
    verify(sources, EngineOptions(Target(PDF)), EngineResult((target,), pages), LONG)
    with pytest.raises(EngineFailed):
        verify(sources[::-1], EngineOptions(Target(PDF)), EngineResult((target,), pages), LONG)


def test_the_setting_is_one_of_three() -> None:
    assert Settings().verify == "fail"
    assert Settings.from_env({"DOCMILL_VERIFY": "Warn"}).verify == "warn"
    with pytest.raises(InvalidJobData, match="DOCMILL_VERIFY=maybe"):
        Settings.from_env({"DOCMILL_VERIFY": "maybe"})


def test_thin_lines_and_form_fields_are_as_they_were_drawn(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    with pikepdf.new() as pdf:
        made = pdf.add_blank_page(page_size=(612, 792))
        lines = "".join(f"{x / 2} 0 m {x / 2} 792 l S " for x in range(0, 600, 5))
        made.Contents = pdf.make_stream(b"0.05 w " + lines.encode())
        look = pdf.make_stream(b"0 0.5 0 rg 0 0 300 200 re f", Type=pikepdf.Name.XObject)
        look.Subtype, look.BBox = pikepdf.Name.Form, [0, 0, 300, 200]
        field = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Widget, FT=pikepdf.Name.Tx, F=4,
                T=pikepdf.String("a"), Rect=[100, 100, 400, 300], AP=pikepdf.Dictionary(N=look),
            )
        )  # fmt: skip
        made.Annots = [field]
        pdf.Root.AcroForm = pikepdf.Dictionary(Fields=[field])
        pdf.save(path)
    verify(*convert(path, "tiff", dpi=300), LONG)
    verify(*convert(path, "png", dpi=150), LONG)


def broken(path: Path, page: bytes, *more: bytes, count: int = 1) -> Path:
    """A PDF of one page with these entries, and these bodies of objects from 4 on, without `endobj`."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R%s>>" % (more[0] if more else b""),
        b"<</Type/Pages/Kids[3 0 R]/Count %d>>" % count,
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 300]/Resources<<>>%s>>" % page,
        *more[1:],
    ]
    out = b"%PDF-1.7\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF\n"
    path.write_bytes(out + end % (size, table, size, len(out)))
    return path


def test_a_page_tree_that_counts_too_many_is_told_by_the_pages_that_are_there(tmp_path: Path) -> None:
    sources, options, result = convert(broken(tmp_path / "a.pdf", b"", count=3))
    assert (len(sources[0].facts.pages), len(result.pages)) == (3, 1)
    verify(sources, options, result, LONG)


def test_a_copied_page_that_pdfium_does_not_come_back_from_is_not_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "doubling.pdf"
    source.write_bytes(bad_pdfs.doubling_forms())
    made = convert(source)
    monkeypatch.setattr(PdfPages, "drawn", lambda *_: pytest.fail("it is drawn 2^30 times"))
    verify(*made, seconds=1.0)


def test_metadata_that_is_no_xmp_stays(tmp_path: Path) -> None:
    path = broken(tmp_path / "a.pdf", b"", b"/Metadata 4 0 R", b"<</Type/Metadata/Subtype/XML>>")
    verify(*convert(path), LONG)


def test_damage_that_shows_only_when_it_is_written_is_told(tmp_path: Path) -> None:
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Times-Roman"
    text = b"BT /F 40 Tf 20 100 Td (Hello) Tj ET"
    contents = b"<</Length %d>>\nstream\n%s\nendstream" % (len(text), text)
    page = b"/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>"
    sources, options, result = convert(broken(tmp_path / "a.pdf", page, b"", contents, font))
    assert any(note.startswith(DAMAGED) for note in result.notes)
    verify(sources, options, result, LONG)


@pytest.mark.parametrize("to", ["png", "pdf-g4", "text", "pdf"])
def test_a_page_whose_content_pdfium_does_not_find_is_that_of_the_mended_pdf(tmp_path: Path, to: str) -> None:
    path = tmp_path / "short.pdf"
    path.write_bytes(bad_pdfs.short_section_of_the_table())
    sources, asked, result = convert(path, to)
    assert any(DAMAGED in note for note in result.notes)
    verify(sources, asked, result, LONG)
    assert not [left for left in result.outputs[0].parent.iterdir() if left not in result.outputs]
    if to == "png":
        with Image.open(result.outputs[0]) as image:
            assert image.convert("RGB").getpixel((image.width // 3, image.height // 2)) == (0, 0, 255)
    elif to == "pdf-g4":
        with pikepdf.open(result.outputs[0]) as pdf:
            assert b"Do" in pdf.pages[0].Contents.read_bytes()


@pytest.mark.parametrize(
    "damage", [(b"trailer\n.*", b"trailer\n<<"), (b"/Root 1", b"/Root 9"), (b"xref.*", b"")]
)
@pytest.mark.parametrize("to", ["png", "pdf-g4", "text", "pdf"])
def test_a_pdf_that_pdfium_cannot_open_is_converted_as_qpdf_mends_it(
    tmp_path: Path, to: str, damage: tuple[bytes, bytes]
) -> None:
    text = b"0 0 1 rg 0 0 200 300 re f BT /F 20 Tf 1 g 20 100 Td (Found again) Tj ET"
    contents = b"<</Length %d>>\nstream\n%s\nendstream" % (len(text), text)
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Times-Roman>>"
    whole = broken(tmp_path / "a.pdf", b"/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>", b"", contents, font)
    whole.write_bytes(re.sub(*damage, whole.read_bytes(), flags=re.DOTALL))
    sources, asked, result = convert(whole, to)
    assert [(page.width_pt, page.height_pt) for page in sources[0].facts.pages] == [(200, 300)]
    assert any(note.startswith(DAMAGED) for note in result.notes)
    verify(sources, asked, result, LONG)
    assert not [left for left in result.outputs[0].parent.iterdir() if left not in result.outputs]
    if to == "text":
        assert result.outputs[0].read_text() == "Found again\n\f"
    if to == "png":
        with Image.open(result.outputs[0]) as image:
            assert image.convert("RGB").getpixel((image.width // 2, image.height // 4)) == (0, 0, 255)


def test_an_output_is_not_mended_for_the_check(tmp_path: Path) -> None:
    sources, asked, result = convert(broken(tmp_path / "a.pdf", b""))
    output = result.outputs[0]
    damaged = re.sub(rb"/Root \d+ 0 R", b"", output.read_bytes())
    output.write_bytes(damaged)
    with pytest.raises(EngineFailed, match="cannot be opened again"):
        verify(sources, asked, result, LONG)
