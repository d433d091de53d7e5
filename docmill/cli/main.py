"""The entry point: reads the command line, runs the command, and turns errors into one line and a code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence

from docmill import __version__
from docmill.cli.interrupts import heed_interrupts
from docmill.cli.parser import UsageError, build_parser
from docmill.cli.printable import printable
from docmill.cli.streams import NO_ROOM
from docmill.errors import (
    EXIT_CODES,
    EXIT_DEFECT,
    EXIT_PIPE,
    EXIT_USAGE,
    EXIT_WITH_ERRORS,
    DestinationFull,
    DocmillError,
    InvalidJobData,
    JobAborted,
)
from docmill.options import OPTION_NAMES

#: Commands whose first work is in the sandbox: its server starts while they import what they need.
WARM = frozenset({"convert", "info"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `docmill` command; the exit code is the one of the error's class (`docmill --help`)."""
    parser = build_parser(__version__)
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As standard error has it: names of files need not be of the terminal's encoding, or of any.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = argparse.Namespace(verbose=0)
    try:
        parser.parse_args(arguments, options)
        if options.command is None:
            parser.print_help()
            return 0
        if options.module in WARM:
            from docmill import sandbox

            sandbox.warm(fork=True, converts=options.module == "convert")
        _log_to_stderr(options.verbose)
        _provide_home()
        heed_interrupts()
        command = importlib.import_module(f"docmill.cli.{options.module}")
        code = int(command.run(options))
        sys.stdout.flush()
        return code
    except UsageError as error:
        return _report_usage(error, arguments)
    except DocmillError as error:
        return report(error, options)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # of a terminal that was closed
            report(JobAborted("stopped"), options)
        return EXIT_CODES[JobAborted]
    except BrokenPipeError:
        # The reader of our output went away, as in `docmill formats | head`.
        _drop_output()
        return EXIT_PIPE
    except Exception as error:
        if failure := _output_failure(error):
            _drop_output()
            # Also where its reader asked for JSON, which does not reach it any more.
            print(error_line(failure), file=sys.stderr)
            return EXIT_CODES[type(failure)]
        if options.verbose:
            logging.getLogger("docmill").exception("a defect of docmill")
        line = f"docmill: a defect of docmill, please report it: {type(error).__name__}: {error}"
        print(printable(line.replace("\n", " ")), "(-v shows where)", file=sys.stderr)
        return EXIT_DEFECT


def report(error: DocmillError, options: argparse.Namespace, source: str = "") -> int:
    """Tell an error as one line on standard error, or as JSON for programs; returns its exit code.

    `source` says which of several sources it is about.
    """
    logging.getLogger("docmill").debug("failed", exc_info=error)
    code = EXIT_CODES[type(error)]
    if getattr(options, "json", False):
        values: dict[str, object] = {"source": source} if source else {}
        values |= {"error": error.to_dict(), "exit_code": code}
        print(json.dumps(values, ensure_ascii=False), flush=True)
    else:
        print(error_line(error, source), file=sys.stderr, flush=True)
    return code


def _report_usage(error: UsageError, arguments: Sequence[str]) -> int:
    """Tell wrong usage: for programs as any other error, for people with how the command is called."""
    if "--json" in arguments:
        failure = InvalidJobData(str(error), hint=" ".join(error.usage.split()))
        return report(failure, argparse.Namespace(json=True))
    print(f"{error.usage}{error.command}: error: {error}", file=sys.stderr)
    return EXIT_USAGE


def overall_code(codes: Sequence[int]) -> int:
    """The exit code of a command that did one thing or several: with several, done or done with errors; where
    nothing of it was done, that of the first failure."""
    if len(codes) == 1 or not any(codes):
        return codes[0]
    return EXIT_WITH_ERRORS if {0, EXIT_WITH_ERRORS} & set(codes) else codes[0]


def error_line(error: DocmillError | str, source: str = "") -> str:
    """An error as one line: `docmill: page 3 of ... is damaged (what to do)`.

    Options go by their names on the command line (`--page-names`), which a job's own words do not know.
    """
    text = " ".join(str(error).split())
    where = f"{source}: " if source and source not in text else ""
    return printable(f"docmill: {where}{_OPTION.sub(_as_flag, text)}")


# Names that are words of English as well are told by where they stand: after `option`, or in a list of them.
_OPTION = re.compile(
    rf"(?<![\w.'/-])({'|'.join(name for name in OPTION_NAMES if '_' in name)})(?![\w.'/])"
    rf"|(?:(?<=option )|(?<=there are )|(?<=, ))({'|'.join(OPTION_NAMES)}|overwrite)(?=,| has no meaning|\))"
)


def _as_flag(match: re.Match[str]) -> str:
    return "--" + match[0].replace("_", "-")


def _output_failure(error: Exception) -> DocmillError | None:
    """What it means where standard output takes no more; None for a defect.

    Files are written where their errors are translated, and a failure there names its file.
    """
    if not isinstance(error, OSError) or error.errno not in NO_ROOM or error.filename is not None:
        return None
    return DestinationFull("cannot write standard output: no space is left", hint="free some space")


def _drop_output() -> None:
    """Let Python end in peace where standard output takes nothing any more."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _log_to_stderr(verbose: int) -> None:
    level = logging.DEBUG if verbose else logging.WARNING
    if not verbose:
        # What libraries warn of is for their callers: a header of a server that aiohttp finds malformed.
        warnings.simplefilter("ignore")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("docmill")
    logger.addHandler(handler)
    logger.setLevel(level)


def _provide_home() -> None:
    """Name a home folder where the user has none, as one of a container that is a number only: Prefect asks
    for it as soon as it is imported."""
    data = os.environ.get("DOCMILL_DATA_DIR")
    if data and os.path.expanduser("~") == "~":  # noqa: PTH111 (pathlib's raises)
        os.environ["HOME"] = data
