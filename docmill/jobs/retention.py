"""Removes finished jobs that are older than an installation keeps them, and tells which runs have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from docmill.jobs.client import delete_run
from docmill.jobs.names import FLOW_NAMES
from docmill.targets import folder_of

_PAGE = 200
_AT_ONCE = 8


async def delete_old_jobs(retention: float, *, dry_run: bool = False) -> list[str]:
    """Delete runs of docmill's flows that ended more than `retention` seconds ago, with their artifacts.

    A `retention` of 0 keeps all. Returns the names of those that this call deleted (or would).
    """
    if not retention:
        return []
    before = datetime.now(UTC) - timedelta(seconds=retention)
    deleted: list[str] = []
    async with get_client() as client:
        while runs := await _ended(
            client, {"end_time": {"before_": before}}, offset=len(deleted) if dry_run else 0
        ):
            mine = [run.name for run in runs] if dry_run else await _delete(client, runs)
            if not mine:
                # What could not be deleted, as another cleanup was quicker or the server failed, comes again.
                break
            deleted.extend(mine)
    return deleted


async def ended_runs(ids: Collection[UUID]) -> set[UUID]:
    """Which of these flow runs Prefect knows and has seen the end of."""
    ended: set[UUID] = set()
    async with get_client() as client:
        for chunk in _chunks(list(ids)):
            ended |= {run.id for run in await _ended(client, {"id": {"any_": [str(id) for id in chunk]}})}
    return ended


async def folders_of_unlucky(since: timedelta) -> dict[str, set[str]]:
    """Where runs that may have left something were to publish: target folders, each with the ids of its runs.

    They ended in this time. A process that was killed had no chance to take back what it had staged, be its
    run Crashed, Cancelled in its place, or Completed by a rerun; one that failed may have met a store that
    failed to take it back.
    """
    folders: dict[str, set[str]] = {}
    after = {"end_time": {"after_": datetime.now(UTC) - since}}
    async with get_client() as client:
        offset = 0
        while runs := await _ended(client, after, offset=offset):
            offset += len(runs)
            for run in runs:
                at_once = run.state_type is StateType.COMPLETED and (run.run_count or 1) == 1
                if (target := _target(run)) and not at_once:
                    folders.setdefault(folder_of(target), set()).add(str(run.id))
    return folders


def _target(run: FlowRun) -> str | None:
    request = run.parameters.get("request")
    target = request.get("target") if isinstance(request, dict) else None
    return target if isinstance(target, str) else None


async def _ended(client: PrefectClient, conditions: dict[str, Any], offset: int = 0) -> list[FlowRun]:
    states = {"type": {"any_": sorted(TERMINAL_STATES)}}
    return await client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": list(FLOW_NAMES)}}),
        flow_run_filter=FlowRunFilter.model_validate(conditions | {"state": states}),
        sort=FlowRunSort.END_TIME_DESC,
        limit=_PAGE,
        offset=offset,
    )


async def _delete(client: PrefectClient, runs: Sequence[FlowRun]) -> list[str]:
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def delete(run: FlowRun) -> str | None:
        async with at_once:
            return run.name if await delete_run(client, run.id) else None

    return [name for name in await asyncio.gather(*map(delete, runs)) if name]


def _chunks(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for first in range(0, len(ids), _PAGE):
        yield ids[first : first + _PAGE]
