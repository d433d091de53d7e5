"""Runs conversions as Prefect flow runs in this process, for `docmill convert`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from docmill.cli.interrupts import Interrupts
from docmill.cli.sidebyside import Result, Results, at_once, side_by_side
from docmill.errors import DocmillError, EngineFailed, InvalidJobData, JobAborted
from docmill.garbage import none_while_loading
from docmill.jobs.server import prefect_api
from docmill.pipeline import Observer
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.settings import Settings


def convert_with_prefect(
    arguments: argparse.Namespace,
    requests: Sequence[ConvertRequest],
    settings: Settings,
    interrupts: Interrupts,
) -> Results:
    """Run the requests, several at once, as flow runs of `docmill.flows.convert` on the Prefect API that is
    set up."""
    if not arguments.verbose:
        # The command tells its stages itself; the run's own log goes to Prefect and its UI all the same.
        os.environ.setdefault("PREFECT_LOGGING_LOGGERS_PREFECT_LEVEL", "INFO")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_FLOW_RUNS_LEVEL", "CRITICAL")

    def say(message: str) -> None:
        if not (arguments.quiet or arguments.json):
            print(f"docmill: {message}", file=sys.stderr, flush=True)

    with prefect_api(settings, say) as wait_until_ready:
        with none_while_loading():
            from docmill.flows.convert import convert_document
            from docmill.jobs.background import BackgroundLoop
            from docmill.jobs.failures import patient_client, prefect_failures
            from docmill.jobs.submission import check_text
            from docmill.jobs.watch import AbortReason, stop_all_jobs
            from docmill.tasks.reporting import current_observer

        wait_until_ready()

        slots = asyncio.Semaphore(at_once(settings))
        stopping = asyncio.Event()

        async def run(request: ConvertRequest, observer: Observer) -> Result:
            async with slots:
                if stopping.is_set():
                    return JobAborted("stopped")
                current_observer.set(observer)
                try:
                    check_text(request.to_dict())
                except InvalidJobData as error:
                    return error
                with prefect_failures():
                    state = await convert_document(request, return_state=True)
                result = await state.aresult(raise_on_failure=False)
            if isinstance(result, ConvertOutcome | DocmillError):
                return result
            if state.is_cancelled():
                return JobAborted("the job was aborted")
            return EngineFailed(f"the flow run ended {state.name}: {state.message}")

        async def stop_all() -> None:
            stopping.set()
            # Again and again, since a run that only just starts is not watched yet.
            while True:
                stop_all_jobs(AbortReason.ABORTED)
                await asyncio.sleep(0.1)

        # In a thread of its own: Prefect would take SIGTERM for itself and leave the run crashed.
        with patient_client():
            background = BackgroundLoop("docmill-convert")
        try:
            # Interrupts are held until all is over, and what is still to be done then tells Prefect of it.
            yield from side_by_side(
                arguments,
                requests,
                start=lambda request, observer: background.call(run(request, observer)),
                stop=lambda: background.call(stop_all()),
                interrupts=interrupts,
            )
        finally:
            background.stop()
