"""The parent's side of one worker: watched from outside until nothing of it is left."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from docmill.errors import DocmillError, EngineCrashed, EngineFailed, JobAborted, error_from_dict
from docmill.processes.failures import cpu_exceeded, death, output_exceeded, scratch_full, wall_exceeded
from docmill.processes.frames import ERROR, IMPORTED, LOG, MESSAGE, RESULT, FrameReader
from docmill.processes.handle import ServerHandle
from docmill.processes.limits import Limits

log = logging.getLogger(__name__)

# A foreign abort flag (threading.Event) can only be looked at; an `Abort` wakes the wait.
_FLAG_POLL = 0.05
# How long to wait for the end of a killed process: one that hangs in a dead network mount can stay for good.
_KILL_PATIENCE = 5.0
# How much of the end of what a worker printed is kept.
_NOISE_KEPT = 16 << 10
# Faster than a disk; tells how soon the output can be over its limit at the earliest.
_DISK_BYTES_PER_SECOND = 2 << 30


class AbortFlag(Protocol):
    """What `threading.Event` and `Abort` have in common."""

    def is_set(self) -> bool: ...


class Abort:
    """An abort flag that wakes whoever waits in `run`; `set` is safe in a signal handler."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._set = False

    def set(self) -> None:
        self._set = True
        os.eventfd_write(self._fd, 1)

    def is_set(self) -> bool:
        return self._set

    def fileno(self) -> int:
        """Readable once the flag is set."""
        return self._fd

    def __del__(self) -> None:
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class Watch:
    """What to watch a worker for, and whom to tell; the fields are those of `processes.run`."""

    limits: Limits
    doing: str
    out_dir: Path | None
    on_message: Callable[[dict[str, Any]], None] | None
    abort: AbortFlag | None
    grace: float


class WorkerTraceback(Exception):
    """Where in the worker an exception came from: the cause of the error that is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Job:
    """One worker: started on construction, followed to its end by `finish`."""

    def __init__(self, server: ServerHandle, payload: bytes, modules: Sequence[str], watch: Watch) -> None:
        self.server = server
        self.watch = watch
        self.pid = 0
        self.exit: tuple[int, float, int] | None = None
        self.page: int | None = None
        self.result: Any = None
        #: What the worker had to import itself.
        self.imported: list[str] = []
        self.error: DocmillError | None = None
        self.stopped_by: DocmillError | None = None
        # The next step of stopping it, as a time: SIGKILL, then giving up on it.
        self.kill_at: float | None = None
        self.give_up_at: float | None = None
        self.over = False
        self.reader = FrameReader()
        self.printed = b""
        self.wall_deadline = time.monotonic() + watch.limits.wall_seconds
        self.output_check = 0.0
        self.frames, self.noise, self.status = server.start_worker(payload, modules)

    def finish(self) -> Any:
        """The worker's result, or the error that it came to; raises `ServerLost` where it never began."""
        try:
            try:
                self._follow()
            except BaseException:
                # Ctrl-C, or a failure of `on_message`: nothing may go on writing behind the caller's back.
                self._stop(JobAborted("aborted"), kill=True)
                self._follow()
                raise
        finally:
            os.close(self.frames)
            os.close(self.noise)
            self.status.close()
        return self._outcome()

    def _follow(self) -> None:
        poll = select.poll()
        for fd in (self.frames, self.noise, self.status.fileno()):
            poll.register(fd, select.POLLIN)
        if isinstance(self.watch.abort, Abort) and not self.stopped_by:
            poll.register(self.watch.abort.fileno(), select.POLLIN)
        while not self.over:
            for fd, _ in poll.poll(self._next_check() * 1000):
                if fd == self.status.fileno():
                    self._read_status()
                elif (fd == self.frames and self._read_frames()) or (fd == self.noise and self._read_noise()):
                    continue
                else:
                    # At its end, or the abort flag, which has done its work.
                    poll.unregister(fd)
            self._check()
        while self._read_frames() or self._read_noise():
            pass

    def _next_check(self) -> float:
        """Seconds until something is due that no descriptor tells."""
        now = time.monotonic()
        if self.give_up_at or self.kill_at:
            return max(0.0, (self.give_up_at or self.kill_at or 0.0) - now)
        due = self.wall_deadline
        if self.watch.out_dir:
            due = min(due, self.output_check)
        if self.watch.abort and not isinstance(self.watch.abort, Abort):
            due = min(due, now + _FLAG_POLL)
        return max(0.0, due - now)

    def _check(self) -> None:
        now = time.monotonic()
        if self.give_up_at:
            if now >= self.give_up_at:
                self._give_up()
        elif self.kill_at:
            if now >= self.kill_at:
                self._order(b"K")
                self.give_up_at = now + _KILL_PATIENCE
        elif self.watch.abort and self.watch.abort.is_set():
            self._stop(JobAborted("the job was aborted"))
        elif now >= self.wall_deadline:
            self._stop(wall_exceeded(self.watch.limits, self.watch.doing, self.page), kill=True)
        elif self.watch.out_dir and now >= self.output_check:
            size = _size(self.watch.out_dir)
            left = self.watch.limits.output_bytes - size
            if left < 0:
                self._stop(output_exceeded(self.watch.limits, self.watch.doing, self.page), kill=True)
            # A walk over many files is not repeated all the time.
            pause = max(0.1, left / _DISK_BYTES_PER_SECOND, 20 * (time.monotonic() - now))
            self.output_check = now + min(pause, 5.0)

    def _stop(self, reason: DocmillError, *, kill: bool = False) -> None:
        self.stopped_by = self.stopped_by or reason
        now = time.monotonic()
        if kill:
            self._order(b"K")
            self.give_up_at = now + _KILL_PATIENCE
        else:
            self._order(b"T")
            self.kill_at = now + self.watch.grace

    def _order(self, order: bytes) -> None:
        try:
            self.status.send(order)
        except OSError:
            # The server is gone; `_read_status` deals with that.
            pass

    def _give_up(self) -> None:
        self.over = True
        if self.pid:
            log.warning("process %d does not die; it is left behind", self.pid)
        else:
            # It did not even fork: it hangs itself, in the import of a module.
            self.server.discard()

    def _read_status(self) -> None:
        try:
            words = self.status.recv(1024).split()
        except OSError:
            words = []
        if not words:
            self.over = True
            _wait_for_group(self.pid)
        elif words[0] == b"started":
            self.pid = int(words[1])
        else:
            self.over = True
            self.exit = int(words[1]), float(words[2]), int(words[3])

    def _read_frames(self) -> bool:
        data = _read(self.frames)
        if not data:
            return data is None and not self.over
        newest: dict[str, Any] | None = None
        try:
            for kind, body in self.reader.feed(data):
                value = json.loads(body)
                if kind == MESSAGE:
                    newest = dict(value)
                    self.page = int(newest["page"]) if "page" in newest else self.page
                elif kind == LOG:
                    logging.getLogger(value[0]).log(int(value[1]), "%s", value[2])
                elif kind == RESULT:
                    self.result = (value,)
                elif kind == IMPORTED:
                    self.imported = [str(name) for name in value]
                elif kind == ERROR:
                    self.error = error_from_dict(value["error"])
                    self.error.__cause__ = WorkerTraceback(value["traceback"])
        except (ValueError, TypeError, LookupError, AttributeError):
            self._stop(EngineFailed("the engine's process sent nonsense"), kill=True)
        if newest is not None and self.watch.on_message and not self.stopped_by:
            self.watch.on_message(newest)
        return True

    def _read_noise(self) -> bool:
        data = _read(self.noise)
        if not data:
            return data is None and not self.over
        self.printed = (self.printed + data)[-_NOISE_KEPT:]
        return True

    def _outcome(self) -> Any:
        printed = self.printed.decode(errors="replace").strip()
        if printed:
            log.debug("the worker printed:\n%s", printed)
        if self.error and not isinstance(self.stopped_by, JobAborted):
            raise self.error
        if self.stopped_by:
            raise self.stopped_by
        if self.exit is None and not self.pid:
            raise self.server.discard()
        if self.exit is not None and self.exit[0] == 0 and self.result:
            return self.result[0]
        raise self._death(_last_line(printed))

    def _death(self, last_line: str) -> DocmillError:
        limits, doing = self.watch.limits, self.watch.doing
        if self.exit is None:
            return EngineCrashed(f"the sandbox's server died while {doing}", page=self.page)
        code, cpu, memory = self.exit
        if code == -signal.SIGKILL and cpu >= limits.cpu_seconds:
            # SIGXCPU was caught, by a library.
            return cpu_exceeded(limits, doing, self.page)
        if code == -signal.SIGBUS and self.watch.out_dir and _is_full(self.watch.out_dir):
            # A page of a mapped file that found no room on the disk.
            return scratch_full(doing, self.page)
        hint = last_line
        if memory > 0.8 * limits.memory:
            hint = f"it had taken {memory >> 20} MiB; DOCMILL_ENGINE_MEMORY allows {limits.memory >> 20} MiB"
        return death(code, limits, doing, self.page, hint=hint)


def _last_line(printed: str) -> str:
    """The last line that a worker printed, fit for a terminal: a hostile file may have had a say in it."""
    line = printed.splitlines()[-1].strip() if printed else ""
    return "".join(char if char.isprintable() else "?" for char in line)[:300]


def _read(fd: int) -> bytes | None:
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return None


def _wait_for_group(pid: int) -> None:
    """Kill the group of a worker whose server is gone, and wait until it is empty."""
    deadline = time.monotonic() + 1.0
    while pid and time.monotonic() < deadline:
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.001)


def _size(folder: Path) -> int:
    """The bytes of all files under a folder that is being written to."""
    total = 0
    pending = [os.fspath(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
    return total


def _is_full(folder: Path) -> bool:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize < 1 << 16
