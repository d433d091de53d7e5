"""Makes docmill's convert deployment from Python: on a work pool, or for whoever runs its jobs itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from docmill.jobs.executor import load_docmill_flow
from docmill.jobs.names import DEPLOYMENT, FLOW_ENTRYPOINT, FLOW_NAME


async def deploy_convert(
    client: PrefectClient,
    *,
    name: str = DEPLOYMENT,
    work_pool: str | None = None,
    reruns: int = 0,
    **options: Any,
) -> UUID:
    """Create or update the deployment of the convert flow and return its id.

    Without a `work_pool`, its runs wait for whoever submits them. `options` go to Prefect's
    `create_deployment`: schedules, tags, concurrency_limit and the like.
    """
    flow = load_docmill_flow(FLOW_ENTRYPOINT)
    return await client.create_deployment(
        await client.create_flow_from_name(FLOW_NAME),
        name,
        entrypoint=FLOW_ENTRYPOINT,
        # Where Prefect's process worker starts: the flow is found by its module's name, not by a path.
        path=".",
        pull_steps=[],
        work_pool_name=work_pool,
        parameter_openapi_schema=_schema(flow),
        job_variables={"reruns": reruns} if work_pool else None,
        description=flow.description,
        **options,
    )


async def ensure_work_pool(client: PrefectClient, name: str, *, type: str = "docmill") -> str:
    """Create the work pool if it is not there; returns its type, which may be another where it was."""
    try:
        return (await client.read_work_pool(name)).type
    except ObjectNotFound:
        pass
    from prefect.workers.base import BaseWorker

    worker = BaseWorker.get_worker_class_from_type(type)
    template = worker.get_default_base_job_template() if worker else {}
    try:
        await client.create_work_pool(WorkPoolCreate(name=name, type=type, base_job_template=template))
    except ObjectAlreadyExists:
        # A worker that starts at the same moment makes it too.
        return (await client.read_work_pool(name)).type
    return type


def _schema(flow: Any) -> dict[str, Any]:
    from prefect.utilities.callables import parameter_schema

    schema: dict[str, Any] = parameter_schema(flow).model_dump_for_openapi()
    return schema
