"""Every row of the table of states: what a caller is told of a flow run."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.client.schemas.objects import FlowRun, State, StateType

from docmill.errors import CorruptDocument
from docmill.jobs import labels
from docmill.jobs.models import JobStatus
from docmill.jobs.status import status_from_run, tokens_of
from docmill.request import ConvertRequest

NOW = datetime(2026, 11, 23, 12, 3, 0, tzinfo=UTC)
PROGRESS = labels.Progress(stage="convert", at="2026-11-23T12:02:59.500Z", page=3, page_count=12)
OUTCOME = labels.Outcome(
    output_uri="docmill://out", output_document_id="out", output_name="scan", page_count=12
)


def a_run(
    kind: str, name: str | None = None, message: str | None = None, *, due=NOW, **label_values
) -> FlowRun:
    request = ConvertRequest(sources=("docmill://in",), to="pdf")
    all_labels = labels.submitted("user", "job", request, {"jobName": "nightly", "documentFormat": 1})
    for value in label_values.values():
        all_labels |= value
    return FlowRun(
        id=uuid.UUID(int=7),
        flow_id=uuid.UUID(int=8),
        name="run",
        labels=all_labels,
        parameters={"request": request.to_dict(), "user_token": "user"},
        state=State(
            type=StateType(kind),
            name=name or kind.title(),
            message=message,
            timestamp=NOW - timedelta(seconds=30),
        ),
        expected_start_time=due,
        next_scheduled_start_time=due if kind == "SCHEDULED" else None,
        start_time=None if kind in {"SCHEDULED", "PENDING"} else NOW - timedelta(seconds=40),
    )


CONVERTING = {"progress": labels.progress_label(PROGRESS)}
ERROR = {"error": labels.error_label(CorruptDocument("page 2 is damaged", page=2).to_dict())}
DONE = CONVERTING | {"outcome": labels.outcome_label(OUTCOME)}
SOME = CONVERTING | {
    "outcome": labels.outcome_label(
        labels.Outcome(
            output_uri="docmill://out", page_count=12, failed_pages=2, failures=("page 2: bad", "page 5: bad")
        )
    )
}
RETRY = {
    "progress": labels.progress_label(labels.Progress(stage="load", at="x", note="retrying: store away"))
}

# state, name, message, labels -> isCompleted, jobStatus, abort, errorMessages, jobStatusMessage
TABLE = [
    ("SCHEDULED", None, None, {}, False, 0, False, (), "waiting"),
    ("SCHEDULED", "Late", None, {}, False, 0, False, (), "late by 12 s: no worker is free"),
    ("PENDING", None, None, {}, False, 0, False, (), "starting"),
    ("PENDING", "Submitting", None, {}, False, 0, False, (), "starting"),
    ("RUNNING", None, None, {}, False, 0, False, (), "running"),
    ("RUNNING", None, None, CONVERTING, False, 0, False, (), "converting page 3 of 12"),
    ("RUNNING", None, None, RETRY, False, 0, False, (), "loading: retrying: store away"),
    ("RUNNING", "Publishing", None, DONE, False, 0, False, (), "publishing"),
    (
        "SCHEDULED", "AwaitingRetry", "store away", ERROR, False, 0, False, (),
        "retrying at 12:02:48: store away",
    ),
    ("PAUSED", None, None, CONVERTING, False, 0, False, (), "paused"),
    ("PAUSED", "Suspended", None, CONVERTING, False, 0, False, (), "paused"),
    ("CANCELLING", None, None, CONVERTING, False, 0, True, (), "aborting"),
    ("CANCELLED", None, "by me", CONVERTING, True, 2, True, ("Job aborted",), "aborted"),
    ("COMPLETED", None, None, DONE, True, 0, False, (), "done, 12 pages"),
    ("COMPLETED", None, None, {}, True, 0, False, (), "done"),
    (
        "COMPLETED", "WithErrors", None, SOME, True, 1, False, ("page 2: bad", "page 5: bad"),
        "done, 2 of 12 pages failed",
    ),
    ("FAILED", None, "x", ERROR, True, 2, False, ("page 2 is damaged",), "page 2 is damaged"),
    ("FAILED", None, "no label", {}, True, 2, False, ("no label",), "no label"),
    ("FAILED", "TimedOut", "over 60 s", {}, True, 2, False, ("over 60 s",), "over 60 s"),
    (
        "CRASHED", None, "killed by signal 9", CONVERTING, True, 2, False,
        ("killed by signal 9 while converting page 3 of 12",),
        "killed by signal 9 while converting page 3 of 12",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}-{row[1]}-{row[-1]}")
def test_table_of_states(row):
    kind, name, message, label_values, completed, job_status, abort, errors, words = row
    run = a_run(kind, name, message, due=NOW - timedelta(seconds=12), **label_values)
    status = status_from_run(run, NOW)
    assert status.is_completed is completed
    assert status.job_status == job_status
    assert status.abort is abort
    assert status.error_messages == errors
    assert status.job_status_message == words
    assert (status.user_token, status.job_token, status.job_name) == ("user", "job", "nightly")
    assert status.input_document_id == "in"
    assert status.flow_run_id == str(run.id)
    assert (status.job_completed_timestamp is not None) is completed
    assert status.query_job_status_timestamp == "2026-11-23T12:03:00.000Z"
    assert status.document_format == 1


@pytest.mark.parametrize(
    ("request_", "formats"),
    [
        ({"to": "pdf"}, (1, 0, 0)),
        ({"target": "s3://out/fax.tif", "to": "tiff-g4-1bit"}, (-1, 29, 1)),
        ({"target": "/out/page.jpg"}, (-1, 10, 0)),
        ({"to": "json"}, (-1, 0, 0)),
        ({"target": "/out/what"}, (-1, 0, 0)),
        ("what a person typed", (-1, 0, 0)),
    ],
)
def test_formats_of_a_run_that_no_job_data_made(request_, formats):
    run = a_run("RUNNING").model_copy(update={"labels": {}, "parameters": {"request": request_}})
    status = status_from_run(run, NOW)
    told = status.document_format, status.raster_image_format, status.raster_image_bits_per_pixel
    assert told == formats
    assert status.flow_run_name == "run"


def test_output_shows_when_the_job_is_done_and_not_before():
    assert status_from_run(a_run("RUNNING", "Publishing", **DONE), NOW).output_document_uri is None
    done = status_from_run(a_run("COMPLETED", **DONE), NOW)
    assert (done.output_document_uri, done.output_document_id) == ("docmill://out", "out")
    assert (done.output_document_name, done.page_count, done.percent) == ("scan", 12, 100)


def test_progress_of_a_running_job():
    status = status_from_run(a_run("RUNNING", **CONVERTING), NOW)
    assert (status.job_status_page_number, status.page_count, status.percent) == (3, 12, 16)
    assert status.job_status_timestamp == "2026-11-23T12:02:59.500Z"


def test_notes_are_told_with_the_end():
    outcome = labels.Outcome(
        output_uri="x", page_count=3, notes=("check: page 2 looks different in the output",)
    )
    status = status_from_run(a_run("COMPLETED", outcome=labels.outcome_label(outcome)), NOW)
    assert status.job_status_message == "done, 3 pages; check: page 2 looks different in the output"


def test_a_long_list_of_failures_ends_with_their_number():
    outcome = labels.Outcome(
        output_uri="x", page_count=99, failed_pages=70, failures=tuple(f"page {n}: bad" for n in range(70))
    )
    run = a_run("COMPLETED", "WithErrors", outcome=labels.outcome_label(outcome))
    errors = status_from_run(run, NOW).error_messages
    assert len(errors) == labels.MAX_FAILURES + 1
    assert errors[-1] == "and 20 pages more"


def test_a_run_without_a_pair_answers_to_its_parameter_or_the_default_user():
    run = a_run("RUNNING")
    bare = run.model_copy(update={"labels": {}})
    assert tokens_of(bare, default_user="nobody") == ("user", str(run.id))
    bare = bare.model_copy(update={"parameters": {}})
    assert tokens_of(bare, default_user="nobody") == ("nobody", str(run.id))


STATES = st.tuples(st.sampled_from(StateType), st.sampled_from([None, "Late", "Publishing", "WithErrors"]))


@given(
    STATES,
    st.dictionaries(
        st.sampled_from(
            [labels.USER, labels.JOB, labels.JOB_DATA, labels.PROGRESS, labels.OUTCOME, labels.ERROR]
        ),
        st.text() | st.integers() | st.booleans() | st.sampled_from(["[]", "{}", '{"a":1}', "null"]),
    ),
)
@settings(max_examples=150)
def test_damaged_labels_never_break_a_query(state, damaged):
    kind, name = state
    run = a_run(kind.value, name).model_copy(update={"labels": damaged})
    status = status_from_run(run, NOW)
    failed = kind.value in {"FAILED", "CRASHED", "CANCELLED"} or (kind.value, name) == (
        "COMPLETED",
        "WithErrors",
    )
    assert bool(status.error_messages) is failed
    assert status.is_completed is (kind.value in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
    assert (status.job_status is JobStatus.ABORTED) is (kind.value in {"FAILED", "CRASHED", "CANCELLED"})
