"""What tests of several parts need: looks at outputs with other programs."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

from PIL import Image


def page_count(pdf: Path) -> int:
    """The number of pages that poppler sees."""
    return int(re.search(r"^Pages:\s+(\d+)", pdfinfo(pdf), re.MULTILINE)[1])


def pdfinfo(pdf: Path) -> str:
    return subprocess.run(["pdfinfo", pdf], capture_output=True, text=True, check=True).stdout


def check_pdf(pdf: Path) -> None:
    """qpdf finds nothing wrong."""
    done = subprocess.run(["qpdf", "--check", pdf], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rendered_by_poppler(pdf: Path, dpi_x: float, dpi_y: float, page: int = 1) -> Image.Image:
    """A page as poppler draws it, in RGB."""
    command = ["pdftoppm", "-rx", str(dpi_x), "-ry", str(dpi_y), "-f", str(page), "-l", str(page), pdf]
    ppm = subprocess.run(command, capture_output=True, check=True).stdout
    return Image.open(io.BytesIO(ppm)).convert("RGB")


def write_damaged_tiff(path: Path) -> None:
    """A TIFF of three pages of which the second cannot be decoded."""
    pages = [Image.effect_noise((300, 300), 60) for _ in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    with Image.open(path) as image:
        image.seek(1)
        offset, size = image.tag_v2[273][0], image.tag_v2[279][0]
    data = bytearray(path.read_bytes())
    data[offset + 100 : offset + size] = b"\xff" * (size - 100)
    path.write_bytes(data)
