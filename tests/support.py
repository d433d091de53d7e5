"""What tests of several parts need: looks at outputs with other programs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def page_count(pdf: Path) -> int:
    """The number of pages that poppler sees."""
    return int(re.search(r"^Pages:\s+(\d+)", pdfinfo(pdf), re.MULTILINE)[1])


def pdfinfo(pdf: Path) -> str:
    return subprocess.run(["pdfinfo", pdf], capture_output=True, text=True, check=True).stdout


def check_pdf(pdf: Path) -> None:
    """qpdf finds nothing wrong."""
    done = subprocess.run(["qpdf", "--check", pdf], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
