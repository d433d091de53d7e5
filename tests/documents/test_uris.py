from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docmill.documents.cache_records import meta_key
from docmill.documents.uris import (
    check_document_id,
    document_id_of,
    document_uri,
    from_root,
    is_hidden,
    parse_location,
    same_place,
)
from docmill.errors import InvalidJobData


@pytest.mark.parametrize(
    ("text", "scheme", "uri", "name"),
    [
        ("scan.tif", "file", "scan.tif", "scan.tif"),
        ("/srv/in/scan 1.tif", "file", "/srv/in/scan 1.tif", "scan 1.tif"),
        ("a:b.tif", "file", "a:b.tif", "a:b.tif"),
        ("C:/scan.tif", "file", "C:/scan.tif", "scan.tif"),
        ("s3:scan.tif", "file", "s3:scan.tif", "s3:scan.tif"),
        ("file:///srv/a%20b%3F.tif", "file", "/srv/a b?.tif", "a b?.tif"),
        ("FILE:/srv/a.tif", "file", "/srv/a.tif", "a.tif"),
        ("file://localhost/srv/a.tif", "file", "/srv/a.tif", "a.tif"),
        ("S3://bucket/in/a b.tif", "s3", "s3://bucket/in/a b.tif", "a b.tif"),
        ("s3://bucket/100%25.tif", "s3", "s3://bucket/100%25.tif", "100%25.tif"),
        ("https://host/in/a%20b.tif?page=2#x", "https", "https://host/in/a%20b.tif?page=2#x", "a b.tif"),
        ("https://host/a%2Fb.tif", "https", "https://host/a%2Fb.tif", "a_b.tif"),
        ("https://host?file=/a.tif", "https", "https://host?file=/a.tif", ""),
        ("memory://x/y", "memory", "memory://x/y", "y"),
    ],
)
def test_paths_and_uris_are_told_apart(text: str, scheme: str, uri: str, name: str) -> None:
    location = parse_location(text)

    assert (location.scheme, location.uri, location.name) == (scheme, uri, name)
    assert location.is_local == (scheme == "file")


def test_a_file_whose_name_looks_like_a_uri(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("file:x.tif", "s3:y.tif", "env:Z", "http:"):
        Path(name).touch()
        assert parse_location(name).path == Path(name)
        assert parse_location(from_root(name)).path == tmp_path / name
        assert not is_hidden(name)
    assert from_root("file:new.pdf") == "file:new.pdf"  # which is refused: no absolute path
    assert from_root("file:/srv/a.tif") == "file:/srv/a.tif"
    assert is_hidden("env:" + 300 * "x")


def test_the_name_of_a_file_that_is_no_text(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"b\xe4d.tif")
    uri = from_root(name)
    assert uri == f"{tmp_path.as_uri()}/b%E4d.tif"
    assert parse_location(uri).path == tmp_path / name
    assert from_root(os.fsdecode(b"new\xe4/")).endswith("/new%E4/")


def test_the_home_folder_is_known() -> None:
    assert parse_location("~/a.tif").path == Path.home() / "a.tif"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\0b",
        "file://other-host/a.tif",
        "file:a.tif",
        "file:///a%00b",
        "s3://",
        "http://",
        "http://[bad/x",
        "http://host:port/",
        "https://user:hunter2@host/a.tif",
        "s3://AKIA:hunter2@bucket/a.tif",
        "https://host/a.tif?X-Amz-Signature=hunter2",
    ],
)
def test_what_names_nothing_or_carries_a_secret_is_refused(text: str) -> None:
    with pytest.raises(InvalidJobData) as caught:
        parse_location(text)

    assert "hunter2" not in str(caught.value) + caught.value.hint
    if "hunter2" in text:
        assert "env:NAME" in caught.value.hint


@given(st.text(alphabet=st.characters(blacklist_characters="\0/", codec="utf-8"), min_size=1, max_size=60))
@settings(max_examples=200)
def test_a_file_uri_leads_back_to_its_path(name: str) -> None:
    path = Path("/srv") / name

    assert parse_location(path.as_uri()).path == path


_IDS = st.text(alphabet=st.characters(blacklist_characters="\0", codec="utf-8"), min_size=1, max_size=256)


@given(_IDS)
@settings(max_examples=300)
def test_any_document_id_has_a_uri_and_a_safe_key(document_id: str) -> None:
    assert document_id_of(document_uri(document_id)) == document_id

    folder, encoded, name = meta_key(document_id).split("/")
    assert (folder, name) == ("documents", "meta.json")
    assert len(encoded.encode()) <= 255
    assert encoded.isascii() and not encoded.startswith(".")


@given(_IDS, _IDS)
@settings(max_examples=200)
def test_two_document_ids_never_share_a_key(one: str, other: str) -> None:
    assert (meta_key(one) == meta_key(other)) == (one == other)


@pytest.mark.parametrize("document_id", ["", "a\0b", "x" * 257, "\ud800"])
def test_what_is_no_document_id_is_refused(document_id: str) -> None:
    with pytest.raises(InvalidJobData):
        check_document_id(document_id)


def test_only_docmill_uris_name_a_document_in_the_cache() -> None:
    assert document_id_of("docmill://abc") == document_id_of("DOCMILL://abc") == "abc"
    assert document_id_of("docmill://a%2Fb%20%C3%A9") == "a/b é"
    assert document_id_of("s3://docmill/abc") is None
    assert document_id_of("docmill:abc") is None


def test_the_same_place_is_seen_through_links_and_uris(tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    scan.write_bytes(b"x")
    (tmp_path / "link.tif").symlink_to(scan)
    (tmp_path / "hard.tif").hardlink_to(scan)

    assert same_place(str(scan), scan.as_uri())
    assert same_place(str(scan), str(tmp_path / "link.tif"))
    assert same_place(str(scan), str(tmp_path / "hard.tif"))
    assert same_place(str(tmp_path / "missing"), str(tmp_path / "x" / ".." / "missing"))
    assert not same_place(str(scan), str(tmp_path / "other.tif"))
    assert same_place("s3://b/k", "S3://b/k")
    assert not same_place("s3://b/k", "s3://b/K")
