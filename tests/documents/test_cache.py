"""What the document cache promises, on every kind of store."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docmill.documents.cache import DocumentCache
from docmill.documents.cache_leases import condemn, retire
from docmill.documents.cache_records import meta_key, read_record, write_record
from docmill.documents.load import describe_file
from docmill.documents.model import CachedDocument
from docmill.documents.stores import open_store
from docmill.errors import (
    DestinationExists,
    DestinationForbidden,
    DestinationUnavailable,
    InvalidJobData,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
)
from docmill.facts import DocumentFacts, PageFacts
from tests.documents.support import FACTS, PAGE, document, sha256

DATA = os.urandom(200_000)
LATER = datetime.now(UTC) + timedelta(days=30)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["local", "s3", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return str(request.getfixturevalue("s3_url"))
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/cache"
    return str(tmp_path / "cache")


@pytest.fixture
def cache(url: str, tmp_path: Path) -> DocumentCache:
    return DocumentCache(url, scratch=tmp_path / "cache-scratch")


def test_a_document_comes_back_as_it_was_put(cache: DocumentCache, url: str, tmp_path: Path) -> None:
    doc = document(tmp_path, DATA)

    put = cache.put(doc, expires=LATER)

    assert DocumentCache(url).get(put.document_id) == put
    assert (put.name, put.uri, put.size, put.sha256, put.facts) == (
        "scan.tif",
        doc.uri,
        len(DATA),
        sha256(DATA),
        FACTS,
    )
    assert put.expires == LATER
    assert len(put.document_id) == 32 and set(put.document_id) <= set("0123456789abcdef")
    with cache.open_local(put.document_id) as path:
        assert path.read_bytes() == DATA
    assert not path.exists()
    assert list(cache.list()) == [put]


def test_a_large_document_goes_in_parts(cache: DocumentCache, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 17 + b"the end"

    put = cache.put(document(tmp_path, data))

    assert cache.size() == len(data)
    with cache.open_local(put.document_id) as path:
        assert path.read_bytes() == data


def test_an_empty_document_is_a_document(cache: DocumentCache, tmp_path: Path) -> None:
    put = cache.put(document(tmp_path, b""))

    with cache.open_local(put.document_id) as path:
        assert path.read_bytes() == b""


def test_the_same_content_is_kept_once(cache: DocumentCache, tmp_path: Path) -> None:
    ids = {cache.put(document(tmp_path, DATA, name)).document_id for name in ("a.tif", "b.tif", "c.tif")}

    assert len(ids) == 3
    assert cache.size() == len(DATA)
    assert {item.name for item in cache.list()} == {"a.tif", "b.tif", "c.tif"}


@pytest.mark.parametrize(
    "document_id", ["a", "../../etc/passwd", "/", ".", "Scan 7 / März 2026 \U0001f4c4", "A" * 256, "é" * 256]
)
def test_the_caller_may_choose_the_id(cache: DocumentCache, tmp_path: Path, document_id: str) -> None:
    put = cache.put(document(tmp_path, DATA), document_id=document_id)

    assert put.document_id == document_id
    assert cache.get(document_id) == put
    assert [item.document_id for item in cache.list()] == [document_id]
    assert cache.delete(document_id)
    assert list(cache.list()) == []


def test_ids_differ_in_case(cache: DocumentCache, tmp_path: Path) -> None:
    cache.put(document(tmp_path, b"lower"), document_id="abc")
    cache.put(document(tmp_path, b"upper"), document_id="ABC")

    assert cache.get("abc").sha256 != cache.get("ABC").sha256


@pytest.mark.parametrize("document_id", ["", "a\0b", "x" * 257])
def test_what_is_no_id_is_refused(cache: DocumentCache, tmp_path: Path, document_id: str) -> None:
    doc = document(tmp_path, DATA)
    for use in (
        lambda: cache.put(doc, document_id=document_id),
        lambda: cache.get(document_id),
        lambda: cache.delete(document_id),
    ):
        with pytest.raises(InvalidJobData):
            use()


def test_the_same_id_with_the_same_content_is_the_same_document(cache: DocumentCache, tmp_path: Path) -> None:
    first = cache.put(document(tmp_path, DATA), document_id="x", expires=LATER)
    again = cache.put(document(tmp_path, DATA, "again.tif"), document_id="x", expires=LATER + HOUR)

    assert (again.name, again.created) == (first.name, first.created)
    assert cache.get("x").expires == LATER + HOUR


def test_the_same_id_with_other_content_is_refused_unless_overwritten(
    cache: DocumentCache, tmp_path: Path
) -> None:
    cache.put(document(tmp_path, DATA), document_id="x")
    other = document(tmp_path, b"other")

    with pytest.raises(DestinationExists, match="'x' is in use"):
        cache.put(other, document_id="x")
    assert cache.get("x").sha256 == sha256(DATA)

    cache.put(other, document_id="x", overwrite=True)
    assert cache.get("x").sha256 == sha256(b"other")


def test_a_rerun_finds_its_own_document_whatever_its_bytes(cache: DocumentCache, tmp_path: Path) -> None:
    first = cache.put(document(tmp_path, DATA), document_id="x", run_id="run-1")
    again = cache.put(document(tmp_path, b"with another date in it"), document_id="x", run_id="run-1")

    assert (again.sha256, again.run_id) == (first.sha256, "run-1")
    with pytest.raises(DestinationExists):
        cache.put(document(tmp_path, b"other"), document_id="x", run_id="run-2")


def test_what_was_never_put_is_not_found(cache: DocumentCache) -> None:
    with pytest.raises(SourceNotFound, match="no document 'nothing'"):
        cache.get("nothing")
    with pytest.raises(SourceNotFound), cache.open_local("nothing"):
        pass
    assert cache.delete("nothing") is False
    assert list(cache.list()) == []
    assert cache.size() == 0
    assert cache.collect().blobs == 0


def test_an_expired_document_is_gone_before_it_is_collected(cache: DocumentCache, tmp_path: Path) -> None:
    past = datetime.now(UTC) - HOUR
    cache.put(document(tmp_path, DATA), document_id="x", expires=past)

    with pytest.raises(SourceNotFound):
        cache.get("x")
    assert list(cache.list()) == []
    # its id is free again
    assert cache.put(document(tmp_path, b"other"), document_id="x", expires=LATER).expires == LATER
    assert cache.get("x").sha256 == sha256(b"other")


def test_collect_removes_what_expired_and_content_that_nobody_has(
    cache: DocumentCache, tmp_path: Path
) -> None:
    kept = cache.put(document(tmp_path, b"kept"))
    shared = cache.put(document(tmp_path, b"shared"))
    short = cache.put(document(tmp_path, b"shared"), expires=datetime.now(UTC) + HOUR)
    deleted = cache.put(document(tmp_path, b"deleted"))
    expired = cache.put(document(tmp_path, b"expired"), expires=datetime.now(UTC) + HOUR)
    cache.delete(deleted.document_id)
    then = datetime.now(UTC) + 3 * HOUR

    planned = cache.collect(then, HOUR, dry_run=True)
    assert {item.document_id for item in cache.list()} == {
        item.document_id for item in (kept, shared, short, expired)
    }
    report = cache.collect(then, HOUR)

    assert report == planned
    assert set(report.documents) == {short.document_id, expired.document_id}
    assert (report.blobs, report.bytes) == (2, len(b"deleted" + b"expired"))
    assert {item.document_id for item in cache.list()} == {kept.document_id, shared.document_id}
    for item, data in ((kept, b"kept"), (shared, b"shared")):
        with cache.open_local(item.document_id) as path:
            assert path.read_bytes() == data
    assert cache.collect(then, HOUR).blobs == 0


def test_collect_leaves_young_content_alone(cache: DocumentCache, tmp_path: Path) -> None:
    doc = document(tmp_path, DATA)
    cache.stage(doc)
    cache.delete(cache.put(document(tmp_path, b"deleted")).document_id)

    assert cache.collect(grace=HOUR).blobs == 0
    assert cache.size() == len(DATA + b"deleted")
    assert cache.collect(datetime.now(UTC) + 2 * HOUR, HOUR).blobs == 2
    assert cache.size() == 0


def test_a_lease_keeps_content_until_it_is_that_of_a_dead_put(
    cache: DocumentCache, url: str, tmp_path: Path
) -> None:
    doc = cache.put(document(tmp_path, DATA))
    cache.delete(doc.document_id)
    store = open_store(url)
    [blob] = [item.key.removeprefix("blobs/") for item in store.list("blobs")]
    live = f"leases/{blob}/put-{time.time():.3f}-live"
    store.write(live, b"")
    store.write(f"leases/{blob}/put-{time.time() - 2 * 3600:.3f}-dead", b"")

    assert cache.collect(datetime.now(UTC) + 2 * HOUR, HOUR).blobs == 0
    assert [item.key for item in store.list("leases")] == [live]
    store.delete(live)
    assert cache.collect(datetime.now(UTC) + 2 * HOUR, HOUR).blobs == 1


def test_a_collector_that_took_too_long_lets_go(
    cache: DocumentCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Others take its condemnations for those of a dead collector by then.
    cache.delete(cache.put(document(tmp_path, DATA)).document_id)
    monkeypatch.setattr("docmill.documents.collect.STALE_SECONDS", 0.0)

    assert cache.collect(datetime.now(UTC) + 2 * HOUR, HOUR).blobs == 0
    assert cache.size() == len(DATA)


def test_content_that_a_collector_is_about_to_remove_is_not_used_again(
    cache: DocumentCache, tmp_path: Path
) -> None:
    doc = document(tmp_path, DATA)
    cache.delete(cache.put(doc).document_id)
    condemned = condemn(cache._store, doc.sha256)

    put = cache.put(doc)
    cache._store.delete(f"blobs/{doc.sha256}")
    cache._store.delete(condemned)

    assert put.blob != doc.sha256
    with cache.open_local(put.document_id) as path:
        assert path.read_bytes() == DATA
    # what is kept twice for a while is no harm: it is told by name
    assert cache.put(doc).blob == doc.sha256


def test_a_reader_keeps_what_is_deleted_meanwhile(cache: DocumentCache, tmp_path: Path) -> None:
    put = cache.put(document(tmp_path, DATA))

    with cache.open_local(put.document_id) as path:
        cache.delete(put.document_id)
        cache.collect(datetime.now(UTC) + 2 * HOUR, HOUR)
        cache.collect(datetime.now(UTC) + 2 * HOUR, HOUR)
        assert path.read_bytes() == DATA

    cache.collect(datetime.now(UTC) + 2 * HOUR, HOUR)
    assert cache.size() == 0


def test_damaged_content_is_told_and_mended_by_the_next_put(
    cache: DocumentCache, url: str, tmp_path: Path
) -> None:
    doc = document(tmp_path, DATA)
    put = cache.put(doc)
    cache._store.write(f"blobs/{put.blob}", DATA[:-1])  # as a loss of power leaves it

    with pytest.raises(SourceUnavailable, match="damaged"), cache.open_local(put.document_id):
        pass
    cache._store.delete(f"blobs/{put.blob}")
    with pytest.raises(SourceUnavailable, match="damaged or missing"), cache.open_local(put.document_id):
        pass

    cache.put(doc)
    with cache.open_local(put.document_id) as path:
        assert path.read_bytes() == DATA


def test_damaged_metadata_is_no_document(cache: DocumentCache, tmp_path: Path) -> None:
    cache.put(document(tmp_path, DATA), document_id="x")
    for broken in (b"", b"{", b"[]", b'{"version": 1}', b'{"version": 99}'):
        cache._store.write("documents/x/meta.json", broken)
        assert list(cache.list()) == []
        with pytest.raises(SourceNotFound):
            cache.get("x")
    assert cache.put(document(tmp_path, b"new"), document_id="x").sha256 == sha256(b"new")


def test_a_source_that_changed_since_it_was_loaded_is_not_kept(cache: DocumentCache, tmp_path: Path) -> None:
    doc = document(tmp_path, DATA)
    doc.path.write_bytes(b"changed")

    with pytest.raises(SourceUnavailable, match="changed"):
        cache.put(doc)

    assert cache.size() == 0
    assert list(cache.list()) == []


def test_a_source_that_is_changed_later_does_not_change_the_cache(
    cache: DocumentCache, tmp_path: Path
) -> None:
    doc = document(tmp_path, DATA)
    put = cache.put(doc)
    with doc.path.open("r+b") as file:
        file.write(b"changed in place")

    with cache.open_local(put.document_id) as path:
        assert path.read_bytes() == DATA


def test_docmills_own_output_goes_into_the_cache(cache: DocumentCache, tmp_path: Path) -> None:
    (tmp_path / "out.pdf").write_bytes(DATA)

    put = cache.put(describe_file(tmp_path / "out.pdf", FACTS, name="scan.pdf"), document_id="x")

    assert (put.name, put.uri, put.sha256) == ("scan.pdf", "", sha256(DATA))


def test_a_staged_document_needs_no_more_bytes(cache: DocumentCache, tmp_path: Path) -> None:
    doc = document(tmp_path, DATA)
    cache.stage(doc)
    assert list(cache.list()) == []
    doc.path.unlink()

    put = cache.put(doc)

    with cache.open_local(put.document_id) as path:
        assert path.read_bytes() == DATA


def test_only_documents_and_blobs_stay_behind(cache: DocumentCache, tmp_path: Path) -> None:
    put = cache.put(document(tmp_path, DATA), document_id="x")
    with cache.open_local("x"):
        pass
    cache.collect()

    keys = [
        item.key
        for folder in ("documents", "blobs", "leases", "condemned")
        for item in cache._store.list(folder)
    ]
    assert keys == ["documents/x/meta.json", f"blobs/{put.sha256}"]
    assert not list((tmp_path / "cache-scratch").glob("*"))


# One kind of store


def test_the_metadata_on_disk_can_be_read_by_others(tmp_path: Path) -> None:
    cache = DocumentCache(str(tmp_path / "cache"))
    cache.put(document(tmp_path, DATA), document_id="my-id", expires=LATER)

    meta = json.loads((tmp_path / "cache" / "documents" / "my-id" / "meta.json").read_text())

    assert meta["document_id"] == "my-id"
    assert meta["sha256"] == meta["blob"] == sha256(DATA)
    assert datetime.fromisoformat(meta["expires"]) == LATER
    assert (tmp_path / "cache" / "blobs" / meta["blob"]).read_bytes() == DATA
    # three pages that are alike are one entry
    assert [count for count, _ in meta["facts"]["pages"]] == [3]


def test_content_from_afar_is_checked_by_its_sha256(s3_url: str, tmp_path: Path) -> None:
    cache = DocumentCache(s3_url)
    put = cache.put(document(tmp_path, DATA))
    cache._store.write(f"blobs/{put.blob}", DATA[::-1])

    with pytest.raises(SourceUnavailable, match="damaged"), cache.open_local(put.document_id):
        pass


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    cache = DocumentCache(str(tmp_path / "cache"))
    put = cache.put(document(tmp_path, DATA))
    left = tmp_path / "cache" / "blobs" / ".tmp-1-2-3"
    left.write_bytes(b"half")

    assert cache.size() == len(DATA)
    assert cache.collect(grace=HOUR).unfinished == 0
    assert cache.collect(datetime.now(UTC) + 2 * HOUR, HOUR).unfinished == 1
    assert not left.exists()
    assert cache.get(put.document_id) == put


def test_unfinished_uploads_are_swept(s3_url: str, tmp_path: Path) -> None:
    from docmill.documents.s3 import S3, split
    from docmill.documents.uris import parse_location

    cache = DocumentCache(s3_url)
    bucket, prefix = split(parse_location(s3_url))
    (tmp_path / "half").write_bytes(DATA)
    S3(bucket).upload(f"{prefix}/blobs/abc", tmp_path / "half", metadata={})

    assert cache.collect(grace=HOUR).unfinished == 0
    assert cache.collect(datetime.now(UTC) + 2 * HOUR, HOUR).unfinished == 1
    assert list(S3(bucket).uploads(prefix)) == []


def test_a_read_only_cache_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = DocumentCache(str(tmp_path / "file"))

    with pytest.raises(DestinationForbidden, match="the document cache"):
        cache.put(document(tmp_path, DATA))


def test_a_missing_bucket_is_told_both_ways(s3_url: str, tmp_path: Path) -> None:
    cache = DocumentCache("s3://no-such-bucket/cache")

    with pytest.raises(DestinationForbidden, match="no such bucket"):
        cache.put(document(tmp_path, DATA))
    with pytest.raises(SourceNotFound):
        list(cache.list())


def test_a_store_that_is_not_there_is_told_both_ways(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    cache = DocumentCache(s3_url)

    with pytest.raises(DestinationUnavailable, match="cannot be reached"):
        cache.put(document(tmp_path, DATA))
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        cache.get("x")


def test_wrong_credentials_are_told(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    cache = DocumentCache(s3_url)

    with pytest.raises(DestinationForbidden):
        cache.put(document(tmp_path, DATA))
    with pytest.raises(SourceForbidden):
        list(cache.list())


_TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=30)
_PAGES = st.builds(
    PageFacts,
    width_px=st.integers(0, 10**6),
    height_px=st.integers(0, 10**6),
    width_pt=st.floats(0, 1e6),
    height_pt=st.floats(0, 1e6),
    dpi_x=st.floats(0, 1e4),
    encoding=_TEXT,
) | st.just(PAGE)
_FACTS = st.builds(
    DocumentFacts,
    mime_type=_TEXT,
    pages=st.lists(_PAGES, max_size=8).map(tuple),
    encrypted=st.booleans(),
    title=_TEXT,
    problems=st.lists(_TEXT, max_size=3).map(tuple),
)
_RECORDS = st.builds(
    CachedDocument,
    document_id=_TEXT,
    name=_TEXT,
    uri=_TEXT,
    size=st.integers(0, 2**40),
    sha256=_TEXT,
    facts=_FACTS,
    created=st.datetimes(timezones=st.just(UTC)),
    expires=st.none() | st.datetimes(timezones=st.just(UTC)),
    blob=_TEXT,
    run_id=_TEXT,
)


@given(_RECORDS)
@settings(max_examples=150)
def test_metadata_comes_back_as_it_was(record: CachedDocument) -> None:
    assert read_record(write_record(record)) == record


def test_a_put_that_comes_between_a_collectors_look_and_its_deletion_is_kept(
    cache: DocumentCache, url: str, tmp_path: Path
) -> None:
    past = datetime.now(UTC) - HOUR
    cache.put(document(tmp_path, b"old"), document_id="x", expires=past)
    new = document(tmp_path, b"new", "new.tif")
    putting = threading.Thread(target=cache.put, args=(new,), kwargs={"document_id": "x"})
    store = open_store(url)
    read = store.read

    def read_slowly(key: str) -> bytes:
        data = read(key)
        putting.start()
        putting.join(1.0)
        return data

    store.read = read_slowly  # type: ignore[method-assign]
    assert retire(store, meta_key("x"), datetime.now(UTC))
    putting.join()

    assert cache.get("x").sha256 == sha256(b"new")


def test_what_a_revoked_document_replaced_is_there_again(cache: DocumentCache, tmp_path: Path) -> None:
    old = cache.put(document(tmp_path / "old", b"old"), document_id="one", run_id="earlier")

    cache.put(
        document(tmp_path / "new", b"new"), document_id="one", overwrite=True, run_id="r", revocable=True
    )
    # What it replaced is needed still, however old.
    cache.collect(datetime.now(UTC) + 2 * HOUR)
    cache.revoke("one", "r")

    assert cache.get("one") == old
    with cache.open_local("one") as path:
        assert path.read_bytes() == b"old"


def test_a_revoked_document_that_replaced_nothing_is_gone(cache: DocumentCache, tmp_path: Path) -> None:
    cache.put(document(tmp_path, b"new"), document_id="one", run_id="r", revocable=True)

    cache.revoke("one", "another-run")
    assert cache.get("one")
    cache.revoke("one", "r")

    with pytest.raises(SourceNotFound):
        cache.get("one")


def test_a_rerun_after_a_kill_knows_what_its_first_attempt_replaced(
    cache: DocumentCache, tmp_path: Path
) -> None:
    old = cache.put(document(tmp_path / "old", b"old"), document_id="one", run_id="earlier")
    for attempt in (b"first", b"second"):
        doc = document(tmp_path / attempt.decode(), attempt)
        cache.put(doc, document_id="one", overwrite=True, run_id="r", revocable=True)

    cache.revoke("one", "r")

    assert cache.get("one") == old


def test_a_confirmed_document_lets_go_of_what_it_replaced(cache: DocumentCache, tmp_path: Path) -> None:
    cache.put(document(tmp_path / "old", b"old"), document_id="one", run_id="earlier")
    cache.put(
        document(tmp_path / "new", b"new!"), document_id="one", overwrite=True, run_id="r", revocable=True
    )

    cache.confirm("one", "r")

    assert cache.get("one").replaced is None
    assert cache.collect(datetime.now(UTC) + 2 * HOUR).blobs == 1
    assert cache.size() == 4
