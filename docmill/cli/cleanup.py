"""`docmill cleanup`: what the scheduled flow does, now; without a Prefect server as far as that goes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from docmill.cleanup import Cleaned, clean_cache, clean_scratch
from docmill.errors import EngineFailed
from docmill.jobs.server import use_running_api
from docmill.settings import Settings
from docmill.wording import size_text

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def run(arguments: argparse.Namespace) -> int:
    """Clean up and say what was removed."""
    settings = Settings.from_env()
    if use_running_api(settings):
        cleaned = _with_prefect(arguments)
    else:
        cleaned = [
            *clean_cache(settings, dry_run=arguments.dry_run),
            clean_scratch(settings, dry_run=arguments.dry_run),
        ]
        print(
            "docmill: no Prefect server is running, so old and lost jobs are left as they are",
            file=sys.stderr,
        )
    if arguments.json:
        print(json.dumps([asdict(each) for each in cleaned]))
        return 0
    for each in cleaned:
        size = f", {size_text(each.size)}" if each.size else ""
        print(f"{each.what}: {each.count}{size}" + (" would be removed" if arguments.dry_run else " removed"))
    return 0


def _with_prefect(arguments: argparse.Namespace) -> Sequence[Cleaned]:
    import asyncio

    if not arguments.verbose:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_FLOW_RUNS_LEVEL", "CRITICAL")
    from docmill.flows.cleanup import clean_up
    from docmill.jobs.failures import check_reachable

    check_reachable()

    async def clean() -> list[Cleaned]:
        state: State[Any] = await clean_up(dry_run=arguments.dry_run, return_state=True)
        if not state.is_completed():
            raise EngineFailed(f"cleanup ended {state.name}: {state.message}")
        rows: list[dict[str, Any]] = await state.aresult()
        return [Cleaned(**row) for row in rows]

    return asyncio.run(clean())
