"""The flow as a person sees it in Prefect: names, retries, artifacts, and what a failure leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact, FlowRun, TaskRun

from tests.support import page_count


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    page = Image.new("1", (850, 1100), 1)
    path = tmp_path / "scan.tif"
    page.save(path, save_all=True, append_images=[page, page], compression="group4", dpi=(100, 100))
    return path


class Run:
    """A conversion by the command on the test's server, and what Prefect knows of it."""

    def __init__(self, api, folder: Path, *arguments: str | Path) -> None:
        command = [sys.executable, "-P", "-m", "docmill", "convert", *map(str, arguments), "--json"]
        environment = os.environ | api.environment
        self.ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        self.answer = json.loads(self.ended.stdout)
        self.scratch = Path(environment["DOCMILL_SCRATCH_DIR"])
        with get_client(sync_client=True) as client:
            name = f"{Path(str(arguments[0])).name} -> pdf"
            runs = client.read_flow_runs()
            self.flow_run: FlowRun = max((r for r in runs if r.name == name), key=lambda run: run.created)
            only = FlowRunFilter(id=FlowRunFilterId(any_=[self.flow_run.id]))
            self.task_runs: dict[str, TaskRun] = {
                run.name: run for run in client.read_task_runs(flow_run_filter=only)
            }
            self.artifacts: list[Artifact] = client.read_artifacts(artifact_filter=_of(self.flow_run.id))

    def left_in_scratch(self) -> bool:
        return (self.scratch / str(self.flow_run.id)).exists()


def _of(flow_run_id: UUID) -> ArtifactFilter:
    return ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))


def test_a_run_shows_its_stages_its_progress_and_a_table(api, scan, tmp_path):
    run = Run(api, tmp_path, scan, "out.pdf")
    assert run.ended.returncode == 0, run.ended.stderr
    assert page_count(tmp_path / "out.pdf") == 3
    assert set(run.task_runs) == {
        "load: scan.tif",
        "cache: scan.tif",
        "convert: scan.tif -> pdf",
        "publish: out.pdf",
    }
    assert all(task.state_name == "Completed" for task in run.task_runs.values())
    artifacts = {artifact.type: artifact.data for artifact in run.artifacts}
    assert artifacts["progress"] == 100
    assert (tmp_path / "out.pdf").as_uri() in artifacts["markdown"]
    assert artifacts["markdown"].count("612.0 x 792.0") == 3
    assert run.flow_run.state_name == "Completed"
    assert not run.left_in_scratch()


def test_a_store_that_is_down_for_a_moment_is_tried_again(api, scan, tmp_path, http_server):
    failures = iter([503, 503])

    def answer(exchange) -> None:
        status = next(failures, None)
        exchange.answer(b"later", status) if status else exchange.answer(scan.read_bytes())

    run = Run(api, tmp_path, http_server.on("/shaky.tif", answer), "out.pdf")
    assert run.ended.returncode == 0, run.ended.stdout
    assert run.task_runs["load: shaky.tif"].run_count == 3


def test_what_no_retry_can_mend_is_not_tried_again(api, tmp_path):
    run = Run(api, tmp_path, tmp_path / "missing.tif", "out.pdf")
    assert run.ended.returncode == 10
    assert run.task_runs["load: missing.tif"].run_count == 1
    assert run.flow_run.state_name == "Failed"
    assert "missing.tif" in run.flow_run.state.message
    assert run.answer["error"]["message"] in run.flow_run.state.message
    assert not (tmp_path / "out.pdf").exists()
    assert not run.left_in_scratch()


def test_pages_left_out_are_told_in_the_state_and_the_table(api, tmp_path):
    pages = [Image.effect_noise((300, 300), 60) for _ in range(3)]
    path = tmp_path / "damaged.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    with Image.open(path) as image:
        image.seek(1)
        offset, size = image.tag_v2[273][0], image.tag_v2[279][0]
    data = bytearray(path.read_bytes())
    data[offset + 100 : offset + size] = b"\xff" * (size - 100)
    path.write_bytes(data)

    run = Run(api, tmp_path, path, "out.pdf", "--on-error", "resume")
    assert run.ended.returncode == 3
    assert run.flow_run.state_name == "WithErrors"
    assert run.flow_run.state.message == "done, 1 of 3 pages failed"
    assert "page 2" in next(a.data for a in run.artifacts if a.type == "markdown")
    assert page_count(tmp_path / "out.pdf") == 2
