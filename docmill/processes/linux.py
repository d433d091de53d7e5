"""System calls that Python's standard library does not have, and what is built on them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
# glibc's malloc.h; the threshold is the largest that it takes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_TRIM_THRESHOLD, _MMAP_THRESHOLD = 256 << 20, 32 << 20
_KILL_SECONDS = 2.0


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when the thread that forked it ends.

    `parent` is the process id that was seen before the fork: where the parent is gone already, the signal
    would never come, so this process ends itself. A change of user clears the signal again.
    """
    _prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:
        os._exit(os.EX_TEMPFAIL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, in place of init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_process_name(name: str) -> None:
    """The name that `top` and `ps -o comm` show, 15 bytes."""
    _prctl(_PR_SET_NAME, name.encode())


def keep_freed_memory() -> None:
    """Have `malloc` keep what is freed for the next page of a document.

    By default it gives a page's buffers back to the kernel, which clears them anew for the next: 50 pages of
    JPEG in strips then take half as long again. Does nothing where the C library is not glibc.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)


def kill_orphans(spared: set[int]) -> bool:
    """Kill and reap this process's children, adopted ones included, but for those spared.

    True where some are still dying; their own children, which come next, are then still to be killed.
    """
    left = False
    for pid in _children() - spared:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)
        # Look again, also where all are reaped: what they had as children is this process's now.
        left = True
    return left


def kill_children() -> None:
    """Kill all descendants of this process, down to the last, or as many as can be killed in two seconds."""
    deadline = time.monotonic() + _KILL_SECONDS
    while kill_orphans(set()) and time.monotonic() < deadline:
        time.sleep(0.0005)


def _children() -> set[int]:
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_bytes()
    except FileNotFoundError:
        # A kernel without CONFIG_PROC_CHILDREN (none of a distribution).
        return set()
    return {int(child) for child in text.split()}


def close_from(first: int) -> None:
    """Close every open descriptor from `first` on.

    `os.closerange` goes through a million numbers one by one where Python was built for an older C library.
    """
    for entry in Path("/proc/self/fd").iterdir():
        if int(entry.name) >= first:
            try:
                os.close(int(entry.name))
            except OSError:
                # That of the listing itself.
                continue


def _prctl(option: int, value: int | bytes) -> None:
    # Imported here, since parents import this package too, and it costs them 3 ms. The keeper calls this
    # before it forks the server.
    import ctypes

    argument = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
    if ctypes.CDLL(None, use_errno=True).prctl(ctypes.c_int(option), argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
