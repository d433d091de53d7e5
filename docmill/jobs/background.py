"""An event loop in a thread of its own, for callers without one and for jobs that must not wait for them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundLoop:
    """Runs coroutines in a daemon thread, from its creation until `stop`.

    They see the context variables of the thread that made the loop (so Prefect's settings that hold there),
    or those given as `context`, or those that `adopt_context` took later, not those of the thread that calls.
    """

    def __init__(self, name: str, context: contextvars.Context | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._context = context or contextvars.copy_context()
        self._calls: dict[Future[Any], Coroutine[Any, Any, Any]] = {}
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], *, cancellable: bool = False) -> Future[T]:
        """Start a coroutine; the future gives what it returns or raises, and `RuntimeError` after `stop`.

        To cancel the future cancels the coroutine where it is `cancellable`, and does nothing otherwise.
        """
        future: Future[T] = Future()
        if not cancellable:
            future.set_running_or_notify_cancel()
        self._calls[future] = work
        future.add_done_callback(lambda done: self._calls.pop(done, None))

        def start() -> None:
            task = self._loop.create_task(work, context=self._context.copy())
            task.add_done_callback(lambda done: _pass_on(done, future))
            if cancellable:
                future.add_done_callback(lambda done: self._cancel(task) if done.cancelled() else None)

        try:
            self._loop.call_soon_threadsafe(start)
        except RuntimeError:
            self._end_calls()
        return future

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        with suppress(RuntimeError):  # stopped, and the task with it
            self._loop.call_soon_threadsafe(task.cancel)

    def adopt_context(self) -> None:
        """Let what is called from now on see the context variables as they are here."""
        self._context = contextvars.copy_context()

    def stop(self) -> None:
        """Cancel what still runs and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            rest = asyncio.all_tasks(self._loop)
            for task in rest:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()
            self._end_calls()

    def _end_calls(self) -> None:
        """After the loop is closed: end the calls that came too late to be started."""
        while self._calls:
            try:
                future, work = self._calls.popitem()
            except KeyError:
                break  # the last one was taken by another thread
            work.close()
            if future.running() or future.set_running_or_notify_cancel():
                future.set_exception(_closed())


async def end_task(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they are over.

    Once is not enough: a cancellation that arrives as the awaited call returns can be lost on its way (seen
    with `asyncio.wait_for` of Python 3.11, under load: 4 of 52 jobs never ended).
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=1.0)


def _closed() -> RuntimeError:
    # Not CancelledError, which ends the thread or task that gets it: there nobody was told to end.
    return RuntimeError("this runner is closed")


def _pass_on(task: asyncio.Task[T], future: Future[T]) -> None:
    error = _closed() if task.cancelled() else task.exception()
    if not future.running() and not future.set_running_or_notify_cancel():
        return  # cancelled: nobody asks any more
    if error:
        future.set_exception(error)
    else:
        future.set_result(task.result())
