"""The sandbox: engines, and the probe that reads an unknown file's facts, each in a limited worker process.

What comes back from a worker is JSON and checked: it has parsed a file that may have been made to break it.
"""

from __future__ import annotations

import importlib
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from docmill import processes
from docmill.engines.base import (
    Engine,
    EngineOptions,
    EngineResult,
    MergeSource,
    PageFailure,
    PageResult,
    Progress,
)
from docmill.engines.registry import Route, Step, engine_spec, options_for
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


def warm(*, fork: bool = False) -> None:
    """Start the sandbox's server process, without waiting for it: what the caller imports next overlaps.

    `fork` is for a command that has just started (see `processes.warm`).
    """
    processes.warm(PRELOAD, fork=fork)


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
        abort: AbortFlag | None = None,
    ) -> EngineResult:
        """Convert `source` along `route` into `out_dir`, which must exist and is the caller's to remove.

        With `facts`, the source's, the output is checked against it as the settings' `verify` says.
        `on_progress` gets the newest progress, in this thread; pages that follow each other faster than it
        returns are skipped. An `abort` that is a `processes.Abort` is noticed at once, a `threading.Event`
        within 50 ms; the engine then has the settings' `abort_grace` to tidy up. Also when this raises (the
        engine's own error, `LimitExceeded`, `EngineFailed`, `EngineCrashed`, `JobAborted`, Ctrl-C), nothing
        of the engine is running any more.
        """
        out_dir = out_dir.absolute()

        def forward(message: dict[str, Any]) -> None:
            if on_progress:
                on_progress(_progress_from_dict(message))

        with _phase(Phase.CONVERT):
            result = processes.run(
                "docmill.sandbox:_convert",
                (
                    self._load,
                    route,
                    source.absolute(),
                    out_dir,
                    options,
                    self._check([facts] if facts else []),
                ),
                limits=self._limits,
                out_dir=out_dir,
                on_message=forward,
                abort=abort,
                grace=self._settings.abort_grace,
                modules=("docmill.sandbox", *self._engine_modules(route)),
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
        abort: AbortFlag | None = None,
    ) -> EngineResult:
        """Make one document of several, along a route of `plan_merge`; otherwise as `run_blocking`."""
        out_dir = out_dir.absolute()

        def forward(message: dict[str, Any]) -> None:
            if on_progress:
                on_progress(_progress_from_dict(message))

        with _phase(Phase.CONVERT):
            result = processes.run(
                "docmill.sandbox:_merge",
                (self._load, route, sources, out_dir, options, self._check(facts)),
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
        with _phase(Phase.LOAD):
            facts = processes.run(
                "docmill.sandbox:_probe",
                (path.absolute(), known),
                limits=replace(self._limits, wall_seconds=share),
                doing="reading",
                abort=abort,
                grace=settings.abort_grace,
                modules=("docmill.sandbox", "docmill.documents.identify"),
            )
            return _checked(DocumentFacts.from_dict, facts)

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

    async def probe(
        self, path: Path, name: str, password: str | None = None, *, abort: asyncio.Event | None = None
    ) -> DocumentFacts:
        """`probe_blocking` as a coroutine."""
        return await _in_thread(lambda flag: self.probe_blocking(path, name, password, abort=flag), abort)

    def _check(self, facts: Sequence[DocumentFacts]) -> _Check | None:
        mode = self._settings.verify
        return _Check(tuple(facts), strict=mode == "fail") if facts and mode != "off" else None

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


class _phase:
    """Names the phase in errors that do not yet have one."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DocmillError) and error.phase is None:
            error.phase = self._phase


@dataclass(frozen=True, slots=True)
class _Check:
    """How an output is checked: what is known of its sources, and whether a mismatch fails the job."""

    facts: tuple[DocumentFacts, ...]
    strict: bool

    def of(
        self, sources: Sequence[Path], options: EngineOptions, result: EngineResult, seconds: float
    ) -> EngineResult:
        """The result, in the worker, with a note where it does not match and the job goes on all the same."""
        from docmill.engines.verify import Source, verify

        known = [Source(*pair, options.password) for pair in zip(sources, self.facts, strict=True)]
        try:
            verify(known, options, result, seconds)
        except EngineFailed as error:
            if self.strict:
                raise
            return replace(result, notes=(*result.notes, f"check: {error.message}"))
        return result


def _probe(path: Path, known: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """In the worker: read a file's facts."""
    from docmill.documents.identify import identify

    return identify(path, **known).to_dict()


def _convert(
    load: str,
    route: Route,
    source: Path,
    out_dir: Path,
    options: EngineOptions,
    check: _Check | None,
    report: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """In the worker: run the engines of a route, one after the other."""
    module, _, name = load.partition(":")
    make: Callable[[str], Engine] = getattr(importlib.import_module(module), name)
    result: EngineResult | None = None
    started, original = time.monotonic(), source
    for number, step in enumerate(route.steps, 1):
        folder = out_dir if number == len(route.steps) else out_dir / f".step{number}"
        folder.mkdir(exist_ok=True)
        prefix = f"step {number} of {len(route.steps)}" if len(route.steps) > 1 else ""
        made = make(step.engine).convert(
            source, folder, _options_of(step, options, first=result is None), _reporter(report, prefix)
        )
        if not isinstance(made, EngineResult):
            raise EngineFailed(f"{step.engine} returned {type(made).__name__} and not an EngineResult")
        result = made if result is None else _follow(result, made)
        if folder != out_dir:
            if len(made.outputs) != 1:
                raise EngineFailed(
                    f"{step.engine} made {len(made.outputs)} files where one was to be converted on"
                )
            source = made.outputs[0]
    assert result is not None
    for number in range(1, len(route.steps)):
        shutil.rmtree(out_dir / f".step{number}")
    if check:
        result = check.of([original], options, result, time.monotonic() - started)
    return _result_to_dict(result)


def _merge(
    load: str,
    route: Route,
    sources: Sequence[MergeSource],
    out_dir: Path,
    options: EngineOptions,
    check: _Check | None,
    report: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """In the worker: bring each source to the format that is merged, and merge."""
    module, _, name = load.partition(":")
    make: Callable[[str], Any] = getattr(importlib.import_module(module), name)
    ready: list[MergeSource] = []
    failures: list[PageFailure] = []
    notes: list[str] = []
    folders: list[Path] = []
    started = time.monotonic()
    for number, (source, part) in enumerate(zip(sources, route.parts, strict=True), 1):
        if not part.steps:
            ready.append(source)
            continue
        step = part.steps[0]
        folder = out_dir / f".part{number}"
        folder.mkdir()
        folders.append(folder)
        own = replace(
            options,
            target=step.target,
            mime_type=step.source.mime_type,
            options=options_for(engine_spec(step.engine), options.options),
            password=None,
        )
        try:
            made = make(step.engine).convert(
                source.path, folder, own, _reporter(report, f"{source.name} ({number} of {len(sources)})")
            )
        except DocmillError as error:
            error.message = f"{source.name}: {error.message}"
            raise
        ready.append(MergeSource(made.outputs[0], source.name))
        notes += [f"{source.name}: {note}" for note in made.notes]
        for failure in made.failures:
            message = f"{source.name}: {failure.error.get('message', '')}"
            failures.append(replace(failure, error=failure.error | {"message": message}))
    merged = make(route.steps[0].engine).merge(ready, out_dir, options, _reporter(report, "merging"))
    for folder in folders:
        shutil.rmtree(folder)
    failures += merged.failures
    result = replace(merged, failures=tuple(failures), notes=(*notes, *merged.notes))
    if check:
        result = check.of([source.path for source in sources], options, result, time.monotonic() - started)
    return _result_to_dict(result)


def _options_of(step: Step, options: EngineOptions, *, first: bool) -> EngineOptions:
    """The options of one step: what concerns the source is for the first, which meets the source."""
    if first:
        return replace(options, target=step.target, mime_type=step.source.mime_type)
    job = replace(options.options, pages=None)
    return replace(options, target=step.target, mime_type=step.source.mime_type, options=job, password=None)


def _reporter(report: Callable[[dict[str, Any]], None], prefix: str) -> Callable[[Progress], None]:
    def progress(at: Progress) -> None:
        message = ": ".join(part for part in (prefix, at.message) if part)
        report({"page": at.page, "page_count": at.page_count, "message": message})

    return progress


def _follow(before: EngineResult, after: EngineResult) -> EngineResult:
    """The result of two steps: pages and failures by the page of the source that the first step met."""

    def origin(page: int) -> int:
        return before.pages[page - 1].source_page if 0 < page <= len(before.pages) else page

    pages = tuple(replace(page, source_page=origin(page.source_page)) for page in after.pages)
    failures = tuple(replace(failure, page=origin(failure.page)) for failure in after.failures)
    return EngineResult(after.outputs, pages, before.failures + failures, before.notes + after.notes)


def _result_to_dict(result: EngineResult) -> dict[str, Any]:
    return {
        "outputs": [str(path) for path in result.outputs],
        "pages": [list(astuple(page)) for page in result.pages],
        "failures": [[failure.page, failure.error] for failure in result.failures],
        "notes": list(result.notes),
    }


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
    if not result.outputs:
        raise EngineFailed("the engine made no output")
    for path in result.outputs:
        # Not a link out of the folder, which publishing would follow.
        if path.is_symlink() or not path.is_file() or out_dir.resolve() not in path.resolve().parents:
            raise EngineFailed(f"the engine named {path}, which is no file in its output folder")
    return result


def _progress_from_dict(data: dict[str, Any]) -> Progress:
    return _checked(
        lambda data: Progress(int(data["page"]), int(data["page_count"]), str(data["message"])), data
    )


def _checked(build: Callable[[Any], T], data: Any) -> T:
    """What a worker sent as its dataclass; raises `EngineFailed` where it is something else."""
    try:
        return build(data)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise EngineFailed("the engine's process sent nonsense") from error
