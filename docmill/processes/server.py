"""The forkserver: one single-threaded loop that forks workers, kills them on request, and reaps them.

It keeps nothing but raw file descriptors, since a worker closes them all by number right after the fork, and
an object that owned one would close whatever the worker has opened under that number since.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import traceback
from collections import deque
from dataclasses import dataclass
from typing import NoReturn

from docmill.processes import linux, worker

# Descriptor numbers in the server: its control socket comes in as this one.
CONTROL_FD = 3
# How long the server waits for killed descendants of a worker to be gone before it reports all the same.
_DRAIN_TICKS = 2000


@dataclass(slots=True)
class _Job:
    pid: int
    status: int
    pidfd: int
    exit: str = ""
    ticks: int = 0


def main(parent_fd: int, keeper_fd: int) -> NoReturn:
    """Serve until the parent or the keeper is gone, by their pidfds; then kill every worker and exit."""
    try:
        linux.adopt_orphans()
        linux.set_process_name("docmill-server")
        # A worker that is aborted in its first moment gets the signal once it has a handler for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        _Server(parent_fd, keeper_fd).serve()
    except BaseException:
        # What is printed here goes to a file that the parent looks into.
        traceback.print_exc()
    finally:
        linux.kill_children()
        os._exit(0)


class _Server:
    def __init__(self, *lifelines: int) -> None:
        self.control = socket.socket(fileno=CONTROL_FD)
        self.wanted: deque[str] = deque()
        self.jobs: dict[int, _Job] = {}
        self.by_fd: dict[int, _Job] = {}
        self.poll = select.poll()
        self.poll.register(CONTROL_FD, select.POLLIN)
        self.lifelines = set(lifelines)
        for fd in lifelines:
            self.poll.register(fd, select.POLLIN)

    def serve(self) -> None:
        while True:
            ending = [job for job in self.jobs.values() if job.exit]
            # With a module left to import, look only whether there is something more pressing.
            wait = 0 if self.wanted else 1 if ending else None
            ready = {fd for fd, _ in self.poll.poll(wait)}
            if not ready and self.wanted:
                _import(self.wanted.popleft())
            if ready & self.lifelines:
                return
            for fd in ready:
                job = self.by_fd.get(fd)
                if fd == CONTROL_FD:
                    if not self._accept():
                        return
                elif job and fd == job.pidfd:
                    self._collect(job)
                elif job:
                    self._obey(job)
            for job in [job for job in self.jobs.values() if job.exit]:
                self._drain(job)

    def _accept(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(self.control, 1 << 16, 8, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return False
        if not data:
            return False
        order, *modules = data.decode().split()
        if order == "preload":
            self.wanted.extend(modules)
            return True
        for name in modules:
            _import(name)
        # Fewer descriptors than sent: this process has too many open. The parent sees them closed.
        if len(fds) == 4:
            frames, noise, status, payload = fds
            self._fork(frames, noise, status, payload)
            fds.remove(status)
        for fd in fds:
            os.close(fd)
        return True

    def _fork(self, frames: int, noise: int, status: int, payload: int) -> None:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            worker.main(server, frames, noise, payload)
        job = _Job(pid, status, os.pidfd_open(pid))
        self.jobs[pid] = job
        for fd in (job.status, job.pidfd):
            self.by_fd[fd] = job
            self.poll.register(fd, select.POLLIN)
        _tell(status, f"started {pid}")

    def _obey(self, job: _Job) -> None:
        """Carry out `T` (terminate) or `K` (kill); a closed socket is a parent that wants no more of it."""
        try:
            order = os.read(job.status, 1)
        except ConnectionError:
            order = b""
        if not job.exit:
            _signal_group(job.pid, signal.SIGTERM if order == b"T" else signal.SIGKILL)
        if not order:
            self._forget(job.status)

    def _collect(self, job: _Job) -> None:
        """Reap a worker that has ended, once its group is killed: its number is not reused before that."""
        _signal_group(job.pid, signal.SIGKILL)
        _, status, usage = os.wait4(job.pid, 0)
        cpu = usage.ru_utime + usage.ru_stime
        job.exit = f"exit {os.waitstatus_to_exitcode(status)} {cpu:.3f} {usage.ru_maxrss * 1024}"
        self._forget(job.pidfd)
        os.close(job.pidfd)

    def _drain(self, job: _Job) -> None:
        """Report a worker's end once nothing that it left behind can still write a file."""
        job.ticks += 1
        workers = {pid for pid, other in self.jobs.items() if not other.exit}
        if linux.kill_orphans(workers) and job.ticks < _DRAIN_TICKS:
            return
        _tell(job.status, job.exit)
        self._forget(job.status)
        os.close(job.status)
        del self.jobs[job.pid]

    def _forget(self, fd: int) -> None:
        if self.by_fd.pop(fd, None):
            self.poll.unregister(fd)


_tried: set[str] = set()


def _import(name: str) -> None:
    if name in _tried:
        return
    _tried.add(name)
    try:
        importlib.import_module(name)
    except Exception:
        # The worker that needs it imports it again and reports what is wrong.
        return
    # What is here now is shared with every worker: a collection in one of them must not copy its pages.
    gc.freeze()


def _signal_group(pid: int, number: int) -> None:
    # A worker that was forked a moment ago may not lead its group yet.
    for send in (os.kill, os.killpg):
        try:
            send(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _tell(status: int, message: str) -> None:
    try:
        os.write(status, message.encode())
    except OSError:
        # The parent has given up on this job.
        pass
