"""`docmill jobs`: a table of jobs, refreshed on request."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from docmill.cli.jobs import job_runner, name_of, patiently
from docmill.cli.printable import printable
from docmill.errors import InvalidJobData
from docmill.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from docmill.jobs.models import StatusJobData
    from docmill.jobs.runner import StatusJobDataRunner

REFRESH_SECONDS = 1.0
PIPE_WIDTH = 400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def run(arguments: argparse.Namespace) -> int:
    """Print the jobs that match, or keep showing them."""
    since = parse_since(arguments.since) if arguments.since else None
    with job_runner(Settings.from_env()) as runner:
        if arguments.watch and not arguments.json:
            _watch(runner, arguments, since)
            return 0
        jobs = _read(runner, arguments, since)
    if arguments.json:
        for job in jobs:
            print(json.dumps(job.to_wire(), ensure_ascii=False), flush=True)
        return 0
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(table(jobs) if jobs else "no jobs")
        return 0
    # In a file or a pipe nothing is cut off, and no line is filled up with blanks.
    with (console := Console(width=PIPE_WIDTH)).capture() as captured:
        console.print(table(jobs) if jobs else "no jobs")
    for line in captured.get().splitlines():
        print(line.rstrip())
    return 0


def parse_since(text: str) -> datetime:
    """`30m`, `12h`, `7d` ago, or an ISO 8601 time (of this machine's zone where it names none)."""
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text):
        return datetime.now(UTC) - timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise InvalidJobData(f"'{text}' is no time", hint="for example 30m, 12h, 7d or 2026-11-23") from None


def table(jobs: tuple[StatusJobData, ...]) -> Table:
    """The jobs as a table for a terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("job", no_wrap=True, overflow="ellipsis", min_width=12)
    table.add_column("user", no_wrap=True, overflow="ellipsis", max_width=16)
    table.add_column("name", no_wrap=True, overflow="ellipsis", min_width=12, max_width=40)
    table.add_column("started", no_wrap=True, min_width=8)
    table.add_column("took", no_wrap=True, justify="right", min_width=6)
    table.add_column("pages", no_wrap=True, justify="right", min_width=5)
    table.add_column("status", overflow="fold", min_width=24)
    for job in jobs:
        message = "; ".join(job.error_messages) or job.job_status_message or ""
        table.add_row(
            Text(printable(job.job_token)),
            Text(printable(job.user_token)),
            Text(printable(name_of(job))),
            _clock(job.job_started_timestamp),
            _duration(job),
            str(job.page_count or ""),
            Text(printable(message), style=_style(job)),
        )
    return table


def _read(
    runner: StatusJobDataRunner, arguments: argparse.Namespace, since: datetime | None
) -> tuple[StatusJobData, ...]:
    return runner.list_convert_jobs(arguments.user, arguments.state, since, arguments.limit).jobs


def _watch(runner: StatusJobDataRunner, arguments: argparse.Namespace, since: datetime | None) -> None:
    from rich.live import Live

    with Live(table(_read(runner, arguments, since)), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(REFRESH_SECONDS)
                live.update(table(patiently(lambda: _read(runner, arguments, since))), refresh=True)
        except KeyboardInterrupt:
            pass


def _style(job: StatusJobData) -> str:
    if not job.is_completed:
        return "cyan"
    if not job.error_messages:
        return "green"
    return "yellow" if job.abort or not job.error_code else "red"


def _clock(timestamp: str | None) -> str:
    if timestamp is None:
        return ""
    time = datetime.fromisoformat(timestamp).astimezone()
    return f"{time:%H:%M:%S}" if time.date() == datetime.now().date() else f"{time:%Y-%m-%d %H:%M}"


def _duration(job: StatusJobData) -> str:
    if job.job_started_timestamp is None:
        return ""
    end = job.job_completed_timestamp or job.query_job_status_timestamp
    if end is None:
        return ""
    seconds = (
        datetime.fromisoformat(end) - datetime.fromisoformat(job.job_started_timestamp)
    ).total_seconds()
    return f"{seconds:.1f} s" if seconds < 100 else f"{int(seconds) // 60}:{int(seconds) % 60:02} min"
