"""`docmill run`, `status`, `abort`, `delete` and `wait`: one job, by its pair of tokens."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from docmill import targets
from docmill.cli.arguments import convert_options, password_reference
from docmill.cli.main import error_line
from docmill.cli.printable import printable
from docmill.documents.uris import from_root
from docmill.errors import (
    ERRORS,
    EXIT_CODES,
    EXIT_WITH_ERRORS,
    InvalidJobData,
    PrefectUnavailable,
)
from docmill.garbage import none_while_loading
from docmill.jobs.local import DataLock
from docmill.jobs.server import use_running_api
from docmill.jobs.tokens import no_such_job
from docmill.request import ConvertRequest
from docmill.settings import Settings

if TYPE_CHECKING:
    from docmill.jobs.models import StatusJobData
    from docmill.jobs.runner import StatusJobDataRunner

T = TypeVar("T")

#: As timeout(1) says it.
EXIT_TIMEOUT = 124
LOOK_SECONDS = 0.5
#: How long a server may take to answer again: `docmill up` sees a hung one after 30 s, and starts it in 20.
SERVER_SECONDS = 120.0


def run(arguments: argparse.Namespace) -> int:
    """Run the command that was named."""
    commands = {"run": _run, "status": _status, "abort": _abort, "delete": _delete, "wait": _wait}
    settings = Settings.from_env()
    with job_runner(settings) as runner:
        return commands[arguments.command](arguments, runner, settings)


@contextmanager
def job_runner(settings: Settings) -> Iterator[StatusJobDataRunner]:
    """The runner for the Prefect server that is set up or runs here; raises `PrefectUnavailable`."""
    find_api(settings)
    with none_while_loading():
        from docmill.jobs.runner import StatusJobDataRunner

    with StatusJobDataRunner(settings) as runner:
        yield runner


def find_api(settings: Settings) -> None:
    """Choose the server; one of a `docmill up` that is just starting, or starts it again, is waited for."""
    if use_running_api(settings):
        return
    up = DataLock(settings.data_dir)
    if up.is_held():
        print("docmill: waiting until the server of `docmill up` answers", file=sys.stderr, flush=True)
    deadline = time.monotonic() + SERVER_SECONDS
    while up.is_held():
        if use_running_api(settings):
            return
        if time.monotonic() > deadline:
            raise PrefectUnavailable(
                f"the server of `docmill up` has not answered for {SERVER_SECONDS:g} s",
                hint=f"see the logs in {settings.data_dir / 'logs'}",
            )
        time.sleep(LOOK_SECONDS)
    raise PrefectUnavailable(
        "no Prefect server is running here", hint="start `docmill up`, or set PREFECT_API_URL"
    )


def _run(arguments: argparse.Namespace, runner: StatusJobDataRunner, settings: Settings) -> int:
    from docmill.jobs.mapping import source_uri
    from docmill.jobs.models import JobData

    if arguments.target is None and arguments.to is None:
        raise InvalidJobData(
            "without a TARGET the format is not known", hint="name it with --to, for example --to pdf"
        )
    request = ConvertRequest(
        sources=(source_uri(arguments.source),),
        target=None if arguments.target is None else from_root(arguments.target),
        to=arguments.to,
        options=convert_options(arguments),
        overwrite=arguments.overwrite,
        password=password_reference(arguments),
    )
    if arguments.target is not None:
        targets.refuse_misleading_name(request)
    job_data = JobData(job_name=arguments.name) if arguments.name else JobData()
    job = runner.submit(request, job_data=job_data, user_token=arguments.user, job_token=arguments.job)
    if arguments.json:
        print(json.dumps(job.to_wire(), ensure_ascii=False), flush=True)
    else:
        print(f"user {job.user_token}\njob {job.job_token}", flush=True)
    if not arguments.wait:
        return 0
    return _watch_to_the_end(runner, job.user_token, job.job_token, arguments)


def _status(arguments: argparse.Namespace, runner: StatusJobDataRunner, settings: Settings) -> int:
    user, job = _pair(arguments, settings)
    status = runner.query_convert_job_status(user, job)
    if status is None:
        raise no_such_job(user, job)
    _print_status(status, arguments)
    return 0


def _abort(arguments: argparse.Namespace, runner: StatusJobDataRunner, settings: Settings) -> int:
    user, job = _pair(arguments, settings)
    before = runner.query_convert_job_status(user, job)
    runner.abort_convert_job(user, job)
    if before is not None and before.is_completed:
        over = f"the job was over before, and stays as it is: {before.job_status_message}"
        print(error_line(over), file=sys.stderr)
    return 0


def _delete(arguments: argparse.Namespace, runner: StatusJobDataRunner, settings: Settings) -> int:
    try:
        runner.delete_convert_job(*_pair(arguments, settings))
    except TimeoutError as error:
        print(error_line(str(error)), file=sys.stderr)
        return EXIT_TIMEOUT
    return 0


def _wait(arguments: argparse.Namespace, runner: StatusJobDataRunner, settings: Settings) -> int:
    return _watch_to_the_end(runner, *_pair(arguments, settings), arguments)


def _pair(arguments: argparse.Namespace, settings: Settings) -> tuple[str, str]:
    if (arguments.job is None) == (arguments.job_option is None):
        raise InvalidJobData("which job?", hint="name its token once, as JOB or with --job")
    user = settings.default_user if arguments.user is None else arguments.user
    return user, arguments.job_option if arguments.job is None else arguments.job


def _watch_to_the_end(runner: StatusJobDataRunner, user: str, job: str, arguments: argparse.Namespace) -> int:
    """Tell what a job does until it is completed; its error's exit code."""
    from docmill.jobs.status import LATE

    timeout = getattr(arguments, "timeout", None)
    deadline = time.monotonic() + timeout if timeout is not None else None
    told = None
    while True:
        status = patiently(lambda: runner.query_convert_job_status(user, job))
        if status is None:
            raise no_such_job(user, job)
        if status.is_completed:
            return _tell_end(status, arguments)
        message = status.job_status_message or ""
        # How late a job is grows by the second, and is told once.
        kind = LATE if message.startswith(LATE) else message
        if kind != told and not arguments.json:
            print(printable(message), file=sys.stderr, flush=True)
        told = kind
        if deadline is not None and time.monotonic() > deadline:
            print(f"docmill: the job is not completed after {timeout:g} s", file=sys.stderr)
            return EXIT_TIMEOUT
        time.sleep(LOOK_SECONDS)


def patiently(ask: Callable[[], T]) -> T:
    """Ask a server again and again that does not answer: jobs go on while theirs is started anew."""
    deadline = time.monotonic() + SERVER_SECONDS
    told = False
    while True:
        try:
            return ask()
        except PrefectUnavailable as error:
            if time.monotonic() > deadline:
                raise
            if not told:
                print(f"{error_line(error.message)}; trying again", file=sys.stderr, flush=True)
            told = True
            time.sleep(LOOK_SECONDS)


def _tell_end(status: StatusJobData, arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps(status.to_wire(), ensure_ascii=False), flush=True)
    else:
        for message in status.error_messages:
            print(error_line(message), file=sys.stderr)
        if status.output_document_uri:
            print(status.output_document_uri, flush=True)
    return exit_code(status)


def exit_code(status: StatusJobData) -> int:
    """The exit code that a completed job comes to."""
    if status.error_code:
        return EXIT_CODES[ERRORS[status.error_code]]
    return EXIT_WITH_ERRORS if status.error_messages else 0


def name_of(status: StatusJobData) -> str:
    """What a person calls the job: its name where it was given one, else what it does."""
    from docmill.jobs.models import DEFAULT_JOB_NAME

    return status.flow_run_name if status.job_name == DEFAULT_JOB_NAME else status.job_name


def _print_status(status: StatusJobData, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(status.to_wire(), ensure_ascii=False), flush=True)
        return
    rows = {
        "user": status.user_token,
        "job": status.job_token,
        "name": name_of(status),
        "status": status.job_status_message,
        "progress": f"{status.percent} %",
        "started": status.job_started_timestamp,
        "completed": status.job_completed_timestamp,
        "input": status.input_document_id,
        "output": status.output_document_uri,
        "flow run": status.flow_run_id,
    }
    for name, value in rows.items():
        if value:
            print(printable(f"{name:<9} {value}"))
    for message in status.error_messages:
        print(printable(f"{'error':<9} {message}"))
