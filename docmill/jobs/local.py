"""The Prefect API that `docmill up` runs on this machine: noted in a file of the data folder, found by it.

Light to import: commands look here before they decide whether to start a server of their own.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from docmill.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a running `docmill up` says of itself in `<data>/up.json`."""

    pid: int
    api_url: str
    ui_url: str
    database: str
    logs: str
    started: str

    def write(self, data_dir: Path) -> None:
        """Note it for others; a reader never sees half of it."""
        draft = data_dir / f"{NOTE}.{os.getpid()}"
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.replace(data_dir / NOTE)

    @classmethod
    def read(cls, data_dir: Path) -> Running | None:
        """The note in a data folder, current or left over; None where there is none that can be read."""
        try:
            return cls(**json.loads((data_dir / NOTE).read_text()))
        except (OSError, ValueError, TypeError):
            return None


NOTE, LOCK = "up.json", "up.lock"
ANSWER_SECONDS = 5.0


def private_folder(folder: Path) -> None:
    """Make a folder that only its user may look into, also where an earlier version has made it for all: the
    databases and logs in it hold tokens, and the names of documents."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        with suppress(PermissionError):  # somebody else's
            folder.chmod(0o700)


def find_running(settings: Settings) -> str | None:
    """The API's URL of the `docmill up` that runs on these settings' data folder, if one does and answers."""
    running = Running.read(settings.data_dir)
    if running is None or not DataLock(settings.data_dir).is_held():
        return None
    return running.api_url if answers(f"{running.api_url}/health") else None


def answers(url: str) -> bool:
    """Whether an `http://host:port/path` gives 200, within a few seconds."""
    import http.client

    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class DataLock:
    """At most one `docmill up` for a data folder; the kernel drops it with the process, however that ends."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / LOCK
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock; False where another process has it."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_held(self) -> bool:
        """Whether some process has the lock."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def __enter__(self) -> DataLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
