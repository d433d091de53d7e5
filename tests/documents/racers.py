"""Programs that tests run several of at once, and kill: `python -m tests.documents.racers <name> ...`.

Each says "ready" when it starts to work, and what went wrong, if anything did.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import select
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from docmill.documents.cache import DocumentCache
from docmill.documents.publish import publish, stage
from docmill.errors import DestinationExists
from tests.documents.support import document

#: Puts of one racer, and contents collected by one, before it says that it is ready.
PUTS, COLLECTED = 10, 3


def put_and_forget(url: str, folder: str) -> None:
    """Put one of few contents, read it back at once, forget it: by deletion or by expiry; until told."""
    cache = DocumentCache(url, scratch=Path(folder))
    contents = [f"content {i}".encode() * 500 for i in range(3)]
    i = 0
    while not _is_told_to_end():
        doc = document(Path(folder), random.choice(contents), f"{i % 7}.tif")
        # An id of its own, or one that expired a moment ago and that a collector may be about to remove.
        chosen = random.choice([None, f"{os.getpid()}-{i % 2}"])
        later = datetime.now(UTC) + timedelta(hours=1)
        document_id = cache.put(doc, document_id=chosen, expires=later, overwrite=True).document_id
        time.sleep(random.choice([0, 0, 0.002]))
        with cache.open_local(document_id) as path:
            if hashlib.sha256(path.read_bytes()).hexdigest() != doc.sha256:
                raise AssertionError(f"{document_id} has other content")
        if random.random() < 0.5:
            cache.delete(document_id)
        else:
            cache.put(doc, document_id=document_id, expires=datetime.now(UTC))
        i += 1
        if i == PUTS:
            _say_ready()


def collect_always(url: str, folder: str) -> None:
    """Collect without any grace, again and again, until a line comes."""
    cache = DocumentCache(url, scratch=Path(folder))
    collected = 0
    while not _is_told_to_end():
        report = cache.collect(datetime.now(UTC) + timedelta(minutes=1), timedelta(0))
        collected += report.blobs
        if collected >= COLLECTED:
            _say_ready()


def put_always(url: str, folder: str) -> None:
    """Put new contents for ever."""
    cache = DocumentCache(url, scratch=Path(folder))
    while True:
        cache.put(document(Path(folder), os.urandom(300_000)))
        _say_ready()


def publish_always(source: str, target: str, run_id: str) -> None:
    """Publish one file under new names for ever."""
    for i in range(1_000_000):
        publish([Path(source)], f"{target}/{i}.pdf", overwrite=False, run_id=run_id)
        _say_ready()


def publish_pages_always(pages: str, target: str, run_id: str) -> None:
    """Publish the files of a folder, over and over, over what is there."""
    outputs = sorted(Path(pages).iterdir())
    while True:
        publish(outputs, f"{target}/", overwrite=True, run_id=f"{run_id}-{random.randrange(10**9)}")
        _say_ready()


def publish_against_others(source: str, run_id: str) -> None:
    """For each target that comes as a line: stage, say so, commit when told to by a line, say who won."""
    outputs = sorted(Path(source).iterdir()) if Path(source).is_dir() else [Path(source)]
    while target := sys.stdin.readline().rstrip("\n"):
        with stage(outputs, target, overwrite=False, run_id=run_id) as staged:
            print("ready", flush=True)
            sys.stdin.readline()
            try:
                staged.commit()
            except DestinationExists:
                print("lost", flush=True)
            else:
                print("won", flush=True)


def _is_told_to_end() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


@functools.cache
def _say_ready() -> None:
    print("ready", flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
