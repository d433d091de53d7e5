"""The tasks of cleaning up, each one kind of thing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from docmill import cleanup
from docmill.cleanup import Cleaned
from docmill.documents.publish import sweep_stale
from docmill.errors import DocmillError
from docmill.jobs.retention import delete_old_jobs, ended_runs, folders_of_unlucky
from docmill.jobs.sweep import sweep_once
from docmill.settings import Settings

#: Runs that died or failed are looked after for so long: the flow runs every day, a host may be off for some.
UNLUCKY_DAYS = 7
_OPTIONS: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


@task(name="expired documents", **_OPTIONS)
async def clean_cache(settings: Settings, dry_run: bool) -> list[Cleaned]:
    """See `docmill.cleanup.clean_cache`."""
    return await asyncio.to_thread(cleanup.clean_cache, settings, dry_run=dry_run)


@task(name="scratch of dead runs", **_OPTIONS)
async def clean_scratch(settings: Settings, dry_run: bool) -> list[Cleaned]:
    """See `docmill.cleanup.clean_scratch`."""
    loop = asyncio.get_running_loop()

    def ended(runs: Collection[UUID]) -> Collection[UUID]:
        return asyncio.run_coroutine_threadsafe(ended_runs(runs), loop).result()

    return [await asyncio.to_thread(cleanup.clean_scratch, settings, ended, dry_run=dry_run)]


@task(name="old jobs", **_OPTIONS)
async def clean_jobs(settings: Settings, dry_run: bool) -> list[Cleaned]:
    """See `docmill.jobs.retention.delete_old_jobs`."""
    names = await delete_old_jobs(settings.job_retention, dry_run=dry_run)
    return [Cleaned("old jobs", len(names), names=tuple(names))]


@task(name="unfinished outputs", **_OPTIONS)
async def clean_outputs() -> list[Cleaned]:
    """Take back what runs that died or failed left beside their targets; see `docmill.documents.publish`.

    A dry run leaves it out. A folder that cannot be reached from here is another host's to clean.
    """
    swept: dict[str, int] = {}
    for folder, runs in (await folders_of_unlucky(timedelta(days=UNLUCKY_DAYS))).items():
        try:
            swept[folder] = await asyncio.to_thread(sweep_stale, folder, partial(_not_in, runs))
        except DocmillError as error:
            get_run_logger().info("%s is left as it is: %s", folder, error)
    names = tuple(folder for folder, count in swept.items() if count)
    return [Cleaned("unfinished outputs of jobs that ended", sum(swept.values()), names=names)]


def _not_in(dead: Collection[str], run_id: str) -> bool:
    return run_id not in dead


@task(name="lost jobs", **_OPTIONS)
async def tell_lost_jobs() -> list[Cleaned]:
    """See `docmill.jobs.sweep.sweep_once`; a dry run leaves it out, since to look is to tell."""
    runs = await sweep_once()
    return [Cleaned("jobs whose process is gone, told", len(runs), names=tuple(run.name for run in runs))]
