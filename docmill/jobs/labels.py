"""What a job was asked for and what it has come to, as labels of its flow run.

Labels travel with the flow run, so one request answers a query, and there is no second status database. They
are written by whoever submits the job (the `JobLabels` once) and by the process that runs it (progress,
outcome, error, at most once a second): Prefect merges a patch in the server without a lock, so two writers at
one moment could lose one's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from docmill.errors import error_from_dict
from docmill.request import ConvertRequest

USER = "docmill.user"
JOB = "docmill.job"
FINGERPRINT = "docmill.fingerprint"
JOB_DATA = "docmill.job-data"
PROGRESS = "docmill.progress"
OUTCOME = "docmill.outcome"
ERROR = "docmill.error"

CLEARED = {OUTCOME: "", ERROR: ""}
"""What an attempt came to that is void, since the run has begun anew."""

# Labels of some 100 kB were never tried; a job with thousands of failed pages names the first.
MAX_FAILURES = 50
MAX_NOTES = 5
MAX_NOTE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a running job is: its stage (`load`, `cache`, `convert`, `publish`), page and the pages in all.

    `at` is a UTC time in ISO 8601, `note` says what else is going on, such as a task's retry.
    """

    stage: str
    at: str
    page: int = 0
    page_count: int = 0
    note: str = ""
    input_document_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a finished job made; `failures` are the messages for pages left out, in order; `notes` tell what
    else a person should know, as that the source was repaired."""

    output_uri: str
    output_document_id: str | None = None
    output_name: str | None = None
    input_document_id: str | None = None
    page_count: int = 0
    failed_pages: int = 0
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobLabels:
    """All of a job that is kept as labels; what is not there is None."""

    user_token: str | None = None
    job_token: str | None = None
    fingerprint: str | None = None
    job_data: dict[str, Any] = field(default_factory=dict)
    progress: Progress | None = None
    outcome: Outcome | None = None
    error: dict[str, Any] | None = None

    @classmethod
    def read(cls, labels: Mapping[str, Any]) -> JobLabels:
        """The labels of a flow run; one that is damaged, by a person say, counts as not there."""
        return cls(
            user_token=_text(labels.get(USER)),
            job_token=_text(labels.get(JOB)),
            fingerprint=_text(labels.get(FINGERPRINT)),
            job_data=_object(labels.get(JOB_DATA)) or {},
            progress=_record(Progress, labels.get(PROGRESS)),
            outcome=_record(Outcome, labels.get(OUTCOME)),
            error=_error(labels.get(ERROR)),
        )


def submitted(
    user_token: str, job_token: str, request: ConvertRequest, job_data: dict[str, Any]
) -> dict[str, str]:
    """The labels that a job is created with; `job_data` is what was asked for, as on the wire."""
    return {
        USER: user_token,
        JOB: job_token,
        FINGERPRINT: fingerprint(request, job_data),
        JOB_DATA: _json(job_data),
    }


def progress_label(progress: Progress) -> dict[str, str]:
    return {PROGRESS: _json(asdict(progress))}


def outcome_label(outcome: Outcome) -> dict[str, str]:
    # A job that ran again after an error ends with its outcome alone.
    notes = tuple(note[:MAX_NOTE] for note in outcome.notes[:MAX_NOTES])
    short = replace(outcome, failures=outcome.failures[:MAX_FAILURES], notes=notes)
    return {OUTCOME: _json(asdict(short)), ERROR: ""}


def error_label(error: dict[str, Any]) -> dict[str, str]:
    return {ERROR: _json(error)}


def fingerprint(request: ConvertRequest, job_data: dict[str, Any]) -> str:
    """What tells two jobs apart that are submitted under one pair of tokens: input, options and names."""
    return hashlib.sha256(_json([request.to_dict(), job_data]).encode()).hexdigest()


def user_tag(user_token: str) -> str:
    """The tag by which a person filters jobs of one user, and the list of jobs too.

    Short, since Prefect's event store fails on very long tags: a longer token ends in a hash.
    """
    if len(user_token) <= 64:
        return f"user:{user_token}"
    return f"user:{user_token[:40]}~{hashlib.sha256(user_token.encode()).hexdigest()[:16]}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _object(value: Any) -> dict[str, Any] | None:
    try:
        loaded = json.loads(value) if isinstance(value, str) and value else None
    except ValueError:
        return None
    return loaded if isinstance(loaded, dict) else None


def _error(value: Any) -> dict[str, Any] | None:
    loaded = _object(value)
    try:
        return loaded and error_from_dict(loaded).to_dict()
    except (LookupError, TypeError, ValueError):
        return None


def _record(cls: type[Any], value: Any) -> Any:
    loaded = _object(value)
    try:
        return cls(**loaded) if loaded else None
    except TypeError:
        return None
