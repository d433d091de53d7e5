"""Many who wait for the ends of flow runs, and the few requests that it takes."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Running

from docmill.errors import PrefectUnavailable
from docmill.jobs.background import end_task
from docmill.jobs.waiting import AT_ONCE, Waiting

IDS = [uuid.UUID(int=n) for n in range(300)]


class Server:
    """Flow runs that are looked at; those in `over` have ended, those in `gone` are not there."""

    def __init__(self) -> None:
        self.looks: list[list[uuid.UUID]] = []
        self.over: set[uuid.UUID] = set()
        self.gone: set[uuid.UUID] = set()
        self.down = False
        self._looked = asyncio.Event()

    async def next_look(self) -> None:
        self._looked.clear()
        await self._looked.wait()

    async def read(self, ids):
        self.looks.append(list(ids))
        self._looked.set()
        if self.down:
            raise PrefectUnavailable("down")
        flow = uuid.UUID(int=1)
        states = {id: Completed() if id in self.over else Running() for id in ids if id not in self.gone}
        return [FlowRun(id=id, flow_id=flow, state=state) for id, state in states.items()]


def test_all_are_told_by_one_request_for_many():
    async def wait() -> None:
        server = Server()
        waiting = Waiting(server.read)
        ends = [asyncio.create_task(waiting.end_of(id)) for id in [*IDS, IDS[0]]]
        await server.next_look()
        assert max(map(len, server.looks)) == AT_ONCE
        server.over, server.gone = set(IDS[1:]), {IDS[0]}
        first, *others, second = await asyncio.gather(*ends)
        assert first is second is None
        assert [run.id for run in others] == IDS[1:]
        await waiting.close()

    asyncio.run(wait())


def test_an_error_is_told_and_who_gives_up_is_forgotten():
    async def wait() -> None:
        server = Server()
        waiting = Waiting(server.read)
        patient, other = (asyncio.create_task(waiting.end_of(id)) for id in IDS[:2])
        await server.next_look()
        await end_task(other)
        await server.next_look()  # perhaps begun before
        await server.next_look()
        assert server.looks[-1] == [IDS[0]]
        server.down = True
        with pytest.raises(PrefectUnavailable):
            await patient
        server.down, server.over = False, {IDS[2]}
        ended = await waiting.end_of(IDS[2])
        assert ended and ended.id == IDS[2]
        await waiting.close()

    asyncio.run(wait())
