"""What `docmill up` runs on one machine, and the note by which the other commands find it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from docmill.errors import DestinationForbidden, DestinationFull, InvalidJobData, MissingExtra
from docmill.jobs.local import LOCK, NOTE, DataLock, Running, answers, private_folder
from docmill.settings import Settings, variable
from docmill.up import server
from docmill.up.postgres import Postgres
from docmill.up.supervisor import Part, Supervisor
from docmill.up.workers import worker_part
from docmill.wording import size_text

USUAL_PORT = 4200
#: A new database of PostgreSQL takes 60 MB, and one without room for its log stops.
LEAST_FREE = 100_000_000


class Database(StrEnum):
    """Where Prefect keeps flow runs: PostgreSQL where it is installed, else SQLite."""

    AUTO = "auto"
    POSTGRES = "postgres"
    SQLITE = "sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What to run: the server's port (None: 4200 or a free one, 0: a free one), worker processes and the jobs
    that each runs at once."""

    port: int | None = None
    workers: int = 1
    limit: int | None = None
    database: Database = Database.AUTO


def up(settings: Settings, options: UpOptions, say: Callable[[str], None]) -> None:
    """Run everything on the settings' data folder until a signal asks to stop; `say` tells a person.

    Raises `InvalidJobData` where the folder or the port is taken, `DestinationForbidden` or `DestinationFull`
    where the folder cannot be written to, `PrefectUnavailable` where a part does not start, `MissingExtra`
    where PostgreSQL is asked for and not there.
    """
    data = _prepare_folder(settings.data_dir)
    with DataLock(data) as lock:
        if not lock.acquire():
            raise _already_running(data)
        # One that was killed left its note, and its port may be another program's by now.
        (data / NOTE).unlink(missing_ok=True)
        postgres = _choose_database(data, options.database, say)
        port = _choose_port(options.port, say)
        installation = _Installation(settings, port, postgres)
        parts = installation.parts(options)

        def when_ready(seconds: float) -> None:
            installation.running().write(data)
            for line in installation.description(seconds, options):
                say(line)

        say(f"starting {', '.join(part.name for part in parts)}")
        try:
            Supervisor(parts, say).run(when_ready)
        finally:
            (data / NOTE).unlink(missing_ok=True)
        say("stopped")


@dataclass(frozen=True, slots=True)
class _Installation:
    settings: Settings
    port: int
    postgres: Postgres | None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    @property
    def data(self) -> Path:
        return self.settings.data_dir

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    def parts(self, options: UpOptions) -> list[Part]:
        """In the order of their start; each waits by itself for what it needs, so they start side by side."""
        database = [self.postgres.part(self.logs / "postgres.log")] if self.postgres else []
        server = self._server()
        workers = [
            worker_part(number, self.settings, self.api_url, options.limit, self._client(), self.logs)
            for number in range(1, options.workers + 1)
        ]
        return [server, *database, self._deployments(), *workers]

    def running(self) -> Running:
        return Running(
            pid=os.getpid(),
            api_url=self.api_url,
            ui_url=self.url,
            database=str(self._database_url),
            logs=str(self.logs),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def description(self, seconds: float, options: UpOptions) -> list[str]:
        lines = [
            f"ready after {seconds:.0f} s",
            f"  UI     {self.url}",
            f"  API    {self.api_url}",
            f"  data   {self.data}",
            f"  logs   {self.logs}",
        ]
        if self.data != Settings.from_env().data_dir.resolve():
            lines.append(f"other commands find it with {variable('data_dir')}={self.data}")
        return [*lines, "Ctrl-C stops it"]

    @property
    def _database_url(self) -> str:
        if self.postgres:
            return self.postgres.url
        return f"sqlite+aiosqlite:///{_sqlite_file(self.data)}"

    def _server(self) -> Part:
        database = [str(self.postgres.socket)] if self.postgres else []
        return Part(
            name="Prefect server",
            command=[sys.executable, "-P", "-m", "docmill.up.server", str(self.port), *database],
            log=self.logs / "server.log",
            environment=self._client()
            | server.SETTINGS
            | {
                "PREFECT_API_DATABASE_CONNECTION_URL": self._database_url,
                "PREFECT_SERVER_API_HOST": "127.0.0.1",
                "PREFECT_SERVER_API_PORT": str(self.port),
                # A page of another site, open in the browser, may not talk to this server.
                "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self.url,
                "PREFECT_SERVER_UI_API_URL": self.api_url,
                "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(self.data / "prefect" / "ui"),
                "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
            },
            ready=lambda started: answers(f"{self.api_url}/health"),
            answers=lambda: answers(f"{self.api_url}/health"),
            # Before running jobs stop for want of contact.
            hang_seconds=self.settings.contact_timeout / 2,
            needs=("PostgreSQL",),
        )

    def _deployments(self) -> Part:
        return Part(
            name="deployments",
            command=[sys.executable, "-P", "-m", "docmill", "deploy", "--wait"],
            log=self.logs / "deployments.log",
            environment=self._client(),
            needs=("Prefect server",),
            once=True,
        )

    def _client(self) -> dict[str, str | None]:
        """The environment of a process that talks to this server, whatever the user's own says."""
        return {
            "PREFECT_HOME": str(self.data / "prefect"),
            "PREFECT_PROFILES_PATH": str(self.data / "prefect" / "profiles.toml"),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_API_KEY": None,
            "PREFECT_PROFILE": None,
            "DO_NOT_TRACK": "1",
            variable("data_dir"): str(self.data),
        }


def _prepare_folder(data: Path) -> Path:
    try:
        data.mkdir(parents=True, exist_ok=True)
        private_folder(data / "prefect")
        private_folder(data / "logs")
        # A read-only file system tells only whoever writes.
        (data / LOCK).touch()
        free = shutil.disk_usage(data).free
    except OSError as error:
        why = "it is no folder" if data.exists() and not data.is_dir() else error.strerror
        raise DestinationForbidden(
            f"the data folder {data} cannot be written to: {why}", hint="name another with --data"
        ) from None
    if free < LEAST_FREE:
        raise DestinationFull(
            f"only {size_text(free)} are free where the data folder {data} is",
            hint=f"{size_text(LEAST_FREE)} are the least; free some, or name another folder with --data",
        )
    return data.resolve()


def _already_running(data: Path) -> InvalidJobData:
    running = Running.read(data)
    where = f" as process {running.pid}, its UI at {running.ui_url}" if running else ", and is just starting"
    return InvalidJobData(
        f"docmill up is running on {data} already{where}",
        hint="stop that one first, or name another folder with --data",
    )


def _choose_database(data: Path, wanted: Database, say: Callable[[str], None]) -> Postgres | None:
    postgres = None if wanted is Database.SQLITE else _find_postgres(data / "postgres", wanted, say)
    unseen, kind = (_sqlite_file(data), "SQLite") if postgres else (data / "postgres", "PostgreSQL")
    if unseen.exists():
        say(f"the jobs in {unseen}, from when {kind} was used here, are not seen now")
    return postgres


def _find_postgres(folder: Path, wanted: Database, say: Callable[[str], None]) -> Postgres | None:
    try:
        postgres = Postgres.find(folder)
    except MissingExtra as error:
        if wanted is Database.POSTGRES:
            raise
        # What was measured: benchmarks/README.md, 'Jobs'.
        say(f"on SQLite, several times slower than PostgreSQL and busy with many jobs at once: {error}")
        return None
    if postgres.user:
        say(f"PostgreSQL refuses to run as root, so it runs as the user {postgres.user}, who gets {folder}")
    return postgres


def _sqlite_file(data: Path) -> Path:
    return data / "prefect" / "prefect.db"


def _choose_port(wanted: int | None, say: Callable[[str], None]) -> int:
    port = USUAL_PORT if wanted is None else wanted
    with socket.socket() as probe:
        # As the server binds it: a port whose last connections still linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if wanted is not None:
                raise InvalidJobData(
                    f"port {port} of 127.0.0.1 cannot be used: {error.strerror}", hint="name another --port"
                ) from None
            probe.bind(("127.0.0.1", 0))
            say(f"port {port} is taken by another program")
        return int(probe.getsockname()[1])
