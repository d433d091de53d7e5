"""What the commands of jobs say and take, without a server."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from docmill.cli import jobs, jobtable
from docmill.cli.parser import build_parser
from docmill.jobs.models import StatusJobData
from docmill.settings import Settings

GUID = "2aa2114ebd1b47d5b77f1a020fcce9fc"
REFUSED = "cannot read '/srv/in/scan.tif': it does not exist (check the name)"
JOBS = (
    ("2aa2114ebd1b47d5b77f1a020fcce9fc", "default", "statement of account for the last quarter: a -> b"),
    ("é🦜" * 128, "é🦜" * 128, "scan.tif -> pdf"),
    ("a\x1b[2Jb\nc", "ann.someone@example.org", "scan.tif -> pdf"),
)


def status(
    user: str = "ann", job: str = "j1", name: str = "scan.tif -> pdf", **fields: object
) -> StatusJobData:
    return StatusJobData.model_validate(
        {
            "user_token": user,
            "job_token": job,
            "flow_run_id": "",
            "flow_run_name": name,
            "job_started_timestamp": "2026-01-02T10:00:00.000Z",
            "job_completed_timestamp": "2026-01-02T11:40:00.000Z",
            "page_count": 120_000,
            "is_completed": True,
            "error_messages": (REFUSED,),
            **fields,
        }
    )


def shown(statuses: Sequence[StatusJobData], width: int | None) -> list[str]:
    console = Console(width=width or 10_000, file=io.StringIO())
    with console.capture() as captured:
        console.print(jobtable.table(statuses, width))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 100, 130])
def test_how_a_job_is_is_seen_in_any_terminal_whatever_its_names(width: int) -> None:
    lines = shown([status(user, job, name) for job, user, name in JOBS], width)
    assert lines[0].split() == ["job", "user", "name", "started", "took", "pages", "status"]
    start = lines[0].index("status")
    told = "".join(line[start:].strip() for line in lines[1:] if line.startswith((GUID[:8], " " * start)))
    assert told.replace(" ", "").startswith(REFUSED.replace(" ", ""))


def test_a_jobs_token_is_whole_where_there_is_room_for_it() -> None:
    assert GUID in shown([status(job=GUID, name="x" * 200)], 130)[1]


def test_in_a_pipe_nothing_is_cut_off() -> None:
    lines = shown([status(user, job, name) for job, user, name in JOBS], None)
    assert len(lines) == 4
    for line, (job, user, name) in zip(lines[1:], JOBS, strict=True):
        assert job.replace("\x1b", r"\x1b").replace("\n", r"\x0a") in line
        assert user in line
        assert name in line
        assert REFUSED in line


@pytest.mark.parametrize(
    ("given", "pair"),
    [
        (["j1"], ("nobody", "j1")),
        (["--job=-x"], ("nobody", "-x")),
        (["--user", "ann", "--", "-x"], ("ann", "-x")),
        (["", "--user", ""], ("", "")),
        (["--job", ""], ("nobody", "")),
    ],
)
def test_an_empty_token_is_one(given: list[str], pair: tuple[str, str]) -> None:
    arguments = build_parser("").parse_args(["status", *given])
    assert jobs._pair(arguments, Settings.from_env({"DOCMILL_DEFAULT_USER": "nobody"})) == pair


class _Runner:
    def __init__(self, *statuses: StatusJobData) -> None:
        self._statuses = list(statuses)

    def query_convert_job_status(self, user: str, job: str) -> StatusJobData:
        return self._statuses.pop(0)


def test_what_a_job_says_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    runner = _Runner(
        status(is_completed=False, error_messages=(), job_status_message="retrying: \x1b[2J"),
        status(error_messages=("no \x1b[2J",)),
    )
    arguments = argparse.Namespace(json=False)
    jobs._watch_to_the_end(runner, "ann", "j1", arguments)  # type: ignore[arg-type]
    assert "\x1b" not in capsys.readouterr().err


def test_how_late_a_job_is_is_told_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0)
    late = [f"late by {seconds} s: no worker is free" for seconds in (16, 17, 18)]
    runner = _Runner(
        *(
            status(is_completed=False, error_messages=(), job_status_message=message)
            for message in ("waiting", *late, "starting")
        ),
        status(error_messages=()),
    )
    jobs._watch_to_the_end(runner, "ann", "j1", argparse.Namespace(json=False))  # type: ignore[arg-type]
    assert capsys.readouterr().err.splitlines() == ["waiting", late[0], "starting"]
