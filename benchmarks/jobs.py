"""Jobs a second, the cost of a query, and how fast an abort is: `python benchmarks/jobs.py [what...]`.

    throughput   100 one-page jobs on the docmill worker against Prefect's process worker, and submit to start
    sqlite       the same on the docmill worker with a server on SQLite
    query        20 queries a second beside 10,000 finished and 50 running jobs that report progress
    abort        from the call to the engine's process gone, for a long page and for an engine hung in C
    memory       the worker's memory over 1,000 jobs

Real servers on free ports in a temporary folder. Without arguments: all but `memory`, which takes long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "jobs"), str(ROOT / "tests")]
os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="docmill-bench-"))
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")

import servers
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from docmill.jobs.deployments import deploy_convert, ensure_work_pool
from docmill.jobs.models import JobData, JobStatus
from docmill.jobs.names import FLOW_NAME
from docmill.jobs.runner import StatusJobDataRunner
from docmill.options import ConvertOptions
from docmill.request import ConvertRequest

JOBS, STOCK_JOBS, STARTS, ABORTS = 100, 10, 15, 30


@contextlib.contextmanager
def machine(
    folder: Path, *, postgres: bool = True, type: str = "docmill", limit: int = 8
) -> Iterator[StatusJobDataRunner]:
    """A server, a worker, and a runner that submits to it."""
    with servers.prefect_server(folder, postgres=postgres) as server, using(server, type, limit) as runner:
        yield runner


@contextlib.contextmanager
def using(server: servers.PrefectServer, type: str, limit: int) -> Iterator[StatusJobDataRunner]:
    os.environ |= server.environment
    quick = {"PREFECT_WORKER_QUERY_SECONDS": "0.5", "PREFECT_LOGGING_LEVEL": "ERROR"}
    with (
        temporary_settings({PREFECT_API_URL: server.url}),
        servers.worker(server, deployed(type), type=type, limit=limit, environment=quick),
        StatusJobDataRunner(deployment=type) as runner,
    ):
        yield runner


def deployed(type: str) -> str:
    async def deploy() -> None:
        async with get_client() as client:
            await ensure_work_pool(client, type, type=type)
            await deploy_convert(client, name=type, work_pool=type)

    asyncio.run(deploy())
    return type


def throughput(folder: Path) -> None:
    with servers.prefect_server(folder) as server:
        with using(server, "docmill", 8) as runner:
            ours = jobs_a_second(runner, folder / "docmill", JOBS)
            starts = [time_to_start(runner, folder) for _ in range(STARTS)]
        with using(server, "process", 2) as runner:
            stock = jobs_a_second(runner, folder / "process", STOCK_JOBS)
    print(f"docmill worker, PostgreSQL: {ours:.2f} jobs a second ({JOBS} one-page jobs, 8 at a time)")
    print(f"process worker, PostgreSQL: {stock:.2f} jobs a second ({STOCK_JOBS} jobs, 2 at a time)")
    print(f"ratio: {ours / stock:.1f}")
    print(f"submit to start, idle: {statistics.median(starts):.2f} s median, {max(starts):.2f} s at most")


def sqlite(folder: Path) -> None:
    with machine(folder, postgres=False) as runner:
        print(f"docmill worker, SQLite: {jobs_a_second(runner, folder / 'docmill', JOBS):.2f} jobs a second")


def memory(folder: Path) -> None:
    with machine(folder) as runner:
        jobs_a_second(runner, folder / "warm", JOBS)
        before = worker_memory()
        for part in range(1, 11):
            speed = jobs_a_second(runner, folder / str(part), JOBS)
            print(f"after {part * JOBS} more jobs: {worker_memory() - before:+.1f} MB ({speed:.2f} a second)")


def jobs_a_second(runner: StatusJobDataRunner, folder: Path, count: int) -> float:
    """Submit one-page jobs at once; every output is checked with qpdf, outside of the time."""
    source = one_page(folder)
    done(runner, submit(runner, source, folder / "first.pdf"))
    begun = time.perf_counter()
    pairs = [submit(runner, source, folder / f"{number}.pdf") for number in range(count)]
    for pair in pairs:
        done(runner, pair)
    elapsed = time.perf_counter() - begun
    for number in range(count):
        subprocess.run(["qpdf", "--check", folder / f"{number}.pdf"], check=True, stdout=subprocess.DEVNULL)
    return count / elapsed


def time_to_start(runner: StatusJobDataRunner, folder: Path) -> float:
    pair = submit(runner, one_page(folder), folder / f"{time.monotonic_ns()}.pdf")
    begun = time.time()
    run = done(runner, pair)
    from datetime import datetime

    started = datetime.fromisoformat(run.job_started_timestamp or "").timestamp()
    time.sleep(0.5)
    return started - begun


def query(folder: Path) -> None:
    with machine(folder) as runner:
        done(runner, submit(runner, one_page(folder), folder / "a.pdf"))
        asyncio.run(many_finished(folder, 10_000))
        latencies = asyncio.run(queries_beside(runner, running=50, a_second=20, seconds=30))
    shown = statistics.quantiles(latencies, n=100)
    print(f"query, 20 a second beside 10,000 finished and 50 running jobs: {shown[49] * 1000:.0f} ms p50, "
          f"{shown[98] * 1000:.0f} ms p99 ({len(latencies)} queries)")  # fmt: skip


async def many_finished(folder: Path, count: int) -> None:
    """Copies of the one finished job, made in the database: through the API they would take minutes."""
    import asyncpg

    connection = await asyncpg.connect("postgresql://postgres@/postgres", host=str(postgres_socket(folder)))
    try:
        run = await connection.fetchrow("select * from flow_run limit 1")
        state = await connection.fetchrow("select * from flow_run_state where id = $1", run["state_id"])
        changes = {
            "flow_run": {"id": "md5('run' || n)::uuid", "state_id": "null", "idempotency_key": "'b-' || n"},
            "flow_run_state": {"id": "md5('state' || n)::uuid", "flow_run_id": "md5('run' || n)::uuid"},
        }
        for table, row in (("flow_run", run), ("flow_run_state", state)):
            names = ", ".join(f'"{name}"' for name in row.keys())  # noqa: SIM118 (a record iterates its values)
            values = ", ".join(changes[table].get(name, f'"{name}"') for name in row.keys())  # noqa: SIM118
            await connection.execute(
                f"insert into {table} ({names}) select {values} from {table}, generate_series(1, {count}) n"
                f" where id = '{row['id']}'"
            )
        await connection.execute(
            "update flow_run set state_id = s.id from flow_run_state s"
            " where s.flow_run_id = flow_run.id and flow_run.state_id is null"
        )
        await connection.execute("analyze")
    finally:
        await connection.close()


async def queries_beside(
    runner: StatusJobDataRunner, *, running: int, a_second: int, seconds: int
) -> list[float]:
    """Latencies of queries, while `running` jobs write their progress once a second."""
    from prefect.states import Running

    from docmill.jobs.labels import Progress, progress_label

    async with get_client() as client:
        request = ConvertRequest(sources=("/a.tif",), target="/b.pdf")
        jobs = [await runner.asubmit(request) for _ in range(running)]
        for job in jobs:
            await client.set_flow_run_state(job.flow_run_id, Running(), force=True)

        async def report(flow_run_id: str) -> None:
            for page in range(10_000):
                at = f"2026-01-01T00:00:{page % 60:02}.000Z"
                progress = Progress(stage="convert", page=page, page_count=10_000, at=at)
                await client.update_flow_run_labels(flow_run_id, dict(progress_label(progress)))
                await asyncio.sleep(1)

        reports = [asyncio.create_task(report(job.flow_run_id)) for job in jobs]
        latencies: list[float] = []

        async def ask(number: int) -> None:
            job = jobs[number % running]
            begun = time.perf_counter()
            status = await runner.aquery_convert_job_status(job.user_token, job.job_token)
            latencies.append(time.perf_counter() - begun)
            assert status and status.flow_run_id == job.flow_run_id

        asks = []
        for number in range(a_second * seconds):
            asks.append(asyncio.create_task(ask(number)))
            await asyncio.sleep(1 / a_second)
        await asyncio.gather(*asks)
        for task in reports:
            task.cancel()
        return latencies


def abort(folder: Path) -> None:
    bitmap = folder / "a.bmp"
    Image.new("1", (8, 8)).save(bitmap)
    with machine(folder) as runner:
        for what, orders in (
            ("a long page", "pages=2 at=2 do=sleep"),
            ("an engine hung in C", "pages=2 at=2 do=hang"),
        ):
            times = [abort_once(runner, bitmap, folder / f"{n}.dds", orders) for n in range(ABORTS)]
            gone, told = zip(*times, strict=True)
            print(f"abort of {what}: process gone after {spread(gone)}, Cancelled after {spread(told)}")


def abort_once(runner: StatusJobDataRunner, source: Path, target: Path, orders: str) -> tuple[float, float]:
    request = ConvertRequest(sources=(str(source),), target=str(target), options=ConvertOptions(title=orders))
    job = runner.submit(request)
    pair = job.user_token, job.job_token
    wait_for(lambda: status_of(runner, pair).job_status_page_number == 2)
    pids = engines_of(job.flow_run_id)
    assert pids, "no engine"
    begun = time.perf_counter()
    runner.abort_convert_job(*pair)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 0.002)
    gone = time.perf_counter() - begun
    wait_for(lambda: status_of(runner, pair).is_completed)
    assert status_of(runner, pair).abort
    assert not target.exists()
    return gone, time.perf_counter() - begun


def engines_of(flow_run_id: str) -> list[int]:
    from test_contract import sandbox_processes

    return sandbox_processes(flow_run_id)


def spread(times: tuple[float, ...]) -> str:
    return f"{statistics.median(times):.2f} s p50, {statistics.quantiles(times, n=100)[98]:.2f} s p99"


def submit(runner: StatusJobDataRunner, source: Path, target: Path) -> tuple[str, str]:
    request = ConvertRequest(sources=(str(source),), target=str(target))
    job = runner.submit(request, job_data=JobData(job_name=FLOW_NAME))
    return job.user_token, job.job_token


def done(runner: StatusJobDataRunner, pair: tuple[str, str]):  # type: ignore[no-untyped-def]
    status = runner.wait(*pair, 600)
    assert status.job_status is JobStatus.SUCCESS, status
    return status


def status_of(runner: StatusJobDataRunner, pair: tuple[str, str]):  # type: ignore[no-untyped-def]
    status = runner.query_convert_job_status(*pair)
    assert status is not None
    return status


def wait_for(condition: Callable[[], bool], pause: float = 0.05) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(pause)


def one_page(folder: Path) -> Path:
    path = folder / "one.tif"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        page = Image.new("1", (2480, 3508), 1)
        draw = ImageDraw.Draw(page)
        for y in range(100, 3400, 60):
            draw.text((200, y), "the quick brown fox jumps over the lazy dog " * 3, fill=0)
        page.save(path, compression="group4", dpi=(300, 300))
    return path


def worker_memory() -> float:
    """Resident megabytes of the worker's process."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (
                entry.name.isdigit()
                and f"PREFECT_API_URL={os.environ['PREFECT_API_URL']}"
                in (entry / "environ").read_text(errors="replace")
                and "worker" in (entry / "cmdline").read_text()
            ):
                resident = int((entry / "statm").read_text().split()[1])
                return resident * os.sysconf("SC_PAGE_SIZE") / 1e6
    raise AssertionError("no worker")


def postgres_socket(folder: Path) -> Path:
    return next(folder.glob("**/.s.PGSQL.*")).parent


def main() -> None:
    sys.path.insert(0, str(servers.DRILL))
    import docmill_drill

    docmill_drill.install()
    for name in sys.argv[1:] or ["throughput", "sqlite", "query", "abort"]:
        with servers.server_folder() as folder:
            {"throughput": throughput, "sqlite": sqlite, "query": query, "abort": abort, "memory": memory}[
                name
            ](folder)


if __name__ == "__main__":
    main()
