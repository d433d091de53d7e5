"""Deploys docmill's flows to a work pool, for `docmill deploy` and for programs.

The same as `prefect.yaml` beside this file says. The entry points are module paths, so a worker needs docmill
installed and no code is pulled. What a person changed in the UI (schedules, parameters, limits) stays.
"""

from __future__ import annotations

import hashlib
import time
import urllib.parse
from typing import Any

from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.objects import VersionInfo
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType
from prefect.utilities.callables import parameter_schema

from docmill import __version__
from docmill.errors import InvalidJobData, PrefectUnavailable
from docmill.flows.batch import convert_batch
from docmill.flows.cleanup import clean_up
from docmill.flows.convert import convert_document
from docmill.jobs.deployments import ensure_work_pool
from docmill.jobs.local import answers
from docmill.jobs.names import DEPLOYMENT

#: When the flow `cleanup` runs, by the clock of the server.
CLEANUP_CRON = "17 3 * * *"
SERVER_SECONDS = 180.0


def deployments(pool_type: str = "docmill") -> list[tuple[Flow[..., Any], RunnerDeployment]]:
    """docmill's flows and their deployments for a work pool of this type, not yet applied."""
    # A job whose worker died is run once more; the pool's own type knows the variable (`docmill.worker`).
    variables = {"reruns": 1} if pool_type == "docmill" else None
    return [
        _deployment(
            convert_document,
            "Converts one document. Its runs are jobs: `docmill jobs` lists them.",
            job_variables=variables,
        ),
        _deployment(convert_batch, "Converts many documents, each as a job of its own."),
        _deployment(
            clean_up,
            "Deletes expired documents, scratch of dead runs and old jobs.",
            schedule=CronSchedule(cron=CLEANUP_CRON),
        ),
    ]


async def deploy(pool: str, pool_type: str | None = None) -> list[str]:
    """Make the work pool and the deployments that are not there or not of this version; returns their names.

    A pool that is not there is made of `pool_type`: `docmill` where none is named, or Prefect's `process`.
    Raises `InvalidJobData` where the pool is there and of another type than the one named.
    """
    changed = []
    async with get_client() as client:
        made = await ensure_work_pool(client, pool, type=pool_type or "docmill")
        if pool_type not in (None, made):
            raise InvalidJobData(
                f"the work pool {pool} is there already, and of type {made}", hint="name another pool"
            )
        for flow, deployment in deployments(made):
            name = f"{deployment.flow_name}/{deployment.name}"
            there = await _find(client, name)
            if there is None:
                # Else Prefect notes the commit and the address of whatever repository the user stands in.
                version = VersionInfo(type="prefect:simple", version=deployment.version or "")
                await deployment.aapply(work_pool_name=pool, version_info=version)
            elif there.version != deployment.version or there.work_pool_name != pool:
                await _bring_up_to_date(client, there, deployment, flow, pool)
            else:
                continue
            changed.append(name)
    return changed


def _deployment(
    flow: Flow[..., Any], description: str, **options: Any
) -> tuple[Flow[..., Any], RunnerDeployment]:
    deployment = RunnerDeployment.from_flow(
        flow,
        name=DEPLOYMENT,
        description=description,
        tags=["docmill"],
        entrypoint_type=EntrypointType.MODULE_PATH,
        **options,
    )
    # What tells an old deployment from a current one; the schema changes while docmill is developed.
    schema = repr((deployment.entrypoint, description, parameter_schema(flow).model_dump()))
    deployment.version = f"{__version__}+{hashlib.sha256(schema.encode()).hexdigest()[:8]}"
    return flow, deployment


async def _bring_up_to_date(
    client: PrefectClient,
    there: DeploymentResponse,
    deployment: RunnerDeployment,
    flow: Flow[..., Any],
    pool: str,
) -> None:
    """Change what follows from the code; schedules, parameters, tags and limits are the person's."""
    update = DeploymentUpdate(
        version=deployment.version,
        description=deployment.description,
        entrypoint=deployment.entrypoint,
        parameter_openapi_schema=parameter_schema(flow).model_dump_for_openapi(),
        work_pool_name=pool,
        tags=there.tags,
    )
    if there.work_pool_name != pool:
        # Pools of another type know other variables.
        update.job_variables = deployment.job_variables or {}
    await client.update_deployment(there.id, update)


async def _find(client: PrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def wait_for_api() -> None:
    """Wait until the Prefect API that is set up answers; raises `PrefectUnavailable`."""
    _wait_for(f"{get_current_settings().api.url}/health")


def wait_for_pool(pool: str) -> None:
    """Wait until the work pool is there; raises `PrefectUnavailable`."""
    _wait_for(f"{get_current_settings().api.url}/work_pools/{urllib.parse.quote(pool, safe='')}")


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + SERVER_SECONDS
    while not answers(url):
        if time.monotonic() > deadline:
            raise PrefectUnavailable(
                f"nothing has answered at {url} for {SERVER_SECONDS:g} s", hint="is the Prefect server up?"
            )
        time.sleep(0.1)
