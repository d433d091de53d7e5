"""The sandbox: engines, and the probe that reads an unknown file's facts, each in a limited worker process.

This is the caller's side; `sandboxed` is what runs in the worker. What comes back from there is JSON and
checked: it has parsed a file that may have been made to break it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from docmill import processes
from docmill.engines.base import (
    EngineOptions,
    EngineResult,
    MergeSource,
    PageFailure,
    PageResult,
    Progress,
)
from docmill.engines.registry import Route, engine_spec
from docmill.errors import EngineFailed, Phase, in_phase
from docmill.facts import DocumentFacts
from docmill.formats import JSON, TEXT
from docmill.processes import Abort, AbortFlag, Limits
from docmill.sandboxed import MADE, Check
from docmill.settings import Settings

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

# What nearly every job needs, imported once by the server and shared by its workers.
PRELOAD = ("docmill.sandboxed", "docmill.documents.identify", "docmill.engines.raster_to_pdf")
# What checking an output takes beside: the libraries that it reads by, in steps that hold up no worker long.
CHECK = ("docmill.engines.verify", "docmill.engines.verify.images", "docmill.engines.verify.ready")
LOAD = "docmill.engines.registry:load"


def warm(*, fork: bool = False, converts: bool = True) -> None:
    """Start the sandbox's server process, without waiting for it: what the caller imports next overlaps.

    `fork` is for a command that has just started (see `processes.warm`); without `converts` only the probe is
    to be run.
    """
    processes.warm((*PRELOAD, *CHECK) if converts else PRELOAD, fork=fork)


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
        facts: DocumentFacts | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_made: Callable[[Sequence[Path]], None] | None = None,
        abort: AbortFlag | None = None,
    ) -> EngineResult:
        """Convert `source` along `route` into `out_dir`, which must exist and is the caller's to remove.

        With `facts`, the source's, the output is checked against it as the settings' `verify` says.
        `on_progress` gets the newest progress, in this thread; pages that follow each other faster than it
        returns are skipped. `on_made` gets the outputs when they are whole and still to be checked: what it
        begins with them overlaps. An `abort` that is a `processes.Abort` is noticed at once, a
        `threading.Event` within 50 ms; the engine then has the settings' `abort_grace` to tidy up. Also when
        this raises (the engine's own error, `LimitExceeded`, `EngineFailed`, `EngineCrashed`, `JobAborted`,
        Ctrl-C), nothing of the engine is running any more.
        """
        out_dir = out_dir.absolute()
        check = self._check([facts] if facts else [])
        with in_phase(Phase.CONVERT):
            result = processes.run(
                "docmill.sandboxed:convert",
                (self._load, route, source.absolute(), out_dir, options, check),
                limits=self._limits,
                out_dir=out_dir,
                on_message=_listener(out_dir, on_progress, on_made),
                abort=abort,
                grace=self._settings.abort_grace,
                modules=("docmill.sandboxed", *self._engine_modules(route), *_check_modules(check, options)),
            )
            return _result_from_dict(result, out_dir)

    def merge_blocking(
        self,
        route: Route,
        sources: Sequence[MergeSource],
        out_dir: Path,
        options: EngineOptions,
        *,
        facts: Sequence[DocumentFacts] = (),
        on_progress: Callable[[Progress], None] | None = None,
        on_made: Callable[[Sequence[Path]], None] | None = None,
        abort: AbortFlag | None = None,
    ) -> EngineResult:
        """Make one document of several, along a route of `plan_merge`; otherwise as `run_blocking`."""
        out_dir = out_dir.absolute()
        check = self._check(facts)
        with in_phase(Phase.CONVERT):
            result = processes.run(
                "docmill.sandboxed:merge",
                (self._load, route, sources, out_dir, options, check),
                limits=self._limits,
                out_dir=out_dir,
                on_message=_listener(out_dir, on_progress, on_made),
                abort=abort,
                grace=self._settings.abort_grace,
                modules=(*PRELOAD, *self._engine_modules(route), *_check_modules(check, options)),
            )
            return _result_from_dict(result, out_dir)

    def probe_blocking(
        self, path: Path, name: str, password: str | None = None, *, abort: AbortFlag | None = None
    ) -> DocumentFacts:
        """The facts of a file by its content; `name` is a hint only. Raises as `run_blocking` does."""
        settings = self._settings
        # Reading facts is short work: a file that keeps the probe busy for long was made to.
        share = min(self._limits.wall_seconds, max(30.0, self._limits.wall_seconds / 60))
        known = {
            "name": name,
            "password": password,
            "max_page_pixels": settings.max_page_pixels,
            "max_pages": settings.max_pages,
            "default_dpi": settings.default_dpi,
        }
        with in_phase(Phase.LOAD):
            facts = processes.run(
                "docmill.sandboxed:probe",
                (path.absolute(), known),
                limits=replace(self._limits, wall_seconds=share),
                doing="reading",
                abort=abort,
                grace=settings.abort_grace,
                modules=("docmill.sandboxed", "docmill.documents.identify", *_probe_modules(name)),
            )
            return _checked(partial(DocumentFacts.from_runs, most=settings.max_pages), facts)

    async def run(
        self,
        route: Route,
        source: Path,
        out_dir: Path,
        options: EngineOptions,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        abort: asyncio.Event | None = None,
    ) -> EngineResult:
        """`run_blocking` as a coroutine; `on_progress` is called in the event loop.

        Cancelling it kills the engine and waits until nothing of it is running.
        """
        import asyncio

        loop = asyncio.get_running_loop()

        def forward(progress: Progress) -> None:
            if on_progress:
                loop.call_soon_threadsafe(on_progress, progress)

        return await _in_thread(
            lambda flag: self.run_blocking(route, source, out_dir, options, on_progress=forward, abort=flag),
            abort,
        )

    def _check(self, facts: Sequence[DocumentFacts]) -> Check | None:
        mode = self._settings.verify
        return Check(tuple(facts), strict=mode == "fail") if facts and mode != "off" else None

    def _engine_modules(self, route: Route) -> list[str]:
        if self._load != LOAD:
            return []
        return [engine_spec(engine).entry.partition(":")[0] for engine in route.engines]


async def _in_thread(call: Callable[[Abort], T], abort: asyncio.Event | None) -> T:
    """Run `call` in a thread of its own, and set its flag when `abort` is set or this task is cancelled.

    A thread each, and a daemon: asyncio's default executor has six threads on two cores, which 50 jobs and
    everybody else would wait for, and it is joined at exit.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    flag = Abort()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(T, result))

    def work() -> None:
        try:
            result = call(flag)
        except BaseException as error:
            loop.call_soon_threadsafe(settle, None, error)
        else:
            loop.call_soon_threadsafe(settle, result, None)

    threading.Thread(target=work, name="docmill-sandbox", daemon=True).start()
    watcher = asyncio.ensure_future(abort.wait()) if abort else None
    if watcher:
        watcher.add_done_callback(lambda done: flag.set() if not done.cancelled() else None)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        flag.set()
        await asyncio.wait([future])
        # It is asked for, or asyncio would complain that nobody did.
        future.exception()
        raise
    finally:
        if watcher:
            watcher.cancel()


def _probe_modules(name: str) -> tuple[str, ...]:
    # By its name, as a hint: the next worker for a PDF need not load pdfium.
    return ("docmill.documents.identify_pdf",) if name.lower().endswith(".pdf") else ()


def _check_modules(check: Check | None, options: EngineOptions) -> Sequence[str]:
    """What the server is to have imported for a check; of text only the pages are counted."""
    return CHECK if check and options.target.format not in (TEXT, JSON) else ()


def _listener(
    out_dir: Path,
    on_progress: Callable[[Progress], None] | None,
    on_made: Callable[[Sequence[Path]], None] | None,
) -> Callable[[dict[str, Any]], None]:
    """What takes the messages of an engine's worker apart."""

    def listen(message: dict[str, Any]) -> None:
        if MADE not in message:
            progress = _checked(_progress_from_dict, message)
            if on_progress:
                on_progress(progress)
        elif on_made:
            on_made(_outputs(_checked(lambda data: [Path(path) for path in data[MADE]], message), out_dir))

    return listen


def _outputs(paths: Sequence[Path], out_dir: Path) -> tuple[Path, ...]:
    """The files that a worker says to have made, looked at."""
    if not paths:
        raise EngineFailed("the engine made no output")
    for path in paths:
        # Not a link out of the folder, which publishing would follow.
        if path.is_symlink() or not path.is_file() or out_dir.resolve() not in path.resolve().parents:
            raise EngineFailed(f"the engine named {path}, which is no file in its output folder")
    return tuple(paths)


def _result_from_dict(data: Any, out_dir: Path) -> EngineResult:
    result = _checked(
        lambda data: EngineResult(
            outputs=tuple(Path(path) for path in data["outputs"]),
            pages=tuple(PageResult(*page) for page in data["pages"]),
            failures=tuple(PageFailure(int(page), dict(error)) for page, error in data["failures"]),
            notes=tuple(str(note) for note in data["notes"]),
        ),
        data,
    )
    _outputs(result.outputs, out_dir)
    return result


def _progress_from_dict(data: dict[str, Any]) -> Progress:
    return Progress(int(data["page"]), int(data["page_count"]), str(data["message"]))


def _checked(build: Callable[[Any], T], data: Any) -> T:
    """What a worker sent as its dataclass; raises `EngineFailed` where it is something else."""
    try:
        return build(data)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise EngineFailed("the engine's process sent nonsense") from error
