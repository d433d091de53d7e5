"""The calls to Prefect behind `docmill.jobs.runner`: how a pair of tokens maps to a flow run.

A job is created through a deployment with the pair's key as its idempotency key, so that of many who submit
one pair at one time Prefect makes one run and gives the same run to all; a fingerprint among its labels tells
whether it is the same job. A key's run is found by one filtered request, which also finds a run that was
started otherwise and answers to its own id.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.actions import DeploymentFlowRunCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.states import Cancelled, Cancelling, Scheduled, to_state_create

from docmill.errors import JobTokenInUse, PrefectUnavailable
from docmill.jobs import labels, listing
from docmill.jobs.background import end_task
from docmill.jobs.failures import prefect_failures
from docmill.jobs.listing import JobFilter, JobPage
from docmill.jobs.local import find_running
from docmill.jobs.models import StatusJobData
from docmill.jobs.names import FLOW_NAME
from docmill.jobs.report import Patience
from docmill.jobs.status import status_from_run, tokens_of
from docmill.jobs.submission import Submission
from docmill.jobs.sweep import Vigil
from docmill.jobs.tokens import job_key, no_such_job
from docmill.jobs.waiting import Waiting
from docmill.settings import Settings

_FLOW = FlowFilter(name=FlowFilterName(any_=[FLOW_NAME]))
_CREATE_PAUSES = (0.5, 1.0, 2.0)


class JobClient:
    """Jobs on the Prefect server that the settings in this context name; for use in one event loop."""

    def __init__(self, settings: Settings, deployment: str) -> None:
        self._settings = settings
        self._deployment = f"{FLOW_NAME}/{deployment}"
        self._deployment_id: uuid.UUID | None = None
        self._client: PrefectClient | None = None
        self._opening = asyncio.Lock()
        self._vigil = Vigil(Patience(settings.contact_timeout))
        self._waiting = Waiting(self._read)

    async def close(self) -> None:
        await self._waiting.close()
        client, self._client = self._client, None
        if client:
            await client.__aexit__(None, None, None)

    async def submit(self, job: Submission) -> FlowRun:
        """Create the job's flow run, or find the one that the pair has already."""
        job_data = job.job_data.to_wire()
        async with self._api() as client:
            try:
                run = await self._create_surely(client, job, job_data)
            except PrefectHTTPStatusError as error:
                if error.response.status_code != HTTPStatus.NOT_FOUND:
                    raise
                # The deployment was made anew since its id was read.
                self._deployment_id = None
                run = await self._create_surely(client, job, job_data)
        if labels.JobLabels.read(run.labels or {}).fingerprint != labels.fingerprint(job.request, job_data):
            raise JobTokenInUse(
                f"the job {job.job_token} of user {job.user_token} is another one",
                hint="give another jobToken, or delete that job first",
            )
        return run

    async def find(self, user_token: str, job_token: str) -> FlowRun | None:
        """The flow run that answers to the pair, by one request."""
        key = job_key(user_token, job_token)
        wanted: dict[str, Any] = {"idempotency_key": {"any_": [key]}}
        if flow_run_id := _as_flow_run_id(job_token):
            wanted |= {"operator": "or_", "id": {"any_": [flow_run_id]}}
        async with self._api() as client:
            runs = await client.read_flow_runs(
                flow_filter=_FLOW, flow_run_filter=FlowRunFilter.model_validate(wanted), limit=2
            )
        # A job token that is another run's id as well: the key wins.
        for run in sorted(runs, key=lambda run: run.idempotency_key != key):
            pair = tokens_of(run, default_user=self._settings.default_user)
            if run.idempotency_key == key or pair == (user_token, str(run.id)):
                return run
        return None

    async def query(self, user_token: str, job_token: str) -> StatusJobData | None:
        run = await self.find(user_token, job_token)
        return self.status(run) if run else None

    def status(self, run: FlowRun) -> StatusJobData:
        """The status that this flow run is, now."""
        return status_from_run(run, datetime.now(UTC), default_user=self._settings.default_user)

    async def abort(self, user_token: str, job_token: str) -> None:
        run = await self._find_or_raise(user_token, job_token)
        async with self._api() as client:
            await abort_run(client, run.id, "aborted by its user")

    async def delete(self, user_token: str, job_token: str, *, timeout: float) -> None:
        run = await self._find_or_raise(user_token, job_token)
        if run.state is None or not run.state.is_final():
            async with self._api() as client:
                await abort_run(client, run.id, "deleted by its user")
            await self.wait(user_token, job_token, timeout)
        async with self._api() as client:
            await delete_run(client, run.id)
        scratch = self._settings.scratch_dir / str(run.id)
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

    async def list(self, wanted: JobFilter, *, limit: int, cursor: str | None) -> JobPage:
        async with self._api() as client:
            return await listing.list_jobs(client, wanted, self.status, limit=limit, cursor=cursor)

    async def wait(self, user_token: str, job_token: str, timeout: float | None) -> StatusJobData:
        run = await self._find_or_raise(user_token, job_token)
        if run.state and run.state.is_final():
            return self.status(run)
        end = asyncio.create_task(self._waiting.end_of(run.id))
        try:
            if not (await asyncio.wait([end], timeout=timeout))[0]:
                raise TimeoutError(f"the job {job_token} is not completed after {timeout:g} s")
            if (ended := end.result()) is None:
                raise no_such_job(user_token, job_token)
            return self.status(ended)
        finally:
            await end_task(end)

    async def _read(self, ids: Sequence[uuid.UUID]) -> Sequence[FlowRun]:
        wanted = FlowRunFilter.model_validate({"id": {"any_": list(ids)}})
        async with self._api() as client:
            runs = await client.read_flow_runs(flow_run_filter=wanted, limit=len(ids))
            await self._vigil.look(client, runs)
            return runs

    async def _create_surely(
        self, client: PrefectClient, job: Submission, job_data: dict[str, Any]
    ) -> FlowRun:
        """As `_create`; again where the server failed, which the idempotency key makes safe.

        200 threads that submit one pair at once have made a server on a busy machine answer 500.
        """
        for pause in _CREATE_PAUSES:
            try:
                return await self._create(client, job, job_data)
            except PrefectHTTPStatusError as error:
                if error.response.status_code < 500:
                    raise
                await asyncio.sleep(pause)
        return await self._create(client, job, job_data)

    async def _create(self, client: PrefectClient, job: Submission, job_data: dict[str, Any]) -> FlowRun:
        if self._deployment_id is None:
            self._deployment_id = await self._read_deployment_id(client)
        create = DeploymentFlowRunCreate(
            parameters={
                "request": job.request.to_parameters(),
                "user_token": job.user_token,
                "job_token": job.job_token,
            },
            state=to_state_create(Scheduled()),
            name=job.run_name,
            idempotency_key=job_key(job.user_token, job.job_token),
            tags=job.tags,
            labels=dict(labels.submitted(job.user_token, job.job_token, job.request, job_data)),
            # What is sent here has been checked, and to check it once more takes a tenth of the server's time
            # for a job: it validates the schema itself at every run. The client's own method cannot say so.
            enforce_parameter_schema=False,
        )
        response = await client.request(
            "POST",
            "/deployments/{id}/create_flow_run",
            path_params={"id": self._deployment_id},
            json=create.model_dump(mode="json", exclude_unset=True),
        )
        return FlowRun.model_validate(response.json())

    async def _read_deployment_id(self, client: PrefectClient) -> uuid.UUID:
        try:
            return (await client.read_deployment_by_name(self._deployment)).id
        except ObjectNotFound:
            raise PrefectUnavailable(
                f"the Prefect server has no deployment {self._deployment}",
                hint="`docmill up` or `docmill deploy` makes it",
            ) from None

    async def _find_or_raise(self, user_token: str, job_token: str) -> FlowRun:
        run = await self.find(user_token, job_token)
        if run is None:
            raise no_such_job(user_token, job_token)
        return run

    async def _new_client(self) -> PrefectClient:
        if get_current_settings().api.url:
            return get_client()
        if url := await asyncio.to_thread(find_running, self._settings):
            with temporary_settings({PREFECT_API_URL: url}):
                return get_client()
        # Prefect would start a server of its own, on the user's own database.
        raise PrefectUnavailable(
            "no Prefect server is set up",
            hint="start `docmill up` or set PREFECT_API_URL, or use an EmbeddedRunner",
        )

    @asynccontextmanager
    async def _api(self) -> AsyncIterator[PrefectClient]:
        """The client, opened once; what Prefect and HTTP raise leaves here as `PrefectUnavailable`."""
        with prefect_failures():
            async with self._opening:
                if self._client is None:
                    self._client = await (await self._new_client()).__aenter__()
            yield self._client


async def abort_run(client: PrefectClient, flow_run_id: uuid.UUID, message: str) -> None:
    """Ask a flow run to stop; Prefect leaves one that is over as it is."""
    try:
        result: OrchestrationResult[Any] = await client.set_flow_run_state(
            flow_run_id, Cancelling(message=message)
        )
        if result.status is not SetStateStatus.ACCEPT:
            return
        # A run that waits to be run again or resumed keeps the id of its old process, so Prefect does not see
        # that nobody is there to act on Cancelling; the state before tells.
        states = await client.read_flow_run_states(flow_run_id)
        before = sorted(states, key=lambda state: state.timestamp)[-2:-1]
        if before and (before[0].is_scheduled() or before[0].is_paused()):
            await client.set_flow_run_state(flow_run_id, Cancelled(message=message))
    except ObjectNotFound:
        pass


async def delete_run(client: PrefectClient, flow_run_id: uuid.UUID) -> bool:
    """Delete a flow run and its artifacts, which Prefect would leave behind; False where it was gone."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    while artifacts := await client.read_artifacts(artifact_filter=wanted):
        for artifact in artifacts:
            try:
                await client.delete_artifact(artifact.id)
            except ObjectNotFound:
                pass  # somebody else deletes the same run
    try:
        await client.delete_flow_run(flow_run_id)
    except ObjectNotFound:
        return False
    return True


def _as_flow_run_id(job_token: str) -> uuid.UUID | None:
    try:
        flow_run_id = uuid.UUID(job_token)
    except ValueError:
        return None
    return flow_run_id if str(flow_run_id) == job_token else None
