"""Aborts at random moments: each job ends Completed with its whole output, or Cancelled with none.

`python tests/jobs/campaign.py [jobs [way...]]` runs 200 a way: `embedded` and `docmill worker`.
The suite runs a few.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120
# A job takes about a second when four run at once.
LONGEST = 1.5


@dataclass(frozen=True)
class End:
    """How an aborted job ended; `gone`: seconds from the abort to its engine's end, where it had one."""

    message: str
    gone: float | None


def campaign(
    runner, source: Path, folder: Path, *, jobs: int, longest: float | None, at_once: int = 4
) -> list[End]:
    """Abort `jobs` short jobs, each up to `longest` seconds after its submission; None lets them be."""
    chance = random.Random(jobs)
    moments = [None if longest is None else chance.uniform(0, longest) for _ in range(jobs)]
    with ThreadPoolExecutor(at_once) as pool:
        ends = pool.map(lambda n: _abort_one(runner, source, folder / str(n), moments[n]), range(jobs))
        return list(ends)


def _abort_one(runner, source: Path, folder: Path, moment: float | None) -> End:
    from docmill.options import ConvertOptions
    from docmill.request import ConvertRequest

    folder.mkdir()
    options = ConvertOptions(title="pages=4 pause=0.05")
    request = ConvertRequest(sources=(str(source),), target=str(folder / "out.dds"), options=options)
    job = runner.submit(request)
    time.sleep(moment or 0.0)
    had_engine, begun = bool(sandbox_processes(job.flow_run_id)), time.monotonic()
    if moment is not None:
        runner.abort_convert_job(job.user_token, job.job_token)
    gone = None
    while had_engine and gone is None:
        if not sandbox_processes(job.flow_run_id):
            gone = time.monotonic() - begun
        assert time.monotonic() - begun < SECONDS, "the engine of an aborted job goes on"
    status = runner.wait(job.user_token, job.job_token, SECONDS)
    left = sorted(path.name for path in folder.iterdir())
    if status.abort:
        assert left == [], (status, left)
        assert status.error_messages == ("Job aborted",)
    else:
        assert status.error_messages == (), status
        assert left == ["out.dds"], (status, left)
        assert (folder / "out.dds").read_text().endswith("whole\n")
    assert not (runner.settings.scratch_dir / job.flow_run_id).exists()
    assert not sandbox_processes(job.flow_run_id)
    return End(status.job_status_message, gone)


def sandbox_processes(flow_run_id: str) -> list[int]:
    """Processes that have a file of this run's scratch open: its engine."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                links = [str(fd.readlink()) for fd in (entry / "fd").iterdir()]
            except OSError:
                continue
            if any(flow_run_id in link for link in links):
                found.append(int(entry.name))
    return found


@contextmanager
def _machine(folder: Path):
    """A server with a docmill worker, and the runners of the two ways."""
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "drill")]
    import docmill_drill
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from servers import prefect_server, worker

    from docmill.jobs.embedded import EmbeddedRunner
    from docmill.jobs.runner import StatusJobDataRunner

    docmill_drill.install()
    with prefect_server(folder) as server:
        os.environ |= server.environment
        with temporary_settings({PREFECT_API_URL: server.url}):
            from conftest import deploy

            asyncio.run(deploy("campaign", "docmill"))
            with (
                worker(server, "campaign", limit=8),
                EmbeddedRunner() as embedded,
                StatusJobDataRunner(deployment="campaign") as submitting,
            ):
                yield {"embedded": embedded, "docmill worker": submitting}


def main() -> None:
    os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="docmill-campaign-"))
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    from PIL import Image

    jobs, asked = int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        source = folder / "scan.bmp"
        Image.new("1", (8, 8)).save(source)
        with _machine(folder) as ways:
            for way, runner in ways.items():
                if asked and way not in asked:
                    continue
                first, then = folder / way / "first", folder / way / "then"
                first.mkdir(parents=True)
                then.mkdir()
                # How long jobs take on this machine now, so that the moments fall on all of their life.
                begun = time.monotonic()
                campaign(runner, source, first, jobs=4, longest=None)
                longest, begun = time.monotonic() - begun, time.monotonic()
                ends = campaign(runner, source, then, jobs=jobs, longest=longest)
                took = time.monotonic() - begun
                print(f"{way}: {dict(Counter(end.message for end in ends))} in {took:.0f} s")
                gone = sorted(end.gone for end in ends if end.gone is not None) or [math.nan]
                worst = f"{statistics.median(gone):.2f} s median, {gone[-1]:.2f} s at most"
                print(f"{way}: from the abort to the engine's process gone, {len(gone)} times: {worst}")


if __name__ == "__main__":
    main()
