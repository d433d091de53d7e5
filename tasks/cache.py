"""The task that keeps a loaded document in the document cache."""

from __future__ import annotations

from prefect import task

from docmill import pipeline
from docmill.documents.model import CachedDocument, LoadedDocument
from docmill.errors import Phase
from docmill.jobs.running import current_job
from docmill.tasks.policy import TASK
from docmill.tasks.reporting import begin_stage, end_stage
from docmill.tasks.threads import in_thread
from docmill.workspace import Workspace


@task(name="cache", task_run_name="cache: {name}", **TASK)
async def cache(work: Workspace, document: LoadedDocument, name: str) -> CachedDocument:
    """See `docmill.pipeline.cache`; `name` is for the run's name in the UI."""
    begin_stage(Phase.CACHE)
    cached = await in_thread(lambda abort: pipeline.cache(work, document))
    if job := current_job():
        job.report.input_document(cached.document_id)
    end_stage(Phase.CACHE, f"cached as {cached.document_id}")
    return cached
