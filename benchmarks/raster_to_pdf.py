"""Images to PDF against tiff2pdf, img2pdf and Pillow: `python benchmarks/raster_to_pdf.py [what...]`.

    g4        500 pages of Group 4, one strip a page
    strips    200 pages of Group 4 in strips of 64 rows
    jpeg      50 pages of JPEG in TIFF: one strip a page, and strips of 64 rows
    lzw       10 gray pages in LZW, against `tiff2pdf -z` and img2pdf, with the sizes of the files
    deflate   10 RGB pages in Deflate, the same; of both every pixel of docmill's PDF is compared
    memory    the peak memory of the engine over 500 pages and over 5

A whole command less the same command on the first page of the file; docmill with `--direct`, all copies and
checks included. `--engine` as an argument measures the engine's call alone; `--quick` runs once. Peers
without a target run with `--all` only: img2pdf takes minutes for JPEG in TIFF, which it decodes and deflates.
"""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from _measure import machine, medians, run
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageSequence
from pypdfium2 import PdfDocument

from docmill.engines.base import EngineOptions
from docmill.engines.raster_to_pdf import RasterToPdf
from docmill.formats import PDF, Target

SIZE, DPI = (2480, 3508), 300
TEXT = "the register of a parish that was kept in three books and copied by hand each winter"
DOCMILL = Path(sys.executable).with_name("docmill")
IMG2PDF = Path(sys.executable).with_name("img2pdf")
ENGINE_ONLY = "--engine" in sys.argv
ROUNDS = 1 if "--quick" in sys.argv else 5


@dataclass(frozen=True)
class Case:
    """A document, and what its time may be in parts of each peer's."""

    title: str
    source: Path
    first_page: Path
    targets: dict[str, float]
    size_targets: dict[str, float]
    is_lossless: bool = False


def main() -> None:
    asked = [word for word in sys.argv[1:] if not word.startswith("--")]
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="docmill-bench-") as folder:
        os.environ["DOCMILL_DATA_DIR"] = str(Path(folder, "data"))
        for name in asked or ["g4", "strips", "jpeg", "lzw", "deflate"]:
            for case in CASES[name](Path(folder)):
                compare(case, Path(folder))
        if not asked or "memory" in asked:
            compare_memory(Path(folder))


def compare(case: Case, folder: Path) -> None:
    works: dict[str, Callable[[], object]] = {}
    peers = {peer: target for peer, target in case.targets.items() if target or "--all" in sys.argv}
    outputs = {name: folder / f"{name.replace(' ', '')}.pdf" for name in ("docmill", *peers)}
    for name, output in outputs.items():
        works[name] = converter(name, case.source, output)
        works[f"{name} on 1"] = converter(name, case.first_page, folder / "one.pdf")
    seconds = medians(works, runs=ROUNDS, warm=False)
    net = {name: max(seconds[name] - seconds[f"{name} on 1"], 1e-4) for name in outputs}
    sizes = {name: output.stat().st_size for name, output in outputs.items()}
    print(f"\n{case.title}: docmill {net['docmill']:.3f} s, {sizes['docmill'] / 1e6:.2f} MB")
    for peer, target in peers.items():
        line = f"  of {peer:12} {net[peer]:8.3f} s: {net['docmill'] / net[peer]:6.2f}"
        line += f" (at most {target:g})" if target else ""
        line += f"   size {sizes['docmill'] / sizes[peer]:.3f}"
        if peer in case.size_targets:
            line += f" (at most {case.size_targets[peer]:g})"
        print(line, flush=True)
    if case.is_lossless:
        compare_pixels(case.source, outputs["docmill"])


def compare_pixels(source: Path, output: Path) -> None:
    """Draw each page at its own size by pdfium and by poppler; ends where one differs from its source."""
    pdf = PdfDocument(output)
    with Image.open(source) as tiff:
        for index, page in enumerate(ImageSequence.Iterator(tiff)):
            decoded = page.convert("RGB")
            by_pdfium = pdf[index].render(scale=DPI / 72).to_pil().convert("RGB")
            for renderer, drawn in (("pdfium", by_pdfium), ("poppler", by_poppler(output, index))):
                if drawn.size != decoded.size or ImageChops.difference(drawn, decoded).getbbox():
                    raise SystemExit(f"page {index + 1} as {renderer} draws it differs from its source")
    print(f"  every pixel of {len(pdf)} pages is that of the source, by pdfium and by poppler", flush=True)


def by_poppler(pdf: Path, index: int) -> Image.Image:
    number = str(index + 1)
    command = ["pdftoppm", "-r", str(DPI), "-f", number, "-l", number, pdf]
    drawn = subprocess.run(command, capture_output=True, check=True).stdout
    return Image.open(io.BytesIO(drawn)).convert("RGB")


def converter(name: str, source: Path, output: Path) -> Callable[[], object]:
    """A call that converts `source` by the program of that name."""
    if name == "docmill" and ENGINE_ONLY:
        return lambda: by_engine(source, output)
    if name == "Pillow":
        code = (
            "import sys; from PIL import Image, ImageSequence as s; im = Image.open(sys.argv[1]);"
            "im.save(sys.argv[2], save_all=True, resolution=300)"
        )
        return lambda: run([sys.executable, "-c", code, source, output])
    commands = {
        "docmill": [DOCMILL, "convert", "--direct", "--overwrite", source, output],
        "tiff2pdf": ["tiff2pdf", "-o", output, source],
        "tiff2pdf -z": ["tiff2pdf", "-z", "-o", output, source],
        "img2pdf": [IMG2PDF, "-o", output, source],
    }
    return lambda: run(commands[name])


def by_engine(source: Path, output: Path) -> None:
    options = EngineOptions(
        Target(PDF), mime_type="image/tiff", workers=len(os.sched_getaffinity(0)), name=output.stem
    )
    RasterToPdf().convert(source, output.parent, options, lambda progress: None)


def compare_memory(folder: Path) -> None:
    """The peak resident memory of a process that runs the engine alone."""
    (case,) = g4(folder)
    five = repeated(folder, case.first_page, 5)
    few, many = peak_memory(five, folder), peak_memory(case.source, folder)
    print(f"\npeak memory: 5 pages {few:.1f} MB, 500 pages {many:.1f} MB")
    print(f"  {many - few:.1f} MB more (at most 20)")


def peak_memory(source: Path, folder: Path) -> float:
    """MB that the engine's process takes at most; not by rusage, which counts what stood before exec."""
    code = (
        "import sys; from pathlib import Path; from raster_to_pdf import by_engine;"
        "by_engine(Path(sys.argv[1]), Path(sys.argv[2]));"
        "print(Path('/proc/self/status').read_text())"
    )
    command = [sys.executable, "-c", code, source, folder / "out.pdf"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def g4(folder: Path) -> Iterator[Case]:
    yield bilevel_case(
        folder, "500 pages of Group 4, one strip", 500, "4000", {"tiff2pdf": 1.0, "img2pdf": 0}
    )


def strips(folder: Path) -> Iterator[Case]:
    targets = {"tiff2pdf": 1.0, "img2pdf": 0.5, "Pillow": 0}
    yield bilevel_case(folder, "200 pages of Group 4, strips of 64 rows", 200, "64", targets)


def bilevel_case(folder: Path, title: str, count: int, rows: str, targets: dict[str, float]) -> Case:
    ten = [text_page(seed).point(lambda level: 255 * (level > 128)).convert("1") for seed in range(10)]
    raw, page, many = folder / "raw.tif", folder / f"1-{rows}.tif", folder / f"{count}-{rows}.tif"
    ten[0].save(raw, save_all=True, append_images=ten[1:], dpi=(DPI, DPI), compression="group4")
    run(["tiffcp", "-c", "g4", "-r", rows, f"{raw},0", page])
    run(["tiffcp", "-c", "g4", "-r", rows, *[raw] * (count // 10), many])
    return Case(title, many, page, targets, {})


def jpeg(folder: Path) -> Iterator[Case]:
    for title, mode, rows in (
        ("one strip, 4:2:0", "RGB", "3520"),
        ("gray, strips of 64 rows", "L", "64"),
        ("4:2:0, neutral, strips of 64 rows", "L to RGB", "64"),
    ):
        page = noisy(text_page(1), 6) if mode != "RGB" else colour_page()
        page = page.convert(mode.split()[-1])
        raw, one = folder / "raw.tif", folder / f"jpeg-{rows}.tif"
        page.save(raw, dpi=(DPI, DPI))
        run(["tiffcp", "-c", "jpeg:75", "-r", rows, raw, one])
        many = repeated(folder, one, 50)
        yield Case(f"50 pages of JPEG, {title}", many, one, {"tiff2pdf": 1.0, "img2pdf": 0}, {})


def lzw(folder: Path) -> Iterator[Case]:
    yield lossless_case(folder, "10 gray pages in LZW", [noisy(text_page(n), 6) for n in range(10)], "lzw")


def deflate(folder: Path) -> Iterator[Case]:
    yield lossless_case(folder, "10 RGB pages in Deflate", [colour_page(n) for n in range(10)], "zip")


def lossless_case(folder: Path, title: str, pages: list[Image.Image], codec: str) -> Case:
    raw, one, many = folder / "raw.tif", folder / f"1-{codec}.tif", folder / f"10-{codec}.tif"
    pages[0].save(raw, save_all=True, append_images=pages[1:], dpi=(DPI, DPI))
    run(["tiffcp", "-c", f"{codec}:2", "-r", "64", raw, many])
    run(["tiffcp", "-c", f"{codec}:2", "-r", "64", f"{raw},0", one])
    return Case(title, many, one, {"tiff2pdf -z": 0.8, "img2pdf": 0.25, "Pillow": 0}, {"img2pdf": 1.03}, True)


def repeated(folder: Path, page: Path, count: int) -> Path:
    many = folder / f"{page.stem}-x{count}.tif"
    run(["tiffcp", *[page] * count, many])
    return many


def text_page(seed: int) -> Image.Image:
    """A page of text, slightly turned, soft, with specks."""
    rng = random.Random(seed)
    words = TEXT.split()
    page = Image.new("L", SIZE, 255)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(46)
    for y in range(220, 3300, 66):
        draw.text((220, y), " ".join(rng.choices(words, k=15)), fill=0, font=font)
    page = page.rotate(rng.uniform(-0.7, 0.7), Image.Resampling.BICUBIC, fillcolor=255)
    for _ in range(1000):
        page.putpixel((rng.randrange(SIZE[0]), rng.randrange(SIZE[1])), 0)
    return page.filter(ImageFilter.GaussianBlur(0.8))


def noisy(page: Image.Image, sigma: float) -> Image.Image:
    return ImageChops.add(page, Image.effect_noise(page.size, sigma), 1, -128)


def colour_page(seed: int = 1) -> Image.Image:
    """Text on tinted paper with a picture, with the noise of a scanner in each colour."""
    text = text_page(seed)
    channels = [
        noisy(text.point(lambda level, tint=tint: int(level * tint)), 4) for tint in (0.97, 0.95, 0.88)
    ]
    page = Image.merge("RGB", channels)
    gradient = Image.radial_gradient("L").resize((1000, 900))
    picture = Image.merge(
        "RGB", [gradient.rotate(90 * n).point(lambda v, n=n: v * (3 - n) // 3) for n in range(3)]
    )
    page.paste(picture, (700, 1200))
    return page


CASES: dict[str, Callable[[Path], Iterator[Case]]] = {
    "g4": g4,
    "strips": strips,
    "jpeg": jpeg,
    "lzw": lzw,
    "deflate": deflate,
    "memory": lambda folder: iter(()),
}

if __name__ == "__main__":
    main()
