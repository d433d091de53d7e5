"""A worker as a process of `docmill up`: `python -m docmill.up.worker NAME POOL [LIMIT]`."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from docmill.errors import PrefectUnavailable
from docmill.garbage import none_while_loading


def main(name: str, pool: str, limit: str | None = None) -> None:
    """Poll the pool for jobs and run them, until SIGTERM."""
    # The modules (2 s) are imported while the server starts.
    with none_while_loading():
        import asyncio

        from docmill.deployments.deploy import wait_for_api, wait_for_pool
        from docmill.worker import DocmillWorker

    try:
        wait_for_api()
        wait_for_pool(pool)
    except PrefectUnavailable as error:
        sys.exit(str(error))
    worker = DocmillWorker(
        work_pool_name=pool, name=name, limit=int(limit) if limit else None, create_pool_if_not_found=False
    )
    asyncio.run(_until_sigterm(worker.start()))


async def _until_sigterm(work: Coroutine[Any, Any, None]) -> None:
    import asyncio

    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    main(*sys.argv[1:])
