"""The status of a job, read off its Prefect flow run: pure, so every row of the state table is tested."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

from docmill.documents.uris import document_id_of
from docmill.errors import EngineCrashed, InvalidJobData, JobAborted, error_from_dict
from docmill.formats import DocumentFormat, RasterImageFormat, target_for
from docmill.jobs.labels import JobLabels, Progress
from docmill.jobs.models import DEFAULT_JOB_NAME, AnnotationsMode, JobStatus, StatusJobData
from docmill.targets import last_name
from docmill.wire_formats import wire_formats
from docmill.wording import describe_end, plural

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

E = TypeVar("E", bound=IntEnum)

# Names that docmill gives to Prefect's states, where the type alone does not say enough.
PUBLISHING = "Publishing"
WITH_ERRORS = "WithErrors"
# Of a job whose process died in the state Publishing.
MAY_BE_IN_PLACE = "it was publishing, so its output may be in place"
JOB_ABORTED = "Job aborted"
LATE = "late by"
"""How the message of a job begins for which no worker is free."""
# How Prefect's engine begins the message of a run whose parameters the flow does not take: it never began, so
# there is no label of docmill's that tells the error.
_NO_PARAMETERS = "Validation of flow parameters failed with error: "

_STAGE_WORDS = {"load": "loading", "cache": "caching", "convert": "converting", "publish": "publishing"}


def status_from_run(run: FlowRun, now: datetime, *, default_user: str = "default") -> StatusJobData:
    """The status of the job that this flow run is.

    A run that was not submitted with a pair of tokens (started in the UI, by a schedule) is its `user_token`
    parameter's, or `default_user`'s, under its own id.
    """
    labels = JobLabels.read(run.labels or {})
    user_token, job_token = tokens_of(run, labels, default_user=default_user)
    job = labels.job_data
    kind = str(run.state.type.value) if run.state else "SCHEDULED"
    done = kind in {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
    outcome = labels.outcome if kind == "COMPLETED" else None
    progress = labels.progress
    document_format, raster_format, bits = _formats(run, job)
    return StatusJobData(
        user_token=user_token,
        job_token=job_token,
        job_name=job.get("jobName") or DEFAULT_JOB_NAME,
        user_data=job.get("userData"),
        job_status=_job_status(kind, run.state),
        job_status_page_number=progress.page if progress and kind == "RUNNING" else 0,
        job_status_message=_message(run, kind, labels, now),
        is_completed=done,
        abort=kind in {"CANCELLING", "CANCELLED"},
        error_messages=tuple(_errors(run, kind, labels)),
        job_started_timestamp=_iso(run.start_time),
        job_completed_timestamp=_iso(run.end_time or run.state.timestamp) if done and run.state else None,
        job_status_timestamp=_status_time(run, progress),
        query_job_status_timestamp=_iso(now),
        input_document_id=_input_document_id(run, labels),
        input_document_first_page_number=job.get("inputDocumentFirstPageNumber") or 0,
        input_document_last_page_number=job.get("inputDocumentLastPageNumber") or 0,
        output_document_id=outcome.output_document_id if outcome else None,
        output_document_uri=outcome.output_uri if outcome else None,
        output_document_name=(outcome and outcome.output_name) or job.get("documentName"),
        document_format=document_format,
        raster_image_format=raster_format,
        raster_image_bits_per_pixel=bits,
        annotations_mode=_member(AnnotationsMode, job.get("annotationsMode"), AnnotationsMode.NONE),
        flow_run_id=str(run.id),
        flow_run_name=run.name or "",
        error_code=_error_code(run, kind, labels),
        page_count=outcome.page_count if outcome else progress.page_count if progress else 0,
        percent=100 if kind == "COMPLETED" else _percent(progress),
    )


def tokens_of(run: FlowRun, labels: JobLabels | None = None, *, default_user: str) -> tuple[str, str]:
    """The pair of tokens that a flow run answers to."""
    labels = labels or JobLabels.read(run.labels or {})
    if labels.user_token and labels.job_token:
        return labels.user_token, labels.job_token
    return str((run.parameters or {}).get("user_token") or default_user), str(run.id)


def _job_status(kind: str, state: State[Any] | None) -> JobStatus:
    if kind in {"FAILED", "CANCELLED", "CRASHED"}:
        return JobStatus.ABORTED
    if kind == "COMPLETED" and state and state.name == WITH_ERRORS:
        return JobStatus.SUCCESS_WITH_ERRORS
    return JobStatus.SUCCESS


def _message(run: FlowRun, kind: str, labels: JobLabels, now: datetime) -> str:
    name = run.state.name if run.state else None
    progress, outcome = labels.progress, labels.outcome
    match kind:
        case "SCHEDULED":
            return _waiting(run, name, labels, now)
        case "PENDING":
            return "starting"
        case "RUNNING" if name == PUBLISHING:
            return "publishing"
        case "RUNNING":
            return _running(progress)
        case "PAUSED":
            return "paused"
        case "CANCELLING":
            return "aborting"
        case "CANCELLED":
            return "aborted"
        case "COMPLETED" if outcome:
            return "; ".join([describe_end(outcome.page_count, outcome.failed_pages), *outcome.notes])
        case "COMPLETED":
            return "done"
        case _:
            return _failure(run, kind, labels)


def _waiting(run: FlowRun, name: str | None, labels: JobLabels, now: datetime) -> str:
    due = run.next_scheduled_start_time or run.expected_start_time
    if name == "AwaitingRetry":
        when = f" at {due:%H:%M:%S}" if due else ""
        reason = (run.state and run.state.message) or (labels.error or {}).get("message")
        return f"retrying{when}: {reason}" if reason else f"retrying{when}"
    late = (now - due).total_seconds() if due else 0.0
    if name == "Late":
        return f"{LATE} {late:.0f} s: no worker is free"
    return f"waiting until {due:%Y-%m-%d %H:%M:%S} UTC" if due and late < -1 else "waiting"


def _running(progress: Progress | None) -> str:
    if progress is None:
        return "running"
    words = _STAGE_WORDS.get(progress.stage, progress.stage)
    if progress.page:
        of = f" of {progress.page_count}" if progress.page_count else ""
        words = f"{words} page {progress.page}{of}"
    return f"{words}: {progress.note}" if progress.note else words


def _errors(run: FlowRun, kind: str, labels: JobLabels) -> list[str]:
    """Callers look at these before `is_completed`, so there are none until then, and one after a failure."""
    match kind:
        case "CANCELLED":
            return [JOB_ABORTED]
        case "FAILED" | "CRASHED":
            return [_failure(run, kind, labels)]
        case "COMPLETED" if run.state and run.state.name == WITH_ERRORS:
            outcome = labels.outcome
            if not outcome or not outcome.failures:
                return [run.state.message or "some pages failed"]
            beyond = outcome.failed_pages - len(outcome.failures)
            return [*outcome.failures, *([f"and {plural(beyond, 'page')} more"] if beyond > 0 else [])]
        case _:
            return []


def _error_code(run: FlowRun, kind: str, labels: JobLabels) -> str | None:
    match kind:
        case "CANCELLED":
            return JobAborted.code
        case "CRASHED":
            return EngineCrashed.code
        case "FAILED" if labels.error is None and _message_of(run).startswith(_NO_PARAMETERS):
            return InvalidJobData.code
        case "FAILED":
            return error_from_dict(labels.error or {"message": ""}).code
        case _:
            return None


def _failure(run: FlowRun, kind: str, labels: JobLabels) -> str:
    message = _message_of(run)
    if kind == "FAILED" and labels.error and labels.error.get("message"):
        return str(error_from_dict(labels.error))
    if kind == "CRASHED":
        told = not labels.progress or message.endswith(MAY_BE_IN_PLACE)
        where = "" if told else f" while {_running(labels.progress)}"
        return (message or "the process that ran the job is gone") + where
    return message.removeprefix(_NO_PARAMETERS).removeprefix(f"{InvalidJobData.code}: ") or "failed"


def _message_of(run: FlowRun) -> str:
    return (run.state and run.state.message) or ""


def _input_document_id(run: FlowRun, labels: JobLabels) -> str | None:
    for record in (labels.outcome, labels.progress):
        if record and record.input_document_id:
            return record.input_document_id
    sources = _request(run).get("sources")
    source = str(sources[0]) if isinstance(sources, list | tuple) and sources else ""
    try:
        return document_id_of(source)
    except InvalidJobData:
        return None


def _formats(run: FlowRun, job: dict[str, Any]) -> tuple[DocumentFormat, RasterImageFormat, int]:
    """The output's formats and bits per pixel: as JobData named them, else as the request asks for them."""
    if "documentFormat" in job or "rasterImageFormat" in job:
        return (
            _member(DocumentFormat, job.get("documentFormat"), DocumentFormat.USER),
            _member(RasterImageFormat, job.get("rasterImageFormat"), RasterImageFormat.UNKNOWN),
            job.get("rasterImageBitsPerPixel") or 0,
        )
    request = _request(run)
    try:
        target = target_for(last_name(str(request.get("target") or "")), request.get("to"))
    except (InvalidJobData, AttributeError):
        # A person typed the parameters: the run itself tells what is wrong with them.
        return DocumentFormat.USER, RasterImageFormat.UNKNOWN, 0
    return *wire_formats(target), target.bits_per_pixel or 0


def _request(run: FlowRun) -> dict[str, Any]:
    request = (run.parameters or {}).get("request")
    return request if isinstance(request, dict) else {}


def _percent(progress: Progress | None) -> int:
    if progress is None or not progress.page_count:
        return 0
    if progress.stage == "publish":
        return 99
    return min(99, 100 * max(0, progress.page - 1) // progress.page_count)


def _status_time(run: FlowRun, progress: Progress | None) -> str | None:
    """When the status last changed: the state's time, or the progress's where that is later."""
    times = [_iso(run.state.timestamp) if run.state else None, progress.at if progress else None]
    return max((time for time in times if time), default=None)


def _member(enum: type[E], value: Any, default: E) -> E:
    return enum(value) if value in set(enum) else default


def iso_utc(time: datetime) -> str:
    """A time as ISO 8601 in UTC, to the millisecond: `2026-11-23T19:31:02.385Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _iso(time: datetime | None) -> str | None:
    return iso_utc(time) if time else None
