"""The parent's end of the forkserver: started when first needed, replaced when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

_BOOT = (
    "import sys; sys.path[:] = sys.argv[2:]; del sys.argv[2:]; "
    "from docmill.processes.keeper import main; main(int(sys.argv[1]))"
)
_CONTROL_FD = 3
_STOP = signal.SIGUSR1


class ServerLost(Exception):
    """The server is gone, with the last line that it printed."""


class ServerHandle:
    """A running forkserver; its methods may be called from any thread.

    `fork` makes it from this process and its modules, not from a new Python.
    """

    def __init__(self, *, fork: bool = False) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._printed = os.memfd_create("docmill-server", os.MFD_CLOEXEC)
        # Out of the way of the numbers that they get in the server.
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (theirs.fileno(), self._printed)]
        try:
            # The keeper, which forks the server.
            self.pid = _fork(*moved) if fork else _spawn(*moved)
        except OSError as error:
            self._control.close()
            os.close(self._printed)
            raise ServerLost(f"{sys.executable or 'python'}: {error.strerror}") from error
        finally:
            theirs.close()
            for fd in moved:
                os.close(fd)

    def start_worker(self, payload: bytes, modules: Sequence[str]) -> tuple[int, int, socket.socket]:
        """Ask for a worker that calls what `payload` says.

        Gives the read ends of its frames and of what it prints, and the socket over which the server tells
        `started PID` and `exit CODE CPU MAXRSS` and takes orders: `T` terminate, `K` kill.
        """
        job = os.memfd_create("docmill-job", os.MFD_CLOEXEC)
        frames, frames_end = os.pipe()
        noise, noise_end = os.pipe()
        status, status_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with open(job, "wb", closefd=False) as file:
                file.write(payload)
            os.lseek(job, 0, os.SEEK_SET)
            self._send(["run", *modules], [frames_end, noise_end, status_end.fileno(), job])
        except BaseException:
            for fd in (frames, noise):
                os.close(fd)
            status.close()
            raise
        finally:
            for fd in (frames_end, noise_end, job):
                os.close(fd)
            status_end.close()
        os.set_blocking(frames, False)
        os.set_blocking(noise, False)
        return frames, noise, status

    def preload(self, modules: Sequence[str]) -> None:
        """Have the server import `modules`; does not wait for it."""
        self._send(["preload", *modules], [])

    def discard(self) -> ServerLost:
        """End the server with all its workers. Returns what it printed last as an error."""
        global _server
        with _lock:
            if _server is self:
                _server = None
            if self._printed < 0:
                return ServerLost("it was killed")
            try:
                os.kill(self.pid, _STOP)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                # Reaped already, by a parent that ignores SIGCHLD or waits for every child.
                pass
            printed = os.pread(self._printed, 1 << 20, 0).decode(errors="replace").strip()
            os.close(self._printed)
            self._printed = -1
            self._control.close()
        return ServerLost(printed.splitlines()[-1] if printed else "it was killed")

    def _send(self, words: Sequence[str], fds: Sequence[int]) -> None:
        try:
            socket.send_fds(self._control, [" ".join(words).encode()], fds)
        except OSError as error:
            raise self.discard() from error

    def forget(self) -> None:
        """In a process that was forked from the server's parent: leave the server to it."""
        self._control.close()


def warm(modules: Sequence[str] = (), *, fork: bool = False) -> None:
    """Start the server, without waiting for it, and have it import `modules` when it has no other work.

    With `fork` it is forked from this process and starts with what that has imported, which spares a command
    80 ms; ignored where there are threads, since a fork may find any lock of theirs taken for good.
    """
    with contextlib.suppress(ServerLost):
        # Should it die early, whoever needs it starts another, and reports.
        current_server(fork=fork and len(os.listdir("/proc/self/task")) == 1).preload(modules)  # noqa: PTH208


def current_server(*, fork: bool = False) -> ServerHandle:
    """The server of this process, started if there is none; raises `ServerLost`."""
    global _server
    with _lock:
        if _server is None:
            _server = ServerHandle(fork=fork)
        return _server


def running_server() -> ServerHandle | None:
    """The server of this process, if there is one."""
    return _server


_server: ServerHandle | None = None
_lock = threading.Lock()


def _after_fork() -> None:
    global _server, _lock
    _lock = threading.Lock()
    if _server is not None:
        _server.forget()
        _server = None


os.register_at_fork(after_in_child=_after_fork)


def _spawn(control: int, printed: int) -> int:
    """Start the keeper in a new Python."""
    return os.posix_spawn(
        sys.executable,
        # -P: nothing in the working directory may shadow a module.
        [sys.executable, "-P", "-c", _BOOT, str(os.getpid()), *_import_path()],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, printed, 1),
            (os.POSIX_SPAWN_DUP2, printed, 2),
            (os.POSIX_SPAWN_DUP2, control, _CONTROL_FD),
        ],
        # Its own session: Ctrl-C in the terminal is for the parent, which decides what to stop.
        setsid=True,
        setsigmask=(),
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )


def _fork(control: int, printed: int) -> int:
    """Make the keeper of a copy of this process."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_keeper(parent, control, printed)
    return pid


def _become_keeper(parent: int, control: int, printed: int) -> NoReturn:
    """In the copy: bring about what `_spawn` asks of the system."""
    try:
        os.setsid()
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)) or number == signal.SIGCHLD:
                signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, target in ((null, 0), (printed, 1), (printed, 2), (control, _CONTROL_FD)):
            os.dup2(fd, target)
        sys.path[:] = _import_path()
        from docmill.processes.keeper import main

        main(parent)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(os.EX_SOFTWARE)


def _import_path() -> list[str]:
    """This process's import path, for the server; without '' and relative entries: they mean anywhere."""
    root = __file__.removesuffix("/docmill/processes/handle.py")
    path = [entry for entry in sys.path if isinstance(entry, str) and entry.startswith("/")]
    return path if root in path else [root, *path]
