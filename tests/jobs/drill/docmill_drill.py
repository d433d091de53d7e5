"""An engine that behaves as its job's title says, so that failures are ordinary test cases.

It converts BMP to DDS, which no engine of docmill does: `pages=30 pause=0.2 at=3 do=hang`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from docmill.engines import registry
from docmill.engines.base import EngineOptions, EngineResult, PageFailure, PageResult, Progress
from docmill.engines.registry import EngineSpec
from docmill.errors import CorruptDocument
from docmill.formats import BMP, DDS
from docmill.options import OnError


def install() -> None:
    """Add the engine to the registry of this process."""
    spec = EngineSpec(
        name="drill",
        title="a drill for the tests",
        entry="docmill_drill:Drill",
        sources=frozenset({BMP}),
        targets=frozenset({DDS}),
        options=frozenset({"title"}),
    )
    if spec not in registry.ENGINES:
        registry.ENGINES = (spec, *registry.ENGINES)


class Drill:
    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult:
        orders = dict(word.split("=") for word in (options.options.title or "").split())
        pages, pause = int(orders.get("pages", 1)), float(orders.get("pause", 0))
        output = out_dir / f"{options.name}.dds"
        failures = []
        with output.open("w") as file:
            for page in range(1, pages + 1):
                progress(Progress(page, pages))
                if page == int(orders.get("at", 0)):
                    try:
                        _misbehave(orders["do"], page)
                    except CorruptDocument as error:
                        if options.options.on_error is OnError.ABORT:
                            raise
                        failures.append(PageFailure(page, error.to_dict()))
                        continue
                file.write(f"page {page}\n")
                time.sleep(pause)
            file.write("whole\n")
        done = tuple(PageResult(n, 595.0, 842.0) for n in range(1, pages + 1 - len(failures)))
        return EngineResult((output,), done, tuple(failures))


def _misbehave(what: str, page: int) -> None:
    match what:
        case "hang":
            # In C, with the GIL held, deaf to SIGTERM: only SIGKILL ends it.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                ctypes.PyDLL(None).pause()
        case "sleep":
            time.sleep(600)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "fail":
            raise CorruptDocument(f"page {page} is damaged", page=page)
