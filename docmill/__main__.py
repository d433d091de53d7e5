"""The entry point of the `docmill` command, and of `python -m docmill`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Run the command line; the exit code is the one of the error's class (`docmill --help`)."""
    _end_at_interrupts()
    _open_closed_streams()
    from docmill.cli.main import main as run
    from docmill.cli.streams import unfailing

    sys.stderr = unfailing(sys.stderr)

    try:
        code = run()
        if "prefect" not in sys.modules:
            # All is written; nothing waits for Python's own tidying up, which takes 8 ms.
            os._exit(code)
        return code
    finally:
        _end_at_interrupts()


def _end_at_interrupts() -> None:
    """Ctrl-C while Python imports or ends is no KeyboardInterrupt with its traceback: no work is lost."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_closed_streams() -> None:
    """Have /dev/null stand in for standard streams that are closed, as by `2>&-`: what is opened later would
    get their numbers, and Python has None for them."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 (a descriptor, for good)


if __name__ == "__main__":
    sys.exit(main())
