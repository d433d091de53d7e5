"""The three calls of prctl(2) that Python's standard library does not have."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process (SIGKILL) when the thread that forked it ends.

    `parent` is the process id that was seen before the fork: where the parent is gone already, the signal
    would never come, so this process ends itself.
    """
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(os.EX_TEMPFAIL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, in place of init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_process_name(name: str) -> None:
    """The name that `top` and `ps -o comm` show, 15 bytes."""
    _prctl(_PR_SET_NAME, name.encode())


def children() -> list[int]:
    """The process ids of this process's children, adopted ones included."""
    pid = os.getpid()
    try:
        return [int(child) for child in Path(f"/proc/self/task/{pid}/children").read_bytes().split()]
    except FileNotFoundError:
        # A kernel without CONFIG_PROC_CHILDREN (not one of a distribution).
        return []


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


_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int | bytes) -> None:
    argument = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
    if _libc.prctl(ctypes.c_int(option), argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
