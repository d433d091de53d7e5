"""Pages of jobs, from the newest, each with a cursor to the next."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from docmill.errors import InvalidJobData
from docmill.jobs.labels import user_tag
from docmill.jobs.models import StatusJobData
from docmill.jobs.names import FLOW_NAME

STATES: dict[str, tuple[StateType, ...]] = {
    "waiting": (StateType.SCHEDULED, StateType.PENDING, StateType.PAUSED),
    "running": (StateType.RUNNING, StateType.CANCELLING),
    "done": (StateType.COMPLETED,),
    "failed": (StateType.FAILED, StateType.CRASHED),
    "aborted": (StateType.CANCELLED,),
}
"""The states that jobs are listed by, and Prefect's."""

_MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs: of one user, in one of `STATES`, due at or after a time; None takes all."""

    user_token: str | None = None
    state: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs from the newest, and the cursor that gets the next page; None after the last."""

    jobs: tuple[StatusJobData, ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a page ended: the time of its last run, and the runs of that time that were given already."""

    before: datetime
    given: frozenset[str]

    def to_text(self) -> str:
        text = json.dumps([self.before.isoformat(), sorted(self.given)])
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def from_text(cls, text: str) -> _Position:
        try:
            before, given = json.loads(base64.urlsafe_b64decode(text.encode()))
            return cls(datetime.fromisoformat(before), frozenset(given))
        except (ValueError, TypeError):
            raise InvalidJobData(f"'{text}' is no cursor", hint="take it from the page before") from None


async def list_jobs(
    client: PrefectClient,
    wanted: JobFilter,
    status: Callable[[FlowRun], StatusJobData],
    *,
    limit: int,
    cursor: str | None,
) -> JobPage:
    """One page; raises `InvalidJobData` for a state, limit or cursor that is none.

    Jobs that come in meanwhile are newer, so pages neither repeat nor miss one that was there.
    """
    if wanted.state is not None and wanted.state not in STATES:
        raise InvalidJobData(f"'{wanted.state}' is no state of a job", hint=f"one of {', '.join(STATES)}")
    if limit < 1:
        raise InvalidJobData(f"a page of {limit} jobs is none")
    position = _Position.from_text(cursor) if cursor else None
    # One more than asked for tells whether there is a next page.
    size = min(_MAX_PAGE, limit + 1)
    streams = [
        _newest_first(client, wanted, conditions, position, size) for conditions in _conditions(wanted)
    ]
    jobs: list[StatusJobData] = []
    async for run in _merged(streams):
        found = status(run)
        if wanted.user_token is not None and found.user_token != wanted.user_token:
            continue
        if len(jobs) == limit:
            return JobPage(tuple(jobs), position.to_text() if position else None)
        jobs.append(found)
        position = _after(position, run)
    return JobPage(tuple(jobs))


def _conditions(wanted: JobFilter) -> list[dict[str, Any]]:
    """Filters that together find the jobs of the user; others may be among them.

    A run that was started without a pair has no tag of its user until it starts, but perhaps those of its
    deployment, and Prefect's filters know no 'or' between tags and the rest.
    """
    if wanted.user_token is None:
        return [{}]
    return [{"tags": {"all_": [user_tag(wanted.user_token)]}}, {"start_time": {"is_null_": True}}]


async def _newest_first(
    client: PrefectClient,
    wanted: JobFilter,
    conditions: dict[str, Any],
    position: _Position | None,
    size: int,
) -> AsyncIterator[FlowRun]:
    """The runs under these conditions after a position, read in pages as they are needed."""
    if wanted.state:
        conditions = conditions | {"state": {"type": {"any_": list(STATES[wanted.state])}}}
    while True:
        if wanted.since or position:
            period = {"after_": wanted.since, "before_": position.before if position else None}
            conditions = conditions | {"expected_start_time": period}
        limit = min(_MAX_PAGE, size + (len(position.given) if position else 0))
        runs = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW_NAME])),
            flow_run_filter=FlowRunFilter.model_validate(conditions),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=limit,
        )
        fresh = [run for run in runs if position is None or str(run.id) not in position.given]
        for run in fresh:
            position = _after(position, run)
            yield run
        if len(runs) < limit or not fresh:
            return


async def _merged(streams: Sequence[AsyncIterator[FlowRun]]) -> AsyncIterator[FlowRun]:
    """The runs of streams that are each newest first, newest first and each once."""
    heads = [(run, stream) for stream in streams if (run := await _next(stream))]
    given: set[UUID] = set()
    while heads:
        run, stream = heads.pop(max(range(len(heads)), key=lambda index: _time(heads[index][0])))
        if run.id not in given:
            given.add(run.id)
            yield run
        if following := await _next(stream):
            heads.append((following, stream))


async def _next(stream: AsyncIterator[FlowRun]) -> FlowRun | None:
    try:
        return await anext(stream)
    except StopAsyncIteration:
        return None


def _after(position: _Position | None, run: FlowRun) -> _Position:
    time = _time(run)
    given = position.given if position and position.before == time else frozenset[str]()
    return _Position(time, given | {str(run.id)})


def _time(run: FlowRun) -> datetime:
    time = run.expected_start_time or run.created
    assert time is not None, "a stored flow run has a time"
    return time
