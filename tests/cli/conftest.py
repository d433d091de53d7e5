"""The command as a user runs it: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@dataclass
class Result:
    """How a command ended; both outputs as text."""

    code: int
    out: str
    err: str


class Docmill:
    """Runs `docmill` in `folder` with a data folder and scratch of its own."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.scratch = home / "scratch"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DOCMILL_"))},
            "DOCMILL_DATA_DIR": str(home / "data"),
            "DOCMILL_SCRATCH_DIR": str(self.scratch),
            "HOME": str(home),
        }

    def __call__(self, *arguments: str | Path, stdin: bytes | None = None, **environment: str) -> Result:
        done = self.raw(*arguments, stdin=stdin, **environment)
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def raw(
        self, *arguments: str | Path, stdin: bytes | None = None, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "docmill", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            timeout=240,
            check=False,
        )

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command and come back at once; `options` are those of `Popen`."""
        command = [sys.executable, "-P", "-m", "docmill", *map(str, arguments)]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **options)

    @property
    def cache(self) -> Path:
        return Path(self.environment["DOCMILL_DATA_DIR"]) / "cache"

    def leftovers(self) -> list[str]:
        """What is left in scratch."""
        return sorted(path.name for path in self.scratch.glob("*"))


@pytest.fixture
def docmill(tmp_path: Path) -> Docmill:
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    return Docmill(folder, tmp_path / "home")


@pytest.fixture
def scan(docmill) -> Path:
    """A TIFF of three pages, 1 bit, at 200 dpi."""
    path = docmill.folder / "scan.tif"
    pages = [Image.new("1", (850, 1100), 1) for _ in range(3)]
    for number, page in enumerate(pages):
        page.paste(0, (100, 100 * (number + 1), 500, 100 * (number + 1) + 50))
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="group4", dpi=(200, 200))
    return path
