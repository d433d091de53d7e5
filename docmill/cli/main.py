"""The entry point: reads the command line, runs the command, and turns errors into one line and a code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence

from docmill import __version__
from docmill.cli.parser import build_parser
from docmill.errors import EXIT_CODES, EXIT_DEFECT, DocmillError, JobAborted

#: Commands whose first work is in the sandbox: its server starts while they import what they need.
WARM = frozenset({"convert", "info"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `docmill` command; the exit code is the one of the error's class (`docmill --help`)."""
    parser = build_parser(__version__)
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        sys.stdout.flush()
        return 0
    if options.module in WARM:
        from docmill import sandbox

        sandbox.warm(fork=True)
    _log_to_stderr(options.verbose)
    try:
        # A killed shell or service sends SIGTERM: it stops as Ctrl-C does, tidying up.
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        command = importlib.import_module(f"docmill.cli.{options.module}")
        code = int(command.run(options))
        sys.stdout.flush()
        return code
    except DocmillError as error:
        return report(error, options)
    except KeyboardInterrupt:
        return report(JobAborted("stopped"), options)
    except BrokenPipeError:
        # The reader of our output went away, as in `docmill formats | head`.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DEFECT
    except Exception as error:
        if options.verbose:
            logging.getLogger("docmill").exception("a defect of docmill")
        line = f"docmill: a defect of docmill, please report it: {type(error).__name__}: {error}"
        print(line.replace("\n", " "), "(-v shows where)", file=sys.stderr)
        return EXIT_DEFECT


def report(error: DocmillError, options: argparse.Namespace) -> int:
    """Tell an error as one line on standard error, or as JSON for programs; returns its exit code."""
    logging.getLogger("docmill").debug("failed", exc_info=error)
    code = EXIT_CODES[type(error)]
    if getattr(options, "json", False):
        print(json.dumps({"error": error.to_dict(), "exit_code": code}, ensure_ascii=False), flush=True)
    else:
        print(error_line(error), file=sys.stderr, flush=True)
    return code


def error_line(error: DocmillError) -> str:
    """An error as one line: `docmill: page 3 of ... is damaged (what to do)`."""
    return "docmill: " + " ".join(str(error).split())


def _log_to_stderr(verbose: int) -> None:
    level = logging.DEBUG if verbose else logging.WARNING
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("docmill")
    logger.addHandler(handler)
    logger.setLevel(level)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
