"""Who else works on the embedded database: told by locks, which the kernel drops when a process dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from docmill.jobs.local import private_folder


@contextmanager
def among_neighbours(home: Path) -> Iterator[datetime | None]:
    """Be counted among the programs that use the database in `home`.

    Gives the time at which this program was the only one: no job from before then has a process any more.
    """
    private_folder(home)
    with (home / "in-use.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = datetime.now(UTC)
        except BlockingIOError:
            alone = None
        fcntl.flock(file, fcntl.LOCK_SH)
        yield alone
