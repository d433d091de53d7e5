"""The entry point of the `docmill` command, and of `python -m docmill`."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line; the exit code is the one of the error's class (`docmill --help`)."""
    # Ctrl-C while Python imports or ends is no KeyboardInterrupt with its traceback: nothing is at work then.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from docmill.cli.main import main as run

    try:
        return run()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
