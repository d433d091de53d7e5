"""Jobs in the background of this process, with no server set up: docmill starts one of its own for them.

with EmbeddedRunner() as runner:
    job = runner.run_convert_job("scan.tif", JobData(document_format=DocumentFormat.PDF))
    ...                                          # the program goes on meanwhile
    print(runner.wait(job.user_token, job.job_token).output_document_uri)
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Abort, ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, get_current_settings, temporary_settings
from prefect.states import Pending
from prefect.utilities.engine import propose_state

from docmill.jobs.background import BackgroundLoop, end_task
from docmill.jobs.client import abort_run
from docmill.jobs.deployments import deploy_convert
from docmill.jobs.executor import Executor, load_docmill_flow
from docmill.jobs.local import find_running
from docmill.jobs.names import EMBEDDED_DEPLOYMENT, FLOW_ENTRYPOINT
from docmill.jobs.neighbours import among_neighbours
from docmill.jobs.runner import StatusJobDataRunner
from docmill.jobs.server import EmbeddedServer, configured_url, embedded_home, settle
from docmill.jobs.submission import Submission
from docmill.jobs.sweep import judge, unfinished_runs
from docmill.settings import Settings

T = TypeVar("T")


class EmbeddedRunner(StatusJobDataRunner):
    """A runner that runs its jobs itself, in the background of this process.

    Without a Prefect server set up, and no `docmill up` on the same data folder, it starts one (2 to 7
    seconds, on `with` or the first call; `async with` and the awaitable calls do not block meanwhile) on a
    database in docmill's data folder and ends it with itself; with one, the jobs are there for all to see. At
    most `limit` jobs run at a time, the others wait in this process. At the end, jobs that are not finished
    are aborted; with `finish=True` they are waited for.
    """

    def __init__(
        self, settings: Settings | None = None, *, finish: bool = False, limit: int | None = None
    ) -> None:
        super().__init__(settings, deployment=EMBEDDED_DEPLOYMENT)
        self._finish = finish
        self._slots = asyncio.Semaphore(limit or max(2, 2 * self.settings.engine_workers))
        self._waiting: dict[UUID, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = ExitStack()
        self._process = os.getpid()
        self._executor: Executor | None = None

    def _after_fork(self) -> None:
        # The jobs and the server are the parent's. So `close`, to which a child comes that leaves a `with`
        # of its parent's, does nothing.
        super()._after_fork()
        self._of_parent = (*self._of_parent, self._executor, self._stack)
        self._executor = None

    def __enter__(self) -> Self:
        self._ensure_started()
        return self

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._ensure_started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(finish=self._finish and error is None)

    def close(self, finish: bool | None = None) -> None:
        """End the jobs, or with `finish` wait for them, and stop the server where this runner started it."""
        with self._lock:
            self._closed = True
            executor = self._executor
        if executor is None:
            return
        try:
            executor.call(self._end_jobs(self._finish if finish is None else finish)).result()
            executor.call(self._jobs.close()).result()
            self._executor = None
            executor.stop(hand_back=False)
        finally:
            self._stack.close()

    def _start(self) -> Executor:
        try:
            url, home, alone = self._configured_url() or find_running(self.settings), None, None
            if not url:
                server = EmbeddedServer(embedded_home(self.settings))
                home = server.home
                alone = self._stack.enter_context(among_neighbours(home))
                server.start()
                self._stack.callback(server.stop)
                load_docmill_flow(FLOW_ENTRYPOINT)  # while the server starts
                url = server.wait_until_ready()
            # Prefect may have been imported, and have read its settings, long before.
            settings: dict[Any, Any] = {PREFECT_API_URL: url} | ({PREFECT_HOME: home} if home else {})
            if home:
                self._stack.callback(_in_thread, partial(_settle_with, settings))
            with temporary_settings(updates=settings):
                executor = Executor(reruns=False)
                executor.start()
            executor.call(_prepare(alone)).result()
            return executor
        except BaseException:
            self._stack.close()
            raise

    def _configured_url(self) -> str | None:
        """As `StatusJobDataRunner` finds it: also where `prefect.toml` or `temporary_settings` name it."""
        return self._context.run(lambda: get_current_settings().api.url) or configured_url()

    def _loop(self) -> BackgroundLoop:
        return self._ensure_started().background

    async def _in_background(self, work: Coroutine[Any, Any, T], *, cancellable: bool = False) -> T:
        if self._executor is None:
            try:
                await asyncio.to_thread(self._ensure_started)
            except BaseException:
                work.close()
                raise
        return await super()._in_background(work, cancellable=cancellable)

    def _ensure_started(self) -> Executor:
        with self._lock:
            if self._process != os.getpid():
                raise RuntimeError(
                    f"this runner runs the jobs of process {self._process}: make another in this one"
                )
            if self._closed:
                raise RuntimeError("this runner is closed")
            if self._executor is None:
                self._executor = self._start()
            return self._executor

    async def _submit(self, submission: Submission) -> FlowRun:
        run = await super()._submit(submission)
        self._take(run)
        return run

    def _take(self, run: FlowRun) -> None:
        if run.state and run.state.is_scheduled() and run.id not in self._waiting:
            task = asyncio.create_task(self._run(run))
            self._waiting[run.id] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, run: FlowRun) -> None:
        async with self._slots, get_client() as client:
            try:
                # Of several processes that submit one pair, Prefect lets one make it Pending.
                state = await propose_state(client, Pending(), flow_run_id=run.id)
            except (Abort, ObjectNotFound):
                return
            finally:
                self._waiting.pop(run.id, None)
            if state.is_pending() and self._executor:
                await self._executor.run(run, load_docmill_flow(FLOW_ENTRYPOINT))

    async def _end_jobs(self, finish: bool) -> None:
        if finish:
            while self._tasks:
                await asyncio.wait(self._tasks)
            return
        waiting, self._waiting = self._waiting, {}
        async with get_client() as client:
            for flow_run_id, task in waiting.items():
                await end_task(task)
                await abort_run(client, flow_run_id, "the program that was to run it ended")


def _in_thread(work: Callable[[], None]) -> None:
    """Call it where no event loop runs, whoever closes the runner."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _settle_with(settings: dict[Any, Any]) -> None:
    with temporary_settings(updates=settings):
        settle()


async def _prepare(alone: datetime | None) -> None:
    async with get_client() as client:
        await deploy_convert(client, name=EMBEDDED_DEPLOYMENT)
        if alone:
            await _bury_the_dead(client, alone)


async def _bury_the_dead(client: PrefectClient, alone: datetime) -> None:
    """End the jobs of earlier programs on this database: when this one was alone, none had a process."""
    for run in await unfinished_runs(client):
        if run.created and run.created < alone:
            end = await judge(client, run, "the program that ran it is gone", reruns=False)
            await client.set_flow_run_state(run.id, end, force=True)
