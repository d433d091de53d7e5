"""The task that brings a source to this host and reads its facts."""

from __future__ import annotations

from prefect import task

from docmill import pipeline, wording
from docmill.documents.model import LoadedDocument
from docmill.errors import Phase
from docmill.request import ConvertRequest
from docmill.tasks.policy import TASK
from docmill.tasks.reporting import begin_stage, end_stage
from docmill.tasks.threads import in_thread
from docmill.workspace import Workspace


@task(name="load", task_run_name="load: {name}", **TASK)
async def load(work: Workspace, request: ConvertRequest, index: int, name: str) -> LoadedDocument:
    """See `docmill.pipeline.load`; `name` is for the run's name in the UI."""
    begin_stage(Phase.LOAD)
    document = await in_thread(lambda abort: pipeline.load(work, request, index, abort=abort))
    end_stage(Phase.LOAD, wording.describe_source(document))
    return document
