"""A batch that is aborted: its documents stop with it, and those that were done stay."""

from __future__ import annotations

import asyncio
import errno
import os
import time

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Cancelling

from docmill.documents import listing
from docmill.flows.batch import convert_batch
from docmill.options import ConvertOptions

SECONDS = 60


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"target": ""}, "the target is empty"),
        ({"sources": []}, "names no source"),
        ({"concurrency": 0}, "concurrency of 0"),
        ({"to": "papyrus"}, "papyrus"),
    ],
    ids=str,
)
def test_a_form_that_was_filled_in_wrong_is_told_in_a_line(api, tmp_path, wrong, told):
    right = {"sources": [str(tmp_path)], "target": str(tmp_path / "out")}
    Image.new("1", (8, 8)).save(tmp_path / "a.bmp")
    state = asyncio.run(convert_batch(**right | wrong, return_state=True))
    assert state.is_failed()
    assert told in state.message
    assert "exception" not in state.message


def test_a_batch_of_many_files_each_goes_on_where_it_was_stopped(api, tmp_path):
    # Below a folder that is given as a URI, where a name is quoted.
    sources, target = tmp_path / "in", tmp_path / "out"
    scan = sources / "sub" / "50%20 off.tif"
    scan.parent.mkdir(parents=True)
    page = Image.new("1", (8, 8))
    page.save(scan, save_all=True, append_images=[page])

    def run():
        batch = convert_batch(
            [f"{sources}/**/*.tif"], target.as_uri(), to="png", skip_existing=True, return_state=True
        )
        return asyncio.run(batch).message

    assert run() == "1 document: 1 done"
    made = sorted(path.name for path in (target / "sub").iterdir())
    assert made == ["50%20 off.manifest.json", "50%20 off_Page(1).png", "50%20 off_Page(2).png"]
    assert run() == "1 document: 1 skipped"
    page.save(scan, save_all=True, append_images=[page, page])
    os.utime(scan, (time.time() + 1,) * 2)
    assert run() == "1 document: 1 done"
    assert len(list((target / "sub").iterdir())) == 4


def test_an_output_that_has_no_place_stops_no_other(api, tmp_path):
    sources, target = tmp_path / "in", tmp_path / "out"
    (sources / "sub").mkdir(parents=True)
    for name in ("a.bmp", "sub/b.bmp"):
        Image.new("1", (8, 8)).save(sources / name)
    target.mkdir()
    (target / "sub").touch()
    state = asyncio.run(convert_batch([f"{sources}/**/*.bmp"], str(target), return_state=True))
    assert (state.name, state.message) == ("WithErrors", "2 documents: 1 done, 1 failed")


def test_a_folder_that_cannot_be_searched_is_a_failure_of_its_own(api, tmp_path, monkeypatch):
    sources, scandir = tmp_path / "in", os.scandir

    def refused(folder):
        if str(folder).endswith("/shut/."):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    (sources / "shut").mkdir(parents=True)
    Image.new("1", (8, 8)).save(sources / "a.bmp")
    monkeypatch.setattr(listing.os, "scandir", refused)
    state = asyncio.run(convert_batch([f"{sources}/**/*.bmp"], str(tmp_path / "out"), return_state=True))
    assert (state.name, state.message) == ("WithErrors", "2 documents: 1 done, 1 failed")


def test_an_aborted_batch_stops_its_documents(api, tmp_path):
    sources, target = tmp_path / "in", tmp_path / "out"
    sources.mkdir()
    for name in ("a", "b", "c", "d"):
        Image.new("1", (8, 8)).save(sources / f"{name}.bmp")
    # Two are converted at a time; neither would end by itself.
    options = ConvertOptions(title="pages=2 at=2 do=sleep")

    async def scenario():
        async with get_client() as client:
            batch = asyncio.create_task(
                convert_batch([str(sources)], str(target), to="dds", options=options, return_state=True)
            )
            async with asyncio.timeout(SECONDS):
                running = []
                while len(running) < 2:
                    running = await children(client, "RUNNING")
                await client.set_flow_run_state(await batch_of(client, running[0]), Cancelling())
                state = await batch
            return state, await children(client, "CANCELLED"), running

    async def children(client, kind):
        wanted = {"state": {"type": {"any_": [kind]}}, "parent_task_run_id": {"is_null_": False}}
        runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))
        return [run for run in runs if str(sources) in str(run.parameters)]

    async def batch_of(client, child):
        return (await client.read_task_run(child.parent_task_run_id)).flow_run_id

    state, stopped, running = asyncio.run(scenario())
    assert state.is_cancelled(), state
    assert state.message == "aborted: 4 documents: 4 aborted"
    assert {run.id for run in stopped} == {run.id for run in running}
    assert not list(target.rglob("*.*"))
