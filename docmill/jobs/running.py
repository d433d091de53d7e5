"""A job as its own flow run sees it: told when to stop, reporting, and ending in the state it deserves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.exceptions import Abort
from prefect.states import AwaitingRetry, Cancelled, Completed, Failed

from docmill.errors import DocmillError, JobAborted
from docmill.jobs import labels, status
from docmill.jobs.claim import Ownership, again
from docmill.jobs.failures import is_outage, patient_client, prefect_failures
from docmill.jobs.report import JobReporter, Patience
from docmill.jobs.watch import AbortEvent, AbortReason, abort_event
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.settings import Settings
from docmill.wording import describe_end, label

log = logging.getLogger(__name__)

T = TypeVar("T")

# How long a job that has something to report waits for a Prefect API that does not answer, in seconds.
API_PATIENCE, API_PAUSE = 3600.0, 2.0
# So often a job goes back to its pool because the API failed it: a failure that stays is no outage.
MOST_RETURNS = 5


#: The flow runs that this process ran last.
ran_here: deque[UUID] = deque(maxlen=50)


class RunningJob:
    """What a flow and its tasks need of the job that they run: `abort`, `report` and the claim."""

    def __init__(self, client: PrefectClient, run: FlowRun, abort: AbortEvent, patience: Patience) -> None:
        assert run.state is not None, "a flow run that runs has a state"
        self.flow_run_id = run.id
        ran_here.append(run.id)
        self.abort = abort
        age = (datetime.now(UTC) - run.state.timestamp).total_seconds()
        earlier = labels.JobLabels.read(run.labels or {})
        anew = any((earlier.progress, earlier.outcome, earlier.error))
        self.report = JobReporter(client, run.id, abort, patience, age, anew)
        self.ownership = Ownership(client, run.id, run.state.id, abort, self.report.holds_lease)
        self.returns_to_pool = bool(run.deployment_id and run.work_queue_id)
        self.attempt = run.run_count or 1
        self._has_caller = run.deployment_id is None or run.parent_task_run_id is not None
        self._client = client

    async def claim_publication(self) -> None:
        """See `Ownership.claim_publication`."""
        await self.ownership.claim_publication()
        self.report.stage("publish")

    async def complete(self, state: State[Any]) -> State[Any]:
        """The Completed state as the flow is to return it, made to hold whatever came in between.

        After the claim the job is done, so an abort does not count any more, but Prefect rejects a Completed
        from Cancelling unless it is forced. To look whether there was an abort is not enough: it may come
        after the look. An executor forces it where it was rejected; alone, the job forces it beforehand.

        Prefect's `Abort` is raised in a process that was started for this run: nobody is there to be returned
        the state, and the engine would tell it once more, which moves the time at which the run ended.
        """
        ending = current_ending.get()
        if ending and ending.flow_run_id == self.flow_run_id:
            ending.completed = state
        else:
            # A copy: Prefect's client marks a state that it sends, and its engine takes that for another's.
            force = partial(self._client.set_flow_run_state, self.flow_run_id, again(state), force=True)
            await until_answered(force)
            if not self._has_caller:
                raise Abort("the job is done and has said so")
        return state


@dataclass(slots=True)
class Ending:
    """For the executor of a flow run: whether its job was done, even if Prefect refused to hear of it."""

    flow_run_id: UUID
    completed: State[Any] | None = None


current_ending: ContextVar[Ending | None] = ContextVar("docmill_ending", default=None)
_current: ContextVar[RunningJob | None] = ContextVar("docmill_running_job", default=None)


def current_job() -> RunningJob | None:
    """The job whose flow or task runs here; None outside of one."""
    return _current.get()


async def run_job(
    work: Callable[[], Awaitable[ConvertOutcome]], *, output_name: str | None = None
) -> State[Any]:
    """Run a job's work inside its flow run and return the terminal state that the flow is to return.

    Completed, with the name WithErrors where pages were left out; Failed with the typed error; Cancelled
    after an abort; AwaitingRetry where it lost contact to the API and nobody has taken it over. A run that
    was taken over or deleted ends without any report: Prefect's `Abort` is raised, since the flow run is no
    longer this process's to judge.
    """
    async with running_job() as job:
        try:
            outcome = await work()
            await until_answered(partial(job.report.finished, outcome, output_name=output_name))
        except Exception as error:
            return await _ended_by(error, job)
        return await job.complete(_completed(outcome))


@asynccontextmanager
async def running_job() -> AsyncIterator[RunningJob]:
    """Watch, report and show that it is alive the job whose flow this is."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("running_job is for the inside of a flow")
    run = context.flow_run
    settings = Settings.from_env()
    with patient_client():
        async with get_client() as client, abort_event(run.id) as abort:
            await _ensure_pair(client, run, settings.default_user)
            job = RunningJob(client, run, abort, Patience(settings.contact_timeout))
            if (run.state and run.state.is_cancelling()) or await _was_cancelled(client, run):
                abort.trigger(AbortReason.ABORTED)
            token = _current.set(job)
            try:
                async with job.report.reporting():
                    yield job
            finally:
                _current.reset(token)


async def _was_cancelled(client: PrefectClient, run: FlowRun) -> bool:
    """Whether the run was told Cancelled while the process that a worker started for it was on its way.

    Prefect lets Running follow that. A person's Retry comes through Scheduled.
    """
    if run.deployment_id is None or current_ending.get():
        return False
    states = sorted(await client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
    return len(states) > 1 and states[-2].is_cancelled()


async def _ended_by(error: Exception, job: RunningJob) -> State[Any]:
    await _must_hold(job)
    if job.abort.reason is AbortReason.LOST:
        # The API is back and nobody has taken the run over: it goes back to its pool as it is.
        return AwaitingRetry(message="no contact to the Prefect API")
    if job.abort.is_set() or isinstance(error, JobAborted):
        return Cancelled(message="aborted")
    if is_outage(error):
        if job.returns_to_pool and job.attempt < MOST_RETURNS:
            return AwaitingRetry(message="the Prefect API failed")
        error = _as_unavailable(error)
    if not isinstance(error, DocmillError):
        raise error
    await job.report.failed(error)
    return Failed(message=str(error), data=error)


def _as_unavailable(error: Exception) -> Exception:
    try:
        with prefect_failures():
            raise error
    except DocmillError as told:
        return told


async def _must_hold(job: RunningJob) -> None:
    """Raise Prefect's `Abort`, which ends a flow without a report, unless the run is still this process's.

    Whoever was thought dead and is alive must not overwrite the states of its successor.
    """
    if job.abort.reason in {None, AbortReason.ABORTED, AbortReason.LOST}:
        holds = await until_answered(job.ownership.holds)
        if holds and (job.abort.reason is not AbortReason.LOST or job.returns_to_pool):
            return
    if job.abort.reason is AbortReason.ABORTED:
        return
    level = logging.INFO if job.abort.reason is AbortReason.SUSPENDED else logging.WARNING
    log.log(level, "flow run %s is no longer this process's: %s", job.flow_run_id, job.abort.reason)
    raise Abort(f"the flow run is no longer this process's: {job.abort.reason}")


async def until_answered(call: Callable[[], Awaitable[T]]) -> T:
    """Call the Prefect API again and again while it does not answer, for an hour at most."""
    deadline = time.monotonic() + API_PATIENCE
    while True:
        try:
            return await call()
        except Exception as error:
            if not is_outage(error) or time.monotonic() > deadline:
                raise
            await asyncio.sleep(API_PAUSE)


def _completed(outcome: ConvertOutcome) -> State[Any]:
    failed = len(outcome.failures)
    message = describe_end(outcome.page_count + failed, failed)
    return Completed(name=status.WITH_ERRORS if failed else None, message=message, data=outcome)


async def _ensure_pair(client: PrefectClient, run: FlowRun, default_user: str) -> None:
    """Give a run that was not submitted with a pair of tokens its own, a name, and the tag of its user."""
    if labels.JobLabels.read(run.labels or {}).user_token:
        return
    user, job = status.tokens_of(run, default_user=default_user)
    await client.update_flow_run_labels(run.id, {labels.USER: user, labels.JOB: job})
    await client.update_flow_run(run.id, name=_name(run), tags=[*run.tags, labels.user_tag(user)])


def _name(run: FlowRun) -> str | None:
    request = (run.parameters or {}).get("request")
    return label(ConvertRequest.from_dict(request)) if isinstance(request, dict) else None
