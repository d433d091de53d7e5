"""Generated TIFFs to PDF: whatever the layout, two independent renderers show the pixels that went in."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2 as pdfium
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from docmill.engines.base import EngineOptions, EngineResult
from docmill.engines.raster_to_pdf import RasterToPdf
from docmill.formats import PDF, Target
from docmill.options import ConvertOptions
from tests.engines import tiffs
from tests.engines.tiffs import Layout
from tests.support import check_pdf, rendered_by_poppler

DEFAULT_DPI = 300.0


def convert(source: Path, workers: int = 1, **options: Any) -> EngineResult:
    asked = EngineOptions(
        Target(PDF), ConvertOptions(**options), mime_type="image/tiff", workers=workers, name="out"
    )
    return RasterToPdf().convert(source, source.parent, asked, lambda progress: None)


def rendered_by_pdfium(pdf: Path, dpi: float, page: int = 1) -> Image.Image:
    document = pdfium.PdfDocument(pdf)
    try:
        return document[page - 1].render(scale=dpi / 72).to_pil().convert("RGB")
    finally:
        document.close()


@contextmanager
def written(data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.tif")
        path.write_bytes(data)
        yield path


BILEVEL = [tiffs.RLE, tiffs.G3, tiffs.G4]
ANY = [tiffs.NONE, tiffs.PACKBITS, tiffs.LZW, tiffs.DEFLATE, tiffs.OLD_DEFLATE]
# Photometric, samples and bits that TIFF has, and which compressions go with them.
KINDS = [
    *((photometric, 1, 1, [*ANY, *BILEVEL]) for photometric in (0, 1)),
    *((photometric, 1, bits, ANY) for photometric in (0, 1) for bits in (2, 4, 8)),
    *((3, 1, bits, ANY) for bits in (1, 2, 4, 8)),
    (2, 3, 8, ANY),
    (5, 4, 8, ANY),
]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Layout, int, int, str, bool, int]:
    photometric, samples, bits, compressions = draw(st.sampled_from(KINDS))
    compression = draw(st.sampled_from(compressions))
    width, height = draw(st.integers(1, 90)), draw(st.integers(1, 60))
    dpi = draw(st.sampled_from([(72, 72), (300, 300), (204, 98), (96, 192)]))
    predictable = compression in (tiffs.LZW, tiffs.DEFLATE, tiffs.OLD_DEFLATE) and bits == 8
    layout = Layout(
        compression=compression,
        photometric=photometric,
        bits=bits,
        samples=samples,
        rows_per_strip=draw(st.sampled_from([1, 3, 8, 1 << 30])),
        fill_order=draw(st.sampled_from([1, 2])),
        orientation=draw(st.integers(1, 8)),
        predictor=draw(st.sampled_from([1, 2])) if predictable else 1,
        dpi=dpi,
        t4_options=draw(st.sampled_from([0, 1, 4, 5])),
        palette=random.Random(bits).randbytes(3 << bits) if photometric == 3 else b"",
    )
    return layout, width, height, draw(st.sampled_from("<>")), draw(st.booleans()), draw(st.integers(0, 99))


def pixels(layout: Layout, width: int, height: int, seed: int) -> bytes:
    """Packed rows: noise, runs or one value; the padding of a row is zero."""
    rng = random.Random(seed)
    count, per_row = width * layout.samples, width * layout.samples * layout.bits
    stride = (per_row + 7) // 8
    rows = []
    row = 0
    for _ in range(height):
        if rng.random() < 0.7 or not rows:
            value, row = 0, 0
            changes = rng.choice([0.0, 0.05, 0.5, 1.0])
            for _ in range(count):
                if rng.random() < changes:
                    value = rng.randrange(1 << layout.bits)
                row = row << layout.bits | value
        rows.append((row << 8 * stride - per_row).to_bytes(stride))
    return b"".join(rows)


WIDE = (Layout(compression=4, photometric=0, bits=1, rows_per_strip=2), 6000, 7, "<", False, 3)


@settings(max_examples=100)
@given(layouts())
@example(WIDE)
def test_every_layout_comes_out_exact(case: tuple[Layout, int, int, str, bool, int]) -> None:
    layout, width, height, byte_order, big, seed = case
    rows = pixels(layout, width, height, seed)
    expected = tiffs.expected_image(rows, width, height, layout)
    with written(tiffs.tiff_bytes([(rows, width, height, layout)], byte_order, big)) as source:
        result = convert(source)
        pdf = result.outputs[0]
        check_pdf(pdf)
        x, y = layout.dpi if layout.orientation < 5 else layout.dpi[::-1]
        (page,) = result.pages
        assert (page.width_px, page.height_px) == expected.size
        assert abs(page.width_pt - expected.width * 72 / x) < 1e-6
        assert abs(page.height_pt - expected.height * 72 / y) < 1e-6
        if expected.mode == "CMYK":  # renderers differ on what colour an ink is
            with pikepdf.open(pdf) as document:
                stored = document.pages[0].Resources.XObject.Im0
                assert stored.ColorSpace == "/DeviceCMYK"
                assert "/Decode" not in stored
                raw = Image.frombytes("CMYK", (width, height), stored.read_bytes())
                assert tiffs.upright(raw, layout.orientation).tobytes() == expected.tobytes()
            return
        wanted = expected.convert("RGB")
        assert rendered_by_poppler(pdf, x, y).tobytes() == wanted.tobytes()
        if x == y:
            assert rendered_by_pdfium(pdf, x).tobytes() == wanted.tobytes()
