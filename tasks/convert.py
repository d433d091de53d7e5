"""The task that converts in the sandbox and reports each page."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from docmill import pipeline, wording
from docmill.documents.model import LoadedDocument
from docmill.errors import Phase
from docmill.request import ConvertRequest
from docmill.tasks.policy import TASK
from docmill.tasks.reporting import ProgressReport, begin_stage, end_stage
from docmill.tasks.threads import in_thread
from docmill.workspace import Converted, Workspace


@task(name="convert", task_run_name="convert: {label}", **TASK)
async def convert(
    work: Workspace, request: ConvertRequest, documents: Sequence[LoadedDocument], label: str
) -> Converted:
    """See `docmill.pipeline.convert`; `label` is for the run's name in the UI, e.g. `scan.tif -> pdf`."""
    begin_stage(Phase.CONVERT)
    async with ProgressReport() as report:
        converted = await in_thread(
            lambda abort: pipeline.convert(work, request, documents, on_progress=report.progress, abort=abort)
        )
    end_stage(Phase.CONVERT, wording.describe_conversion(converted))
    return converted
