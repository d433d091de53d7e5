"""CCITT data that is damaged inside: libtiff and Pillow make do with it in silence, docmill does not."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageDraw

from docmill.documents.identify import identify
from docmill.engines.base import EngineOptions, EngineResult, PageResult
from docmill.engines.raster_to_pdf import RasterToPdf
from docmill.engines.raster_to_raster import RasterToRaster
from docmill.engines.verify import Source, verify
from docmill.errors import CorruptDocument, EngineFailed
from docmill.formats import PDF, PNG, Target
from docmill.options import ConvertOptions
from tests.engines import tiffs
from tests.engines.tiffs import Layout, encoded_strips, tiff_bytes
from tests.support import check_pdf, rendered_by_poppler

SIZE = (600, 800)
G3_2D = 1
LAYOUTS = {
    "one strip": Layout(compression=tiffs.G4, bits=1),
    "strips": Layout(compression=tiffs.G4, bits=1, rows_per_strip=100),
    "white is zero": Layout(compression=tiffs.G4, bits=1, photometric=0),
    "Group 3": Layout(compression=tiffs.G3, bits=1),
    "Group 3 2D": Layout(compression=tiffs.G3, bits=1, t4_options=G3_2D),
    "MH": Layout(compression=tiffs.RLE, bits=1),
}
EOL = "000000000001"


def scan(seed: int = 0) -> Image.Image:
    image, pick = Image.new("1", SIZE, 1), random.Random(seed)
    draw = ImageDraw.Draw(image)
    for y in range(20, SIZE[1] - 20, 17):
        for x in range(20, SIZE[0] - 20, 13):
            draw.ellipse((x, y, x + pick.randrange(11), y + pick.randrange(13)), fill=0)
    return image


def rows_of(layout: Layout, seed: int = 0) -> bytes:
    rows = scan(seed).tobytes()
    return rows if layout.photometric else bytes(byte ^ 0xFF for byte in rows)


def zeros(part: bytes) -> bytes:
    return bytes(len(part))


def noise(part: bytes) -> bytes:
    return bytes((7 * n * n + 31) % 256 for n in range(len(part)))


def ones(part: bytes) -> bytes:
    return b"\xff" * len(part)


def damaged(layout: Layout, spoil: Callable[[bytes], bytes], pages: int = 3, damaged_page: int = 2) -> bytes:
    """A TIFF in which the middle of a page's longest strip is spoilt."""
    data = bytearray(tiff_bytes([(rows_of(layout, n), *SIZE, layout) for n in range(pages)]))
    strips = encoded_strips(rows_of(layout, damaged_page - 1), *SIZE, layout)
    strip = max(strips, key=len)
    at = data.index(strip) + len(strip) // 2
    size = min(64, len(strip) // 4)
    data[at : at + size] = spoil(bytes(data[at : at + size]))
    return bytes(data)


def converted(folder: Path, data: bytes, engine: Any = RasterToPdf, **options: Any) -> EngineResult:
    path = folder / "in.tif"
    path.write_bytes(data)
    return engine().convert(path, folder, asked(engine, **options), lambda progress: None)


def asked(engine: Any = RasterToPdf, **options: Any) -> EngineOptions:
    target = Target(PDF if engine is RasterToPdf else PNG)
    return EngineOptions(target, ConvertOptions(**options), mime_type="image/tiff", name="out", workers=2)


@pytest.mark.parametrize("spoil", [zeros, noise, ones])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_damaged_page_is_named(tmp_path: Path, kind: str, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(CorruptDocument, match=r"page 2: its CCITT .* is damaged") as caught:
        converted(tmp_path, damaged(LAYOUTS[kind], spoil))
    assert caught.value.page == 2
    assert "--on-error resume" in caught.value.hint


@pytest.mark.parametrize("spoil", [zeros, noise, ones])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_resume_keeps_what_decodes_and_tells_the_page(
    tmp_path: Path, kind: str, spoil: Callable[[bytes], bytes]
) -> None:
    result = converted(tmp_path, damaged(LAYOUTS[kind], spoil), on_error="resume")

    assert [failure.page for failure in result.failures] == [2]
    assert [page.source_page for page in result.pages] == [1, 2, 3]
    check_pdf(result.outputs[0])
    shown = rendered_by_poppler(result.outputs[0], 72, 72, 2)
    top = (0, 0, SIZE[0], 20)  # before the damage, in the first strip
    assert not ImageChops.difference(shown.convert("L").crop(top), scan(1).convert("L").crop(top)).getbbox()


@pytest.mark.parametrize("kind", LAYOUTS)
def test_whole_pages_are_whole(tmp_path: Path, kind: str) -> None:
    layout = LAYOUTS[kind]
    data = tiff_bytes([(rows_of(layout, n), *SIZE, layout) for n in range(3)])

    assert not converted(tmp_path, data, on_error="resume").failures


def test_group_3_without_end_of_line_is_whole(tmp_path: Path) -> None:
    layout = LAYOUTS["Group 3"]
    (strip,) = encoded_strips(rows_of(layout), *SIZE, layout)
    bits = bin(int.from_bytes(strip))[2:].zfill(8 * len(strip)).replace(EOL, "")
    bare = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))
    data = tiff_bytes([(rows_of(layout), *SIZE, layout)])
    # Shorter by the EOLs, which there is one a row of; what follows stays where it was.
    assert len(bare) < len(strip)
    data = data.replace(strip, bare.ljust(len(strip), b"\0"))
    data = data.replace(
        struct.pack("<HHII", 279, 4, 1, len(strip)), struct.pack("<HHII", 279, 4, 1, len(bare))
    )

    result = converted(tmp_path, data)

    shown = rendered_by_poppler(result.outputs[0], 72, 72).convert("L")
    assert not ImageChops.difference(shown, scan().convert("L")).getbbox()


@pytest.mark.parametrize("kind", ["one strip", "strips"])
def test_a_hole_in_a_long_document_is_found_without_decoding(tmp_path: Path, kind: str) -> None:
    data = damaged(LAYOUTS[kind], zeros, pages=20, damaged_page=13)

    with pytest.raises(CorruptDocument, match="page 13"):
        converted(tmp_path, data)


def test_resume_looks_into_each_page_of_a_long_document(tmp_path: Path) -> None:
    data = damaged(LAYOUTS["one strip"], noise, pages=20, damaged_page=13)

    result = converted(tmp_path, data, on_error="resume")

    assert [failure.page for failure in result.failures] == [13]


def test_a_page_that_the_check_finds_different_is_told_as_damaged(tmp_path: Path) -> None:
    """What one library makes of damage is not what another does: that is no fault of the conversion."""
    path = tmp_path / "in.tif"
    path.write_bytes(damaged(LAYOUTS["one strip"], noise, pages=1, damaged_page=1))
    facts = identify(
        path, name="in.tif", password=None, max_page_pixels=10**9, max_pages=100, default_dpi=300.0
    )
    output = tmp_path / "out.pdf"
    Image.new("1", SIZE, 0).save(output, resolution=72)
    made = EngineResult((output,), (PageResult(1, *SIZE, *SIZE, "copied (CCITT Group 4)"),))

    with pytest.raises(CorruptDocument, match="page 1"):
        verify([Source(path, facts)], asked(), made, 1e6)

    path.write_bytes(tiff_bytes([(rows_of(LAYOUTS["one strip"]), *SIZE, LAYOUTS["one strip"])]))
    with pytest.raises(EngineFailed, match="page 1 looks different"):
        verify([Source(path, facts)], asked(), made, 1e6)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_to_pictures_as_well(tmp_path: Path, kind: str) -> None:
    data = damaged(LAYOUTS[kind], noise)

    with pytest.raises(CorruptDocument, match="page 2"):
        converted(tmp_path, data, RasterToRaster)

    result = converted(tmp_path, data, RasterToRaster, on_error="resume")
    (failure,) = result.failures
    assert (failure.page, failure.error["message"].count("page 2")) == (2, 1)
    assert [page.source_page for page in result.pages] == [1, 2, 3]
