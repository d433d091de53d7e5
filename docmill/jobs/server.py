"""Which Prefect API a process talks to: a configured one, or an embedded server that lives as long as it.

`prefect_api` sets `PREFECT_API_URL` for this process, so it must be entered before anything imports Prefect.
The embedded server keeps its database in docmill's own data folder and is a child process that dies with its
parent, however that ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from docmill.errors import PrefectUnavailable
from docmill.jobs.local import answers, find_running, private_folder
from docmill.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

log = logging.getLogger(__name__)

#: Seconds until an embedded server must answer: 2 to 7 are usual on 2 cores, a loaded machine takes longer.
START_TIMEOUT = 180.0
STOP_TIMEOUT = 10.0
SETTLE_TIMEOUT = 10.0


@contextmanager
def prefect_api(settings: Settings, say: Callable[[str], None]) -> Iterator[Callable[[], str]]:
    """Choose the Prefect API for this process; yields a function that waits until it answers.

    A URL in the environment or in the user's Prefect profile is used as it is, or else that of a running
    `docmill up`. Where there is none an embedded server is started; the caller can import what it needs
    meanwhile. The function returns the API's URL and raises `PrefectUnavailable`.
    """
    url = use_running_api(settings)
    if url:
        yield lambda: _reached(url)
        return
    server = EmbeddedServer(embedded_home(settings))
    os.environ.update(server.client_environment())
    server.start()
    say("starting the embedded Prefect server (4 s, at first 8; set PREFECT_API_URL to use a running one)")
    try:
        yield server.wait_until_ready
    finally:
        if server.ready:
            settle()
        server.stop()


def embedded_home(settings: Settings) -> Path:
    """The folder of embedded servers; not that of `docmill up`, whose server may run at the same time."""
    return settings.data_dir / "embedded"


def _reached(url: str) -> str:
    from docmill.jobs.failures import check_reachable

    check_reachable()
    return url


def settle() -> None:
    """Wait until the API has recorded what this process told it; not from within an event loop.

    Logs and events are sent in the background, and the server writes task runs from events: one that is
    stopped before would not know how they ended.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    EventsWorker.drain_all(timeout=SETTLE_TIMEOUT)
    APILogHandler().flush()
    with contextlib.suppress(httpx.HTTPError):  # a server that died has nothing left to record
        _await_task_runs(get_client(sync_client=True))


def _await_task_runs(prefect: SyncPrefectClient) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.client.schemas.sorting import TaskRunSort

    from docmill.jobs.running import ran_here

    # Others in the same database are of processes that were killed, and stay as they are, or of commands that
    # run beside this one.
    own = FlowRunFilter(id=FlowRunFilterId(any_=list(ran_here)))
    deadline = time.monotonic() + SETTLE_TIMEOUT
    before: list[tuple[str, str | None]] | None = None
    with prefect as client:
        while ran_here and time.monotonic() < deadline:
            runs = client.read_task_runs(
                flow_run_filter=own, sort=TaskRunSort.EXPECTED_START_TIME_DESC, limit=50
            )
            now = [(str(run.id), run.state_name) for run in runs]
            if now == before and all(run.state is None or run.state.is_final() for run in runs):
                return
            before = now
            time.sleep(0.2)


def use_running_api(settings: Settings) -> str | None:
    """Have this process talk to the Prefect API that is set up, or to that of a running `docmill up`.

    To be called before Prefect is imported. None where there is neither.
    """
    if url := configured_url():
        return url
    if url := find_running(settings):
        os.environ["PREFECT_API_URL"] = url
        # As `docmill up` has it for its own processes: Prefect's notice would come between a command's
        # lines, the first time in a terminal.
        os.environ.setdefault("DO_NOT_TRACK", "1")
    return url


def configured_url() -> str | None:
    """The Prefect API that this user has set up: `PREFECT_API_URL`, or the active profile's.

    Read off the profile's file, since Prefect, once imported, takes no other API any more.
    """
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    if not profiles.exists():
        return None
    import tomllib

    try:
        content = tomllib.loads(profiles.read_text())
        active = os.environ.get("PREFECT_PROFILE") or content["active"]
        return content["profiles"][active].get("PREFECT_API_URL") or None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        # A profile that is none is Prefect's to tell.
        return None


class EmbeddedServer:
    """A Prefect API server on SQLite in a folder of docmill's, as a child process on a free port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = _free_port()
        self.ready = False
        self._process: subprocess.Popen[bytes] | None = None
        self._log = home / "server.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def client_environment(self) -> dict[str, str]:
        """What a process needs in its environment, before it imports Prefect, to talk to this server."""
        return {"PREFECT_HOME": str(self.home), "PREFECT_API_URL": self.url, **_PRIVATE}

    def start(self) -> None:
        """Start the server's process; raises `PrefectUnavailable` where its folder cannot be made."""
        try:
            private_folder(self.home)
            log_file = self._log.open("wb")
        except OSError as error:
            raise PrefectUnavailable(
                f"the embedded Prefect server's folder {self.home} cannot be written to: {error.strerror}",
                hint="set DOCMILL_DATA_DIR to a folder of yours, or use --direct",
            ) from error
        database = f"sqlite+aiosqlite:///{self.home / 'prefect.db'}"
        with log_file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "docmill.jobs.server", str(self.port), str(os.getpid())],
                env={**os.environ, **_PRIVATE, **_SERVER, "PREFECT_HOME": str(self.home),
                     "PREFECT_API_DATABASE_CONNECTION_URL": database},
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                # Ctrl-C in the terminal is for the command, which then stops its server in order.
                start_new_session=True,
            )  # fmt: skip

    def wait_until_ready(self) -> str:
        """Wait until the server answers; returns its URL, raises `PrefectUnavailable`."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            if answers(f"{self.url}/health"):
                self.ready = True
                return self.url
            time.sleep(0.05)
        raise PrefectUnavailable(
            "the embedded Prefect server did not start", hint=f"see {self._log}, or use --direct"
        )

    def stop(self) -> None:
        """End the server's process."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


#: Nothing of an embedded run leaves this machine.
_PRIVATE = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
#: Services that a server of one process does without; task runs are recorded from events.
_SERVER = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_API_DATABASE_TIMEOUT": "60",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(port: int, parent: int) -> None:
    """The child process: Prefect's own application under uvicorn, dying with its parent."""
    # Not by PR_SET_PDEATHSIG: the kernel sends that when the thread ends that started this process, and a
    # program may first call a runner from a thread that soon ends, or from `asyncio.run`, which ends its own.
    try:
        alive = os.pidfd_open(parent)
    except ProcessLookupError:
        return
    if os.getppid() != parent:
        return  # the parent died before the lines above
    threading.Thread(target=_end_with, args=(alive,), name="docmill-parent", daemon=True).start()
    os.umask(0o077)  # what is in the database is this user's alone
    import uvicorn

    from docmill.jobs.prefect_app import prefect_app

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # All that the one client told is recorded by now. What still runs is Prefect's end of a
            # subscription to events, which would take a second more to see that its client has gone.
            await self.lifespan.shutdown()
            self.force_exit = True
            await super().shutdown(sockets)

    Server(uvicorn.Config(prefect_app(), host="127.0.0.1", port=port, log_level="warning")).run()


def _end_with(process: int) -> None:
    """End this process, at once, when that of the pidfd has ended."""
    select.select([process], [], [])
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
