"""An S3 store that dies while docmill writes to it: the target is absent or whole, and a retry mends it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docmill.documents.cache import DocumentCache
from docmill.documents.load import describe_file
from docmill.documents.publish import publish
from docmill.documents.remote import open_filesystem
from docmill.documents.uris import parse_location
from docmill.errors import RETRIES, DestinationUnavailable, Retry
from docmill.facts import DocumentFacts
from tests.servers import S3Server

SIZE = 64 << 20  # eight parts
RUN = "a-run"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A store of this module's own: its tests kill it."""
    server = S3Server(tmp_path_factory.mktemp("mortal"))
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def credentials(store: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("output") / "scan.pdf"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.mark.parametrize("after", [0.5])
def test_a_store_that_dies_while_a_file_is_published(store, output, monkeypatch, after):
    target = f"s3://{S3Server.BUCKET}/published-{after}.pdf"

    def work() -> None:
        publish([output], target, overwrite=False, run_id=RUN)

    died = _interrupted(store, work, after * SIZE)
    store.restart()
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
    assert _content(target) == (None if died else _sha256(output))
    # The retry of the same run finds what it has done, or does it.
    publish([output], target, overwrite=False, run_id=RUN)
    assert _content(target) == _sha256(output)


@pytest.mark.parametrize("after", [0.5])
def test_a_store_that_dies_while_the_cache_takes_a_document(store, output, monkeypatch, after):
    url = f"s3://{S3Server.BUCKET}/cache-{after}"
    document = describe_file(output, DocumentFacts("application/pdf", ()))

    def work() -> None:
        DocumentCache(url).put(document, document_id="the-id", run_id=RUN)

    died = _interrupted(store, work, after * SIZE)
    store.restart()
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
    assert [each.document_id for each in DocumentCache(url).list()] == ([] if died else ["the-id"])
    DocumentCache(url).put(document, document_id="the-id", run_id=RUN)
    with DocumentCache(url).open_local("the-id") as path:
        assert _sha256(path) == _sha256(output)


def _interrupted(store: S3Server, work: Callable[[], None], written: float) -> bool:
    """Kill the store once it has so many bytes of `work`; whether `work` failed, as it should be told."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    before = store.bytes_on_disk()
    thread = threading.Thread(target=guarded)
    thread.start()
    while thread.is_alive() and store.bytes_on_disk() - before < written:
        time.sleep(0.005)
    store.kill()
    thread.join()
    if errors:
        assert isinstance(errors[0], DestinationUnavailable), errors
        assert RETRIES[type(errors[0])] is Retry.YES
    return bool(errors)


def _content(uri: str) -> str | None:
    """The SHA-256 of what a reader finds."""
    fs, path = open_filesystem(parse_location(uri))
    fs = type(fs)(skip_instance_cache=True)  # one that knows where the store is now
    if not fs.exists(path):
        return None
    with fs.open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
