"""The grammar of the commands that need a Prefect server: jobs, `up` and `cleanup`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from docmill.cli.arguments import add_convert_options, add_password, exit_codes


def add_job_commands(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add them; `command` makes a parser from a name, the module that runs it and what it does."""
    _add_up(command("up", "up", "run the Prefect server, its UI and workers on this machine"))
    run = command("run", "jobs", "submit a conversion as a job and print its pair of tokens")
    _add_run(run)
    run.epilog = exit_codes()
    _add_pair(command("status", "jobs", "show how a job is"))
    _add_pair(command("abort", "jobs", "stop a job"))
    delete = command("delete", "jobs", "remove a job, not its output; one that runs is aborted first")
    _add_pair(delete)
    wait = command("wait", "jobs", "wait until a job is completed; the exit code is that of its error")
    _add_pair(wait)
    wait.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="give up after this time, with exit code 124"
    )
    wait.epilog = exit_codes()
    _add_jobs(command("jobs", "jobtable", "list jobs, the newest first"))
    _add_deploy(command("deploy", "deploy", "make the work pool and the deployments on a Prefect server"))
    _add_cleanup(command("cleanup", "cleanup", "remove expired documents, dead scratch and old jobs"))


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="the folder for all data (default: DOCMILL_DATA_DIR)")
    parser.add_argument(
        "--port",
        type=int,
        metavar="N",
        help="port of UI and API (default: 4200 or a free one; 0: a free one)",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="worker processes (default: 1)")
    parser.add_argument("--limit", type=int, metavar="N", help="jobs that a worker runs at once")
    parser.add_argument(
        "--database",
        choices=("auto", "postgres", "sqlite"),
        default="auto",
        help="where Prefect keeps its runs (default: PostgreSQL where the extra is installed, else SQLite)",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [OPTION ...] SOURCE [TARGET]"
    parser.add_argument("source", metavar="SOURCE", help="path, URI or docmill://ID, as the worker sees it")
    parser.add_argument(
        "target", nargs="?", metavar="TARGET", help="path or URI; none: a new document in the cache"
    )
    add_convert_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace what is at TARGET")
    add_password(parser, "the worker's variable with the password", "file with the password, on the worker")
    parser.add_argument("--user", metavar="TOKEN", help="who submits (default: DOCMILL_DEFAULT_USER)")
    parser.add_argument("--job", metavar="TOKEN", help="the job's own token (default: a new one)")
    parser.add_argument("--name", metavar="TEXT", help="the job's name in lists")
    parser.add_argument("--wait", action="store_true", help="wait until the job is completed")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", nargs="?", metavar="JOB", help="the job's token")
    parser.add_argument("--job", dest="job_option", metavar="TOKEN", help="the same, for scripts")
    parser.add_argument("--user", metavar="TOKEN", help="who submitted it (default: DOCMILL_DEFAULT_USER)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="TOKEN", help="jobs of this user only")
    parser.add_argument("--state", metavar="STATE", help="waiting, running, done, failed or aborted")
    parser.add_argument("--since", metavar="TIME", help="not older than e.g. 30m, 12h, 7d or 2026-11-23")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (default: 20)")
    parser.add_argument("--watch", action="store_true", help="refresh the table every second until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each job")


def _add_deploy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", metavar="NAME", help="work pool (default: DOCMILL_WORK_POOL)")
    parser.add_argument(
        "--type",
        choices=("docmill", "process"),
        help="the pool's type where it is to be made (default: docmill)",
    )
    parser.add_argument("--wait", action="store_true", help="wait until the Prefect server answers")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_cleanup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, say what would be")
    parser.add_argument("--json", action="store_true", help="print JSON")
