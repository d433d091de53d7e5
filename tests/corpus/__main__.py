"""`python -m tests.corpus FOLDER`: convert every file of a folder and score what comes out.

Pictures become PDF and are compared with Pillow's pixels, rendered by pdfium and by poppler; PDFs become TIFF
and are compared with poppler's. It prints a table and the files that are not good, and writes a JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.corpus.run import Result, Runner, Verdict


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, default=Path("corpus.json"), help="where to write the results")
    parser.add_argument("--jobs", type=int, default=2, help="files at a time")
    parser.add_argument("--seconds", type=float, default=60, help="a conversion that takes longer is a hang")
    parser.add_argument("--match", default="", help="only files whose path has this in it")
    arguments = parser.parse_args()
    files = sorted(f for f in arguments.folder.rglob("*") if f.is_file() and arguments.match in str(f))
    started = time.monotonic()
    results = run(files, jobs=arguments.jobs, seconds=arguments.seconds)
    table(results)
    seconds = time.monotonic() - started
    print(f"{len(results)} files in {seconds:.0f} s; results in {arguments.json}")
    arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    return 0 if all(result.verdict in (Verdict.GOOD, Verdict.UNREADABLE) for result in results) else 1


def run(files: Iterable[Path], *, jobs: int, seconds: float) -> list[Result]:
    """The results in the order of the files."""
    work = Path(tempfile.mkdtemp(prefix="docmill-corpus-"))
    try:
        with Runner(work, seconds) as runner, ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(runner.run, files))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def table(results: list[Result]) -> None:
    """Print what is not good, then the counts by format."""
    for result in results:
        if result.verdict not in (Verdict.GOOD, Verdict.UNREADABLE):
            print(f"{result.verdict:13} {result.file}: {result.detail}")
    verdicts = [verdict for verdict in Verdict if any(r.verdict is verdict for r in results)]
    kinds = sorted({result.kind for result in results})
    width = max(map(len, [*kinds, "format"]))
    print(" ".join([f"{'format':{width}}", *(f"{verdict:>12}" for verdict in verdicts)]))
    for kind in [*kinds, "all"]:
        counts = Counter(r.verdict for r in results if kind in (r.kind, "all"))
        print(" ".join([f"{kind:{width}}", *(f"{counts[verdict]:12}" for verdict in verdicts)]))
    readable = [r for r in results if r.verdict is not Verdict.UNREADABLE]
    good = sum(r.verdict is Verdict.GOOD for r in readable)
    print(
        f"good: {good} of the {len(readable)} that Pillow or pdfium reads, {good / max(1, len(readable)):.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())
