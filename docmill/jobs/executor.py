"""Runs flow runs as coroutines in this process: the one executor behind the embedded runner and the worker.

A docmill flow does its heavy work in sandbox processes and its blocking calls in threads, so a flow run needs
no process of its own. The executor's event loop lives in a thread of its own: signals stay with the program,
and a program that blocks its main thread does not stop its jobs.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import AsyncClientContext, SyncClientContext
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.flow_engine import run_flow_async
from prefect.states import AwaitingRetry, Cancelled, Crashed

from docmill.errors import InvalidJobData
from docmill.jobs.background import BackgroundLoop, end_task
from docmill.jobs.claim import again
from docmill.jobs.failures import patient_client
from docmill.jobs.running import Ending, current_ending
from docmill.jobs.sweep import Sweeper
from docmill.jobs.watch import AbortReason, keep_watching, stop_job

log = logging.getLogger(__name__)

T = TypeVar("T")

# What a worker of docmill's runs: its own flows. Anything else needs a process, and a worker that gives one.
FLOWS_PACKAGE = "docmill.flows."
# How long a job that is told to stop may take: its sandbox is killed after the settings' abort grace.
STOP_SECONDS = 10.0


class Executor:
    """Runs docmill's flow runs in a background loop, watches them, and recovers those of dead peers.

    Made, `start`ed and `stop`ped by the thread that owns it; `submit` and `call` are for any thread. The
    Prefect settings that hold where it is made hold for the jobs. With `reruns`, dead peers' jobs are run
    again where their deployment asks for it.
    """

    def __init__(self, *, reruns: bool = True) -> None:
        with patient_client():
            self._background = BackgroundLoop("docmill-executor")
        self._runs: dict[UUID, asyncio.Task[State[Any] | None]] = {}
        self._reruns = reruns
        self._closing = asyncio.Event()
        self._life: Future[None] | None = None

    def start(self) -> None:
        """Connect to the Prefect API and begin to watch; raises what that raises."""
        started: Future[None] = Future()
        self._life = self._background.call(self._live(started))
        started.result()

    def stop(self, *, drain_seconds: float = 0.0, hand_back: bool = True) -> None:
        """End: give running jobs `drain_seconds` to finish, then stop the rest, and close the loop.

        A stopped job is handed back (AwaitingRetry, for another worker) or, without `hand_back`, Cancelled.
        """
        life, self._life = self._life, None
        if life is None:
            return
        self._background.call(self._wind_up(drain_seconds, hand_back)).result()
        life.result()
        self._background.stop()

    def submit(self, run: FlowRun, flow: Flow[..., Any]) -> Future[State[Any] | None]:
        """Run a flow run; the future gives its final state, or None where it is no longer ours to end."""
        return self.call(self.run(run, flow))

    def call(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the executor's loop."""
        return self._background.call(work)

    @property
    def background(self) -> BackgroundLoop:
        return self._background

    async def _live(self, started: Future[None]) -> None:
        try:
            async with AsyncExitStack() as stack:
                # One client, and so one pool of connections, for all runs: engines look for it here. They
                # also ask for a synchronous one, which they do not use, and which takes 4 ms to make.
                await stack.enter_async_context(AsyncClientContext.get_or_create())
                stack.enter_context(SyncClientContext.get_or_create())
                await stack.enter_async_context(keep_watching())
                self._background.adopt_context()
                sweeping = asyncio.create_task(Sweeper(reruns=self._reruns).keep_sweeping())
                started.set_result(None)
                await self._closing.wait()
                await end_task(sweeping)
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    async def run(self, run: FlowRun, flow: Flow[..., Any]) -> State[Any] | None:
        """`submit`, to be awaited in the executor's loop."""
        task = asyncio.create_task(_execute(run, flow))
        self._runs[run.id] = task
        try:
            return await task
        except asyncio.CancelledError:
            # Stopped by `_wind_up`, which reports it; not the end of whoever waits for this.
            return None
        finally:
            del self._runs[run.id]

    async def _wind_up(self, drain_seconds: float, hand_back: bool) -> None:
        if self._runs and drain_seconds > 0:
            await asyncio.wait(self._runs.values(), timeout=drain_seconds)
        async with get_client() as client:
            await asyncio.gather(
                *(_stop(client, id, task, hand_back=hand_back) for id, task in self._runs.items())
            )
        self._closing.set()


def load_docmill_flow(entrypoint: str | None) -> Flow[..., Any]:
    """The flow of a deployment's entrypoint, `docmill.flows.<module>.<function>` or with a colon before it.

    Raises `InvalidJobData` for any other, since it would run inside the executor's own process.
    """
    module, _, name = (entrypoint or "").replace(":", ".").rpartition(".")
    if not f"{module}.".startswith(FLOWS_PACKAGE):
        raise InvalidJobData(
            f"a docmill worker runs docmill's own flows only, not {entrypoint or 'one without entrypoint'}",
            hint="deploy other flows to a work pool of another type, such as process",
        )
    try:
        flow = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise InvalidJobData(
            f"there is no flow {entrypoint} in this version of docmill", hint="deploy docmill's flows again"
        ) from None
    if not isinstance(flow, Flow):
        raise InvalidJobData(f"{entrypoint} is no flow")
    return flow


async def _execute(run: FlowRun, flow: Flow[..., Any]) -> State[Any] | None:
    """Run one flow run to its end. Never raises for what the flow does: its state tells."""
    # Each flow run is a task with a context of its own.
    ending = Ending(run.id)
    current_ending.set(ending)
    try:
        state = await run_flow_async(
            flow, flow_run=_unobserved(run), parameters=run.parameters, return_type="state"
        )
    except (Abort, Pause) as signal:
        log.info("flow run %s: %s", run.id, signal)
        return await _settle(ending, None)
    except ObjectNotFound:
        log.info("flow run %s was deleted while it ran", run.id)
        return None
    except Exception:
        # What a flow raises is its Failed state already; this is the engine's own trouble.
        log.exception("flow run %s could not be run", run.id)
        return await _settle(ending, None)
    return await _settle(ending, state)


def _unobserved(run: FlowRun) -> FlowRun:
    """The flow run as Prefect's engine is given it: without its deployment, which the engine reads again.

    For a run of a deployment the engine starts a thread, an event loop and a subscription that look whether
    the run was suspended, and holds up the loop of all jobs while they start and end. `docmill.jobs.watch`
    looks for that as well, with one subscription for all.
    """
    return run.model_copy(update={"deployment_id": None})


async def _settle(ending: Ending, state: State[Any] | None) -> State[Any] | None:
    """See to it that a run whose engine has ended does not stay Cancelling for ever.

    An abort or a suspension that came after the point of no return is one too many: the run is Completed. So
    is one whose Completed did not reach the server, which Prefect's engine takes for a failure of the flow.
    """
    if state is not None and state.is_final() and (state.is_completed() or not ending.completed):
        return state
    async with get_client() as client:
        try:
            run = await client.read_flow_run(ending.flow_run_id)
            late = ending.completed and run.state and (run.state.is_paused() or run.state.is_failed())
            if late or (run.state and run.state.is_cancelling()):
                end = again(ending.completed) if ending.completed else Cancelled(message="aborted")
                await client.set_flow_run_state(run.id, end, force=end.is_completed())
                run = await client.read_flow_run(run.id)
        except ObjectNotFound:
            return None
        return run.state


async def _stop(
    client: PrefectClient, flow_run_id: UUID, task: asyncio.Task[State[Any] | None], *, hand_back: bool
) -> None:
    """Stop one run and say what becomes of it, without a moment in which it reads as completed and is not."""
    reason = AbortReason.STOPPED if hand_back else AbortReason.ABORTED
    deadline = time.monotonic() + STOP_SECONDS
    while not task.done() and time.monotonic() < deadline:
        # Again and again, since a run that only just starts is not watched yet.
        stop_job(flow_run_id, reason)
        await asyncio.wait([task], timeout=0.1)
    await end_task(task)
    try:
        run = await client.read_flow_run(flow_run_id)
        if run.state is None or run.state.is_final():
            return
        await client.set_flow_run_state(flow_run_id, _state_after_stop(run, hand_back))
    except ObjectNotFound:
        pass


def _state_after_stop(run: FlowRun, hand_back: bool) -> State[Any]:
    if not hand_back or (run.state and run.state.is_cancelling()):
        return Cancelled(message="the program that ran it ended")
    if run.deployment_id and run.work_queue_id:
        return AwaitingRetry(message="its worker stopped")
    return Crashed(message="its worker stopped")
