from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docmill.documents.secrets import (
    SecretResolver,
    has_secret,
    is_reference,
    redact,
    redact_uri,
)
from docmill.errors import InvalidJobData


def test_references_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pass word\n")
    resolver = SecretResolver(block={"scans": "from a block"}.__getitem__, environ={"PW": "from env"})

    assert resolver.resolve("env:PW") == "from env"
    assert resolver.resolve(f"file:{tmp_path / 'password'}") == "pass word"
    assert resolver.resolve("block:scans") == "from a block"


def test_only_the_newline_at_the_end_of_a_file_is_no_part_of_the_secret(tmp_path: Path) -> None:
    for content, secret in ((b" a \n", " a "), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b"", "")):
        (tmp_path / "password").write_bytes(content)
        assert SecretResolver().resolve(f"file:{tmp_path / 'password'}") == secret


@pytest.mark.parametrize("plain", ["hunter2", "", "env:", "env:not a name", "file:", "ENV:PW", "http:x"])
def test_a_plain_secret_is_refused_without_being_repeated(plain: str) -> None:
    with pytest.raises(InvalidJobData) as caught:
        SecretResolver(environ={}).resolve(plain, what="password")

    assert "env:NAME" in caught.value.hint
    assert "password" in caught.value.message
    assert not plain or plain not in caught.value.message


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("env:MISSING", "not set"),
        ("env:LATIN1", "not UTF-8"),
        ("file:/nonexistent/pw", "No such file"),
        ("file:/etc", "directory"),
        ("file:/dev/zero", "longer than"),
        ("block:scans", "Prefect blocks"),
    ],
)
def test_a_reference_that_leads_nowhere_says_why(reference: str, words: str) -> None:
    with pytest.raises(InvalidJobData, match=words):
        SecretResolver(environ={"LATIN1": "\udcfc"}).resolve(reference, what="password")


def test_a_block_that_cannot_be_read_says_so() -> None:
    with pytest.raises(InvalidJobData, match="block:scans"):
        SecretResolver(block={}.__getitem__).resolve("block:scans")


def test_the_resolver_shows_no_secret_of_its_environment() -> None:
    assert "hunter2" not in repr(SecretResolver(environ={"PW": "hunter2"}))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:pw@host/a.tif", "https://***@host/a.tif"),
        ("https://token@host/a.tif", "https://***@host/a.tif"),
        ("s3://AKIA123:abc/def+ghi@bucket/a.tif", "s3://***@bucket/a.tif"),
        ("s3://key:sec ret@bucket/a.tif", "s3://***@bucket/a.tif"),
        ("sftp://me:pw@host/a.tif", "sftp://***@host/a.tif"),
        ("https://h/a?X-Amz-Signature=00ff&X-Amz-Date=1", "https://h/a?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://h/a?x=1&sig=a%2Fb", "https://h/a?x=1&sig=***"),
        ("https://h/a?access_token=t", "https://h/a?access_token=***"),
        ("https://h/a?api-key=t", "https://h/a?api-key=***"),
        ("https://h/a#token=t", "https://h/a#token=***"),
        ("HTTPS://U:P@H/", "HTTPS://***@H/"),
    ],
)
def test_a_secret_in_a_uri_is_seen_and_hidden(uri: str, shown: str) -> None:
    assert has_secret(uri)
    assert redact_uri(uri) == shown
    assert not has_secret(shown.replace("***@", "").replace("***", ""))


@pytest.mark.parametrize(
    "uri",
    [
        "/srv/a@b/c.tif",
        "scan:1@home.tif",
        "https://host:8080/a@2x.png",
        "https://host/a?page=2&size=a@b",
        "https://host/a?key=report&design=1&signal=2",
        "https://host:80?mail=a@b",
        "s3://bucket/a@b.tif",
        "s3://bucket/what?token",
        "sftp://me@host/a.tif",
        "file:///srv/a%40b.tif",
        "docmill://0123",
    ],
)
def test_what_is_no_secret_is_let_through(uri: str) -> None:
    assert not has_secret(uri)
    if not uri.startswith("sftp:"):
        assert redact_uri(uri) == uri


def test_uris_within_a_text_are_redacted() -> None:
    text = "GET https://u:p@h/a?sig=1 failed, then s3://k:s@b/c; see http://h/a@b"

    assert redact(text) == "GET https://***@h/a?sig=*** failed, then s3://***@b/c; see http://h/a@b"


def test_references_are_told_from_other_texts() -> None:
    assert is_reference("env:PW_1") and is_reference("file:pw") and is_reference("block:my block")
    assert not is_reference("env:a/b.tif") and not is_reference("/env:PW")


# Letters that do not come up elsewhere in the URIs, and what people do have in their passwords.
_PASSWORDS = st.text(alphabet="XYZQW!$%&*+,;=~^()[]{}|<>'\" :/", min_size=1, max_size=20).map("Q".__add__)


@given(scheme=st.sampled_from(["http", "https", "s3", "ftp", "sftp", "abfs"]), password=_PASSWORDS)
@settings(max_examples=300)
def test_no_password_survives_redaction(scheme: str, password: str) -> None:
    uri = f"{scheme}://user:{password}@host/a.tif"

    assert has_secret(uri)
    assert "Q" not in redact_uri(uri)
    assert redact_uri(uri).endswith("@host/a.tif")


@given(
    name=st.sampled_from(
        ["X-Amz-Signature", "sig", "Signature", "token", "access_token", "password", "SECRET"]
    ),
    value=st.text(alphabet="XYZQW%+/=._~-", min_size=1, max_size=20).map("Q".__add__),
    before=st.sampled_from(["", "a=1&", "a&"]),
    after=st.sampled_from(["", "&b=2", "#page"]),
)
@settings(max_examples=200)
def test_no_signature_survives_redaction(name: str, value: str, before: str, after: str) -> None:
    uri = f"https://host/a.tif?{before}{name}={value}{after}"

    assert has_secret(uri)
    assert "Q" not in redact_uri(uri)
    assert "Q" not in redact(f"cannot read {uri}: refused")
    assert redact_uri(uri).endswith(f"{name}=***{after}")


@given(st.text(max_size=200))
@settings(max_examples=300)
def test_redaction_takes_any_text_and_is_stable(text: str) -> None:
    assert redact(redact(text)) == redact(text)
    assert redact_uri(redact_uri(text)) == redact_uri(text)
