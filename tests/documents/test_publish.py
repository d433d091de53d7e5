"""What publishing promises, on local files and on S3."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import fsspec
import pytest

from docmill.documents.publish import publish, run_of, stage, sweep_stale, temporary_name
from docmill.documents.publish_folder import Staging
from docmill.errors import (
    DestinationExists,
    DestinationForbidden,
    DestinationUnavailable,
    InvalidJobData,
    MissingExtra,
)
from tests.documents.support import sha256
from tests.documents.test_races import contents, unfinished

ROOT = Path(__file__).parents[2]
DATA = os.urandom(100_000)


@pytest.fixture(params=["local", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return str(request.getfixturevalue("s3_url"))
    (tmp_path / "store").mkdir()
    return str(tmp_path / "store")


def output(tmp_path: Path, data: bytes = DATA, name: str = "out.pdf") -> Path:
    (tmp_path / "scratch").mkdir(exist_ok=True)
    path = tmp_path / "scratch" / name
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path


def pages(tmp_path: Path, count: int = 3, mark: str = "page") -> list[Path]:
    return [output(tmp_path, f"{mark} {i}".encode(), f"scan-{i}.png") for i in range(count)]


def test_a_file_is_published_whole(url: str, tmp_path: Path) -> None:
    target = f"{url}/a b.pdf"

    result = publish([output(tmp_path)], target, overwrite=False, run_id="run-1")

    assert contents(url) == {"a b.pdf": DATA}
    assert (result.size, result.sha256, result.already_there) == (len(DATA), sha256(DATA), False)
    assert result.uri == (target if "://" in url else Path(target).as_uri())
    assert result.files == (result.uri,)


@pytest.mark.parametrize("size", [0, 1, 9_000_000])
def test_files_of_any_size_are_published(url: str, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)

    publish([output(tmp_path, data)], f"{url}/x.pdf", overwrite=False, run_id="run-1")

    assert contents(url) == {"x.pdf": data}
    assert unfinished(url) == 0


@pytest.mark.parametrize("size", [10, 9_000_000])
def test_nothing_shows_before_the_commit_and_a_discard_leaves_no_trace(
    url: str, tmp_path: Path, size: int
) -> None:
    staged = stage([output(tmp_path, bytes(size))], f"{url}/x.pdf", overwrite=False, run_id="run-1")
    assert "x.pdf" not in contents(url)
    assert all(run_of(name) == "run-1" for name in contents(url))

    staged.discard()

    assert contents(url) == {}
    assert unfinished(url) == 0


@pytest.mark.parametrize("size", [10, 9_000_000])
@pytest.mark.parametrize("published", [False, True], ids=["killed while it staged", "killed twice"])
def test_a_rerun_takes_back_what_its_killed_attempt_had_staged(
    url: str, tmp_path: Path, size: int, published: bool
) -> None:
    """A hidden file stayed beside the target where a worker was killed between staging and committing."""
    target, data = f"{url}/x.pdf", bytes(size)
    stage([output(tmp_path, data)], target, overwrite=False, run_id="run-1")
    other = stage([output(tmp_path, name="y.pdf")], f"{url}/y.pdf", overwrite=False, run_id="run-2")
    if published:
        publish([output(tmp_path, data)], target, overwrite=False, run_id="run-1")

    stage([output(tmp_path, data)], target, overwrite=False, run_id="run-1", rerun=True).commit()
    other.commit()

    assert contents(url) == {"x.pdf": data, "y.pdf": DATA}
    assert unfinished(url) == 0


def test_what_is_not_committed_is_discarded_with_its_context(url: str, tmp_path: Path) -> None:
    with pytest.raises(KeyError), stage(pages(tmp_path), f"{url}/", overwrite=False, run_id="run-1"):
        raise KeyError

    assert contents(url) == {}
    assert unfinished(url) == 0


def test_what_exists_is_refused_unless_overwritten(url: str, tmp_path: Path) -> None:
    target = f"{url}/x.pdf"
    publish([output(tmp_path, b"old")], target, overwrite=False, run_id="run-1")

    with pytest.raises(DestinationExists, match="exists already"):
        publish([output(tmp_path)], target, overwrite=False, run_id="run-2")
    assert contents(url) == {"x.pdf": b"old"}

    publish([output(tmp_path)], target, overwrite=True, run_id="run-2")
    assert contents(url) == {"x.pdf": DATA}


@pytest.mark.parametrize("size", [10, 9_000_000])
def test_what_comes_between_stage_and_commit_is_not_replaced(url: str, tmp_path: Path, size: int) -> None:
    mine = stage([output(tmp_path, bytes(size))], f"{url}/x.pdf", overwrite=False, run_id="run-1")
    publish([output(tmp_path, b"theirs")], f"{url}/x.pdf", overwrite=False, run_id="run-2")

    with pytest.raises(DestinationExists):
        mine.commit()

    assert contents(url) == {"x.pdf": b"theirs"}
    assert unfinished(url) == 0


def test_a_rerun_finds_its_own_output_whatever_its_bytes(url: str, tmp_path: Path) -> None:
    first = publish([output(tmp_path)], f"{url}/x.pdf", overwrite=False, run_id="run-1")
    again = publish([output(tmp_path, b"another date")], f"{url}/x.pdf", overwrite=False, run_id="run-1")

    assert again.already_there
    assert (again.sha256, again.size, again.uri) == (first.sha256, first.size, first.uri)
    assert contents(url) == {"x.pdf": DATA}


def test_many_files_go_into_a_folder_with_a_manifest(url: str, tmp_path: Path) -> None:
    result = publish(pages(tmp_path), f"{url}/out/", overwrite=False, run_id="run-1")

    seen = contents(f"{url}/out")
    manifest = json.loads(seen.pop("scan.manifest.json"))
    assert seen == {f"scan-{i}.png": f"page {i}".encode() for i in range(3)}
    assert manifest["run_id"] == "run-1"
    assert [(file["name"], file["sha256"]) for file in manifest["files"]] == [
        (name, sha256(data)) for name, data in seen.items()
    ]
    assert len(result.files) == 3
    assert result.uri.endswith("/out/") and result.manifest == result.uri + "scan.manifest.json"
    again = publish(pages(tmp_path), f"{url}/out/", overwrite=False, run_id="run-1")
    assert again.already_there and again.files == result.files


def test_of_many_files_one_in_the_way_leaves_all_as_it_was(url: str, tmp_path: Path) -> None:
    staged = stage(pages(tmp_path), f"{url}/", overwrite=False, run_id="run-1")
    publish([output(tmp_path, b"theirs")], f"{url}/scan-2.png", overwrite=False, run_id="run-2")

    with pytest.raises(DestinationExists):
        staged.commit()
    assert contents(url) == {"scan-2.png": b"theirs"}

    with pytest.raises(DestinationExists, match=r"scan-2\.png"):
        stage(pages(tmp_path), f"{url}/", overwrite=False, run_id="run-1")
    assert contents(url) == {"scan-2.png": b"theirs"}
    assert unfinished(url) == 0


def test_overwriting_many_files_leaves_none_of_the_old_ones(url: str, tmp_path: Path) -> None:
    publish(pages(tmp_path, 5, "old"), f"{url}/", overwrite=False, run_id="run-1")
    publish([output(tmp_path, b"not ours", "other.png")], f"{url}/other.png", overwrite=False, run_id="x")

    publish(pages(tmp_path, 2, "new"), f"{url}/", overwrite=True, run_id="run-2")

    seen = contents(url)
    assert json.loads(seen.pop("scan.manifest.json"))["run_id"] == "run-2"
    assert seen == {"scan-0.png": b"new 0", "scan-1.png": b"new 1", "other.png": b"not ours"}


def test_two_documents_share_a_folder(url: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        publish(
            [output(tmp_path, name.encode(), f"{name}-{i}.png") for i in range(2)],
            f"{url}/",
            overwrite=False,
            run_id="run-1",
            document_name=name,
        )

    assert {"a.manifest.json", "b.manifest.json"} <= contents(url).keys()


def test_a_name_that_ends_in_a_slash_is_a_folder(url: str, tmp_path: Path) -> None:
    publish([output(tmp_path)], f"{url}/new/folder/", overwrite=False, run_id="run-1")

    assert contents(url) == {"new/folder/out.pdf": DATA}


def test_a_manifest_that_leads_elsewhere_is_not_followed(url: str, tmp_path: Path) -> None:
    publish([output(tmp_path, b"precious")], f"{url}/precious", overwrite=False, run_id="x")
    evil = {"run_id": "x", "files": [{"name": "../precious", "size": 8, "sha256": sha256(b"precious")}]}
    publish(
        [output(tmp_path, json.dumps(evil).encode(), "scan.manifest.json")],
        f"{url}/out/",
        overwrite=False,
        run_id="x",
    )

    publish(pages(tmp_path), f"{url}/out/", overwrite=True, run_id="run-1")

    assert contents(url)["precious"] == b"precious"


def test_what_dead_runs_left_is_swept_and_what_live_ones_stage_is_not(url: str, tmp_path: Path) -> None:
    live = stage([output(tmp_path, bytes(9_000_000))], f"{url}/x.pdf", overwrite=False, run_id="live")

    assert sweep_stale(url, lambda run_id: run_id == "live") == 0

    live.commit()
    assert contents(url) == {"x.pdf": bytes(9_000_000)}


def test_what_was_published_stays_where_only_its_tidying_up_was_killed(tmp_path: Path) -> None:
    publish(pages(tmp_path, mark="old"), f"{tmp_path}/out/", overwrite=False, run_id="run-1")
    files = pages(tmp_path, mark="new")
    child = os.fork()
    if child == 0:
        Staging.remove = lambda self: os._exit(0)  # type: ignore[method-assign]
        publish(files, f"{tmp_path}/out/", overwrite=True, run_id="run-2")
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0

    assert sweep_stale(f"{tmp_path}/out/", lambda run_id: False) == 1

    for i in range(3):
        assert (tmp_path / "out" / f"scan-{i}.png").read_text() == f"new {i}"
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"scan.manifest.json"}


@pytest.mark.parametrize("run_id", ["a", "a-b", "0190-abcd-ef", "x.y_z"])
def test_temporary_names_tell_their_run(run_id: str) -> None:
    assert run_of(temporary_name(run_id)) == run_id
    assert run_of("out.pdf") is run_of(".docmill-x") is None


# Local files


def test_a_published_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    private = output(tmp_path)
    private.chmod(0o600)
    before = os.umask(0o027)
    try:
        publish([private], str(tmp_path / "x.pdf"), overwrite=False, run_id="run-1")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "x.pdf").stat().st_mode) == 0o640


def test_a_replaced_file_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "x.pdf").write_bytes(b"old")
    (tmp_path / "x.pdf").chmod(0o604)

    publish([output(tmp_path)], str(tmp_path / "x.pdf"), overwrite=True, run_id="run-1")

    assert stat.S_IMODE((tmp_path / "x.pdf").stat().st_mode) == 0o604


def test_a_folder_that_gives_its_group_gives_it_here_too(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)
    scratch = output(tmp_path)

    publish([scratch], str(tmp_path / "shared" / "x.pdf"), overwrite=False, run_id="run-1")

    assert not (tmp_path / "shared" / "x.pdf").samefile(scratch)


def test_the_output_stays_in_scratch(tmp_path: Path) -> None:
    out = output(tmp_path)
    publish([out], str(tmp_path / "x.pdf"), overwrite=False, run_id="run-1")

    assert out.read_bytes() == DATA


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.pdf").symlink_to("real/x.pdf")

    publish([output(tmp_path)], str(tmp_path / "link.pdf"), overwrite=False, run_id="run-1")

    assert (tmp_path / "link.pdf").is_symlink()
    assert (tmp_path / "real" / "x.pdf").read_bytes() == DATA


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("folder", "is a folder"),
        ("missing/x.pdf", "no folder"),
        ("file/x.pdf", "no folder"),
        ("pipe", "device or a pipe"),
        ("loop", "circle"),
        ("x" * 300, "too long"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(tmp_path: Path, target: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    out = output(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises((DestinationForbidden, InvalidJobData), match=words) as caught:
        publish([out], str(tmp_path / target), overwrite=True, run_id="run-1")

    assert caught.value.hint and "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_many_files_need_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DestinationForbidden, match="no folder"):
        publish(pages(tmp_path), str(tmp_path / "file"), overwrite=True, run_id="run-1")


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    stage(pages(tmp_path), str(tmp_path / "a" / "b/"), overwrite=False, run_id="run-1").discard()

    assert not (tmp_path / "a").exists()


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    told = _in_small_file_system(
        tmp_path,
        "-o size=1m",
        """
(folder / "old.pdf").write_bytes(b"old")
second = out.with_name("second.pdf")
second.write_bytes(b"second")
for target, outputs in (("x.pdf", [out]), ("old.pdf", [out]), ("pages/", [second, out])):
    try:
        publish(outputs, f"{folder}/{target}", overwrite=True, run_id="run-1")
    except Exception as exc:
        print(type(exc).__name__, exc.message)
print(sorted(path.name for path in folder.rglob("*")), (folder / "old.pdf").read_bytes())
""",
    )

    lines = told.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["DestinationFull"] * 3
    assert all("no space is left" in line for line in lines[:3])
    assert lines[3] == "['old.pdf'] b'old'"


def test_a_read_only_disk_is_told(tmp_path: Path) -> None:
    told = _in_small_file_system(
        tmp_path,
        "-o ro",
        """
try:
    publish([out], f"{folder}/x.pdf", overwrite=False, run_id="run-1")
except Exception as exc:
    print(type(exc).__name__, exc.message)
""",
    )

    assert told.startswith("DestinationForbidden")
    assert "read-only" in told


def _in_small_file_system(tmp_path: Path, options: str, script: str) -> str:
    """Run `script` where `folder` is a file system of its own, in a mount namespace of its own."""
    out = output(tmp_path, bytes(3_000_000))
    (tmp_path / "small").mkdir()
    head = f"""
from pathlib import Path
from docmill.documents.publish import publish
folder, out = Path({str(tmp_path / "small")!r}), Path({str(out)!r})
"""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = f"mount -t tmpfs {options} none '{tmp_path / 'small'}' && exec \"$@\""
    told = subprocess.run(
        ["unshare", "--mount", *user, "sh", "-c", mount, "sh", sys.executable, "-c", head + script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


# Other stores


def test_memory_takes_an_output(tmp_path: Path) -> None:
    folder = uuid.uuid4().hex
    target = f"memory://{folder}/x.pdf"

    result = publish([output(tmp_path)], target, overwrite=False, run_id="run-1")

    assert fsspec.filesystem("memory").cat_file(f"/{folder}/x.pdf") == DATA
    assert result.uri == target
    assert publish([output(tmp_path)], target, overwrite=False, run_id="run-1").already_there
    with pytest.raises(DestinationExists):
        publish([output(tmp_path, b"other")], target, overwrite=False, run_id="run-1")


def test_a_store_that_cannot_publish_at_once_is_refused_unless_allowed(tmp_path: Path) -> None:
    with pytest.raises(InvalidJobData, match="DOCMILL_ALLOW_NON_ATOMIC_PUBLISH"):
        publish([output(tmp_path)], "gs://bucket/x.pdf", overwrite=False, run_id="run-1")
    with pytest.raises(MissingExtra):
        publish(
            [output(tmp_path)], "gs://bucket/x.pdf", overwrite=False, run_id="run-1", allow_non_atomic=True
        )
    with pytest.raises(InvalidJobData, match="nothing can be published"):
        publish([output(tmp_path)], "https://host/x.pdf", overwrite=False, run_id="run-1")


def test_a_secret_in_the_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidJobData) as caught:
        publish([output(tmp_path)], "s3://key:hunter2@bucket/x.pdf", overwrite=False, run_id="run-1")

    assert "hunter2" not in str(caught.value)


def test_a_bucket_or_store_that_is_not_there_is_told(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DestinationForbidden, match="no such bucket"):
        publish([output(tmp_path)], "s3://no-such-bucket/x.pdf", overwrite=False, run_id="run-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(DestinationUnavailable, match="cannot be reached"):
        publish([output(tmp_path)], f"{s3_url}/x.pdf", overwrite=False, run_id="run-1")
