"""Where the tasks report: the run's log, its progress artifact, and whoever watches in this process."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from types import TracebackType
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.logging import get_run_logger

from docmill.engines.base import Progress
from docmill.errors import Phase
from docmill.jobs.background import end_task
from docmill.jobs.running import current_job
from docmill.pipeline import Observer

#: Who watches the flow runs of this context, beside Prefect; the command line sets it.
current_observer: ContextVar[Observer | None] = ContextVar("docmill_observer", default=None)


def begin_stage(phase: Phase) -> None:
    """Tell that a stage begins: in the job's status."""
    if job := current_job():
        job.report.stage(phase)


def end_stage(phase: Phase, message: str) -> None:
    """Tell what a stage came to: in the run's log and to the observer."""
    get_run_logger().info("%s: %s", phase, message)
    if observer := current_observer.get():
        observer.stage(phase, message)


class ProgressReport:
    """Carries an engine's progress into a progress artifact, at most one write a second.

    Conversions that take less than that go without: for a page or two, two requests are a good part of a job.
    """

    def __init__(self, interval: float = 1.0) -> None:
        self._interval = interval
        self._latest: Progress | None = None
        self._job = current_job()
        self._observer = current_observer.get()
        self._artifact: UUID | None = None
        self._writer: asyncio.Task[None] | None = None

    def progress(self, progress: Progress) -> None:
        """Note where the engine is; cheap, callable from any thread."""
        self._latest = progress
        if self._job:
            self._job.report.page(progress)
        if self._observer:
            self._observer.progress(progress)

    async def __aenter__(self) -> ProgressReport:
        self._writer = asyncio.create_task(self._write())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            await end_task(self._writer)
        if error is None and self._artifact is not None:
            await self._show(100.0, "all pages converted")

    async def _write(self) -> None:
        written = None
        while True:
            await asyncio.sleep(self._interval)
            latest = self._latest
            if latest is None or latest is written:
                continue
            done = 100.0 * (latest.page - 1) / max(latest.page_count, 1)
            await self._show(done, f"page {latest.page} of {latest.page_count}")
            written = latest

    async def _show(self, done: float, description: str) -> None:
        try:
            if self._artifact is None:
                self._artifact = await acreate_progress_artifact(progress=done, description=description)
            else:
                await aupdate_progress_artifact(self._artifact, progress=done, description=description)
        except Exception as error:
            # For the eyes: the conversion goes on without. What others rely on is in the job's labels.
            get_run_logger().debug("the progress artifact was not written: %r", error)
