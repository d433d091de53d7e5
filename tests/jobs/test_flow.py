"""The flow as a person sees it in Prefect: names, retries, artifacts, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints
from uuid import UUID, uuid4

import pytest
from PIL import Image
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact, FlowRun, TaskRun
from prefect.states import Pending

from docmill.errors import SourceNotFound
from docmill.flows.batch import convert_batch
from docmill.flows.convert import convert_document
from docmill.jobs import running, server
from docmill.jobs.status import status_from_run
from docmill.request import ConvertOutcome, ConvertRequest
from tests.support import page_count, write_damaged_tiff

PAGES = 3


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    page = Image.new("1", (850, 1100), 1)
    path = tmp_path / "scan.tif"
    page.save(path, save_all=True, append_images=[page] * (PAGES - 1), compression="group4", dpi=(100, 100))
    return path


class Run:
    """A conversion by the command on the test's server, and what Prefect knows of it.

    `progress` is what its progress artifact showed while it ran.
    """

    def __init__(self, api, folder: Path, source: str | Path, target: str, *options: str) -> None:
        command = [sys.executable, "-P", "-m", "docmill", "convert", str(source), target, *options, "--json"]
        environment = os.environ | api.environment
        self.scratch = Path(environment["DOCMILL_SCRATCH_DIR"])
        pipe = subprocess.PIPE
        with (
            subprocess.Popen(
                command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True
            ) as run,
            get_client(sync_client=True) as client,
        ):
            self.progress = list(_progress(client, while_running=run))
            self.output, self.errors = run.communicate()
            self.exit_code = run.returncode
            self.answer = json.loads(self.output)
            shown = Path(source).name.encode(errors="backslashreplace").decode()
            name = f"{shown} -> {target.rpartition('.')[2]}"
            runs = client.read_flow_runs()
            self.flow_run: FlowRun = max((r for r in runs if r.name == name), key=lambda run: run.created)
            self.task_runs = _task_runs(client, self.flow_run.id)
            self.artifacts: list[Artifact] = client.read_artifacts(artifact_filter=_of(self.flow_run.id))

    def left_in_scratch(self) -> bool:
        return (self.scratch / str(self.flow_run.id)).exists()


def _task_runs(client, flow_run_id: UUID) -> dict[str, TaskRun]:
    """By their names. The server stores them in bulk, a second late at most."""
    only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    before = None
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        runs = {run.name: run for run in client.read_task_runs(flow_run_filter=only)}
        if runs and runs == before and all(run.state.is_final() for run in runs.values()):
            return runs
        before = runs
        time.sleep(1.2)
    raise AssertionError(f"its tasks do not end: {before}")


def _progress(client, while_running: subprocess.Popen[str]) -> Iterator[float]:
    """What a progress artifact that is new shows, each time that it has moved."""
    only = ArtifactFilter(type=ArtifactFilterType(any_=["progress"]))
    before = {artifact.id for artifact in client.read_artifacts(artifact_filter=only)}
    shown = None
    while while_running.poll() is None:
        for artifact in client.read_artifacts(artifact_filter=only):
            if artifact.id not in before and artifact.data != shown:
                yield (shown := artifact.data)
        time.sleep(0.2)


def _of(flow_run_id: UUID) -> ArtifactFilter:
    return ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))


def test_a_run_shows_its_stages_and_a_table(api, scan, tmp_path):
    run = Run(api, tmp_path, scan, "out.pdf")
    assert run.exit_code == 0, run.errors
    assert page_count(tmp_path / "out.pdf") == 3
    assert set(run.task_runs) == {
        "load: scan.tif",
        "cache: scan.tif",
        "convert: scan.tif -> pdf",
        "publish: out.pdf",
    }
    assert all(task.state_name == "Completed" for task in run.task_runs.values())
    artifacts = {artifact.type: artifact.data for artifact in run.artifacts}
    assert (tmp_path / "out.pdf").as_uri() in artifacts["markdown"]
    assert artifacts["markdown"].count("612.0 x 792.0") == 3
    assert run.flow_run.state_name == "Completed"
    assert not run.left_in_scratch()


def test_a_run_that_names_no_format_fails_before_it_loads_anything(api):
    request = ConvertRequest(sources=("/what/is/not/there.tif",))
    state = asyncio.run(convert_document(request, return_state=True))
    assert state.is_failed()
    assert state.message.startswith("neither a target nor an output format is named")


def test_the_name_of_a_file_need_not_be_text(api, scan, tmp_path):
    source = tmp_path / os.fsdecode(b"b\xe4d.tif")
    scan.rename(source)
    run = Run(api, tmp_path, source, "out.pdf")
    assert (run.exit_code, run.errors) == (0, "")
    assert page_count(tmp_path / "out.pdf") == 3
    assert {"load: b\\udce4d.tif", "cache: b\\udce4d.tif"} <= set(run.task_runs)


def test_a_run_of_more_than_a_second_shows_its_progress_page_by_page(api, bmp, tmp_path):
    run = Run(api, tmp_path, bmp, "out.dds", "--title", "pages=40 pause=0.15")
    assert run.exit_code == 0, run.errors
    assert len(run.progress) >= 3
    assert run.progress == sorted(run.progress)
    assert 0 < run.progress[0] < 100
    assert [artifact.data for artifact in run.artifacts if artifact.type == "progress"] == [100]


def test_a_store_that_is_down_for_a_moment_is_tried_again(api, scan, tmp_path, http_server):
    failures = iter([503, 503])

    def answer(exchange) -> None:
        status = next(failures, None)
        exchange.answer(b"later", status) if status else exchange.answer(scan.read_bytes())

    run = Run(api, tmp_path, http_server.on("/shaky.tif", answer), "out.pdf")
    assert run.exit_code == 0, run.output
    assert run.task_runs["load: shaky.tif"].run_count == 3


def test_what_no_retry_can_mend_is_not_tried_again(api, tmp_path):
    run = Run(api, tmp_path, tmp_path / "missing.tif", "out.pdf")
    assert run.exit_code == 10
    assert run.task_runs["load: missing.tif"].run_count == 1
    assert run.flow_run.state_name == "Failed"
    assert "missing.tif" in run.flow_run.state.message
    assert run.answer["error"]["message"] in run.flow_run.state.message
    assert not (tmp_path / "out.pdf").exists()
    assert not run.left_in_scratch()


def test_pages_left_out_are_told_in_the_state_and_the_table(api, tmp_path):
    path = tmp_path / "damaged.tif"
    write_damaged_tiff(path)
    run = Run(api, tmp_path, path, "out.pdf", "--on-error", "resume")
    assert run.exit_code == 3
    assert run.flow_run.state_name == "WithErrors"
    assert run.flow_run.state.message == "done, 1 of 3 pages failed"
    assert "page 2" in next(a.data for a in run.artifacts if a.type == "markdown")
    assert page_count(tmp_path / "out.pdf") == 2


def test_the_flows_give_their_callers_what_their_types_say(api, scan, tmp_path):
    """They return a state, of which Prefect's engine gives the caller the data."""
    assert get_type_hints(convert_document.fn)["return"] is ConvertOutcome
    assert get_type_hints(convert_batch.fn)["return"] == list[dict[str, Any]]

    @flow
    async def theirs() -> None:
        request = ConvertRequest(sources=(str(scan),), target=str(tmp_path / "one.pdf"))
        outcome = await convert_document(request)
        assert (type(outcome), outcome.page_count) == (ConvertOutcome, PAGES)
        state = await convert_document(replace(request, target=str(tmp_path / "two.pdf")), return_state=True)
        assert state.is_completed()
        with pytest.raises(SourceNotFound, match="nowhere"):
            await convert_document(
                replace(request, sources=("/nowhere.tif",), target=str(tmp_path / "3.pdf"))
            )
        (item,) = await convert_batch([str(scan)], str(tmp_path / "batch/"))
        assert item["state"] == "done"

    asyncio.run(theirs())


def test_who_ends_does_not_wait_for_task_runs_of_others(api, monkeypatch):
    @task
    def forever() -> None:
        pass

    with get_client(sync_client=True) as client:
        # As a process that was killed leaves it.
        lost = client.create_flow_run(flow(forever.fn))
        client.create_task_run(forever, lost.id, dynamic_key="0", state=Pending())
    monkeypatch.setattr(running, "ran_here", [uuid4()])
    started = time.monotonic()
    server.settle()
    assert time.monotonic() - started < server.SETTLE_TIMEOUT / 2
    monkeypatch.setattr(running, "ran_here", [lost.id])
    server.settle()
    assert time.monotonic() - started > server.SETTLE_TIMEOUT / 2


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"sources": []}, "the job names no source"),
        ({"sources": ["/a.tif"], "options": {"dpi": -5}}, "dpi -5 is not between 1 and 9600"),
        ({"sources": ["/a.tif"], "options": {"colour": "red"}}, "request.options.colour"),
    ],
)
def test_parameters_that_the_flow_does_not_take_are_a_wrong_job(api, request_, words):
    """As a person or a schedule may give them; a runner refuses them before there is a run."""

    async def run() -> FlowRun:
        state = await convert_document(request_, return_state=True)
        async with get_client() as client:
            return await client.read_flow_run(state.state_details.flow_run_id)

    status = status_from_run(asyncio.run(run()), datetime.now(UTC))
    assert (status.is_completed, status.error_code) == (True, "InvalidJobData")
    assert words in status.error_messages[0]
    assert "Validation of flow parameters" not in status.job_status_message
