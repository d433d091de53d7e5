"""What loading promises of local files, S3 and the other stores of fsspec."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from docmill.documents.load import load_document
from docmill.documents.model import LoadedDocument, LoadLimits
from docmill.documents.secrets import SecretResolver
from docmill.errors import (
    CorruptDocument,
    DestinationFull,
    InvalidJobData,
    LimitExceeded,
    MissingExtra,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
)
from docmill.facts import DocumentFacts
from tests.documents.support import FACTS, load, sha256
from tests.servers import HttpServer, S3Server

ROOT = Path(__file__).parents[2]


DATA = os.urandom(3_000_000)


# Local files


def test_a_local_file_is_used_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "my scan.tif").write_bytes(DATA)

    doc = load(tmp_path / "my scan.tif", tmp_path / "scratch")

    assert doc.path == tmp_path / "my scan.tif"
    assert (doc.name, doc.size, doc.sha256, doc.facts) == ("my scan.tif", len(DATA), sha256(DATA), FACTS)
    assert doc.uri == (tmp_path / "my scan.tif").as_uri()
    assert not (tmp_path / "scratch").exists()


def test_a_relative_path_and_a_file_uri_name_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b.tif").write_bytes(DATA)
    monkeypatch.chdir(tmp_path)

    relative = load("a b.tif", tmp_path / "scratch")

    assert relative == load((tmp_path / "a b.tif").as_uri(), tmp_path / "scratch")
    assert relative.path.is_absolute()


def test_a_file_that_changes_after_it_was_loaded_is_told(tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    changes: list[Callable[[], object]] = [
        lambda: scan.write_bytes(b"other"),
        lambda: scan.write_bytes(DATA[::-1]),
        lambda: (scan.unlink(), scan.write_bytes(DATA)),
        lambda: scan.unlink(),
    ]
    for change in changes:
        scan.write_bytes(DATA)
        doc = load(scan, tmp_path / "scratch")
        doc.check_unchanged()
        time.sleep(0.02)  # a file system's clock may tick in steps of 4 to 10 ms
        change()
        with pytest.raises(SourceUnavailable, match="changed while"):
            doc.check_unchanged()


def test_a_file_that_grows_while_it_is_probed_is_told(tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    scan.write_bytes(DATA)

    def probe(path: Path, name: str) -> DocumentFacts:
        time.sleep(0.02)
        with path.open("ab") as file:
            file.write(b"more")
        return FACTS

    with pytest.raises(SourceUnavailable, match="changed while"):
        load_with(probe, scan, tmp_path)


def test_the_source_is_not_touched(tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    scan.write_bytes(DATA)
    scan.chmod(0o400)
    before = scan.stat()

    load(scan, tmp_path / "scratch")

    after = scan.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns, before.st_mode) == (
        after.st_mtime_ns,
        after.st_ctime_ns,
        after.st_mode,
    )
    assert stat.S_IMODE(after.st_mode) == 0o400


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.tif", "does not exist"),
        ("missing/scan.tif", "does not exist"),
        ("folder", "is a folder"),
        ("file/scan.tif", "no folder"),
        ("loop", "circle"),
        ("x" * 300, "too long"),
    ],
)
def test_what_is_no_file_is_not_found(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(SourceNotFound, match=words) as caught:
        load(tmp_path / name, tmp_path / "scratch")

    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_forbidden(tmp_path: Path) -> None:
    # Root may read anything, so this is tried as somebody else, who may not import from everywhere.
    script = """
import os, sys
from pathlib import Path
from tests.documents.support import load
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
try:
    load(sys.argv[1], Path(sys.argv[2]))
except Exception as exc:
    print(type(exc).__name__, exc)
"""
    scan = tmp_path / "scan.tif"
    scan.touch()
    scan.chmod(0)

    told = subprocess.run(
        [sys.executable, "-c", script, scan, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert told.stdout.startswith(f"SourceForbidden cannot read '{scan}': permission denied"), told


def test_the_limit_holds_for_local_files(tmp_path: Path) -> None:
    (tmp_path / "scan.tif").write_bytes(DATA)

    assert load(tmp_path / "scan.tif", tmp_path / "scratch", max_bytes=len(DATA)).size == len(DATA)
    with pytest.raises(LimitExceeded, match="DOCMILL_MAX_SOURCE_BYTES") as caught:
        load(tmp_path / "scan.tif", tmp_path / "scratch", max_bytes=len(DATA) - 1)

    assert caught.value.setting == "DOCMILL_MAX_SOURCE_BYTES"
    assert caught.value.limit == "source bytes"


def test_a_pipe_is_copied(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(DATA,))
    writer.start()

    doc = load(pipe, tmp_path / "scratch")

    writer.join()
    assert doc.path == tmp_path / "scratch" / "source"
    assert doc.path.read_bytes() == DATA
    assert doc.sha256 == sha256(DATA)


def test_an_endless_device_meets_the_limit(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded):
        load("/dev/zero", tmp_path / "scratch", max_bytes=5_000_000)

    assert list((tmp_path / "scratch").iterdir()) == []


def test_scratch_that_is_full_is_told_as_such(tmp_path: Path) -> None:
    # /dev/full takes no byte, as a disk without space.
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "source.part").symlink_to("/dev/full")

    with pytest.raises(DestinationFull, match="no space is left"):
        load("/dev/zero", tmp_path / "scratch", max_bytes=5_000_000)


def test_what_the_probe_raises_is_passed_on_and_nothing_goes_on_reading(tmp_path: Path) -> None:
    (tmp_path / "scan.tif").write_bytes(DATA)

    def probe(path: Path, name: str) -> DocumentFacts:
        raise CorruptDocument("broken")

    with pytest.raises(CorruptDocument):
        load_with(probe, tmp_path / "scan.tif", tmp_path)

    assert not [thread for thread in threading.enumerate() if thread.name == "docmill-hash"]


def test_progress_tells_the_bytes_and_may_end_the_load(tmp_path: Path, http_server: HttpServer) -> None:
    (tmp_path / "scan.tif").write_bytes(DATA)
    for uri in (str(tmp_path / "scan.tif"), http_server.serve("/scan.tif", DATA)):
        seen: list[tuple[int, int | None]] = []

        load(uri, tmp_path / "scratch", progress=lambda done, total, seen=seen: seen.append((done, total)))

        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert seen[-1] == (len(DATA), len(DATA))

        def abort(done: int, total: int | None) -> None:
            raise InvalidJobData("enough")

        with pytest.raises(InvalidJobData, match="enough"):
            load(uri, tmp_path / "other", progress=abort)
        assert not list((tmp_path / "other").glob("*"))


def test_local_files_need_no_fsspec(tmp_path: Path) -> None:
    (tmp_path / "scan.tif").write_bytes(DATA)
    script = f"""
import sys
from pathlib import Path
from tests.documents.support import load
from docmill.documents.cache import DocumentCache
from docmill.documents.publish import publish
folder = Path({str(tmp_path)!r})
doc = load(folder / "scan.tif", folder / "scratch")
cache = DocumentCache(str(folder / "cache"))
with cache.open_local(cache.put(doc).document_id) as path: path.read_bytes()
publish([folder / "scan.tif"], str(folder / "out.tif"), overwrite=False, run_id="run")
heavy = {{"fsspec", "s3fs", "asyncio", "aiohttp", "pydantic", "numpy", "prefect"}}
print(sorted(heavy & set(sys.modules)))
"""
    told = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.strip() == "[]"


# S3 and other stores


def test_a_document_comes_from_s3(tmp_path: Path, s3_url: str) -> None:
    fsspec.filesystem("s3", skip_instance_cache=True).pipe_file(f"{s3_url}/my scan #1.tif", DATA)

    doc = load(f"{s3_url}/my scan #1.tif", tmp_path)

    assert (doc.name, doc.uri) == ("my scan #1.tif", f"{s3_url}/my scan #1.tif")
    assert (doc.size, doc.sha256) == (len(DATA), sha256(DATA))
    with pytest.raises(LimitExceeded):
        load(f"{s3_url}/my scan #1.tif", tmp_path, max_bytes=len(DATA) - 1)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://{bucket}/missing.tif", "does not exist"),
        ("s3://no-such-bucket/scan.tif", "no such bucket"),
        ("s3://{bucket}", "a folder"),
        ("s3://{bucket}/folder/", "a folder"),
        ("nope://x/scan.tif", "scheme"),
    ],
)
def test_what_is_not_in_a_store_is_not_found(
    tmp_path: Path, s3_url: str, s3_server: S3Server, uri: str, words: str
) -> None:
    with pytest.raises(SourceNotFound, match=words):
        load(uri.format(bucket=s3_server.BUCKET), tmp_path)


@pytest.mark.parametrize("wrong", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "wrong"}])
def test_wrong_credentials_are_forbidden(
    tmp_path: Path, s3_url: str, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SourceForbidden, match="AWS_ACCESS_KEY_ID"):
        load(f"{s3_url}/scan.tif", tmp_path)


def test_no_credentials_at_all_are_forbidden(
    tmp_path: Path, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")

    with pytest.raises(SourceForbidden, match="credentials"):
        load(f"{s3_url}/scan.tif", tmp_path)


def test_the_settings_of_fsspec_win(tmp_path: Path, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("s3", skip_instance_cache=True).pipe_file(f"{s3_url}/scan.tif", DATA)
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("FSSPEC_S3_KEY", os.environ["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("FSSPEC_S3_SECRET", os.environ["AWS_SECRET_ACCESS_KEY"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")

    assert load(f"{s3_url}/scan.tif", tmp_path).sha256 == sha256(DATA)


def test_an_s3_store_that_is_not_there_is_unavailable(
    tmp_path: Path, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        load(f"{s3_url}/scan.tif", tmp_path)


def test_a_store_whose_package_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match="gcsfs"):
        load("gs://bucket/scan.tif", tmp_path)


def test_a_document_comes_from_any_store_of_fsspec(tmp_path: Path) -> None:
    folder = uuid.uuid4().hex
    fsspec.filesystem("memory").pipe_file(f"/{folder}/scan.tif", DATA)

    doc = load(f"memory://{folder}/scan.tif", tmp_path)

    assert (doc.name, doc.sha256) == ("scan.tif", sha256(DATA))
    with pytest.raises(SourceNotFound):
        load(f"memory://{folder}/missing.tif", tmp_path)
    with pytest.raises(SourceNotFound, match="a folder"):
        load(f"memory://{folder}", tmp_path)


def test_a_store_that_names_a_smaller_size_does_not_get_around_the_limit(tmp_path: Path) -> None:
    fsspec.register_implementation("liar", "tests.documents.liar.LiarFileSystem", clobber=True)
    fsspec.filesystem("memory").pipe_file("/liar/scan.tif", DATA)

    with pytest.raises(LimitExceeded):
        load("liar://liar/scan.tif", tmp_path, max_bytes=1_000_000)
    with pytest.raises(SourceUnavailable, match="ended after"):
        load("liar://liar/scan.tif?larger", tmp_path, max_bytes=100_000_000)


def test_a_load_again_replaces_what_the_first_try_left(tmp_path: Path, http_server: HttpServer) -> None:
    first = load(http_server.serve("/a.tif", b"first"), tmp_path)
    again = load(http_server.serve("/a.tif", DATA), tmp_path)

    assert first.path == again.path
    assert again.path.read_bytes() == DATA


def load_with(probe: Callable[[Path, str], DocumentFacts], source: Path, tmp_path: Path) -> LoadedDocument:
    return load_document(
        str(source),
        into=tmp_path / "scratch",
        limits=LoadLimits(1 << 30),
        secrets=SecretResolver(),
        probe=probe,
    )
