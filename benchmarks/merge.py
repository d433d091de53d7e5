"""Merging 200 PDFs against `qpdf`: `python benchmarks/merge.py [--runs N] [--files N] [--cpu]`.

Each file is five pages of text with fonts of its own. docmill's engine in a fresh Python, less a Python that
only imports it (docmill's sandbox has done so beforehand); `qpdf` as a whole command. Targets of the project:
at most 1.33 of `qpdf`'s time, and memory flat, which is told beside the growth of `qpdf`'s.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _measure import cpu_time, machine, medians, run
from pdf_to_raster import write_text

PREPARE = """
import sys; from pathlib import Path
from docmill.engines.base import EngineOptions, MergeSource
from docmill.engines.pdf_to_pdf import PdfToPdf
from docmill.formats import PDF, Target
"""
MERGE = """
sources = [MergeSource(path, path.name) for path in sorted(Path(sys.argv[1]).iterdir())]
PdfToPdf().merge(sources, Path(sys.argv[2]), EngineOptions(Target(PDF), name='all'), lambda at: None)
print(Path('/proc/self/status').read_text())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--cpu", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="docmill-bench-") as folder:
        work = Path(folder)
        few, many, out = work / "few", work / "many", work / "out"
        out.mkdir()
        write_text(work / "part.pdf", 5)
        for place, count in ((few, asked.files // 4), (many, asked.files)):
            place.mkdir()
            for number in range(count):
                (place / f"{number:05}.pdf").write_bytes((work / "part.pdf").read_bytes())
        by_qpdf = qpdf_command(many, work / "qpdf.pdf")
        seconds = medians(
            {
                "docmill": lambda: merge(many, out),
                "import": lambda: run([sys.executable, "-c", PREPARE]),
                "qpdf": lambda: run(by_qpdf),
            },
            runs=asked.runs,
            clock=cpu_time if asked.cpu else time.perf_counter,
        )
        size = (out / "all.pdf").stat().st_size / (work / "qpdf.pdf").stat().st_size
        memory = merge(many, out) - merge(few, out)
        peer_memory = qpdf_peak(by_qpdf) - qpdf_peak(qpdf_command(few, work / "few.pdf"))
    mine = seconds["docmill"] - seconds["import"]
    clock = "CPU" if asked.cpu else "wall"
    print(machine())
    print(f"{asked.files} PDFs, {clock} time: docmill {mine:.3f} s, qpdf {seconds['qpdf']:.3f} s")
    print(f"  {mine / seconds['qpdf']:.2f} of qpdf (at most 1.33), file {size:.2f}")
    print(f"  memory {memory:.1f} MB over that of {asked.files // 4} PDFs; qpdf {peer_memory:.1f} MB")


def qpdf_command(folder: Path, output: Path) -> list[str | os.PathLike[str]]:
    return ["qpdf", "--empty", "--pages", *sorted(folder.iterdir()), "--", output]


def qpdf_peak(command: list[str | os.PathLike[str]]) -> float:
    """The MB that a `qpdf` takes at most."""
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024


def merge(folder: Path, out: Path) -> float:
    """Merge in a process of its own; returns the MB that it took at most."""
    command: list[str | os.PathLike[str]] = [sys.executable, "-c", PREPARE + MERGE, folder, out]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
