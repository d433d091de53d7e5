"""The workers of `docmill up` as parts for its supervisor."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from docmill.settings import Settings
from docmill.up.supervisor import Part

#: What a worker is given to hand its jobs back, after it let them go on for a while: they take 10 s at most.
HAND_BACK_SECONDS = 20.0
#: How often a worker shows the server that it is alive, and how long the server may hear nothing of it.
HEARTBEAT_SECONDS, SILENT_SECONDS = 10, 60.0


def worker_part(
    number: int,
    settings: Settings,
    api_url: str,
    limit: int | None,
    environment: Mapping[str, str | None],
    logs: Path,
) -> Part:
    """The worker with this number; ready when the server has heard of it since its start."""
    name = f"docmill-up-{number}"
    return Part(
        name=f"worker {number}",
        command=[sys.executable, "-P", "-m", "docmill.up.worker", name, settings.work_pool,
                 *([str(limit)] if limit else [])],
        log=logs / f"worker-{number}.log",
        environment={**environment, "PREFECT_WORKER_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS)},
        ready=lambda started: _has_been_heard(api_url, settings.work_pool, name, started) is True,
        # A server too busy to say is no sign that the worker hangs.
        answers=lambda: (
            _has_been_heard(api_url, settings.work_pool, name, time.time() - SILENT_SECONDS) is not False
        ),
        needs=("Prefect server",),
        stop_seconds=settings.drain_seconds + HAND_BACK_SECONDS,
    )  # fmt: skip


def _has_been_heard(api_url: str, pool: str, worker: str, since: float) -> bool | None:
    """Whether the server heard of a worker after a moment (of `time.time`); None where it does not say."""
    import http.client
    import urllib.parse

    host, _, path = api_url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=5)
    after = datetime.fromtimestamp(since, UTC).isoformat()
    query = json.dumps({"workers": {"last_heartbeat_time": {"after_": after}}})
    try:
        connection.request(
            "POST",
            f"/{path}/work_pools/{urllib.parse.quote(pool, safe='')}/workers/filter",
            query,
            {"Content-Type": "application/json"},
        )
        return any(each["name"] == worker for each in json.loads(connection.getresponse().read()))
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError):
        return None
    finally:
        connection.close()
