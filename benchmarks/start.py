"""What a command takes to start, against `python -c 'from PIL import Image'`: `python benchmarks/start.py`.

Targets of the project: `--help` and `info` at most 4 times that, `convert --direct` of a JPEG at most 6.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from _measure import machine, medians, run
from PIL import Image

DOCMILL = Path(sys.executable).with_name("docmill")
RUNS = 15


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="docmill-bench-") as folder:
        os.environ["DOCMILL_DATA_DIR"] = str(Path(folder, "data"))
        photo, pdf = Path(folder, "photo.jpg"), Path(folder, "photo.pdf")
        Image.radial_gradient("L").resize((1600, 1200)).convert("RGB").save(photo)
        seconds = medians(
            {
                "Pillow": lambda: run([sys.executable, "-c", "from PIL import Image"]),
                "--help": lambda: run([DOCMILL, "--help"]),
                "info": lambda: run([DOCMILL, "info", photo]),
                "convert": lambda: run([DOCMILL, "convert", "--direct", "--overwrite", photo, pdf]),
            },
            runs=RUNS,
        )
    print(f"{machine()}; the import of Pillow takes {seconds['Pillow'] * 1e3:.0f} ms")
    for name, most in (("--help", 4), ("info", 4), ("convert", 6)):
        print(f"  {name:8} {seconds[name] / seconds['Pillow']:.2f} times that (at most {most})")


if __name__ == "__main__":
    main()
