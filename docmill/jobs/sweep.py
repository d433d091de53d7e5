"""Finds the jobs of processes that are gone, and tells or reruns them.

A job that runs writes to its flow run every ten seconds at least (`docmill.jobs.report`), which moves the
run's `updated` time. A sweeper looks as often; a run that has not moved for 90 s on the sweeper's own clock
has no process any more. Every docmill worker and every embedded runner sweeps, and so does the cleanup flow,
whichever comes first. All times follow from one setting, `contact_timeout`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed

from docmill.jobs.claim import again
from docmill.jobs.labels import JobLabels
from docmill.jobs.names import FLOW_NAMES
from docmill.jobs.report import Patience
from docmill.jobs.status import MAY_BE_IN_PLACE, PUBLISHING, WITH_ERRORS
from docmill.settings import Settings

log = logging.getLogger(__name__)

# A Pending run of a worker that starts an infrastructure for it: none takes this long. A docmill worker's is
# given up as a running one is, also where the worker died before it could leave its name.
ORPHAN_PENDING_SECONDS = 900.0
RERUN_DELAY = timedelta(seconds=5)
RERUNS_VARIABLE = "reruns"
NOT_FINAL = frozenset(StateType) - TERMINAL_STATES
_WITH_PROCESS = frozenset({StateType.RUNNING, StateType.CANCELLING, StateType.PENDING})
_PAGE = 200


class Sweeper:
    """Remembers when each running job last moved; `sweep` is to be called every `patience.beat` or so.

    With `reruns`, a job is run again as often as its deployment's job variable `reruns` says; 0 by default.
    """

    def __init__(self, patience: Patience | None = None, *, reruns: bool = True) -> None:
        self._patience = patience or Patience(Settings.from_env().contact_timeout)
        self._reruns = reruns
        self._seen: dict[UUID, tuple[datetime | None, float]] = {}
        self._last = -math.inf
        self._pool_types: dict[str, str] = {}

    async def keep_sweeping(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.sweep()
            except Exception as error:
                log.debug("sweep failed: %r", error)
            await asyncio.sleep(self._patience.beat)

    async def sweep(self) -> list[FlowRun]:
        """Look once; returns the runs that were found dead and told so."""
        async with get_client() as client:
            runs = await unfinished_runs(client, _WITH_PROCESS)
            now = time.monotonic()
            if now - self._last > 3 * self._patience.beat:
                # While this process could not look, the API may have been away for all: each job gets its
                # time anew, to show that it is alive.
                self._seen = {}
            self._last = now
            seen: dict[UUID, tuple[datetime | None, float]] = {}
            dead: list[FlowRun] = []
            for run in runs:
                updated, since = self._seen.get(run.id, (None, now))
                if updated != run.updated:
                    since = now
                seen[run.id] = (run.updated, since)
                if now - since > self._patience.dead and (
                    now - since > ORPHAN_PENDING_SECONDS or not await self._has_infrastructure(client, run)
                ):
                    dead.append(run)
            self._seen = seen
            return [run for run in dead if await recover(client, run, reruns=self._reruns)]

    async def _has_infrastructure(self, client: PrefectClient, run: FlowRun) -> bool:
        """Whether a process, or more than that, may just be being started for this run."""
        if run.state_type is not StateType.PENDING:
            return False
        pool = run.work_pool_name
        if pool is None:
            return True
        if pool not in self._pool_types:
            try:
                self._pool_types[pool] = (await client.read_work_pool(pool)).type
            except ObjectNotFound:
                return True
        return self._pool_types[pool] != "docmill"


async def sweep_once(patience: Patience | None = None) -> list[FlowRun]:
    """`Sweeper.sweep` for whoever does not keep sweeping; returns the runs that were found dead.

    Takes a moment where every run has moved lately, and `patience.dead` where one has not, to be sure of it.
    """
    patience = patience or Patience(Settings.from_env().contact_timeout)
    sweeper = Sweeper(patience)
    await sweeper.sweep()
    async with get_client() as client:
        runs = await unfinished_runs(client, _WITH_PROCESS)
    # By this machine's clock, which may differ from the server's: a hint that there is something to wait for.
    lately = datetime.now(UTC) - timedelta(seconds=patience.dead / 2)
    if all(run.updated and run.updated > lately for run in runs):
        return []
    found: list[FlowRun] = []
    deadline = time.monotonic() + patience.dead + patience.beat
    while time.monotonic() < deadline:
        await asyncio.sleep(patience.beat)
        found += await sweeper.sweep()
    return found


class Vigil:
    """Ends aborted jobs that somebody waits for, where the process that was to end them is gone.

    Prefect's `process` worker leaves a run in Cancelling for ever where the abort came while its process
    started: that ends without a word, and there may be no docmill worker that sweeps.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._seen: dict[UUID, tuple[datetime | None, float]] = {}

    async def look(self, client: PrefectClient, runs: Iterable[FlowRun]) -> None:
        """To be called with the runs each time that they were read."""
        now = time.monotonic()
        for run in runs:
            updated, since = self._seen.pop(run.id, (None, now))
            if run.state_type is not StateType.CANCELLING:
                continue
            self._seen[run.id] = (run.updated, since if updated == run.updated else now)
            if updated == run.updated and now - since > self._patience.dead:
                await recover(client, run, reruns=False)


async def recover(client: PrefectClient, seen: FlowRun, *, reruns: bool = True) -> bool:
    """Tell a dead run what it deserves (`judge`).

    `seen` is the run as it was found; False where it has moved since, or proves to be alive.
    """
    try:
        run = await client.read_flow_run(seen.id)
        if run.updated != seen.updated or run.state is None or seen.state is None:
            return False
        verdict = await judge(client, run, "the process that ran it is gone", reruns=reruns)
        # Prefect lets a run that is being cancelled become nothing but Cancelled unless it is forced.
        force = run.state.is_cancelling() and not verdict.is_cancelled()
        result = await client.set_flow_run_state(run.id, verdict, force=force)
        if result.state is None or result.state.id == run.state.id:
            return False
        return await _stands(client, run, result.state)
    except ObjectNotFound:
        return False


async def judge(client: PrefectClient, run: FlowRun, gone: str, *, reruns: bool) -> State[Any]:
    """The state that a dead run deserves; `gone` says how it died.

    Past the point of no return (`docmill.jobs.claim`) an abort does not count any more: a job that has noted
    its outcome was done, and of one that has not nobody knows whether its output is in place.
    """
    states = sorted(await client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
    claimed = _has_claimed(states)
    outcome = JobLabels.read(run.labels or {}).outcome
    if claimed and outcome and not any(state.is_completed() for state in states):
        return Completed(name=WITH_ERRORS if outcome.failed_pages else None, message=f"done; {gone}")
    if run.state_type is StateType.CANCELLING:
        if not claimed:
            return Cancelled(message=f"aborted; {gone}")
    elif reruns and await _reruns_left(client, run, states):
        return AwaitingRetry(scheduled_time=datetime.now(UTC) + RERUN_DELAY, message=gone)
    return Crashed(message=f"{gone}; {MAY_BE_IN_PLACE}" if claimed else gone)


def _has_claimed(states: list[State[Any]]) -> bool:
    """Whether the run's last attempt went past the point of no return."""
    for state in reversed(states):
        if state.is_running() and state.name == PUBLISHING:
            return True
        if state.is_pending() or state.is_scheduled():
            return False
    return False


async def _reruns_left(client: PrefectClient, run: FlowRun, states: list[State[Any]]) -> bool:
    if run.deployment_id is None or run.work_queue_id is None:
        return False
    try:
        deployment = await client.read_deployment(run.deployment_id)
    except ObjectNotFound:
        return False
    variables = {**(deployment.job_variables or {}), **(run.job_variables or {})}
    try:
        allowed = int(variables.get(RERUNS_VARIABLE) or 0)
    except (TypeError, ValueError):
        return False
    if allowed < 1:
        return False
    return sum(state.name == "AwaitingRetry" for state in states) < allowed


async def _stands(client: PrefectClient, before: FlowRun, verdict: State[Any]) -> bool:
    """Whether nothing came between the state that was judged and the verdict.

    If something did, the process is alive: its state is put back. It looks the same way after it has claimed
    the publication (`docmill.jobs.claim`), so of the two at least one sees the other.
    """
    states = sorted(await client.read_flow_run_states(before.id), key=lambda state: state.timestamp)
    ids = [state.id for state in states]
    if verdict.id not in ids or before.state is None or before.state.id not in ids:
        return True
    between = states[ids.index(before.state.id) + 1 : ids.index(verdict.id)]
    if not between:
        return True
    last = between[-1]
    if states[-1].id == verdict.id:
        log.info("flow run %s is alive after all: back to %s", before.id, last.name)
        await client.set_flow_run_state(before.id, again(last), force=True)
    return False


async def unfinished_runs(client: PrefectClient, kinds: Collection[StateType] = NOT_FINAL) -> list[FlowRun]:
    """The jobs' flow runs in these states, the oldest first."""
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(kinds)))
    runs: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOW_NAMES))),
            flow_run_filter=FlowRunFilter(state=states),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=_PAGE,
            offset=len(runs),
        )
        runs.extend(page)
        if len(page) < _PAGE:
            return runs
