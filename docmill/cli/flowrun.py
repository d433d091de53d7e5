"""Runs conversions as Prefect flow runs in this process, for `docmill convert`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence

from docmill.cli.display import display_for
from docmill.errors import DocmillError, EngineFailed
from docmill.jobs.server import prefect_api
from docmill.pipeline import Observer
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.settings import Settings


def convert_with_prefect(
    arguments: argparse.Namespace, requests: Sequence[ConvertRequest], settings: Settings
) -> Iterator[ConvertOutcome | DocmillError]:
    """Run each request as a flow run of `docmill.flows.convert`, on the Prefect API that is set up."""
    if not arguments.verbose:
        # The command tells its stages itself; the run's own log goes to Prefect and its UI all the same.
        os.environ.setdefault("PREFECT_LOGGING_LOGGERS_PREFECT_LEVEL", "INFO")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_FLOW_RUNS_LEVEL", "CRITICAL")

    def say(message: str) -> None:
        if not (arguments.quiet or arguments.json):
            print(f"docmill: {message}", file=sys.stderr, flush=True)

    with prefect_api(settings, say) as wait_until_ready:
        from docmill.flows.convert import convert_document
        from docmill.tasks.reporting import current_observer

        wait_until_ready()

        async def run(request: ConvertRequest, observer: Observer) -> ConvertOutcome | DocmillError:
            current_observer.set(observer)
            state = await convert_document(request, return_state=True)
            result = await state.aresult(raise_on_failure=False)
            if isinstance(result, ConvertOutcome | DocmillError):
                return result
            return EngineFailed(f"the flow run ended {state.name}: {state.message}")

        with asyncio.Runner() as runner:
            for request in requests:
                with display_for(arguments) as display:
                    yield runner.run(run(request, display))
