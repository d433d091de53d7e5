"""Runs the pipeline's blocking functions in threads, and carries the job's abort in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from docmill.jobs.running import current_job
from docmill.processes import Abort

T = TypeVar("T")

#: A worker runs many jobs at once, each in one thread that mostly waits for its sandbox.
MOST_THREADS = 256
_threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="docmill-task")


async def in_thread(work: Callable[[Abort], T]) -> T:
    """Run `work` in a thread; its `Abort` is set when the job is to stop, or this coroutine is cancelled.

    A cancelled coroutine waits until the thread has ended: nothing goes on behind its back.
    """
    loop = asyncio.get_running_loop()
    job = current_job()
    abort = Abort()
    future = loop.run_in_executor(_threads, work, abort)
    watcher = asyncio.create_task(_forward(job.abort, abort)) if job else None
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        abort.set()
        await asyncio.gather(future, return_exceptions=True)
        raise
    finally:
        if watcher:
            watcher.cancel()


async def _forward(event: asyncio.Event, abort: Abort) -> None:
    await event.wait()
    abort.set()
