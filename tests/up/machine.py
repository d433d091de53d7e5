"""`docmill up` as a real process, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from docmill.processes.linux import die_with_parent

READY_SECONDS = 240.0


class Up:
    """A `docmill up` on a data folder, and the commands that find it there."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self.output = data.parent / f"{data.name}.out"
        self.arguments = arguments
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("PREFECT_", "DOCMILL_"))
            },
            "DOCMILL_DATA_DIR": str(data),
            "DOCMILL_SCRATCH_DIR": str(data.parent / f"{data.name}-scratch"),
            "DOCMILL_DRAIN_SECONDS": "2",
            # The engine of the tests, which is as slow as it is told to be.
            "PYTHONPATH": str(Path(__file__).parents[1] / "jobs" / "drill"),
        }

    def start(self, *, in_background: bool = True) -> Up:
        """Start it, as a script's `docmill up &` does or as a terminal, and wait until it says that it is
        ready."""
        self.output.write_text("")
        with self.output.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "docmill", "up", "--port", "0", *self.arguments],
                env=self.environment,
                stderr=output,
                start_new_session=True,
                preexec_fn=partial(_before_start, os.getpid(), in_background),
            )
        self.until(lambda: "Ctrl-C stops it" in self.said() or self.process.poll() is not None, READY_SECONDS)
        assert self.process.poll() is None, self.said()
        return self

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(90)

    def said(self) -> str:
        return self.output.read_text()

    @property
    def note(self) -> dict[str, Any]:
        note: dict[str, Any] = json.loads((self.data / "up.json").read_text())
        return note

    def run(self, *arguments: str, timeout: float = 180.0) -> subprocess.CompletedProcess[str]:
        """Another docmill command, which finds this one by its data folder."""
        return subprocess.run(
            [sys.executable, "-m", "docmill", *arguments],
            env=self.environment, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    def child(self, module: str) -> int:
        """The process id of the part whose command line has this word."""
        found = [pid for pid in self.processes() if module in _read(pid, "cmdline")]
        assert found, f"no process of {module}: {self.said()}"
        return found[0]

    def processes(self) -> list[int]:
        """Every process that works on this data folder, whoever its parent is, but for the first."""
        pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
        mark = f"DOCMILL_DATA_DIR={self.data}\0"
        return [pid for pid in pids if pid != self.process.pid and mark in _read(pid, "environ")]

    def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)


@contextmanager
def up(data: Path, *arguments: str) -> Iterator[Up]:
    """A running `docmill up`, stopped at the end."""
    machine = Up(data, *arguments).start()
    try:
        yield machine
    finally:
        if machine.process.poll() is None:
            assert machine.stop(signal.SIGTERM) == 0


def _before_start(parent: int, in_background: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN if in_background else signal.SIG_DFL)
    # Tests that are killed leave nothing behind either.
    die_with_parent(parent, signal.SIGTERM)


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:
        return ""
