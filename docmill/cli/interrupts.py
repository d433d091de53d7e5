"""The signals that stop a command, also around the moment at which an output is published."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

#: A killed shell or service sends SIGTERM, a closed terminal SIGHUP: they stop a command as Ctrl-C does.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heed_interrupts() -> None:
    """Have each raise `KeyboardInterrupt`.

    What is ignored stays so: nohup ignores SIGHUP, a script SIGINT for what it starts in the background.
    """
    for number in _heeded():
        signal.signal(number, signal.default_int_handler)


def _heeded() -> list[signal.Signals]:
    return [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def _nothing() -> None:
    pass


class Interrupts:
    """Holds back an interrupt where it would hit what must come to its own end: an output that is in place is
    no job that was stopped. A second one is not held back, lest a store that hangs could not be left."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._stop: Callable[[], object] = _nothing
        self._came: float | None = None

    def hold(self, stop: Callable[[], object] = _nothing) -> None:
        """From now on the first one waits; it calls `stop`, which asks what runs to end."""
        self._stop = stop
        for number in _heeded():
            self._before[number] = signal.signal(number, self._note)

    def since(self) -> float | None:
        """The seconds since one came; None where none has."""
        return None if self._came is None else time.monotonic() - self._came

    def release(self) -> bool:
        """Let them through again; says whether one came meanwhile."""
        while self._before:
            signal.signal(*self._before.popitem())
        came, self._came = self._came, None
        return came is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._came is not None:
            raise KeyboardInterrupt
        self._came = time.monotonic()
        self._stop()
