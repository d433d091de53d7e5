"""The sandbox: engines, and the probe that reads an unknown file's facts, each in a limited worker process.

What comes back from a worker is JSON and checked: it has parsed a file that may have been made to break it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from docmill import processes
from docmill.engines.base import Engine, EngineOptions, EngineResult, PageFailure, PageResult, Progress
from docmill.engines.registry import Route, Step, engine_spec
from docmill.errors import DocmillError, EngineFailed, Phase
from docmill.facts import DocumentFacts
from docmill.processes import Abort, AbortFlag, Limits
from docmill.settings import Settings

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

# What nearly every job needs, imported once by the server and shared by its workers.
PRELOAD = ("docmill.sandbox", "docmill.documents.identify", "docmill.engines.raster_to_pdf")
LOAD = "docmill.engines.registry:load"
_IDENTIFY = "docmill.documents.identify:identify"


def warm() -> None:
    """Start the sandbox's server process, without waiting for it: what the caller imports next overlaps."""
    processes.warm(PRELOAD)


class Sandbox:
    """Runs engines and the probe in worker processes, within the limits of the settings.

    Its methods may be called from many threads at once. `load` names the function (`module:name`) that makes
    an engine from its name, in the worker.
    """

    def __init__(self, settings: Settings, *, load: str = LOAD) -> None:
        self._settings = settings
        self._load = load
        self._limits = Limits(
            memory=settings.engine_memory,
            cpu_seconds=settings.engine_cpu_seconds,
            wall_seconds=settings.engine_wall_seconds,
            output_bytes=settings.max_output_bytes,
        )

    def run_blocking(
        self,
        route: Route,
        source: Path,
        out_dir: Path,
        options: EngineOptions,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        abort: AbortFlag | None = None,
    ) -> EngineResult:
        """Convert `source` along `route` into `out_dir`, which must exist and is the caller's to remove.

        `on_progress` gets the newest progress, in this thread; pages that follow each other faster than it
        returns are skipped. An `abort` that is a `processes.Abort` is noticed at once, a `threading.Event`
        within 50 ms; the engine then has the settings' `abort_grace` to tidy up. Also when this raises (the
        engine's own error, `LimitExceeded`, `EngineFailed`, `EngineCrashed`, `JobAborted`, Ctrl-C), nothing of
        the engine is running any more.
        """
        out_dir = out_dir.absolute()

        def forward(message: dict[str, Any]) -> None:
            if on_progress:
                on_progress(_progress_from_dict(message))

        with _phase(Phase.CONVERT):
            result = processes.run(
                "docmill.sandbox:_convert",
                (self._load, route, source.absolute(), out_dir, options),
                limits=self._limits,
                out_dir=out_dir,
                on_message=forward,
                abort=abort,
                grace=self._settings.abort_grace,
                modules=(*PRELOAD, *self._engine_modules(route)),
            )
            return _result_from_dict(result, out_dir)

    def probe_blocking(
        self, path: Path, name: str, password: str | None = None, *, abort: AbortFlag | None = None
    ) -> DocumentFacts:
        """The facts of a file by its content; `name` is a hint only. Raises as `run_blocking` does."""
        # Reading facts is short work: a file that keeps the probe busy for long is made to.
        share = min(self._limits.wall_seconds, max(30.0, self._limits.wall_seconds / 60))
        with _phase(Phase.LOAD):
            facts = processes.run(
                "docmill.sandbox:_probe",
                (_IDENTIFY, path.absolute(), name, password, self._settings.default_dpi),
                limits=replace(self._limits, wall_seconds=share),
                doing="reading",
                abort=abort,
                grace=self._settings.abort_grace,
                modules=PRELOAD,
            )
            return _checked(DocumentFacts.from_dict, facts)
