"""`docmill jobs`: a table of jobs, refreshed on request."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
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
_COLUMNS = ("job", "user", "name", "started", "took", "pages", "status")
_GAP = 2
#: Which columns give way where there is no room for all, in this order, and down to what.
_GIVE_WAY = (
    *(("status", 40), ("job", 36), ("name", 12), ("user", 8), ("job", 12)),
    *(("status", 16), ("name", 8), ("user", 6), ("status", 12)),
)
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
        console = Console()
        console.print(table(jobs, console.width) if jobs else "no jobs")
        return 0
    # In a file or a pipe nothing is cut off, and no line is filled up with blanks.
    with (console := Console(width=sys.maxsize)).capture() as captured:
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


def table(jobs: Sequence[StatusJobData], room: int | None = None) -> Table:
    """The jobs as a table `room` columns wide, or as wide as it takes so that nothing is cut off."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    rows = [_cells(job) for job in jobs]
    natural = [max(map(cell_len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in zip(_COLUMNS, _fitted(natural, room), strict=True):
        fold = name == "status"
        table.add_column(
            name,
            width=width,
            no_wrap=not fold,
            overflow="fold" if fold else "ellipsis",
            justify="right" if name in {"took", "pages"} else "left",
        )
    for job, cells in zip(jobs, rows, strict=True):
        table.add_row(*map(Text, cells[:-1]), Text(cells[-1], style=_style(job)))
    return table


def _cells(job: StatusJobData) -> tuple[str, ...]:
    message = "; ".join(job.error_messages) or job.job_status_message or ""
    return (
        printable(job.job_token),
        printable(job.user_token),
        printable(name_of(job)),
        _clock(job.job_started_timestamp),
        _duration(job),
        str(job.page_count or ""),
        printable(message),
    )


def _fitted(widths: Sequence[int], room: int | None) -> list[int]:
    """The columns' widths within the room there is: how a job is must be seen, whatever its names are, and
    rich by itself cuts off what is at the right."""
    fitted = dict(zip(_COLUMNS, widths, strict=True))
    excess = 0 if room is None else sum(widths) + _GAP * (len(widths) - 1) - room
    for name, least in _GIVE_WAY:
        if excess > 0:
            cut = min(excess, max(0, fitted[name] - least))
            fitted[name] -= cut
            excess -= cut
    return list(fitted.values())


def _read(
    runner: StatusJobDataRunner, arguments: argparse.Namespace, since: datetime | None
) -> tuple[StatusJobData, ...]:
    return runner.list_convert_jobs(arguments.user, arguments.state, since, arguments.limit).jobs


def _watch(runner: StatusJobDataRunner, arguments: argparse.Namespace, since: datetime | None) -> None:
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        try:
            while True:
                jobs = patiently(lambda: _read(runner, arguments, since))
                live.update(table(jobs, live.console.width), refresh=True)
                time.sleep(REFRESH_SECONDS)
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
    time, now = datetime.fromisoformat(timestamp).astimezone(), datetime.now()
    if time.date() == now.date():
        return f"{time:%H:%M:%S}"
    return f"{time:%m-%d %H:%M}" if time.year == now.year else f"{time:%Y-%m-%d}"


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
