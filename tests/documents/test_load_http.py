"""What loading promises of sources over http: redirects, names, limits, broken answers, credentials."""

from __future__ import annotations

import gzip
import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from docmill.documents.secrets import SecretResolver
from docmill.errors import (
    DocmillError,
    InvalidJobData,
    LimitExceeded,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
)
from tests.documents.support import load, sha256
from tests.servers import Exchange, HttpServer

DATA = os.urandom(3_000_000)


def test_a_document_comes_over_http(tmp_path: Path, http_server: HttpServer) -> None:
    doc = load(http_server.serve("/in/my%20scan.tif?page=2", DATA), tmp_path)

    assert (doc.name, doc.sha256, doc.size) == ("my scan.tif", sha256(DATA), len(DATA))
    assert doc.path.read_bytes() == DATA
    assert http_server.requests == ["/in/my%20scan.tif?page=2"]
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_redirects_are_followed(tmp_path: Path, http_server: HttpServer) -> None:
    target = http_server.serve("/b.tif", DATA)
    start = http_server.on("/a.tif", lambda exchange: exchange.answer(b"", 302, Location=target))

    assert load(start, tmp_path).sha256 == sha256(DATA)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="invoice 7.pdf"', "invoice 7.pdf"),
        ("attachment; filename*=UTF-8''r%C3%A9sum%C3%A9.pdf", "résumé.pdf"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ("inline", "get"),
    ],
)
def test_the_server_may_name_the_document(
    tmp_path: Path, http_server: HttpServer, header: str, name: str
) -> None:
    assert load(http_server.serve("/get?id=7", DATA, Content_Disposition=header), tmp_path).name == name


def test_a_compressed_answer_is_opened_and_limited_by_what_comes_out(
    tmp_path: Path, http_server: HttpServer
) -> None:
    zeros = bytes(5_000_000)
    uri = http_server.serve("/scan.tif", gzip.compress(zeros), Content_Encoding="gzip")

    assert load(uri, tmp_path).sha256 == sha256(zeros)
    with pytest.raises(LimitExceeded):
        load(uri, tmp_path, max_bytes=1_000_000)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, SourceForbidden),
        (401, SourceForbidden),
        (403, SourceForbidden),
        (404, SourceNotFound),
        (410, SourceNotFound),
        (429, SourceUnavailable),
        (500, SourceUnavailable),
        (503, SourceUnavailable),
    ],
)
def test_what_the_server_answers_is_told(
    tmp_path: Path, http_server: HttpServer, status: int, error: type[DocmillError]
) -> None:
    uri = http_server.on("/scan.tif", lambda exchange: exchange.answer(b"sorry", status))

    with pytest.raises(error) as caught:
        load(uri, tmp_path)

    assert uri in caught.value.message
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def _truncated(exchange: Exchange) -> None:
    exchange.head(Content_Length=str(len(DATA)))
    exchange.body(DATA[:-1])
    exchange.break_off()


def _truncated_chunks(exchange: Exchange) -> None:
    exchange.head(Transfer_Encoding="chunked")
    exchange.body(b"5\r\nhello\r\n")
    exchange.break_off()


def _silent(exchange: Exchange) -> None:
    exchange.head(Content_Length=str(len(DATA)))
    exchange.body(DATA[:1000])
    time.sleep(3)


def _hanging(exchange: Exchange) -> None:
    time.sleep(3)


def _garbage(exchange: Exchange) -> None:
    exchange.body(b"this is not HTTP\r\n\r\n")
    exchange.break_off()


@pytest.mark.parametrize("failure", [_truncated, _truncated_chunks, _silent, _hanging, _garbage])
def test_a_connection_that_fails_gives_no_document(
    tmp_path: Path, http_server: HttpServer, failure: Callable[[Exchange], None]
) -> None:
    with pytest.raises(SourceUnavailable):
        load(http_server.on("/scan.tif", failure), tmp_path, read_timeout=0.5)

    assert list(tmp_path.iterdir()) == []


def test_a_redirect_that_leads_back_ends(tmp_path: Path, http_server: HttpServer) -> None:
    uri = http_server.url + "/scan.tif"
    http_server.on("/scan.tif", lambda exchange: exchange.answer(b"", 302, Location=uri))

    with pytest.raises(SourceNotFound, match="redirects"):
        load(uri, tmp_path)


def test_a_redirect_reaches_no_local_file(tmp_path: Path, http_server: HttpServer) -> None:
    uri = http_server.on(
        "/scan.tif", lambda exchange: exchange.answer(b"", 302, Location="file:///etc/passwd")
    )

    with pytest.raises((SourceNotFound, SourceForbidden, SourceUnavailable)):
        load(uri, tmp_path)


def test_the_limit_holds_where_the_server_names_no_size(tmp_path: Path, http_server: HttpServer) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.head(Transfer_Encoding="chunked")
        try:
            for _ in range(1000):
                exchange.body(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
        except OSError:
            pass  # the client has had enough

    with pytest.raises(LimitExceeded):
        load(http_server.on("/endless.tif", endless), tmp_path, max_bytes=5_000_000)

    assert list(tmp_path.iterdir()) == []


def test_too_large_by_the_servers_own_word_is_not_even_read(tmp_path: Path, http_server: HttpServer) -> None:
    sent = threading.Event()

    def large(exchange: Exchange) -> None:
        exchange.head(Content_Length="1000000000000")
        try:
            for _ in range(200):
                exchange.body(bytes(1 << 20))
            sent.set()
        except OSError:
            pass

    with pytest.raises(LimitExceeded):
        load(http_server.on("/large.tif", large), tmp_path, max_bytes=5_000_000)

    assert not sent.is_set()


@pytest.mark.parametrize(
    ("uri", "words"),
    [("http://127.0.0.1:1/a.tif", "cannot be reached"), ("http://no-such-host.invalid/a.tif", "no host")],
)
def test_a_host_that_is_not_there_is_unavailable(tmp_path: Path, uri: str, words: str) -> None:
    with pytest.raises(SourceUnavailable, match=words):
        load(uri, tmp_path)


def test_a_signed_uri_is_given_as_a_reference_and_never_shown(
    tmp_path: Path, http_server: HttpServer
) -> None:
    uri = http_server.serve("/a.tif?X-Amz-Signature=hunter2&other=hunter3", DATA)
    secrets = SecretResolver(environ={"SCAN": uri, "GONE": uri.replace("a.tif", "b.tif")})

    with pytest.raises(InvalidJobData) as refused:
        load(uri, tmp_path)
    with pytest.raises(SourceNotFound) as missing:
        load("env:GONE", tmp_path, secrets=secrets)
    doc = load("env:SCAN", tmp_path, secrets=secrets)

    assert doc.sha256 == sha256(DATA)
    assert doc.name == "a.tif"
    assert "hunter" not in f"{doc} {missing.value}" + "".join(traceback.format_exception(missing.value))
    assert "hunter2" not in str(refused.value)


def test_a_password_in_a_referenced_uri_is_used(tmp_path: Path, http_server: HttpServer) -> None:
    def answer(exchange: Exchange) -> None:
        given = exchange.headers.get("Authorization")
        exchange.answer(DATA, 200 if given == "Basic dXNlcjpodW50ZXIy" else 401)

    http_server.on("/a.tif", answer)
    uri = http_server.url.replace("://", "://user:hunter2@") + "/a.tif"

    doc = load("block:scan", tmp_path, secrets=SecretResolver(block={"scan": uri}.__getitem__))

    assert doc.sha256 == sha256(DATA)
    assert "hunter2" not in str(doc)
