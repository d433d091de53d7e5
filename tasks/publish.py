"""The task that publishes what was converted."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from docmill import publication
from docmill.documents.model import LoadedDocument
from docmill.errors import Phase
from docmill.jobs.running import current_job
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.tasks.policy import TASK
from docmill.tasks.reporting import begin_stage, end_stage
from docmill.tasks.threads import in_thread
from docmill.workspace import Converted, Workspace


@task(name="publish", task_run_name="publish: {name}", **TASK)
async def publish(
    work: Workspace,
    request: ConvertRequest,
    documents: Sequence[LoadedDocument],
    converted: Converted,
    input_ids: Sequence[str],
    started: float,
    name: str,
) -> ConvertOutcome:
    """Stage the outputs, claim the run (the point of no return), and commit them.

    See `docmill.publication.stage` and `commit`; `name` is for the run's name in the UI.
    """
    begin_stage(Phase.PUBLISH)
    staged = await in_thread(lambda abort: publication.stage(work, request, documents, converted))
    try:
        if job := current_job():
            await job.claim_publication()
        outcome = await in_thread(
            lambda abort: publication.commit(work, request, staged, converted, input_ids, started)
        )
    except BaseException:
        await in_thread(lambda abort: staged.discard())
        raise
    end_stage(Phase.PUBLISH, outcome.output_uri)
    return outcome
