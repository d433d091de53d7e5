"""The SHA-256 of files that are being written while they are hashed."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docmill.documents.background import GrowingHash


@given(st.lists(st.tuples(st.binary(max_size=300_000), st.sampled_from([0, 0, 0.003])), max_size=6))
def test_it_is_that_of_the_whole_file(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("growing") / "output"
    growing = GrowingHash(path)
    with path.open("wb", buffering=0) as file:
        for part, pause in parts:
            file.write(part)
            time.sleep(pause)
    growing.complete()
    assert growing.results() == (hashlib.sha256(path.read_bytes()).hexdigest(),)
    assert growing.snapshots[0].size == path.stat().st_size


def test_a_file_that_was_there_all_along(tmp_path):
    path = tmp_path / "output"
    path.write_bytes(random.Random(1).randbytes(1_000_000))
    growing = GrowingHash(path)
    growing.complete()
    assert growing.results() == (hashlib.sha256(path.read_bytes()).hexdigest(),)


@pytest.mark.parametrize("written", [False, True])
def test_it_stops_before_its_file_is_whole(tmp_path: Path, written: bool):
    path = tmp_path / "output"
    growing = GrowingHash(path)
    if written:
        path.write_bytes(b"half")
        time.sleep(0.01)
    growing.stop()
    assert growing.snapshots == ()


def test_it_stops_at_once_though_its_file_is_whole(tmp_path: Path):
    path = tmp_path / "output"
    path.touch()
    os.truncate(path, 1 << 40)  # of zeros, which take no room, and minutes to hash
    growing = GrowingHash(path)
    growing.complete()
    growing.stop()


def test_a_file_that_never_came(tmp_path):
    growing = GrowingHash(tmp_path / "output")
    with pytest.raises(FileNotFoundError):
        growing.complete()
    growing.stop()
