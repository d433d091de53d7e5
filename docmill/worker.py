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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self, cast
from uuid import UUID
from weakref import WeakKeyDictionary

import anyio
import anyio.abc
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow as APIFlow
from prefect.client.schemas.objects import FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_WORKER_QUERY_SECONDS, get_current_settings, temporary_settings
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import Field, PrivateAttr

from docmill import sandbox
from docmill.errors import InvalidJobData
from docmill.jobs.executor import Executor, load_docmill_flow
from docmill.jobs.failures import patient_client
from docmill.jobs.names import FLOW_ENTRYPOINT
from docmill.settings import Settings

log = logging.getLogger(__name__)

# How long a worker goes by what it knows of deployments and flows, which are seldom made anew: to ask for
# both with every job costs the server 16 ms.
KNOWN_SECONDS = 10.0


class DocmillVariables(BaseVariables):
    """What a deployment on a docmill work pool may set."""

    reruns: int = Field(
        default=0, ge=0, description="How often a job is run again when the worker that ran it is lost."
    )


class DocmillJobConfiguration(BaseJobConfiguration):
    """How a job runs; docmill's jobs need nothing of an infrastructure. `entrypoint` names their flow."""

    reruns: int = Field(default=0, ge=0)
    _entrypoint: str | None = PrivateAttr(default=None)

    @property
    def entrypoint(self) -> str | None:
        return self._entrypoint

    @classmethod
    async def resolve_for_flow_run(
        cls,
        flow_run: FlowRun,
        *,
        client: PrefectClient,
        work_pool: WorkPool,
        worker_name: str,
        worker_id: UUID | None = None,
        deployment: DeploymentResponse | None = None,
    ) -> Self:
        """As Prefect's own, from the deployment and the flow as they were a few seconds ago."""
        if deployment is None and flow_run.deployment_id:
            deployment = await _known_deployment(client, flow_run.deployment_id)
        variables = (deployment.job_variables if deployment else None) or {}
        configuration: Self = await cls.from_template_and_values(
            base_job_template=work_pool.base_job_template,
            values=variables | (flow_run.job_variables or {}),
            client=client,
        )
        configuration.prepare_for_flow_run(
            flow_run=flow_run,
            deployment=deployment,
            flow=await _known_flow(client, flow_run.flow_id),
            work_pool=work_pool,
            worker_name=worker_name,
            worker_id=worker_id,
        )
        configuration._entrypoint = deployment.entrypoint if deployment else None
        return configuration


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

    async def start(self, *args: Any, **kwargs: Any) -> None:
        """Poll for jobs as often as docmill's settings say, where Prefect's are not set."""
        polling = {PREFECT_WORKER_QUERY_SECONDS: self._docmill.poll_interval}
        if "query_seconds" in get_current_settings().worker.model_fields_set:
            polling = {}
        with temporary_settings(updates=polling), patient_client(), _stop_at_sigterm():
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
        flow = load_docmill_flow(configuration.entrypoint)
        executor = self._executor
        if executor is None:
            raise RuntimeError("the worker is stopping")
        identifier = f"{self.name}:{flow_run.id}"
        if task_status:
            task_status.started(identifier)
        # The executor's thread goes on when this task is cancelled: a stop is the teardown's business.
        await asyncio.wrap_future(executor.submit(flow_run, flow))
        return DocmillWorkerResult(identifier=identifier, status_code=0)


# What each client has read of deployments and flows, and when.
_known: WeakKeyDictionary[PrefectClient, dict[UUID, tuple[float, Any]]] = WeakKeyDictionary()


async def _known_deployment(client: PrefectClient, id: UUID) -> DeploymentResponse:
    try:
        return cast(DeploymentResponse, await _remembered(client, id, client.read_deployment))
    except ObjectNotFound:
        raise InvalidJobData("the deployment of this flow run is gone") from None


async def _known_flow(client: PrefectClient, id: UUID) -> APIFlow:
    return cast(APIFlow, await _remembered(client, id, client.read_flow))


async def _remembered(client: PrefectClient, id: UUID, read: Callable[[UUID], Awaitable[Any]]) -> Any:
    known = _known.setdefault(client, {})
    since, value = known.get(id, (-math.inf, None))
    if time.monotonic() - since > KNOWN_SECONDS:
        value = await read(id)
        known[id] = time.monotonic(), value
    return value


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
