"""kill -9 of a program that runs jobs in its own process, at random moments of the job."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from campaign import sandbox_processes
from conftest import SECONDS

from docmill.jobs.embedded import EmbeddedRunner
from docmill.jobs.models import JobStatus
from docmill.jobs.report import Patience
from docmill.jobs.sweep import sweep_once

PROGRAM = """
import json, sys, time
from docmill.jobs.embedded import EmbeddedRunner
from docmill.request import ConvertRequest

with EmbeddedRunner() as runner:
    for request in sys.stdin:
        job = runner.submit(ConvertRequest.from_dict(json.loads(request)))
        print(json.dumps([job.user_token, job.job_token, job.flow_run_id]), flush=True)
"""
# A sign of life is due once a second then, and a job without one for three is given up.
CONTACT = 2.0


@pytest.mark.parametrize("moment", range(6))
def test_a_killed_program_leaves_a_whole_output_or_none(api, drill, tmp_path, moment):
    request = drill("pages=8 pause=0.1")
    with EmbeddedRunner() as other:
        with program(api) as started:
            user, job, flow_run_id = submitted(started, request)
            until_it_runs(other, user, job)
            time.sleep(random.Random(moment).uniform(0.0, 1.4))
            started.send_signal(signal.SIGKILL)
            started.wait()
        deadline = time.monotonic() + 5
        while sandbox_processes(flow_run_id):
            assert time.monotonic() < deadline, "its engine goes on"
            time.sleep(0.05)
        published = whole(tmp_path / "out.dds")
        status = told(other, user, job)
        if status.job_status is JobStatus.SUCCESS:
            assert published
        else:
            assert status.job_status is JobStatus.ABORTED
            assert not status.abort
            words = "the process that ran it is gone"
            assert words in status.error_messages[0]
            # Past the point of no return the output may be there; only then, and it is told.
            assert not published or "its output may be in place" in status.error_messages[0]
        other.delete_convert_job(user, job)
        if not published:
            again = other.submit(request)
            assert other.wait(again.user_token, again.job_token, SECONDS).job_status is JobStatus.SUCCESS
    assert whole(tmp_path / "out.dds")


@contextmanager
def program(api):
    environment = os.environ | api.environment | {"DOCMILL_CONTACT_TIMEOUT": str(CONTACT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def submitted(process, request) -> list[str]:
    process.stdin.write(json.dumps(request.to_dict()) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def until_it_runs(runner, user, job) -> None:
    """One that waits or starts is missed by nobody: it is told after a quarter of an hour."""
    deadline = time.monotonic() + SECONDS
    while runner.query_convert_job_status(user, job).job_status_message in ("waiting", "starting"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def told(runner, user, job):
    """The job's status once somebody has swept, as every runner and worker does."""
    deadline = time.monotonic() + SECONDS
    while not (status := runner.query_convert_job_status(user, job)).is_completed:
        assert time.monotonic() < deadline, status
        asyncio.run(sweep_once(Patience(CONTACT)))
    return status


def whole(path) -> bool:
    if not path.exists():
        return False
    assert path.read_text().endswith("whole\n")
    return True
