"""The signals that stop a command, also around the moment at which an output is published."""

from __future__ import annotations

import signal
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


class Interrupts:
    """Holds back an interrupt from the point of no return on: an output that is in place is no job that was
    stopped. A second one is no longer held back, lest a store that hangs could not be left."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._came = False

    def hold(self) -> None:
        """From now on the first one waits."""
        for number in _heeded():
            self._before[number] = signal.signal(number, self._note)

    def release(self) -> bool:
        """Let them through again; says whether one came meanwhile."""
        while self._before:
            signal.signal(*self._before.popitem())
        came, self._came = self._came, False
        return came

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            raise KeyboardInterrupt
        self._came = True
