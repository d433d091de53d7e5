"""What cleaning up does outside Prefect: expired documents, and the scratch of dead runs on this host.

Safe beside running jobs, and when two clean up at once: each thing is counted by the one that removed it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from docmill.errors import DocmillError
from docmill.settings import DAY, Settings

log = logging.getLogger(__name__)

#: Content that no document has is kept this long: a job may be about to use it.
CONTENT_GRACE = timedelta(hours=1)
#: A run that has ended gets this long to remove its own scratch.
ENDED_GRACE = 600.0
_CONDEMNED = ".removing-"

#: Which of these runs have ended, of those that Prefect knows.
EndedRuns = Callable[[Collection[uuid.UUID]], Collection[uuid.UUID]]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """One kind of thing that was removed (or would be): how many, their bytes, and the names of some."""

    what: str
    count: int = 0
    size: int = 0
    names: tuple[str, ...] = field(default=())


def clean_daily(settings: Settings) -> None:
    """Clean up cache and scratch if nobody did for a day: for a machine without the scheduled flow.

    What fails is logged and left to the next time: it is not what the user came for.
    """
    stamp = settings.data_dir / "cleaned"
    try:
        if time.time() - stamp.stat().st_mtime < DAY:
            return
    except OSError:
        pass
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        clean_cache(settings)
        clean_scratch(settings)
    except (OSError, DocmillError):
        log.info("the daily cleanup did not finish", exc_info=True)


def clean_cache(settings: Settings, *, dry_run: bool = False) -> list[Cleaned]:
    """Remove documents that have expired, outputs among them, and the content that no document has.

    Raises the `Destination...` errors of the cache's store.
    """
    from docmill.documents.cache import DocumentCache

    cache = DocumentCache(settings.cache_location)
    report = cache.collect(datetime.now(UTC), CONTENT_GRACE, dry_run=dry_run)
    return [
        Cleaned("expired documents", len(report.documents), names=report.documents),
        Cleaned("contents without a document", report.blobs, report.bytes),
        Cleaned("unfinished files of the cache", report.unfinished),
    ]


def clean_scratch(settings: Settings, ended: EndedRuns | None = None, *, dry_run: bool = False) -> Cleaned:
    """Remove the scratch folders of runs that are over.

    That is so for a run that `ended` names, some minutes after its last write. Of a run that Prefect does not
    know (another server's, or one without Prefect) nobody can tell, so its folder goes when nothing was
    written there for a day, or for twice as long as an engine may run.
    """
    folders = _scratch_folders(settings.scratch_dir)
    known = {run: folder for folder in folders if (run := _run_id(folder))}
    over = {known[run] for run in (ended(known) if ended and known else ())}
    idle_limit = max(DAY, 2 * settings.engine_wall_seconds)
    count = size = 0
    names = []
    for folder in folders:
        limit = 0.0 if folder.name.startswith(_CONDEMNED) else ENDED_GRACE if folder in over else idle_limit
        last_write, folder_size = _measure(folder)
        if time.time() - last_write < limit or not (dry_run or _remove(folder)):
            continue
        count += 1
        size += folder_size
        names.append(folder.name)
    return Cleaned("scratch folders", count, size, tuple(names))


def _scratch_folders(scratch: Path) -> list[Path]:
    try:
        return sorted(folder for folder in scratch.iterdir() if folder.is_dir() and not folder.is_symlink())
    except FileNotFoundError:
        return []


def _run_id(folder: Path) -> uuid.UUID | None:
    try:
        return uuid.UUID(folder.name)
    except ValueError:
        return None


def _measure(folder: Path) -> tuple[float, int]:
    """The time of the last change in a folder, and the bytes of its files."""
    last, size = 0.0, 0
    for root, _, files in os.walk(folder):
        for path in (root, *(f"{root}/{name}" for name in files)):
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(path)
                last = max(last, status.st_mtime)
                size += status.st_size if path is not root else 0
    return last, size


def _remove(folder: Path) -> bool:
    """Whether this process is the one that removed the folder."""
    condemned = folder.with_name(f"{_CONDEMNED}{uuid.uuid4().hex}")
    try:
        folder.rename(condemned)
    except OSError:
        return False
    shutil.rmtree(condemned, ignore_errors=True)
    return True
