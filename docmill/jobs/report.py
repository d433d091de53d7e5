"""Writes what a running job has come to as labels of its flow run, and so shows that it is alive.

Every write moves the flow run's `updated` time. A run without a write for a while is given up for dead and
recovered (`docmill.jobs.sweep`), so a job that cannot write stops before that (`Patience`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.exceptions import ObjectNotFound

from docmill.engines.base import Progress as EngineProgress
from docmill.errors import DocmillError
from docmill.jobs import labels
from docmill.jobs.background import end_task
from docmill.jobs.status import iso_utc
from docmill.jobs.watch import AbortEvent, AbortReason
from docmill.request import ConvertOutcome
from docmill.wording import describe_failure

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

log = logging.getLogger(__name__)

WRITE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what may take, in seconds, all from the setting `contact_timeout`.

    A job writes every `beat`, gives up a write after `beat`, and stops once it has not written for `lost`;
    that is seen within `beat` and a tick of a second, so before others give it up after `dead`.
    """

    lost: float = 60.0

    @property
    def beat(self) -> float:
        return self.lost / 6

    @property
    def dead(self) -> float:
        return self.lost * 1.5


class JobReporter:
    """Keeps the labels of one running job; `stage` and `page` may be called from any thread and only note.

    Labels are written at most once a second, and every `patience.beat` when nothing changes. `age` is how
    long ago, in seconds, the run was told Running; `anew` says that an earlier attempt has left labels,
    which are replaced at once.
    """

    def __init__(
        self,
        client: PrefectClient,
        flow_run_id: UUID,
        abort: AbortEvent,
        patience: Patience,
        age: float = 0.0,
        anew: bool = False,
    ) -> None:
        self._patience = patience
        self._client = client
        self._flow_run_id = flow_run_id
        self._abort = abort
        self._progress = labels.Progress(stage="load", at=_now())
        self._written = None if anew else self._progress
        self._writing = asyncio.Lock()
        self._abandoned = False
        self._last_contact = _clock() - max(0.0, age)
        self._lapsed = False

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Write in the background for as long as the context lasts."""
        writer = asyncio.create_task(self._keep_writing())
        try:
            yield
        finally:
            await end_task(writer)

    def stage(self, name: str, note: str = "") -> None:
        """The job has come to another stage (`load`, `cache`, `convert`, `publish`)."""
        self._progress = replace(self._progress, stage=name, note=note, page=0, at=_now())

    def page(self, progress: EngineProgress) -> None:
        """The engine works on this page."""
        self._progress = replace(
            self._progress,
            stage="convert",
            page=progress.page,
            page_count=progress.page_count,
            note=progress.message,
            at=_now(),
        )

    def note(self, text: str) -> None:
        """What else is going on in this stage, e.g. `retrying: the store is unavailable`."""
        self._progress = replace(self._progress, note=text, at=_now())

    def input_document(self, document_id: str) -> None:
        """The source's id in the document cache."""
        self._progress = replace(self._progress, input_document_id=document_id)

    async def finished(self, outcome: ConvertOutcome, *, output_name: str | None = None) -> None:
        """What the job made; to be called before its flow run is told Completed."""
        failures = tuple(describe_failure(failure) for failure in outcome.failures)
        made = labels.Outcome(
            output_uri=outcome.output_uri,
            output_document_id=outcome.output_document_id,
            output_name=output_name,
            input_document_id=outcome.input_document_id,
            page_count=outcome.page_count + len(failures),
            failed_pages=len(failures),
            failures=failures,
            notes=outcome.notes,
        )
        await self._write_last(labels.outcome_label(made))

    async def failed(self, error: DocmillError) -> None:
        """Why the job failed; to be called before its flow run is told Failed."""
        await self._write_last(labels.error_label(error.to_dict()) | labels.progress_label(self._progress))

    def holds_lease(self) -> bool:
        """Whether no two writes, and the last one and now, are so far apart that this job may be given up.

        By a clock that also counts while the process or the machine is stopped. A lease that was lost does
        not come back: a process that wakes can write to the run of its successor as well.
        """
        return not self._lapsed and _clock() - self._last_contact < self._patience.lost

    async def _write_last(self, new: dict[str, str]) -> None:
        await self._write(new)
        if self._abandoned:
            # A write that was given up may reach the database after this one, and undo it.
            await asyncio.sleep(WRITE_SECONDS)
            await self._write(new)

    async def _write(self, new: dict[str, str]) -> None:
        # One at a time: the server merges a patch without a lock, and an outcome was once lost to a progress.
        async with self._writing:
            begun = _clock()
            await self._client.update_flow_run_labels(self._flow_run_id, dict(new))
            self._lapsed |= begun - self._last_contact >= self._patience.lost
            self._last_contact = begun

    async def _keep_writing(self) -> None:
        # An aborted job lives on until it has stopped, and past its claim until it is done.
        pause = 0.0 if self._written is None else WRITE_SECONDS
        while self._abort.reason in {None, AbortReason.ABORTED}:
            await asyncio.sleep(pause)
            pause = WRITE_SECONDS
            progress = self._progress
            quiet = _clock() - self._last_contact
            if progress == self._written and quiet < self._patience.beat:
                continue
            try:
                # Within a bound: while the API hangs, the look at the clock below must go on.
                async with asyncio.timeout(self._patience.beat):
                    cleared = labels.CLEARED if self._written is None else {}
                    await self._write(cleared | labels.progress_label(progress))
                self._written = progress
            except ObjectNotFound:
                self._abort.trigger(AbortReason.DELETED)
            except Exception as error:
                self._abandoned = True
                log.debug("progress of %s not written: %r", self._flow_run_id, error)
                quiet = _clock() - self._last_contact
                if quiet > self._patience.lost:
                    log.error("no contact to the Prefect API for %.0f s: the job stops here", quiet)
                    self._abort.trigger(AbortReason.LOST)


def _clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _now() -> str:
    return iso_utc(datetime.now(UTC))
