"""What the sandbox runs in a worker process: the probe, the engines of a route, the check of what they made.

Values come in as picklable dataclasses and go back as JSON-safe ones, which `sandbox` checks.
"""

from __future__ import annotations

import importlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from docmill.engines.base import Engine, EngineOptions, EngineResult, MergeSource, PageFailure, Progress
from docmill.engines.registry import Route, Step, engine_spec, options_for
from docmill.errors import DocmillError, EngineFailed
from docmill.facts import DocumentFacts

Report = Callable[[dict[str, Any]], None]

# In a message: the outputs are whole, and will be checked next.
MADE = "made"


@dataclass(frozen=True, slots=True)
class Check:
    """How an output is checked: what is known of its sources, and whether a mismatch fails the job."""

    facts: tuple[DocumentFacts, ...]
    strict: bool

    def of(
        self, sources: Sequence[Path], options: EngineOptions, result: EngineResult, seconds: float
    ) -> EngineResult:
        """The result, with a note where it does not match and the job goes on all the same."""
        from docmill.engines.verify import Source, verify

        known = [Source(*pair, options.password) for pair in zip(sources, self.facts, strict=True)]
        try:
            verify(known, options, result, seconds)
        except EngineFailed as error:
            if self.strict:
                raise
            return replace(result, notes=(*result.notes, f"check: {error.message}"))
        return result


def probe(path: Path, known: dict[str, Any], report: Report) -> dict[str, Any]:
    """Read a file's facts."""
    from docmill.documents.identify import identify

    return identify(path, **known).to_runs()


def convert(
    load: str,
    route: Route,
    source: Path,
    out_dir: Path,
    options: EngineOptions,
    check: Check | None,
    report: Report,
) -> dict[str, Any]:
    """Run the engines of a route, one after the other."""
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
        report({MADE: [str(path) for path in result.outputs]})
        result = check.of([original], options, result, time.monotonic() - started)
    return _result_to_dict(result)


def merge(
    load: str,
    route: Route,
    sources: Sequence[MergeSource],
    out_dir: Path,
    options: EngineOptions,
    check: Check | None,
    report: Report,
) -> dict[str, Any]:
    """Bring each source to the format that is merged, and merge."""
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
        report({MADE: [str(path) for path in result.outputs]})
        result = check.of([source.path for source in sources], options, result, time.monotonic() - started)
    return _result_to_dict(result)


def _options_of(step: Step, options: EngineOptions, *, first: bool) -> EngineOptions:
    """The options of one step: what concerns the source is for the first, which meets the source."""
    if first:
        return replace(options, target=step.target, mime_type=step.source.mime_type)
    job = replace(options.options, pages=None)
    return replace(options, target=step.target, mime_type=step.source.mime_type, options=job, password=None)


def _reporter(report: Report, prefix: str) -> Callable[[Progress], None]:
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
        "pages": [
            (page.source_page, page.width_pt, page.height_pt, page.width_px, page.height_px, page.how)
            for page in result.pages
        ],
        "failures": [[failure.page, failure.error] for failure in result.failures],
        "notes": list(result.notes),
    }
