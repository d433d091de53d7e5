"""Jobs that a person suspends, as the UI's button does, and resumes or aborts."""

from __future__ import annotations

import asyncio
import time

from campaign import sandbox_processes
from conftest import SECONDS
from prefect.client.orchestration import get_client
from prefect.states import Suspended
from servers import worker
from test_contract import at_page, is_aborted

from docmill.jobs.models import JobStatus
from docmill.jobs.report import Patience
from docmill.jobs.sweep import sweep_once


def test_a_suspended_job_stops_and_begins_anew_when_it_is_resumed(jobs, server, drill, tmp_path):
    with worker(server, jobs.pool):
        pair, flow_run_id = jobs.submit(drill("pages=40 pause=0.1"))
        jobs.until(pair, at_page(3))
        suspend(flow_run_id)
        # At the next page, not at the end of the conversion.
        stopped(flow_run_id, 3)
        assert jobs.runner.query_convert_job_status(*pair).job_status_message == "paused"
        assert not list(tmp_path.iterdir())
        asyncio.run(sweep_once(Patience(0.1)))
        asyncio.run(resume(flow_run_id))
        status = jobs.runner.wait(*pair, SECONDS)
    assert status.job_status is JobStatus.SUCCESS
    assert jobs.states(flow_run_id).count("Running") == 2
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")


def test_a_suspended_job_can_be_aborted(jobs, server, drill, tmp_path):
    with worker(server, jobs.pool):
        pair, flow_run_id = jobs.submit(drill("pages=40 pause=0.1"))
        jobs.until(pair, at_page(2))
        suspend(flow_run_id)
        stopped(flow_run_id, 5)
        jobs.runner.abort_convert_job(*pair)
        assert is_aborted(jobs.runner.wait(*pair, 5))
    assert not list(tmp_path.iterdir())


def suspend(flow_run_id) -> None:
    async def press():
        async with get_client() as client:
            await client.set_flow_run_state(flow_run_id, Suspended(timeout_seconds=3600))

    asyncio.run(press())


async def resume(flow_run_id) -> None:
    async with get_client() as client:
        await client.resume_flow_run(flow_run_id)


def stopped(flow_run_id, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while sandbox_processes(flow_run_id):
        assert time.monotonic() < deadline, "its engine goes on"
        time.sleep(0.05)
