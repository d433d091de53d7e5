"""The flow of one job: load, cache, convert, publish."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import cast

from prefect import flow
from prefect.artifacts import acreate_link_artifact, acreate_markdown_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from docmill import targets, wording
from docmill.documents.model import LoadedDocument
from docmill.documents.secrets import SecretResolver
from docmill.flows.summary import summary_line, summary_table
from docmill.jobs.blocks import read_secret_block
from docmill.jobs.names import FLOW_NAME
from docmill.jobs.running import run_job
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.settings import Settings
from docmill.tasks.cache import cache
from docmill.tasks.convert import convert
from docmill.tasks.load import load
from docmill.tasks.publish import publish
from docmill.tasks.threads import in_thread
from docmill.workspace import Converted, Workspace


# Nothing is stored there; but where no storage is named, Prefect's engine asks the server for one at every
# run, by a call that holds up all jobs of the event loop until it is answered.
@flow(name=FLOW_NAME, persist_result=False, result_storage=Path(tempfile.gettempdir()))
async def convert_document(
    request: ConvertRequest, user_token: str | None = None, job_token: str | None = None
) -> ConvertOutcome:
    """Convert what `request` names and publish it.

    Ends Completed, Completed with the name WithErrors where pages were left out, Cancelled after an abort, or
    Failed with the typed error as its data and its words as the message. Called from another flow it returns
    the outcome or raises the error, or with `return_state=True` gives the state.

    Args:
        request: what to convert, and into what
        user_token: who asks for it; not set: the worker's `DOCMILL_DEFAULT_USER`
        job_token: set by `docmill run` and by programs; a run that is started otherwise, as in this form, is
            the job of its own id, whatever this says
    """
    started = time.monotonic()
    settings = Settings.from_env()
    work = Workspace(
        settings,
        run_id=str(flow_run.id),
        attempt=flow_run.run_count or 1,
        secrets=SecretResolver(block=read_secret_block),
    )
    state = await run_job(lambda: _tidily(work, request, started), output_name=request.document_name)
    # Prefect's engine gives the caller of a flow what the state that it returns holds.
    return cast(ConvertOutcome, state)


async def _tidily(work: Workspace, request: ConvertRequest, started: float) -> ConvertOutcome:
    """The stages; when the job's status says that it is over, its scratch is gone."""
    try:
        return await _stages(work, request, started)
    finally:
        await in_thread(lambda abort: work.remove())


async def _stages(work: Workspace, request: ConvertRequest, started: float) -> ConvertOutcome:
    # Before gigabytes are loaded for nothing.
    targets.target_of(request)
    documents, ids = [], []
    for index, source in enumerate(request.sources):
        document = await load(work, request, index, name=wording.short_name(source))
        documents.append(document)
        ids.append((await cache(work, document, name=wording.utf8(document.name))).document_id)
    converted = await convert(work, request, documents, label=wording.label(request))
    name = wording.short_name(request.target or "document cache")
    outcome = await publish(work, request, documents, converted, ids, started, name=name)
    try:
        await _artifacts(outcome, documents, converted)
    except Exception as error:
        # The output is in place: a table for the eyes that cannot be stored does not undo that.
        get_run_logger().warning("the summary could not be stored: %s", error)
    return outcome


async def _artifacts(outcome: ConvertOutcome, documents: list[LoadedDocument], converted: Converted) -> None:
    await acreate_markdown_artifact(
        summary_table(outcome, documents, converted), description=summary_line(outcome)
    )
    if outcome.output_uri.startswith(("http://", "https://")):
        await acreate_link_artifact(outcome.output_uri, description="the output")
