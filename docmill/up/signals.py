"""Signals to wait for, instead of handlers that interrupt."""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any, Self


class Signals:
    """Collects signals while it is entered, to be waited for one by one; for the main thread.

    By handlers, not by blocking them for `sigtimedwait`: the kernel gives a process's signal to any thread
    that does not block it, and a library's thread once had SIGTERM end the process on the spot.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = tuple(numbers)
        self._received: deque[int] = deque()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # The byte that Python writes wakes a wait that began in the moment before the handler ran.
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that is not Python's, which cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> int | None:
        """The next signal, the oldest first; None when none has come within this time."""
        deadline = time.monotonic() + seconds
        while not self._received:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._reader], [], [], left)[0]:
                break
            os.read(self._reader, 4096)
        return self._received.popleft() if self._received else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received.append(number)
