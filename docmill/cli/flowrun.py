"""Runs conversions as Prefect flow runs in this process, for `docmill convert`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Any

from docmill.cli.display import display_for
from docmill.cli.interrupts import Interrupts
from docmill.errors import DocmillError, EngineFailed, InvalidJobData, JobAborted
from docmill.garbage import none_while_loading
from docmill.jobs.server import prefect_api
from docmill.pipeline import Observer
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.settings import Settings

#: How long an interrupted flow run may take to end: its engine is killed after the settings' abort grace.
STOP_SECONDS = 15.0


def convert_with_prefect(
    arguments: argparse.Namespace,
    requests: Sequence[ConvertRequest],
    settings: Settings,
    interrupts: Interrupts,
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
        with none_while_loading():
            from docmill.flows.convert import convert_document
            from docmill.jobs.background import BackgroundLoop
            from docmill.jobs.failures import patient_client, prefect_failures
            from docmill.jobs.submission import check_text
            from docmill.jobs.watch import AbortReason, stop_all_jobs
            from docmill.tasks.reporting import current_observer

        wait_until_ready()

        async def run(request: ConvertRequest, observer: Observer) -> ConvertOutcome | DocmillError:
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

        async def stop() -> None:
            stop_all_jobs(AbortReason.ABORTED)

        # In a thread of its own: Prefect would take SIGTERM for itself and leave the run crashed.
        with patient_client():
            background = BackgroundLoop("docmill-convert")
        try:
            for request in requests:
                if interrupts.release():
                    raise KeyboardInterrupt
                with display_for(arguments) as display:
                    future = background.call(run(request, display))
                    interrupted = _wait(future, lambda: background.call(stop()).result())
                result = future.result(timeout=0) if future.done() else JobAborted("stopped")
                if interrupted and (request is not requests[-1] or not isinstance(result, ConvertOutcome)):
                    raise KeyboardInterrupt
                # What is still to be done tells Prefect how it came out.
                interrupts.hold()
                yield result
        finally:
            background.stop()


def _wait(future: Future[Any], stop: Callable[[], None]) -> bool:
    """Wait for a flow run to end; at Ctrl-C abort it and wait for that, and return True."""
    try:
        wait([future])
        return False
    except KeyboardInterrupt:
        deadline = time.monotonic() + STOP_SECONDS
        while not future.done() and time.monotonic() < deadline:
            # Again and again, since a run that only just starts is not watched yet.
            stop()
            wait([future], timeout=0.1)
        return True
