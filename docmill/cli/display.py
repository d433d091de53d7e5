"""What a person sees while a job runs: a progress bar on a terminal, else one line a stage."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from docmill.cli.arguments import STANDARD_STREAM
from docmill.cli.printable import printable
from docmill.engines.base import Progress
from docmill.errors import Phase
from docmill.pipeline import Observer, Silent


@contextmanager
def display_for(arguments: argparse.Namespace) -> Iterator[Observer]:
    """The display that fits: none with --quiet or --json, a bar on a terminal, else lines."""
    if arguments.quiet or arguments.json:
        yield Silent()
    elif sys.stderr.isatty():
        bar = Bar(arguments.target)
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield Lines(arguments.target)


class InTurn:
    """Keeps what it is told of a job until that job's turn comes, and passes it on from then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[tuple[Phase, str]] = []
        self._display: Observer | None = None

    def begin(self, display: Observer) -> None:
        """It is the job's turn to be shown."""
        with self._lock:
            for phase, message in self._kept:
                display.stage(phase, message)
            self._display = display

    def stage(self, phase: Phase, message: str) -> None:
        with self._lock:
            if self._display:
                self._display.stage(phase, message)
            else:
                self._kept.append((phase, message))

    def progress(self, progress: Progress) -> None:
        if self._display:
            self._display.progress(progress)


class Lines:
    """One line a stage on standard error; `target` is what the command line says."""

    def __init__(self, target: str) -> None:
        self._target = target

    def stage(self, phase: Phase, message: str) -> None:
        if phase is Phase.PUBLISH and self._target == STANDARD_STREAM:
            message = "standard output"  # not the file in scratch that it comes from
        print(f"{phase}: {printable(message)}", file=sys.stderr, flush=True)

    def progress(self, progress: Progress) -> None:
        pass


class Bar(Lines):
    """A line a stage, and a bar that moves page by page while converting."""

    #: A conversion shorter than this shows no bar: importing rich would take longer than the job.
    PATIENCE = 0.3

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self._started = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def stage(self, phase: Phase, message: str) -> None:
        self.close()
        self._started = time.monotonic()
        super().stage(phase, message)

    def progress(self, progress: Progress) -> None:
        if self._bar is None:
            if time.monotonic() - self._started < self.PATIENCE:
                return
            self._open(progress.page_count)
        self._bar.update(self._task, completed=progress.page - 1, total=progress.page_count)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            with suppress(OSError):  # of a terminal that was closed
                self._bar.stop()
            self._bar = None

    def _open(self, page_count: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bar = Bars(
            TextColumn("convert"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("pages"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("convert", total=page_count)
        self._bar.start()
