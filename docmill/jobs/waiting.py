"""Waits for many flow runs at once by one request a look, however many jobs a program waits for.

A hundred loops of their own, each asking every second, once kept a server from running the jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from docmill.jobs.background import end_task

FIRST_LOOK, LAST_LOOK = 0.05, 1.0
#: Flow runs that one request of Prefect's API gives.
AT_ONCE = 200

Read = Callable[[Sequence[UUID]], Awaitable[Sequence[FlowRun]]]


class Waiting:
    """Who waits for the end of which flow run; `read` gets those of some ids. For use in one event loop."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._ends: dict[UUID, asyncio.Future[FlowRun | None]] = {}
        self._waiters: dict[UUID, int] = {}
        self._looking: asyncio.Task[None] | None = None
        self._pause = FIRST_LOOK

    async def end_of(self, flow_run_id: UUID) -> FlowRun | None:
        """The flow run when it has ended; None where there is none any more. Raises what `read` raises."""
        end = self._ends.setdefault(flow_run_id, asyncio.get_running_loop().create_future())
        self._waiters[flow_run_id] = self._waiters.get(flow_run_id, 0) + 1
        self._pause = FIRST_LOOK
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            return await asyncio.shield(end)
        finally:
            self._waiters[flow_run_id] -= 1
            if not self._waiters[flow_run_id]:
                del self._waiters[flow_run_id]
                self._ends.pop(flow_run_id, None)

    async def close(self) -> None:
        """Look no more; nobody may wait any more."""
        if self._looking:
            await end_task(self._looking)

    async def _look(self) -> None:
        while self._ends:
            await asyncio.sleep(self._pause)
            self._pause = min(LAST_LOOK, self._pause * 1.5)
            ids = list(self._ends)
            for first in range(0, len(ids), AT_ONCE):
                await self._look_at(ids[first : first + AT_ONCE])

    async def _look_at(self, ids: Sequence[UUID]) -> None:
        try:
            runs = {run.id: run for run in await self._read(ids)}
        except Exception as error:
            for end in self._take(ids):
                end.set_exception(error)
                end.exception()  # told, even where nobody waits any more
            return
        for each in ids:
            run = runs.get(each)
            if run is None or (run.state and run.state.is_final()):
                for end in self._take([each]):
                    end.set_result(run)

    def _take(self, ids: Sequence[UUID]) -> list[asyncio.Future[FlowRun | None]]:
        found = [self._ends.pop(each) for each in ids if each in self._ends]
        return [end for end in found if not end.done()]
