"""One Prefect server on PostgreSQL for all tests of jobs, and the three ways to run jobs on it."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

# Before anything imports Prefect, which reads its home once and writes to it.
os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="docmill-test-prefect-"))
os.environ.setdefault("DO_NOT_TRACK", "1")

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from docmill import processes
from docmill.jobs.deployments import deploy_convert, ensure_work_pool
from docmill.jobs.embedded import EmbeddedRunner
from docmill.jobs.models import StatusJobData
from docmill.jobs.runner import StatusJobDataRunner
from docmill.options import ConvertOptions
from docmill.request import ConvertRequest
from docmill.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from servers import DRILL, PrefectServer, prefect_server, server_folder, worker

sys.path.insert(0, str(DRILL))
import docmill_drill

SECONDS = 120


@pytest.fixture(scope="session")
def server() -> Iterator[PrefectServer]:
    # Not one of pytest's folders: it removes those of older sessions, and other sessions may start meanwhile.
    with (
        server_folder() as folder,
        prefect_server(folder) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        docmill_drill.install()
        # A sandbox server that another test started knows nothing of the drill.
        processes.shutdown()
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture
def api(server: PrefectServer) -> Iterator[PrefectServer]:
    """The server as the one that Prefect's settings name in this test."""
    with use(server):
        yield server


@contextmanager
def use(server: PrefectServer) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: server.url}):
        yield


async def deploy(pool: str, type: str, reruns: int = 0) -> None:
    async with get_client() as client:
        await ensure_work_pool(client, pool, type=type)
        await deploy_convert(client, name=pool, work_pool=pool, reruns=reruns)


@dataclass
class Way:
    """A way to run jobs: its name, a runner that submits to it, and whether it finds runs by itself."""

    name: str
    runner: StatusJobDataRunner
    settings: Settings

    @property
    def polls(self) -> bool:
        return self.name != "embedded"


@pytest.fixture(scope="module", params=["embedded", "docmill", "process"])
def way(request: pytest.FixtureRequest, server: PrefectServer) -> Iterator[Way]:
    name = request.param
    with use(server), ExitStack() as stack:
        settings = Settings.from_env()
        if name == "embedded":
            yield Way(name, stack.enter_context(EmbeddedRunner(settings)), settings)
            return
        pool = f"contract-{name}"
        asyncio.run(deploy(pool, name))
        environment = {"PREFECT_WORKER_QUERY_SECONDS": "1"} if name == "process" else None
        stack.enter_context(worker(server, pool, type=name, environment=environment))
        yield Way(name, stack.enter_context(StatusJobDataRunner(settings, deployment=pool)), settings)


@pytest.fixture(scope="session")
def bmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "scan.bmp"
    Image.new("1", (32, 32), 1).save(path)
    return path


@pytest.fixture
def drill(bmp: Path, tmp_path: Path):
    """Makes a request that the drill engine answers, e.g. `drill("pages=5 at=3 do=crash")`."""

    def make(orders: str = "", target: str = "out.dds", on_error: str = "abort") -> ConvertRequest:
        options = ConvertOptions(title=orders or "pages=1", on_error=on_error)
        return ConvertRequest(sources=(str(bmp),), target=str(tmp_path / target), options=options)

    return make


class Jobs:
    """A pool of its own, a runner that submits to it, and short ways to ask."""

    def __init__(self, pool: str, runner: StatusJobDataRunner) -> None:
        self.pool, self.runner = pool, runner

    def submit(self, request):
        job = self.runner.submit(request)
        return (job.user_token, job.job_token), job.flow_run_id

    def until(self, pair, wanted):
        return until(self, pair, wanted)

    def states(self, flow_run_id) -> list[str]:
        async def read():
            async with get_client() as client:
                states = await client.read_flow_run_states(flow_run_id)
                return [state.name for state in sorted(states, key=lambda state: state.timestamp)]

        return asyncio.run(read())


@pytest.fixture
def jobs(api, request):
    pool = f"pool-{request.node.name.replace('[', '-').rstrip(']')}"
    asyncio.run(deploy(pool, "docmill", reruns=1))
    with StatusJobDataRunner(deployment=pool) as runner:
        yield Jobs(pool, runner)


def until(way, pair, wanted) -> StatusJobData:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        status = way.runner.query_convert_job_status(*pair)
        assert status is not None
        if wanted(status):
            return status
        assert not status.is_completed, status
        time.sleep(0.05)
    raise AssertionError(f"not within {SECONDS} s: {status}")
