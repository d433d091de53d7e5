"""The `docmill` worker type of Prefect: runs docmill's jobs as coroutines of one process.

    prefect worker start --pool docmill --type docmill --limit 4

Prefect finds it through the `prefect.collections` entry point. It takes jobs as any Prefect worker does (its
limit, work queues by priority, concurrency limits of pool and deployment), and runs docmill's own flows only.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_WORKER_QUERY_SECONDS, get_current_settings, temporary_settings
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import Field

from docmill import sandbox
from docmill.errors import InvalidJobData
from docmill.jobs.executor import Executor, load_docmill_flow
from docmill.jobs.names import FLOW_ENTRYPOINT
from docmill.settings import Settings

log = logging.getLogger(__name__)

# A deployment is seldom made anew; to ask for it with every job costs 8 ms.
ENTRYPOINT_SECONDS = 10.0


class DocmillVariables(BaseVariables):
    """What a deployment on a docmill work pool may set."""

    reruns: int = Field(
        default=0, ge=0, description="How often a job is run again when the worker that ran it is lost."
    )


class DocmillJobConfiguration(BaseJobConfiguration):
    """How a job runs; docmill's jobs need nothing of an infrastructure."""

    reruns: int = Field(default=0, ge=0)


class DocmillWorkerResult(BaseWorkerResult):
    """How a job ended; its flow run's state says more."""


class DocmillWorker(BaseWorker[DocmillJobConfiguration, DocmillVariables, DocmillWorkerResult]):
    """Runs the flow runs of a work pool inside this process, each conversion in a sandbox process.

    At SIGTERM or Ctrl-C it takes no more jobs, gives those that run `DOCMILL_DRAIN_SECONDS` to finish and
    hands the rest back to the pool.
    """

    type = "docmill"
    job_configuration = DocmillJobConfiguration
    job_configuration_variables = DocmillVariables
    _description = "Run docmill's conversion jobs as coroutines of the worker's process."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._docmill = Settings.from_env()
        self._executor: Executor | None = None
        self._entrypoints: dict[UUID, tuple[str | None, float]] = {}

    async def start(self, *args: Any, **kwargs: Any) -> None:
        """Poll for jobs as often as docmill's settings say, where Prefect's are not set."""
        polling = {PREFECT_WORKER_QUERY_SECONDS: self._docmill.poll_interval}
        if "query_seconds" in get_current_settings().worker.model_fields_set:
            polling = {}
        with temporary_settings(updates=polling), _stop_at_sigterm():
            await super().start(*args, **kwargs)

    async def setup(self) -> None:
        """Start the executor, then take part in the pool."""
        sandbox.warm()
        await asyncio.to_thread(load_docmill_flow, FLOW_ENTRYPOINT)
        self._executor = Executor()
        await asyncio.to_thread(self._executor.start)
        await super().setup()

    async def teardown(self, *exc_info: Any) -> None:
        """Let running jobs finish for a while, hand back the rest, leave the pool."""
        executor, self._executor = self._executor, None
        with anyio.CancelScope(shield=True):
            if executor:
                await asyncio.to_thread(executor.stop, drain_seconds=self._docmill.drain_seconds)
        await super().teardown(*exc_info)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: DocmillJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> DocmillWorkerResult:
        """Run one flow run to its end; raises `InvalidJobData` for a flow that is not docmill's."""
        flow = load_docmill_flow(await self._entrypoint(flow_run))
        executor = self._executor
        if executor is None:
            raise RuntimeError("the worker is stopping")
        identifier = f"{self.name}:{flow_run.id}"
        if task_status:
            task_status.started(identifier)
        # The executor's thread goes on when this task is cancelled: a stop is the teardown's business.
        await asyncio.wrap_future(executor.submit(flow_run, flow))
        return DocmillWorkerResult(identifier=identifier, status_code=0)

    async def _entrypoint(self, flow_run: FlowRun) -> str | None:
        if flow_run.deployment_id is None:
            return None
        entrypoint, since = self._entrypoints.get(flow_run.deployment_id, (None, -math.inf))
        if time.monotonic() - since > ENTRYPOINT_SECONDS:
            try:
                entrypoint = (await self.client.read_deployment(flow_run.deployment_id)).entrypoint
            except ObjectNotFound:
                raise InvalidJobData("the deployment of this flow run is gone") from None
            self._entrypoints[flow_run.deployment_id] = entrypoint, time.monotonic()
        return entrypoint


@contextmanager
def _stop_at_sigterm() -> Iterator[None]:
    """Cancel this task at the first SIGTERM; the second ends the process at once.

    Prefect's own handler passes SIGTERM on as SIGINT, which a shell's background job ignores, and then it
    never stops.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        if task:
            task.cancel()

    # Only the main thread takes signals.
    with suppress(ValueError, RuntimeError):
        loop.add_signal_handler(signal.SIGTERM, stop)
    yield
