"""PDF to PNG and to TIFF G4 at 300 dpi, by two processes, against two `pdftoppm` that share the pages.

    python benchmarks/pdf_to_raster.py [--runs N] [--pages N] [--cpu] [--only WORD]

The inputs are made here: pages of text in embedded TrueType fonts, and pages of scans (JPEG in gray and
colour with noise, and Group 4). docmill's engine is called as its sandbox calls it, in a process that has its
modules loaded; the processes that it forks, and their reading of the file, count. Targets of the project: PNG
at least 5 times as fast with files of at most 1.15 of the size; G4 on scans 1.5 times, on text 0.9 times.
"""

from __future__ import annotations

import argparse
import io
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import img2pdf
import pypdfium2
import reportlab
from _measure import cpu_time, machine, medians
from PIL import Image, ImageChops, ImageFilter
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen import canvas

import docmill.engines.verify.ready  # noqa: F401 (the sandbox's server has it)
from docmill.engines.base import EngineOptions
from docmill.engines.pdf_to_raster import PdfToRaster
from docmill.formats import target_from_name
from docmill.options import ConvertOptions

DPI = 300
WORDS = """
    archive batch scan page paper letter invoice number date amount account customer delivery the of and to in
    is that for it as was with be by on not he his but at are this have from or had an they which one you were
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--cpu", action="store_true", help="CPU time, which is steady on a busy machine")
    parser.add_argument("--only", default="", help="cases that have this in their name")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        text, scans = work / "text.pdf", work / "scans.pdf"
        write_text(text, asked.pages)
        write_scans(scans, text, asked.pages)
        print(f"{machine()}; {'CPU' if asked.cpu else 'wall'} time")
        print(f"{'':24}{'docmill':>10}{'pdftoppm':>10}{'speed':>8}{'size':>8}")
        for name, source in (("text", text), ("scans", scans)):
            packed = ["-tiffcompression", "ccittfax4"]
            for case, to, flags, runs in (
                (f"{name} to PNG", "png", ["-png"], max(1, asked.runs // 2)),
                (f"{name} to G4", "tiff-g4", ["-mono", "-tiff"], asked.runs),
                (f"{name} to G4, both", "tiff-g4", ["-mono", "-tiff", *packed], asked.runs),
            ):
                if asked.only in case:
                    compare(case, source, to, flags, work, asked.pages, runs, cpu=asked.cpu)


def compare(
    label: str, source: Path, to: str, flags: list[str], work: Path, pages: int, runs: int, *, cpu: bool
) -> None:
    ours, theirs = work / "ours", work / "theirs"
    options = EngineOptions(
        target=target_from_name(to), options=ConvertOptions(dpi=DPI), workers=2, name="page"
    )

    def docmill() -> None:
        fresh(ours)
        PdfToRaster().convert(source, ours, options, lambda progress: None)

    def pdftoppm() -> None:
        fresh(theirs)
        half = pages // 2
        running = [
            subprocess.Popen(
                [
                    "pdftoppm",
                    "-r",
                    str(DPI),
                    "-f",
                    str(first),
                    "-l",
                    str(last),
                    *flags,
                    source,
                    theirs / "page",
                ]
            )
            for first, last in ((1, half), (half + 1, pages))
        ]
        assert not any(process.wait() for process in running)

    clock = cpu_time if cpu else time.perf_counter
    taken = medians({"docmill": docmill, "pdftoppm": pdftoppm}, runs=runs, warm=runs > 2, clock=clock)
    size = sum(path.stat().st_size for path in ours.iterdir()) / sum(
        p.stat().st_size for p in theirs.iterdir()
    )
    ratio = taken["pdftoppm"] / taken["docmill"]
    print(f"{label:24}{taken['docmill']:9.2f}s{taken['pdftoppm']:9.2f}s{ratio:8.2f}{size:8.2f}")


def fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def write_text(path: Path, pages: int) -> None:
    """Full pages of text with headings, every fifth with a coloured one."""
    known, words = WORDS.split(), random.Random(1)
    fonts = Path(reportlab.__file__).parent / "fonts"
    for name in ("Vera", "VeraBd", "VeraIt"):
        pdfmetrics.registerFont(TTFont(name, fonts / f"{name}.ttf"))
    drawing = canvas.Canvas(str(path), pagesize=A4)
    for page in range(pages):
        if page % 5 == 4:
            drawing.setFillColorRGB(0.1, 0.2, 0.6)
        drawing.setFont("VeraBd", 18)
        drawing.drawString(60, 770, f"Chapter {page + 1}: {' '.join(words.choices(known, k=4))}")
        drawing.setFillGray(0)
        for line in range(48):
            drawing.setFont("VeraIt" if line % 12 == 11 else "Vera", 10)
            drawing.drawString(60, 735 - 14 * line, " ".join(words.choices(known, k=15))[:85])
        drawing.showPage()
    drawing.save()


def write_scans(path: Path, text: Path, pages: int) -> None:
    """The text as it comes out of a scanner: turned a little, blurred, on paper, with noise."""
    images = []
    with pypdfium2.PdfDocument(text) as document:
        for number in range(pages):
            page = document[number].render(scale=DPI / 72, rev_byteorder=True).to_pil().convert("RGB")
            angle = random.Random(number).uniform(-1, 1)
            page = page.rotate(angle, Image.Resampling.BICUBIC, fillcolor="white")
            page = page.filter(ImageFilter.GaussianBlur(0.7))
            page = ImageChops.multiply(page, Image.new("RGB", page.size, (250, 247, 238)))
            noise = Image.effect_noise(page.size, 5)
            page = ImageChops.add(page, Image.merge("RGB", [noise] * 3), 1, -128)
            out = io.BytesIO()
            if number % 10 < 4:
                page.convert("L").save(out, "JPEG", quality=80, dpi=(DPI, DPI))
            elif number % 10 < 7:
                page.save(out, "JPEG", quality=80, dpi=(DPI, DPI))
            else:
                bilevel = page.convert("L").point([0] * 140 + [255] * 116, "1")
                bilevel.save(out, "TIFF", compression="group4", dpi=(DPI, DPI))
            images.append(out.getvalue())
    path.write_bytes(img2pdf.convert(images))


if __name__ == "__main__":
    main()
