"""PDF to text against poppler: `python benchmarks/pdf_to_text.py [--runs N] [--pages N] [--cpu]`.

Full pages of text in embedded TrueType fonts. Start is left out on both sides: what many pages take less what
one page takes. `--cpu` counts CPU time in place of wall time, with one process; else docmill uses two.
Targets of the project: at least the speed of `pdftotext` on 100 pages; the words of both, as bags, at least
99 % the same.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from _measure import cpu_time, machine, medians, run
from pdf_to_raster import write_text

from docmill.engines.base import EngineOptions
from docmill.engines.pdf_to_text import PdfToText
from docmill.formats import target_from_name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--cpu", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="docmill-bench-") as folder:
        work = Path(folder)
        one, many = work / "one.pdf", work / "many.pdf"
        write_text(one, 1)
        write_text(many, asked.pages)
        ours, theirs = work / "ours", work / "theirs.txt"
        ours.mkdir()
        workers = 1 if asked.cpu else 2
        seconds = medians(
            {
                "docmill": lambda: docmill(many, ours, workers),
                "docmill on 1": lambda: docmill(one, ours, workers),
                "pdftotext": lambda: run(["pdftotext", many, theirs]),
                "pdftotext on 1": lambda: run(["pdftotext", one, work / "one.txt"]),
            },
            runs=asked.runs,
            clock=cpu_time if asked.cpu else time.perf_counter,
        )
        docmill(many, ours, workers)
        same = alike((ours / "page.txt").read_text(), theirs.read_text())
    mine = seconds["docmill"] - seconds["docmill on 1"]
    peer = seconds["pdftotext"] - seconds["pdftotext on 1"]
    clock = "CPU" if asked.cpu else "wall"
    print(machine())
    print(f"{asked.pages} pages, {clock} time: docmill {mine:.3f} s, pdftotext {peer:.3f} s")
    print(f"  speed {peer / mine:.2f} of pdftotext (at least 1); words the same {same:.2%} (at least 99 %)")


def docmill(source: Path, folder: Path, workers: int) -> None:
    options = EngineOptions(target=target_from_name("txt"), workers=workers, name="page")
    PdfToText().convert(source, folder, options, lambda progress: None)


def alike(ours: str, theirs: str) -> float:
    """The share of words that both have, with their number."""
    mine, other = Counter(ours.split()), Counter(theirs.split())
    return (mine & other).total() / max(mine.total(), other.total())


if __name__ == "__main__":
    main()
