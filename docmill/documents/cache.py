"""The document cache: content once by SHA-256, metadata beside it, on any store.

Every object is written and replaced at once, so a reader never sees half of one. How puts, readers and
collectors of any number of processes and machines keep out of each other's way: `cache_leases`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from docmill.documents.cache_leases import (
    LEASE_SECONDS,
    await_verdict,
    is_condemned,
    lease,
    lease_key,
    retire,
)
from docmill.documents.cache_records import (
    blob_key,
    meta_key,
    new_document_id,
    read_record,
    records,
    write_record,
)
from docmill.documents.failures import destination_failures, source_failures
from docmill.documents.local_files import write_all
from docmill.documents.model import CachedDocument, LoadedDocument
from docmill.documents.stores import LocalStore, open_store
from docmill.documents.uris import check_document_id
from docmill.errors import DestinationExists, DestinationUnavailable, Phase, SourceNotFound, SourceUnavailable

if TYPE_CHECKING:
    from docmill.documents.collect import CollectReport

_ATTEMPTS = 20
_PAUSE = 0.02


class _CondemnedError(Exception):
    """A collector may be about to remove the blob."""


class DocumentCache:
    """The documents kept at `url`, a local folder or any fsspec URL.

    `scratch` is a local folder for copies of what lies in a remote store. Errors of the store are raised as
    `Source...` where it is read and `Destination...` where it is written, in phase `cache`.
    """

    def __init__(self, url: str, *, scratch: Path | None = None) -> None:
        with destination_failures(f"the document cache {url}", phase=Phase.CACHE):
            self._store = open_store(url)
        self._scratch = scratch
        self._shown = f"the document cache {self._store.url}"

    def put(
        self,
        doc: LoadedDocument,
        *,
        document_id: str | None = None,
        expires: datetime | None = None,
        overwrite: bool = False,
        run_id: str = "",
        revocable: bool = False,
    ) -> CachedDocument:
        """Keep `doc` until `expires` (for good if None), under a new id unless `document_id` names one.

        An id that is in use with the same content, or by the same `run_id`, is the same document: its expiry
        is moved to `expires`. With other content it is `DestinationExists` unless `overwrite` replaces it.
        What is `revocable` keeps what it replaced, until its run says `confirm` or `revoke`.
        Raises `SourceUnavailable` where the user's file changed since it was loaded.
        """
        document_id = new_document_id() if document_id is None else check_document_id(document_id)
        with destination_failures(self._shown, phase=Phase.CACHE):
            blob = doc.sha256
            for attempt in range(_ATTEMPTS):
                existing = self._find(document_id)
                same = existing is not None and self._is_same(existing, doc, run_id)
                if not overwrite:
                    self._refuse_other(existing, doc, run_id)
                if existing is not None and same:
                    record = replace(existing, expires=expires)
                else:
                    record = _new_record(document_id, doc, expires, run_id)
                if record.sha256 == doc.sha256 and blob != doc.sha256:
                    record = replace(record, blob=blob)
                if revocable:
                    record = replace(record, run_id=run_id, replaced=_before(existing, run_id))
                try:
                    if self._put(record, doc, create=existing is None):
                        return record
                except _CondemnedError:
                    # Never use again what a collector may be about to remove.
                    blob = f"{doc.sha256}-{os.urandom(8).hex()}"
                time.sleep(attempt * _PAUSE)
        raise DestinationUnavailable(
            f"{self._shown} is too busy to take '{doc.name}'", hint="try again later", phase=Phase.CACHE
        )

    def stage(
        self,
        doc: LoadedDocument,
        *,
        document_id: str | None = None,
        overwrite: bool = False,
        run_id: str = "",
    ) -> None:
        """Bring the content of `doc` into the cache, so that a `put` of it soon after takes but a moment.

        Raises what that `put` would raise. Content that no put follows is collected after the grace period.
        """
        with destination_failures(self._shown, phase=Phase.CACHE):
            if document_id is not None and not overwrite:
                self._refuse_other(self._find(check_document_id(document_id)), doc, run_id)
            self._upload_if_missing(doc.sha256, doc)

    def revoke(self, document_id: str, run_id: str) -> None:
        """Undo a revocable `put` of that run, if there was one: what stood there before is there again."""
        key = meta_key(check_document_id(document_id))
        with destination_failures(self._shown, phase=Phase.CACHE):
            record = self._read(document_id)
            if record is None or record.run_id != run_id:
                return
            if record.replaced is None:
                self._store.delete(key)
            else:
                self._store.write(key, write_record(record.replaced))

    def confirm(self, document_id: str, run_id: str) -> None:
        """Let go of what a revocable `put` of that run replaced."""
        key = meta_key(check_document_id(document_id))
        with destination_failures(self._shown, phase=Phase.CACHE):
            record = self._read(document_id)
            if record is not None and record.run_id == run_id and record.replaced is not None:
                self._store.write(key, write_record(replace(record, replaced=None)))

    def get(self, document_id: str) -> CachedDocument:
        """The document of that id; raises `SourceNotFound`, also when it has expired."""
        with source_failures(self._shown, phase=Phase.CACHE):
            document = self._find(check_document_id(document_id))
        if document is None:
            raise _not_found(document_id)
        return document

    @contextmanager
    def open_local(self, document_id: str) -> Iterator[Path]:
        """The document's content as a local file, to read, until the context ends.

        It stays readable if the document is deleted meanwhile. From a remote store it is a copy in scratch,
        checked against its SHA-256. Raises `SourceNotFound`, `SourceUnavailable`.
        """
        document = self.get(document_id)
        if isinstance(self._store, LocalStore):
            with self._open_link(self._store, document) as path:
                yield path
        else:
            with self._open_copy(document) as path:
                yield path

    def list(self) -> Iterator[CachedDocument]:
        """Every document that has not expired, in no order."""
        now = datetime.now(UTC)
        with source_failures(self._shown, phase=Phase.CACHE):
            for _, document in records(self._store):
                if document is not None and not document.is_expired(now):
                    yield document

    def delete(self, document_id: str) -> bool:
        """Forget a document; says if there was one. Its content goes with the next `collect` that may."""
        key = meta_key(check_document_id(document_id))
        with destination_failures(self._shown, phase=Phase.CACHE):
            there = self._store.size(key) is not None
            self._store.delete(key)
        return there

    def size(self) -> int:
        """The bytes of all content in the cache, each counted once."""
        with source_failures(self._shown, phase=Phase.CACHE):
            return sum(item.size for item in self._store.list("blobs"))

    def collect(
        self, now: datetime | None = None, grace: timedelta = timedelta(hours=1), *, dry_run: bool = False
    ) -> CollectReport:
        """Remove what has expired, and content older than `grace` that no document has; see `collect`."""
        from docmill.documents.collect import collect

        with destination_failures(self._shown, phase=Phase.CACHE):
            return collect(self._store, now or datetime.now(UTC), grace, dry_run=dry_run)

    def _refuse_other(self, existing: CachedDocument | None, doc: LoadedDocument, run_id: str) -> None:
        """Raise `DestinationExists` where the document of an id is another than `doc`."""
        if existing is not None and not self._is_same(existing, doc, run_id):
            raise DestinationExists(
                f"the document id '{existing.document_id}' is in use for other content",
                hint="choose another id, or give the option overwrite",
                phase=Phase.CACHE,
            )

    def _find(self, document_id: str) -> CachedDocument | None:
        record = self._read(document_id)
        return None if record is None or record.is_expired(datetime.now(UTC)) else record

    def _read(self, document_id: str) -> CachedDocument | None:
        try:
            return read_record(self._store.read(meta_key(document_id)))
        except FileNotFoundError:
            return None

    def _is_same(self, existing: CachedDocument, doc: LoadedDocument, run_id: str) -> bool:
        if existing.sha256 == doc.sha256:
            return True
        # A rerun may come to other bytes, as of a date in them; what its first run put is as good.
        mine = bool(run_id) and existing.run_id == run_id
        return mine and self._store.size(blob_key(existing.blob)) == existing.size

    def _put(self, record: CachedDocument, doc: LoadedDocument, *, create: bool) -> bool:
        """One attempt; false if somebody came in between, so that it has to be done anew."""
        start = time.monotonic()
        with lease(self._store, record.blob):
            # Within the lease: without one, a collector that knows no grace takes it before it is put to use.
            # An upload that outlasts the lease is made good by the next attempt, which finds it done.
            if record.sha256 == doc.sha256:
                self._upload_if_missing(record.blob, doc)
            if is_condemned(self._store, record.blob):
                raise _CondemnedError
            if self._store.size(blob_key(record.blob)) != record.size:
                return False
            try:
                self._store.write(meta_key(record.document_id), write_record(record), exclusive=create)
            except FileExistsError:
                retire(self._store, meta_key(record.document_id), datetime.now(UTC))
                return False
            took = time.monotonic() - start
        return await_verdict(self._store, meta_key(record.document_id)) and took < LEASE_SECONDS

    def _upload_if_missing(self, blob: str, doc: LoadedDocument) -> None:
        # Of another size: half a file that a loss of power left.
        if self._store.size(blob_key(blob)) == doc.size:
            return
        doc.check_unchanged()
        self._store.upload(blob_key(blob), doc.path, doc.check_unchanged)

    @contextmanager
    def _open_link(self, store: LocalStore, document: CachedDocument) -> Iterator[Path]:
        """The blob under a second name, which is the reader's lease as well."""
        link = lease_key("read", document.blob)
        with source_failures(self._shown, phase=Phase.CACHE):
            try:
                linked = store.link(blob_key(document.blob), link)
            except FileNotFoundError:
                linked = False
            if not linked:
                store.write(link, b"", durable=False)
        try:
            path = store.path(link if linked else blob_key(document.blob))
            if store.size(link if linked else blob_key(document.blob)) != document.size:
                self.get(document.document_id)  # deleted a moment ago?
                raise self._damaged(document)
            yield path
        finally:
            store.delete(link)

    @contextmanager
    def _open_copy(self, document: CachedDocument) -> Iterator[Path]:
        import tempfile

        if self._scratch is not None:
            self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="docmill-cached-", dir=self._scratch) as folder:
            path = Path(folder) / "document"
            with source_failures(self._shown, phase=Phase.CACHE):
                digest = self._download(document, path)
            if digest != document.sha256:
                raise self._damaged(document)
            yield path

    def _download(self, document: CachedDocument, path: Path) -> str:
        import hashlib

        digest = hashlib.sha256()
        try:
            with path.open("wb", buffering=0) as file:
                for chunk in self._store.chunks(blob_key(document.blob)):
                    digest.update(chunk)
                    with destination_failures(str(path), phase=Phase.CACHE):
                        write_all(file.fileno(), chunk)
        except FileNotFoundError:
            self.get(document.document_id)  # deleted a moment ago?
            raise self._damaged(document) from None
        return digest.hexdigest()

    def _damaged(self, document: CachedDocument) -> SourceUnavailable:
        return SourceUnavailable(
            f"the content of document '{document.document_id}' in {self._shown} is damaged or missing",
            hint="put it into the cache again",
            phase=Phase.CACHE,
        )


def _new_record(
    document_id: str, doc: LoadedDocument, expires: datetime | None, run_id: str
) -> CachedDocument:
    return CachedDocument(
        document_id=document_id,
        name=doc.name,
        uri=doc.uri,
        size=doc.size,
        sha256=doc.sha256,
        facts=doc.facts,
        created=datetime.now(UTC),
        expires=expires,
        blob=doc.sha256,
        run_id=run_id,
    )


def _before(existing: CachedDocument | None, run_id: str) -> CachedDocument | None:
    """What a run replaces where `existing` is: of an earlier attempt of its own, what that one replaced."""
    if existing is None:
        return None
    return existing.replaced if existing.run_id == run_id else replace(existing, replaced=None)


def _not_found(document_id: str) -> SourceNotFound:
    return SourceNotFound(
        f"there is no document '{document_id}' in the cache",
        hint="it may have expired; load it again",
        phase=Phase.CACHE,
    )
