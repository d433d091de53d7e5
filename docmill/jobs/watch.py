"""Notices that a running job is to stop: aborted, suspended, deleted, or taken over by another process.

One watcher serves all the flow runs of an event loop: a subscription to Prefect's events (15 to 40 ms from
the abort to here), with a slow poll behind it for what the subscription misses, such as a deleted run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from uuid import UUID
from weakref import WeakKeyDictionary

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

from docmill.jobs.background import end_task

log = logging.getLogger(__name__)

# The poll costs the server one request for all runs of a process; it bounds how late a missed event is seen.
POLL_SECONDS = 5.0
RECONNECT_SECONDS = 1.0
_PAGE = 200
_RESOURCE = "prefect.flow-run."
# Prefect's name of the state that Suspend sets, in its UI or by `suspend_flow_run`.
_SUSPENDED = "Suspended"


class AbortReason(StrEnum):
    """Why a running job is to stop."""

    ABORTED = "aborted"
    """Somebody asked for it: the job ends Cancelled."""
    DELETED = "deleted"
    """Its flow run is gone: there is nothing to report to."""
    SUPERSEDED = "superseded"
    """The run was given up for dead and recovered: whatever it does now belongs to another process."""
    LOST = "lost"
    """The API was out of reach for so long that the run may be recovered elsewhere at any moment."""
    SUSPENDED = "suspended"
    """Somebody suspended it: it begins anew once it is resumed."""
    STOPPED = "stopped"
    """This process ends; its executor hands the run back."""


class AbortEvent(asyncio.Event):
    """Set when a job is to stop; `reason` then says why.

    The first reason stays, but for the one that outdoes the others: a run that was taken over or deleted is
    not this process's to end.
    """

    reason: AbortReason | None = None

    def trigger(self, reason: AbortReason) -> None:
        if not self.is_set() or reason in {AbortReason.SUPERSEDED, AbortReason.DELETED}:
            self.reason = reason
            self.set()


@asynccontextmanager
async def abort_event(flow_run_id: UUID) -> AsyncIterator[AbortEvent]:
    """An event that is set when this flow run is to stop, watched for as long as the context lasts."""
    watcher = _watcher()
    async with watcher.watching():
        event = watcher.add(flow_run_id)
        try:
            yield event
        finally:
            watcher.discard(flow_run_id, event)


@asynccontextmanager
async def keep_watching() -> AsyncIterator[None]:
    """Keep this loop's subscription open between jobs, for a process that runs many."""
    async with _watcher().watching():
        yield


def stop_job(flow_run_id: UUID, reason: AbortReason) -> None:
    """Set the event of a job that runs in this loop, if it is watched (yet)."""
    _watcher().trigger(flow_run_id, reason)


def stop_all_jobs(reason: AbortReason) -> None:
    """Set the event of every job that is watched in this loop."""
    _watcher().trigger_all(reason)


class _Watcher:
    """The flow runs of one event loop, the subscription and the poll; both run while somebody watches."""

    def __init__(self) -> None:
        self._events: dict[UUID, AbortEvent] = {}
        self._users = 0
        self._look = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        self._users += 1
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                tasks, self._tasks = self._tasks, []
                await end_task(*tasks)

    def add(self, flow_run_id: UUID) -> AbortEvent:
        event = AbortEvent()
        self._events[flow_run_id] = event
        return event

    def discard(self, flow_run_id: UUID, event: AbortEvent) -> None:
        if self._events.get(flow_run_id) is event:
            del self._events[flow_run_id]

    def trigger(self, flow_run_id: UUID, reason: AbortReason) -> None:
        if watched := self._events.get(flow_run_id):
            watched.trigger(reason)

    def trigger_all(self, reason: AbortReason) -> None:
        for event in list(self._events.values()):
            event.trigger(reason)

    async def _listen(self) -> None:
        # Connecting takes a moment; the subscription begins with the events of the minute before.
        wanted = EventNameFilter(name=[_RESOURCE + name for name in ("Cancelling", "Cancelled", _SUSPENDED)])
        while True:
            try:
                async with get_events_subscriber(
                    filter=EventFilter(event=wanted), reconnect_on_clean_close=True
                ) as events:
                    async for event in events:
                        self._note(event)
            except Exception as error:
                # The poll sees what is missed meanwhile.
                log.debug("event subscription broke: %r", error)
            await asyncio.sleep(RECONNECT_SECONDS)

    def _note(self, event: Event) -> None:
        if event.event == _RESOURCE + _SUSPENDED:
            # Of the minute before, perhaps, and the run has been resumed.
            self._look.set()
            return
        with suppress(ValueError):
            self.trigger(UUID(event.resource.id.removeprefix(_RESOURCE)), AbortReason.ABORTED)

    async def _poll(self) -> None:
        async with get_client() as client:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._look.wait(), POLL_SECONDS)
                self._look.clear()
                asked = dict(self._events)
                try:
                    ids = list(asked)
                    for start in range(0, len(ids), _PAGE):
                        page = ids[start : start + _PAGE]
                        runs = await client.read_flow_runs(
                            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=page)), limit=_PAGE
                        )
                        found = {run.id: run for run in runs}
                        for flow_run_id in page:
                            if reason := _reason_to_stop(found.get(flow_run_id)):
                                asked[flow_run_id].trigger(reason)
                except Exception as error:
                    log.debug("poll of running jobs failed: %r", error)


def _reason_to_stop(run: FlowRun | None) -> AbortReason | None:
    if run is None:
        return AbortReason.DELETED
    match run.state_type:
        case StateType.CANCELLING | StateType.CANCELLED:
            return AbortReason.ABORTED
        case StateType.PAUSED if run.state_name == _SUSPENDED:
            return AbortReason.SUSPENDED
        case StateType.RUNNING | StateType.PAUSED:
            return None
        case _:
            return AbortReason.SUPERSEDED


_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watcher] = WeakKeyDictionary()


def _watcher() -> _Watcher:
    return _watchers.setdefault(asyncio.get_running_loop(), _Watcher())
