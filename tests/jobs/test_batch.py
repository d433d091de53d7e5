"""A batch that is aborted: its documents stop with it, and those that were done stay."""

from __future__ import annotations

import asyncio

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Cancelling

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
