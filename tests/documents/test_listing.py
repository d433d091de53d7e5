"""Finding many sources by folders and patterns, and where their outputs go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath

import pytest

from docmill.documents.listing import FoundSource, find_sources, modified, output_paths
from docmill.errors import InvalidJobData, SourceNotFound


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return _filled(tmp_path / "in")


def _filled(inbox: Path) -> Path:
    for name in ("a.tif", "b.png", ".hidden.tif", "sub/c.tif", "sub/deep/d.tif", ".git/e.tif"):
        path = inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return inbox


@pytest.mark.parametrize(
    ("pattern", "relative"),
    [
        ("", ["a.tif", "b.png"]),
        ("/", ["a.tif", "b.png"]),
        ("/*.tif", ["a.tif"]),
        ("/**/*.tif", ["a.tif", "sub/c.tif", "sub/deep/d.tif"]),
        ("/**", ["a.tif", "b.png", "sub/c.tif", "sub/deep/d.tif"]),
        ("/*", ["a.tif", "b.png"]),
        ("/*/*", ["sub/c.tif"]),
        ("/s*/c.tif", ["sub/c.tif"]),
        ("/sub/c.tif", ["c.tif"]),
        ("/none.tif", ["none.tif"]),
        ("/*.gif", []),
    ],
)
def test_folders_and_patterns(inbox: Path, pattern: str, relative: list[str]) -> None:
    found = find_sources([f"{inbox}{pattern}"])
    assert [str(source.relative) for source in found] == relative
    assert all(Path(source.uri).name == source.relative.name for source in found)


def test_each_source_once(inbox: Path) -> None:
    assert len(find_sources([f"{inbox}/a.tif", f"{inbox}/*.tif", str(inbox)])) == 2


@pytest.mark.parametrize(
    ("pattern", "found", "lost"),
    [
        ("/**/*.tif", ["a.tif"], ["seen", "sub"]),
        ("/*/*.tif", [], ["seen", "sub"]),
        ("/s*/deep/*.tif", [], ["seen", "sub"]),
        ("/*", ["a.tif", "b.png"], []),
        ("", ["a.tif", "b.png"], []),
    ],
)
def test_a_folder_that_cannot_be_searched_is_told(pattern: str, found: list[str], lost: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are for their owner only
        Path(folder).chmod(0o755)
        inbox = _filled(Path(folder) / "in")
        (inbox / "seen").mkdir()
        (inbox / "seen" / "f.tif").touch()
        for name, mode in ((".git", 0), ("sub", 0), ("seen", 0o444)):
            (inbox / name).chmod(mode)
        sources = _searched_as_nobody(f"{inbox}{pattern}")
        for name in (".git", "sub", "seen"):
            (inbox / name).chmod(0o700)
    assert sorted({name.partition("/")[0] for name, failure in sources if failure}) == lost
    assert [name for name, failure in sources if not failure] == found
    assert all("permission denied" in failure for _, failure in sources if failure)


def _searched_as_nobody(pattern: str) -> list[tuple[str, str]]:
    """What `find_sources` finds for who may not read everything, as root may."""
    script = """
import json, os, sys
from docmill.documents.listing import find_sources
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
sources = find_sources([sys.argv[1]])
print(json.dumps([(str(source.relative), str(source.failure or "")) for source in sources]))
"""
    command = [sys.executable, "-c", script, pattern]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def test_a_file_whose_name_looks_like_a_pattern(inbox: Path) -> None:
    (inbox / "x[1].tif").write_bytes(b"x")
    assert [source.uri for source in find_sources([f"{inbox}/x[1].tif"])] == [f"{inbox}/x[1].tif"]


def test_a_pattern_that_is_none(inbox: Path) -> None:
    with pytest.raises(InvalidJobData, match="no pattern"):
        find_sources([f"{inbox}/a**b/*.tif"])


def test_in_a_store(s3_url: str) -> None:
    import s3fs

    files = s3fs.S3FileSystem(endpoint_url=os.environ.get("AWS_ENDPOINT_URL"))
    for name in ("a.tif", "b.png", "sub/c.tif"):
        files.pipe(f"{s3_url}/{name}", b"x")
    found = find_sources([f"{s3_url}/**/*.tif"])
    assert {str(source.relative) for source in found} == {"a.tif", "sub/c.tif"}
    assert all(source.uri.startswith(s3_url) and source.modified for source in found)
    assert [str(source.relative) for source in find_sources([f"{s3_url}/"])] == ["a.tif", "b.png"]
    assert modified(f"{s3_url}/a.tif") is not None
    assert modified(f"{s3_url}/none.tif") is None


def test_a_pattern_in_a_store_of_fsspecs() -> None:
    import fsspec

    for name in ("in/a.tif", "in/sub/c.tif", "in/b.png"):
        fsspec.filesystem("memory").pipe(f"/listing/{name}", b"x")
    found = find_sources(["memory://listing/in/**/*.tif"])
    assert [str(source.relative) for source in found] == ["a.tif", "sub/c.tif"]
    assert [source.uri for source in found] == [
        "memory:///listing/in/a.tif",
        "memory:///listing/in/sub/c.tif",
    ]


def test_a_store_that_nobody_knows() -> None:
    with pytest.raises(SourceNotFound, match="no store is known by this scheme"):
        find_sources(["nosuch://bucket/*.tif"])


def test_outputs_lie_as_their_sources_and_never_collide() -> None:
    sources = [FoundSource(name, PurePosixPath(name)) for name in ("a.tif", "a.png", "sub/a.tif", "b.tif")]
    assert list(map(str, output_paths(sources, "pdf"))) == ["a.tif.pdf", "a.png.pdf", "sub/a.pdf", "b.pdf"]
