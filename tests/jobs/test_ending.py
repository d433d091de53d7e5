"""A job that is aborted after its point of no return is Completed: its output is there."""

from __future__ import annotations

import asyncio

import pytest
from conftest import use
from prefect.client.orchestration import get_client
from prefect.states import Cancelling

from docmill.flows.convert import convert_document
from docmill.jobs.embedded import EmbeddedRunner
from docmill.jobs.models import JobStatus
from docmill.jobs.report import JobReporter
from docmill.jobs.watch import AbortEvent

SECONDS = 60


@pytest.fixture
def aborted_at_the_end(monkeypatch):
    """Each job is aborted as it has published; that is heard of too late, or `heard` before it ends."""

    def prepare(heard: bool) -> None:
        finished = JobReporter.finished

        async def abort(self, *args, **names):
            await finished(self, *args, **names)
            async with get_client() as client:
                result = await client.set_flow_run_state(self._flow_run_id, Cancelling())
                assert result.state.is_cancelling()
            if heard:
                await self._abort.wait()

        monkeypatch.setattr(JobReporter, "finished", abort)
        if not heard:
            monkeypatch.setattr(AbortEvent, "trigger", lambda self, reason: None)

    return prepare


@pytest.fixture(scope="module")
def embedded(server):
    with use(server), EmbeddedRunner() as runner:
        yield runner


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
def test_an_executors_job_is_completed(api, embedded, drill, tmp_path, aborted_at_the_end, heard):
    aborted_at_the_end(heard)
    job = embedded.submit(drill("pages=2"))
    status = embedded.wait(job.user_token, job.job_token, SECONDS)
    assert (status.job_status, status.error_messages) == (JobStatus.SUCCESS, ())
    assert status.job_status_message == "done, 2 pages"
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
def test_a_job_without_an_executor_is_completed(api, drill, tmp_path, aborted_at_the_end, heard):
    """As `docmill convert`, a batch and Prefect's process worker run it."""
    aborted_at_the_end(heard)
    state = asyncio.run(convert_document(drill("pages=2"), return_state=True))
    assert state.is_completed(), state
    assert asyncio.run(state.aresult()).page_count == 2
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")
