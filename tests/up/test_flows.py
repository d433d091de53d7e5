"""The batch and cleanup flows on a running `docmill up`, run by its worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from machine import Up
from PIL import Image

#: Starts a deployment's run, waits for its end, and prints its state and table artifact.
SUBMIT = """
import asyncio, json, sys
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter
from prefect.deployments import arun_deployment

async def main():
    run = await arun_deployment(sys.argv[1], parameters=json.loads(sys.argv[2]), timeout=150)
    wanted = {"flow_run_id": {"any_": [str(run.id)]}, "type": {"any_": ["table"]}}
    async with get_client() as client:
        artifacts = await client.read_artifacts(artifact_filter=ArtifactFilter.model_validate(wanted))
    rows = json.loads(artifacts[0].data) if artifacts else []
    print(json.dumps({"state": run.state.name, "message": run.state.message, "rows": rows}))

asyncio.run(main())
"""


def run_flow(machine: Up, deployment: str, **parameters: Any) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-c", SUBMIT, deployment, json.dumps(parameters)],
        env=machine.environment | {"PREFECT_API_URL": machine.note["api_url"], "DO_NOT_TRACK": "1"},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def test_what_was_deployed_is_not_deployed_again(running_up: Up) -> None:
    # Not even from within a git repository, whose commit Prefect takes for the version where it may.
    ran = running_up.run("deploy")
    assert (ran.returncode, ran.stdout) == (0, "deployed to docmill: all was there\n")


def test_a_batch_goes_on_where_documents_fail_and_skips_what_is_done(running_up: Up, tmp_path: Path) -> None:
    inbox, out = tmp_path / "in", tmp_path / "out"
    (inbox / "sub").mkdir(parents=True)
    for name in ("a.tif", "sub/b.tif"):
        Image.new("1", (80, 80)).save(inbox / name, compression="group4", dpi=(72, 72))
    (inbox / "bad.tif").write_text("no picture at all")
    # A name that is not UTF-8, of which a database cannot be told.
    shutil.copy(inbox / "a.tif", os.fsencode(inbox) + b"/\xff.tif")
    gone = f"{tmp_path}/gone/"
    batch = {"sources": [gone, f"{inbox}/**/*.tif"], "target": str(out), "skip_existing": True}

    first = run_flow(running_up, "batch/docmill", **batch)
    assert (first["state"], first["message"]) == ("WithErrors", "5 documents: 2 done, 3 failed")
    worst = [(Path(row["source"]).name, row["state"], row["message"]) for row in first["rows"][:3]]
    assert [row[:2] for row in worst] == [
        ("gone", "failed"), ("\\udcff.tif'", "failed"), ("bad.tif", "failed")
    ]  # fmt: skip
    assert "does not exist" in worst[0][2]
    assert "must be UTF-8" in worst[1][2]
    assert "no picture" in worst[2][2]
    assert sorted(path.relative_to(out) for path in out.rglob("*.pdf")) == [Path("a.pdf"), Path("sub/b.pdf")]

    second = run_flow(running_up, "batch/docmill", **batch)
    assert second["message"] == "5 documents: 2 skipped, 3 failed"

    nothing = run_flow(running_up, "batch/docmill", sources=[gone], target=str(out))
    assert nothing["state"] == "Failed"
    assert nothing["message"].startswith("1 document: 1 failed; ")
    assert "gone" in nothing["message"]


def test_cleanup_removes_what_is_over_and_tells_it(running_up: Up, tmp_path: Path) -> None:
    scratch = Path(running_up.environment["DOCMILL_SCRATCH_DIR"])
    dead = scratch / str(uuid.uuid4())
    dead.mkdir(parents=True)
    os.utime(dead, (time.time() - 10 * 86400,) * 2)

    dry = run_flow(running_up, "cleanup/docmill", dry_run=True)
    assert dry["message"] == "would remove scratch folders (1)"
    assert dead.exists()
    done = run_flow(running_up, "cleanup/docmill")
    assert (done["state"], done["message"]) == ("Completed", "removed scratch folders (1)")
    rows = {row["what"]: row["removed"] for row in done["rows"]}
    assert (rows["scratch folders"], rows["old jobs"]) == (1, 0)
    assert not dead.exists()
