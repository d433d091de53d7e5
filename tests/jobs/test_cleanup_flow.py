"""Cleaning up on a real server: what a crashed run had staged, and jobs that are older than they are kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed, Pending, Running

from docmill.documents.publish import stage
from docmill.flows.cleanup import clean_up
from docmill.flows.convert import convert_document
from docmill.jobs.claim import again
from docmill.jobs.retention import delete_old_jobs
from docmill.request import ConvertRequest


async def run_in(states, target: Path) -> str:
    request = ConvertRequest(sources=("scan.tif",), target=str(target)).to_dict()
    async with get_client() as client:
        run = await client.create_flow_run(convert_document, parameters={"request": request}, state=Running())
        for state in states:
            await client.set_flow_run_state(run.id, again(state), force=True)
        return str(run.id)


def staged_by(run: str, made: Path, target: Path) -> Path:
    before = set(target.parent.iterdir())
    stage([made], str(target), overwrite=False, run_id=run)
    return (set(target.parent.iterdir()) - before).pop()


RERUN = [Running(), AwaitingRetry(), Pending(), Running(), Completed()]


@pytest.mark.parametrize(
    "end",
    [[Crashed()], [Failed()], [Cancelled()], RERUN],
    ids=["crashed", "failed", "cancelled in its place", "completed by a rerun"],
)
def test_what_a_dead_run_staged_is_taken_back(api, tmp_path, end):
    made = tmp_path / "made.pdf"
    made.write_bytes(b"%PDF-")
    folder = tmp_path / "out"
    folder.mkdir()
    dead = staged_by(asyncio.run(run_in(end, folder / "dead.pdf")), made, folder / "dead.pdf")
    alive = staged_by(asyncio.run(run_in([], folder / "alive.pdf")), made, folder / "alive.pdf")
    state = asyncio.run(clean_up(return_state=True))
    assert state.is_completed(), state.message
    assert "unfinished outputs of jobs that ended (1)" in state.message
    assert not dead.exists()
    assert alive.exists()


def test_jobs_that_ended_long_ago_are_deleted_with_their_artifacts(api, tmp_path):
    ended = asyncio.run(run_in([Completed()], tmp_path / "a.pdf"))
    running = asyncio.run(run_in([], tmp_path / "b.pdf"))

    async def scenario():
        async with get_client() as client:
            artifact = await client.create_artifact(ArtifactCreate(flow_run_id=ended, type="markdown"))
            name = (await client.read_flow_run(ended)).name
            kept = await delete_old_jobs(3600)
            would = await delete_old_jobs(0.001, dry_run=True)
            assert (await client.read_flow_run(ended)).state.is_completed()
            deleted = await delete_old_jobs(0.001)
            with pytest.raises(ObjectNotFound):
                await client.read_flow_run(ended)
            assert artifact.id not in {left.id for left in await client.read_artifacts()}
            assert (await client.read_flow_run(running)).state.is_running()
            assert name not in kept
            assert name in would
            assert sorted(deleted) == sorted(would)

    asyncio.run(scenario())
