"""Cleaning up outside Prefect: what goes, what stays, and two at once."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from docmill.cleanup import Cleaned, clean_scratch
from docmill.settings import DAY, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(Settings(), scratch_dir=tmp_path / "scratch")


def scratch_folder(settings: Settings, name: str, idle: float) -> Path:
    """A run's folder with a file of 5 bytes, last written `idle` seconds ago."""
    folder = settings.scratch_dir / name
    (folder / "attempt-1").mkdir(parents=True)
    (folder / "attempt-1" / "out.pdf").write_bytes(b"12345")
    for path in (folder / "attempt-1" / "out.pdf", folder / "attempt-1", folder):
        os.utime(path, (time.time() - idle,) * 2)
    return folder


def test_only_runs_that_are_over_lose_their_scratch(settings: Settings) -> None:
    ended, lately, running, unknown, forgotten = (str(uuid.uuid4()) for _ in range(5))
    folders = {
        ended: scratch_folder(settings, ended, idle=3600),
        lately: scratch_folder(settings, lately, idle=10),
        running: scratch_folder(settings, running, idle=3600),
        unknown: scratch_folder(settings, unknown, idle=3600),
        forgotten: scratch_folder(settings, forgotten, idle=2 * DAY),
    }

    def over(runs: Collection[uuid.UUID]) -> set[uuid.UUID]:
        return {run for run in runs if str(run) in {ended, lately}}

    tried = clean_scratch(settings, over, dry_run=True)
    assert all(folder.exists() for folder in folders.values())
    cleaned = clean_scratch(settings, over)
    assert cleaned == tried == Cleaned("scratch folders", 2, 10, tuple(sorted((ended, forgotten))))
    assert {name for name, folder in folders.items() if folder.exists()} == {lately, running, unknown}


def test_an_engine_may_run_for_days(settings: Settings) -> None:
    patient = replace(settings, engine_wall_seconds=2 * DAY)
    folder = scratch_folder(settings, uuid.uuid4().hex, idle=3 * DAY)
    assert clean_scratch(patient).count == 0
    assert clean_scratch(settings).names == (folder.name,)


def test_what_a_killed_cleanup_was_removing_goes_at_once(settings: Settings) -> None:
    folder = scratch_folder(settings, ".removing-" + uuid.uuid4().hex, idle=0)
    assert clean_scratch(settings).count == 1
    assert not folder.exists()


def test_two_at_once_count_each_folder_once(settings: Settings) -> None:
    names = {scratch_folder(settings, uuid.uuid4().hex, idle=2 * DAY).name for _ in range(50)}
    results: list[Cleaned] = []
    threads = [threading.Thread(target=lambda: results.append(clean_scratch(settings))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    removed = [name for result in results for name in result.names]
    assert len(removed) == len(set(removed))
    assert names <= set(removed)
    assert list(settings.scratch_dir.iterdir()) == []


def test_no_scratch_at_all_is_nothing_to_clean(settings: Settings) -> None:
    assert clean_scratch(settings) == Cleaned("scratch folders")
