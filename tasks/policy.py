"""What all docmill tasks have in common: when they are run again, and what Prefect keeps of them."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from docmill.errors import RETRIES, DocmillError, Retry
from docmill.jobs.running import current_job


async def retry_helps(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether the error that ended this try is one that another try can mend (`docmill.errors.RETRIES`)."""
    error = await state.aresult(raise_on_failure=False)
    if not isinstance(error, DocmillError):
        return False
    retry = RETRIES[type(error)]
    helps = retry is Retry.YES or (retry is Retry.ONCE and task_run.run_count <= 1)
    job = current_job()
    if helps and job:
        if job.abort.is_set():
            return False
        if task_run.run_count <= TASK["retries"]:
            job.report.note(f"retrying: {error}")
    return helps


#: Three more tries after about 2, 4 and 8 seconds, where a retry can help. Results stay in memory: tasks hand
#: each other small values, and what matters of a job is in its labels.
TASK: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.3,
    "retry_condition_fn": retry_helps,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
