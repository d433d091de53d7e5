"""The entry point of the `docmill` command, and of `python -m docmill`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Run the command line; the exit code is the one of the error's class (`docmill --help`)."""
    # Ctrl-C while Python imports or ends is no KeyboardInterrupt with its traceback: nothing is at work then.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_closed_streams()
    from docmill.cli.main import main as run

    try:
        code = run()
        if "prefect" not in sys.modules:
            # All is written; nothing waits for Python's own tidying up, which takes 8 ms.
            os._exit(code)
        return code
    finally:
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
            setattr(sys, name, open(number, mode))  # noqa: PTH123, SIM115 (a descriptor, for good)


if __name__ == "__main__":
    sys.exit(main())
