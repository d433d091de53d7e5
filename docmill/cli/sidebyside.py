"""Several conversions at once, told one after the other, as if each had waited for those before it."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from docmill.cli.display import InTurn, display_for
from docmill.cli.interrupts import Interrupts
from docmill.errors import DocmillError, JobAborted
from docmill.pipeline import Observer
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.settings import Settings

T = TypeVar("T")
Result: TypeAlias = ConvertOutcome | DocmillError
#: What each request came to, in their order; one that an interrupt stopped is not among them.
Results: TypeAlias = Generator[tuple[ConvertRequest, Result], None, None]

#: How long what an interrupt stops may take to end: an engine is killed after the settings' abort grace.
STOP_SECONDS = 15.0


def at_once(settings: Settings) -> int:
    """How many conversions a command has at work: as many as one may have processes."""
    return max(1, settings.engine_workers)


def side_by_side(
    arguments: argparse.Namespace,
    requests: Sequence[ConvertRequest],
    start: Callable[[ConvertRequest, Observer], Future[Result]],
    stop: Callable[[], object],
    interrupts: Interrupts,
) -> Results:
    """Start all requests, and give what each comes to in their order. `start` has no more than
    `at_once` at work.

    An interrupt calls `stop`, which has those that have begun end soon and the others not begin; what is in
    place all the same is given, then `KeyboardInterrupt` raised if anything was stopped. Interrupts stay held
    when this ends: the caller may have something left to do that must not be cut off.
    """
    interrupts.hold(stop)
    turns = [InTurn() for _ in requests]
    jobs = [start(request, turn) for request, turn in zip(requests, turns, strict=True)]
    stopped = False
    try:
        for request, turn, job in zip(requests, turns, jobs, strict=True):
            with display_for(arguments) as display:
                turn.begin(display)
                result = _result(job, interrupts)
            if isinstance(result, JobAborted) and interrupts.since() is not None:
                stopped = True
            else:
                yield request, result
    finally:
        # Left early, as where nobody reads the results any more: nothing goes on behind the caller's back.
        if interrupts.since() is None and not all(job.done() for job in jobs):
            stop()
            wait(jobs, timeout=STOP_SECONDS)
    if stopped:
        raise KeyboardInterrupt


def _result(job: Future[Result], interrupts: Interrupts) -> Result:
    """What a job comes to; one that an interrupt cannot end is given up."""
    while not job.done():
        wait([job], timeout=1.0)
        if (interrupts.since() or 0.0) > STOP_SECONDS:
            return JobAborted("stopped")
    return job.result()


class Threads:
    """Runs calls in up to `most` threads. They are daemons: at exit nobody waits for one that hangs."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._started = 0
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Run `function` when a thread is free; the future gives what it returns or raises."""
        future: Future[T] = Future()
        self._calls.put((future, function))
        if self._started < self._most:
            self._started += 1
            threading.Thread(target=self._work, name="docmill-convert", daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            future, function = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
