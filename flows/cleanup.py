"""The flow that cleans up, by a schedule or by `docmill cleanup`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from docmill.cleanup import Cleaned
from docmill.jobs.names import CLEANUP_FLOW_NAME
from docmill.jobs.running import running_job
from docmill.settings import Settings
from docmill.tasks.cleanup import clean_cache, clean_jobs, clean_outputs, clean_scratch, tell_lost_jobs

#: Names in the table for each kind: of thousands the first few are enough.
MOST_NAMES = 10


def run_name() -> str:
    """The flow run's name in the UI."""
    return "cleanup (dry run)" if flow_run.parameters.get("dry_run") else "cleanup"


@flow(name=CLEANUP_FLOW_NAME, flow_run_name=run_name, persist_result=False)
async def clean_up(dry_run: bool = False) -> State[Any]:
    """Delete expired documents, scratch of dead runs on this host and old jobs, and tell jobs that are lost.

    Ends Completed with a list of `docmill.cleanup.Cleaned` as JSON, or Failed where a step failed; the others
    are done all the same.

    Args:
        dry_run: delete nothing, and have the table say what would be
    """
    settings = Settings.from_env()
    steps: list[Callable[[], Awaitable[list[Cleaned]]]] = [
        lambda: clean_cache(settings, dry_run),
        lambda: clean_scratch(settings, dry_run),
        lambda: clean_jobs(settings, dry_run),
    ]
    if not dry_run:
        steps += [tell_lost_jobs, clean_outputs]
    cleaned: list[Cleaned] = []
    problems: list[str] = []
    async with running_job() as job:
        for step in steps:
            if job.abort.is_set():
                problems.append("stopped before it was done")
                break
            try:
                cleaned += await step()
            except Exception as error:
                get_run_logger().error("%s", error)
                problems.append(str(error))
    message = "; ".join(problems) or summary(cleaned, dry_run)
    await acreate_table_artifact(table(cleaned, problems, dry_run), description=message)
    if problems:
        return Failed(message=message)
    return Completed(message=message, data=[asdict(each) for each in cleaned])


def table(cleaned: list[Cleaned], problems: list[str], dry_run: bool) -> list[dict[str, Any]]:
    """The artifact's rows."""
    count = "would be removed" if dry_run else "removed"
    rows: list[dict[str, Any]] = [
        {"what": each.what, count: each.count, "bytes": each.size, "names": _some(each.names)}
        for each in cleaned
    ]
    return rows + [{"what": "problem", count: 0, "bytes": 0, "names": problem} for problem in problems]


def summary(cleaned: list[Cleaned], dry_run: bool = False) -> str:
    """All of it in a line."""
    found = [f"{each.what} ({each.count:,})" for each in cleaned if each.count]
    if not found:
        return "nothing to clean up"
    return ("would remove " if dry_run else "removed ") + ", ".join(found)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
