"""The keeper: the process between a parent and its forkserver that outlives either for a moment, to tidy up.

It does nothing but wait. Without it, a kill -9 of parent and server at once would leave the tools that an
engine had started: they know nothing of PR_SET_PDEATHSIG, and the server, which adopts and kills what a
worker leaves behind, is gone. With it, three processes would have to be killed in the same moment.
"""

from __future__ import annotations

import os
import select
import signal
from types import FrameType
from typing import NoReturn

from docmill.processes import linux, server

# The server, when its parent is gone, is busy for longer only if it hangs in the import of a module.
_SERVER_PATIENCE_MS = 2000
# What a parent sends to have the server and all its workers gone.
STOP = signal.SIGUSR1


def main(parent: int) -> NoReturn:
    """Fork the server for the parent process of that number, and kill what it leaves behind."""
    linux.close_from(server.CONTROL_FD + 1)
    os.chdir("/")
    parent_fd = os.pidfd_open(parent)
    if os.getppid() != parent:
        os._exit(0)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They end with their parent, and not by a signal that was meant for everybody in a service's group.
        signal.signal(ignored, signal.SIG_IGN)
    linux.adopt_orphans()
    signal.signal(STOP, _stop)
    keeper = os.getpid()
    keeper_fd = os.pidfd_open(keeper)
    pid = os.fork()
    if pid == 0:
        signal.signal(STOP, signal.SIG_IGN)
        server.main(parent_fd, keeper_fd)
    _keep(pid, parent_fd)


class _Stop(BaseException):
    pass


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stop


def _keep(pid: int, parent_fd: int) -> NoReturn:
    try:
        linux.set_process_name("docmill-keeper")
        os.close(server.CONTROL_FD)
        server_fd = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(server_fd, select.POLLIN)
        poll.register(parent_fd, select.POLLIN)
        if server_fd not in dict(poll.poll()):
            poll.unregister(parent_fd)
            poll.poll(_SERVER_PATIENCE_MS)
    except _Stop:
        pass
    finally:
        linux.kill_children()
        os._exit(0)
