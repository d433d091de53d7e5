"""Collect the garbage of the document cache: expired documents, and content that no document has."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from docmill.documents.cache_leases import STALE_SECONDS, condemn, leased_blobs, pardon_stale, retire
from docmill.documents.cache_records import blob_key, records
from docmill.documents.stores import Store, StoredItem

_BATCH = 500


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What a collection removed: documents by id, the number and bytes of contents, unfinished files."""

    documents: tuple[str, ...]
    blobs: int
    bytes: int
    unfinished: int


def collect(store: Store, now: datetime, grace: timedelta, *, dry_run: bool = False) -> CollectReport:
    """Remove documents that have expired at `now`, and content older than `grace` that no document has.

    Safe beside puts, readers and other collectors anywhere (`cache_leases`). What a put brought less than
    `grace` ago stays, so `grace` has to be longer than the time between `DocumentCache.stage` and `put`.
    With `dry_run` nothing is removed, and the report says what would be.
    """
    before = now.timestamp() - grace.total_seconds()
    unfinished = 0
    if not dry_run:
        unfinished = store.sweep(before)
        pardon_stale(store)
    expired: list[str] = []
    used: set[str] = set()
    for item, record in records(store):
        if record is None:
            if item.modified < before and not dry_run:
                retire(store, item.key, now)
        elif not record.is_expired(now) or not (dry_run or retire(store, item.key, now)):
            used |= record.blobs
        else:
            expired.append(record.document_id)
    garbage = [item for item in store.list("blobs") if item.modified < before and _blob(item) not in used]
    removed = garbage if dry_run else _remove_unused(store, garbage)
    return CollectReport(tuple(expired), len(removed), sum(item.size for item in removed), unfinished)


def _remove_unused(store: Store, garbage: list[StoredItem]) -> list[StoredItem]:
    # In batches, so that the time between condemning and removing stays short.
    removed = []
    for first in range(0, len(garbage), _BATCH):
        removed += _remove_batch(store, garbage[first : first + _BATCH])
    return removed


def _remove_batch(store: Store, garbage: list[StoredItem]) -> list[StoredItem]:
    start = time.monotonic()
    condemned: list[str] = []
    removed = []
    try:
        condemned.extend(condemn(store, _blob(item)) for item in garbage)
        # In this order: a put deletes its lease only after its document shows.
        kept = leased_blobs(store)
        kept = kept.union(*(record.blobs for _, record in records(store) if record is not None))
        for item in garbage:
            if _blob(item) not in kept and time.monotonic() - start < STALE_SECONDS / 2:
                store.delete(blob_key(_blob(item)))
                removed.append(item)
    finally:
        for key in condemned:
            store.delete(key)
    return removed


def _blob(item: StoredItem) -> str:
    return item.key.split("/", 1)[1]
