"""The entry point of the `docmill` command, and of `python -m docmill`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """Run the command line; the exit code is the one of the error's class (`docmill --help`)."""
    # Ctrl-C while Python imports or ends is no KeyboardInterrupt with its traceback: nothing is at work then.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from docmill.cli.main import main as run

    try:
        code = run()
        if "prefect" not in sys.modules:
            # All is written; nothing waits for Python's own tidying up, which takes 8 ms.
            os._exit(code)
        return code
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
