"""A Prefect server that fails for a moment, as one does whose database is being restarted, costs no job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from conftest import SECONDS, Jobs, deploy, use
from failing import FailingLine, Failure, failing_line
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from servers import worker

from docmill.jobs.embedded import EmbeddedRunner
from docmill.jobs.models import JobStatus
from docmill.jobs.runner import StatusJobDataRunner

POOL = "outage"
SET_STATE = r"/flow_runs/[^/]+/set_state$"
# What a worker, Prefect's engine and docmill ask for on a job's way.
MOMENTS = {
    "the worker looks for work": Failure("POST", r"/get_scheduled_flow_runs$"),
    "the worker reads the deployment": Failure("GET", r"/deployments/[0-9a-f-]+$"),
    "the worker takes the job": Failure("POST", SET_STATE, '"PENDING"'),
    "the worker leaves its name": Failure("PATCH", r"/flow_runs/[^/]+/labels$", "prefect.worker"),
    "the engine begins": Failure("PATCH", r"/flow_runs/[^/]+$"),
    "the job runs": Failure("POST", SET_STATE, '"RUNNING"'),
    "the job reports": Failure("PATCH", r"/flow_runs/[^/]+/labels$", "docmill.progress"),
    "the job claims its publication": Failure("POST", SET_STATE, "Publishing"),
    "the summary is stored": Failure("POST", r"/artifacts/$"),
    "the outcome is noted": Failure("PATCH", r"/flow_runs/[^/]+/labels$", "docmill.outcome"),
    "the job is completed": Failure("POST", SET_STATE, '"COMPLETED"'),
}


@pytest.fixture(scope="module")
def outage(server) -> Iterator[tuple[FailingLine, Jobs]]:
    with use(server), failing_line(server) as (line, through):
        asyncio.run(deploy(POOL, "docmill"))
        with worker(through, POOL) as process, StatusJobDataRunner(deployment=POOL) as runner:
            yield line, Jobs(POOL, runner)
            assert process.poll() is None


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_server_that_fails_when(outage, drill, tmp_path, moment):
    line, jobs = outage
    failure = line.fail(MOMENTS[moment])
    pair, flow_run_id = jobs.submit(drill("pages=3 pause=0.6"))
    status = jobs.runner.wait(*pair, SECONDS)
    assert failure.times == 0
    line.failures.clear()
    assert (status.job_status, status.error_messages) == (JobStatus.SUCCESS, ()), jobs.states(flow_run_id)
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")


@pytest.fixture(scope="module")
def impatient(server) -> Iterator[tuple[FailingLine, EmbeddedRunner]]:
    """Jobs whose server fails for longer than Prefect's client goes on asking."""
    with failing_line(server) as (line, through):
        settings = {PREFECT_API_URL: through.url, PREFECT_CLIENT_MAX_RETRIES: 0}
        with pytest.MonkeyPatch.context() as patch, temporary_settings(settings):
            patch.setenv("PREFECT_API_URL", through.url)
            with EmbeddedRunner() as runner:
                yield line, runner


@pytest.mark.parametrize("moment", ["the summary is stored", "the outcome is noted", "the job is completed"])
def test_a_job_that_has_published_is_completed_however_long_the_server_fails(
    impatient, drill, tmp_path, moment
):
    line, runner = impatient
    failure = line.fail(replace(MOMENTS[moment], times=1))
    job = runner.submit(drill("pages=1"))
    deadline = time.monotonic() + SECONDS
    while failure.times:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # The server's own word: whoever waits would be told of a moment in which it reads Failed.
    status = until(runner, job, lambda status: status.job_status is JobStatus.SUCCESS and status.is_completed)
    assert (status.job_status_message, status.error_messages) == ("done, 1 page", ())
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")


def test_a_job_that_cannot_claim_its_publication_says_why(impatient, drill, tmp_path):
    line, runner = impatient
    line.fail(replace(MOMENTS["the job claims its publication"], times=1))
    job = runner.submit(drill("pages=1"))
    status = runner.wait(job.user_token, job.job_token, SECONDS)
    assert status.job_status is JobStatus.ABORTED
    (words,) = status.error_messages
    assert words.startswith("the Prefect API at http://127.0.0.1:")
    assert "answered 500" in words
    assert list(tmp_path.iterdir()) == []


def until(runner: EmbeddedRunner, job, wanted):
    deadline = time.monotonic() + SECONDS
    while not wanted(status := runner.query_convert_job_status(job.user_token, job.job_token)):
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    return status
