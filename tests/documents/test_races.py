"""Several processes at once, and processes that are killed: nothing is lost, nothing is half."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from docmill.documents.cache import DocumentCache
from docmill.documents.publish import publish, sweep_stale
from docmill.documents.s3 import S3, split
from docmill.documents.uris import parse_location
from tests.documents.support import document, sha256

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["local", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("s3_url")) if request.param == "s3" else str(tmp_path / "store")


def start(name: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.documents.racers", name, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_after(seconds: float, name: str, *arguments: object) -> None:
    """Run a racer, and kill it some time after it got ready."""
    process = start(name, *arguments)
    try:
        assert hear(process) == "ready"
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    # What it had asked a server for a moment before is still done.
    if any("://" in str(argument) for argument in arguments):
        time.sleep(0.5)


def finish(process: subprocess.Popen[str]) -> str:
    """Let a racer end; fails if it failed."""
    stdout, stderr = process.communicate("\n", timeout=200)
    assert stderr == ""
    return stdout.replace("ready\n", "").strip()


def say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip() or process.communicate()[1]


def test_puts_and_collectors_do_not_harm_each_other(url: str, tmp_path: Path) -> None:
    collectors = [start("collect_always", url, tmp_path / f"collect-{i}") for i in range(2)]
    putters = [start("put_and_forget", url, tmp_path / f"put-{i}") for i in range(3)]
    # They go on until they have met: each has put, read and forgotten, and contents were collected meanwhile.
    for racer in [*putters, *collectors]:
        assert hear(racer) == "ready"
    for racer in [*putters, *collectors]:
        finish(racer)

    cache = DocumentCache(url, scratch=tmp_path)
    for item in cache.list():
        with cache.open_local(item.document_id) as path:
            assert sha256(path.read_bytes()) == item.sha256
    cache.collect(datetime.now(UTC) + timedelta(hours=2), timedelta(0))
    assert (cache.size(), list(cache.list())) == (0, [])


def test_a_document_put_on_one_machine_is_used_on_another(s3_url: str, tmp_path: Path) -> None:
    data = os.urandom(12_000_000)
    put = DocumentCache(s3_url).put(document(tmp_path, data), document_id="from here")
    script = """
import hashlib, sys
from pathlib import Path
from docmill.documents.cache import DocumentCache
cache = DocumentCache(sys.argv[1], scratch=Path(sys.argv[2]))
with cache.open_local("from here") as path:
    print(hashlib.sha256(path.read_bytes()).hexdigest(), cache.get("from here").name)
cache.delete("from here")
"""
    other = subprocess.run(
        [sys.executable, "-c", script, s3_url, tmp_path / "other"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert other.stdout.split() == [put.sha256, "scan.tif"]
    assert list(DocumentCache(s3_url).list()) == []


def test_a_put_that_is_killed_leaves_a_whole_cache(url: str, tmp_path: Path) -> None:
    for _ in range(2 if "://" in url else 8):
        kill_after(random.uniform(0, 0.15), "put_always", url, tmp_path / "killed")
        cache = DocumentCache(url, scratch=tmp_path)
        for item in cache.list():
            with cache.open_local(item.document_id) as path:
                assert sha256(path.read_bytes()) == item.sha256
        mine = cache.put(document(tmp_path, os.urandom(1000)))
        assert cache.get(mine.document_id) == mine

    for item in list(cache.list()):
        cache.delete(item.document_id)
    # Leases of the killed are kept for an hour, so that what they lease is kept as well.
    cache.collect(datetime.now(UTC) + timedelta(hours=2), timedelta(0))
    leased = {item.key.split("/")[1] for item in cache._store.list("leases")}
    assert {item.key.split("/")[1] for item in cache._store.list("blobs")} <= leased


def test_a_publish_that_is_killed_shows_nothing_half(url: str, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "out.pdf").write_bytes(data)
    Path(tmp_path / "store").mkdir()
    for _ in range(2 if "://" in url else 8):
        folder = f"{url}/{uuid.uuid4().hex}"
        if "://" not in url:
            Path(folder).mkdir()
        kill_after(random.uniform(0, 0.15), "publish_always", tmp_path / "out.pdf", folder, "killed")

        whole = {
            name: content for name, content in contents(folder).items() if not name.startswith(".docmill-")
        }
        assert {sha256(content) for content in whole.values()} <= {sha256(data)}
        assert sorted(whole) == sorted(f"{i}.pdf" for i in range(len(whole)))
        # The same run goes on where it was: it finds what it had published, and publishes the rest.
        for i in range(len(whole) + 1):
            there = publish([tmp_path / "out.pdf"], f"{folder}/{i}.pdf", overwrite=False, run_id="killed")
            assert there.already_there or i == len(whole)
        sweep_stale(folder, lambda run_id: run_id != "killed")
        assert sorted(contents(folder)) == sorted(f"{i}.pdf" for i in range(len(whole) + 1))
        assert unfinished(folder) == 0


def test_pages_that_are_killed_are_all_there_or_taken_back(url: str, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    for i in range(8):
        (pages / f"scan-{i}.png").write_bytes(os.urandom(100_000))
    expected = {path.name: path.read_bytes() for path in pages.iterdir()}
    folder = f"{url}/pages"
    for _ in range(2 if "://" in url else 8):
        kill_after(random.uniform(0, 0.4), "publish_pages_always", pages, folder, "killed")

        seen = contents(folder)
        if "scan.manifest.json" in seen:
            assert {name: seen.get(name) for name in expected} == expected
        sweep_stale(folder, lambda run_id: False)
        seen = contents(folder)
        names = {name for name in seen if "/" not in name}
        assert names in (set(), {*expected, "scan.manifest.json"}), names
        assert set(seen) == names
        assert unfinished(folder) == 0

    result = publish(sorted(pages.iterdir()), f"{folder}/", overwrite=True, run_id="next")
    assert not result.already_there
    assert set(contents(folder)) == {*expected, "scan.manifest.json"}


@pytest.mark.parametrize("many", [False, True], ids=["file", "pages"])
def test_of_publishers_at_once_exactly_one_wins(url: str, tmp_path: Path, many: bool) -> None:
    Path(tmp_path / "store").mkdir()
    sources = []
    for i in range(4):
        folder = tmp_path / f"out-{i}"
        folder.mkdir()
        for page in range(3 if many else 1):
            (folder / f"scan-{page}.png").write_bytes(f"{i}".encode() * 1000)
        sources.append(folder if many else folder / "scan-0.png")
    racers = [start("publish_against_others", source, f"run-{i}") for i, source in enumerate(sources)]
    for attempt in range(3):
        target = f"{url}/{attempt}/" if many else f"{url}/{attempt}.png"
        for racer in racers:
            say(racer, target)
        assert [hear(racer) for racer in racers] == ["ready"] * 4
        for racer in racers:
            say(racer, "go")
        told = [hear(racer) for racer in racers]

        assert sorted(told) == ["lost", "lost", "lost", "won"]
        winner = str(told.index("won")).encode() * 1000
        if many:
            seen = contents(target.rstrip("/"))
            assert f"run-{told.index('won')}" in seen.pop("scan.manifest.json").decode()
            assert seen == {f"scan-{page}.png": winner for page in range(3)}
        else:
            assert contents(url)[f"{attempt}.png"] == winner
    for racer in racers:
        finish(racer)
    assert not [name for name in contents(url) if ".docmill-" in name]
    assert unfinished(url) == 0


def contents(folder: str) -> dict[str, bytes]:
    """All that is below `folder`, by name."""
    if "://" not in folder:
        found = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    bucket, prefix = split(parse_location(folder))
    s3 = S3(bucket)
    keys = [item.key for item in s3.list(prefix + "/")]
    return {key[len(prefix) + 1 :]: b"".join(s3.get(key)[1]) for key in keys}


def unfinished(folder: str) -> int:
    """The multipart uploads below `folder`."""
    if "://" not in folder:
        return 0
    bucket, prefix = split(parse_location(folder))
    return len(list(S3(bucket).uploads(prefix)))
