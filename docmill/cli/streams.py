"""Standard streams: an input that heeds signals, and messages that a full disk does not take."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TextIO, cast

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Unfailing(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            return len(data)


def unfailing(stream: TextIO) -> TextIO:
    """Standard error as one that loses what there is no room for: no job fails for its log."""
    raw = io.BufferedWriter(_Unfailing(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, "backslashreplace", line_buffering=True)


class _Input(io.RawIOBase):
    def __init__(self, descriptor: int, woken: int) -> None:
        self._descriptor = descriptor
        self._woken = woken
        self._poll = select.poll()
        for each in (descriptor, woken):
            self._poll.register(each, select.POLLIN)

    def read(self, size: int = -1) -> bytes:
        while True:
            ready = [each for each, _ in self._poll.poll()]
            if self._descriptor in ready:
                return os.read(self._descriptor, size)
            os.read(self._woken, 100)  # of a signal whose handler raised nothing


@contextmanager
def wakeful(stream: TextIO) -> Iterator[BinaryIO]:
    """The bytes of standard input, for the main thread.

    Python looks whether a signal has come and then waits for more input; one that comes just between the two
    would be heeded when there is some, or never.
    """
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        yield cast(BinaryIO, _Input(stream.fileno(), woken))
    finally:
        signal.set_wakeup_fd(before)
        os.close(woken)
        os.close(wake)
