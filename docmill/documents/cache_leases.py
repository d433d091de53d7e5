"""How puts, readers and collectors of the cache keep out of each other's way, without locks.

All that is needed of a store is that what was written shows in the next listing. A put writes its lease,
then looks for a condemnation of the blob; a collector writes its condemnation, then looks for leases, then
for documents that have the blob. Whatever the order in which these happen, at least one sees the other: the
put keeps its content under a new name, or the collector lets go. A document's metadata, which a collector
removes once it has expired, is kept safe the same way: the collector condemns it and reads it again, the put
writes it and then waits until no condemnation is left.

Times in names are those of the writer's clock. Clocks may differ by less than `STALE_SECONDS`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from docmill.documents.cache_records import read_record
from docmill.documents.stores import Store

# A put holds its lease for a few small requests, a collector its condemnations for two scans; who took longer
# starts again, or lets go.
LEASE_SECONDS = 60.0
VERDICT_SECONDS = 20.0
# From then on a lease or condemnation is one of a process that died.
STALE_SECONDS = 3600.0
READ_STALE_SECONDS = 2 * 86400.0
_PAUSE = 0.02


def lease_key(kind: str, blob: str) -> str:
    """A new name for a lease on `blob`; `kind` is "put" or "read"."""
    return f"leases/{blob}/{kind}-{_stamp()}"


@contextmanager
def lease(store: Store, blob: str) -> Iterator[None]:
    """Keep collectors from `blob` for a moment."""
    key = lease_key("put", blob)
    store.write(key, b"", durable=False)
    try:
        yield
    finally:
        # The document shows by now; a lease that stays is taken for a dead process's in time.
        with suppress(Exception):
            store.delete(key)


def leased_blobs(store: Store) -> set[str]:
    """The blobs that somebody is about to use; removes the leases of who died."""
    leased = set()
    for item in store.list("leases"):
        _, blob, name = item.key.split("/", 2)
        limit = READ_STALE_SECONDS if name.startswith("read-") else STALE_SECONDS
        if _age(name) > limit:
            store.delete(item.key)
        else:
            leased.add(blob)
    return leased


def condemn(store: Store, name: str) -> str:
    """Say that the blob or document `name` may be removed soon; returns the key, to be deleted afterwards."""
    key = f"condemned/{name}/{_stamp()}"
    store.write(key, b"", durable=False)
    return key


def is_condemned(store: Store, name: str) -> bool:
    return any(True for _ in store.list(f"condemned/{name}"))


def pardon_stale(store: Store) -> None:
    """Remove the condemnations of collectors that died."""
    for item in store.list("condemned"):
        if _age(item.key) > STALE_SECONDS:
            store.delete(item.key)


def retire(store: Store, meta_key: str, now: datetime) -> bool:
    """Remove a document's metadata if it has expired or is damaged; says if it did."""
    start = time.monotonic()
    condemned = condemn(store, _document_name(meta_key))
    try:
        record = read_record(store.read(meta_key))
        if record is not None and not record.is_expired(now):
            return False
        if time.monotonic() - start > VERDICT_SECONDS:
            return False
        store.delete(meta_key)
        return True
    except FileNotFoundError:
        return False
    finally:
        store.delete(condemned)


def await_verdict(store: Store, meta_key: str) -> bool:
    """After metadata was written: wait for those who may be about to remove it; says if it is still there."""
    name = _document_name(meta_key)
    waited = False
    while any(_age(item.key) < 2 * VERDICT_SECONDS for item in store.list(f"condemned/{name}")):
        waited = True
        time.sleep(_PAUSE)
    return not waited or store.size(meta_key) is not None


def _document_name(meta_key: str) -> str:
    return "document-" + meta_key.split("/")[1]


def _stamp() -> str:
    return f"{time.time():.3f}-{os.urandom(8).hex()}"


def _age(name: str) -> float:
    stamp = name.rpartition("/")[2].removeprefix("put-").removeprefix("read-")
    try:
        return time.time() - float(stamp.partition("-")[0])
    except ValueError:
        return float("inf")
