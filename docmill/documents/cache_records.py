"""How the document cache lies in its store, and its metadata as JSON.

documents/<document id>/meta.json      what a document is, and the name of its blob
blobs/<sha256>                         content
leases/<blob>/<kind>-<time>-<nonce>    a blob that is about to be used
condemned/<name>/<time>-<nonce>        a blob or document that is about to be removed
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from docmill.documents.model import CachedDocument
from docmill.documents.stores import Store, StoredItem
from docmill.facts import DocumentFacts

_VERSION = 1
_PLAIN_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def new_document_id() -> str:
    """32 lower-case hex digits, at random."""
    return os.urandom(16).hex()


def meta_key(document_id: str) -> str:
    """Where a document's metadata is.

    An id that is a safe name is the folder's name, any other is hashed: 256 characters of any script do not
    fit into a file name of 255 bytes, and `..` or `a/b` must lead nowhere.
    """
    if _PLAIN_ID.fullmatch(document_id):
        return f"documents/{document_id}/meta.json"
    return f"documents/~{hashlib.sha256(document_id.encode()).hexdigest()}/meta.json"


def blob_key(blob: str) -> str:
    return f"blobs/{blob}"


def write_record(record: CachedDocument) -> bytes:
    """The content of `meta.json`."""
    return json.dumps({"version": _VERSION} | _values(record), indent=1).encode()


def read_record(data: bytes) -> CachedDocument | None:
    """What `write_record` wrote; None if it is damaged, as after a loss of power."""
    try:
        values = json.loads(data)
        return _record(values) if values.pop("version") == _VERSION else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _values(record: CachedDocument) -> dict[str, Any]:
    return {
        "document_id": record.document_id,
        "name": record.name,
        "uri": record.uri,
        "size": record.size,
        "sha256": record.sha256,
        "blob": record.blob,
        "run_id": record.run_id,
        "created": record.created.isoformat(),
        "expires": record.expires and record.expires.isoformat(),
        "facts": record.facts.to_runs(),
        "replaced": record.replaced and _values(record.replaced),
    }


def _record(values: dict[str, Any]) -> CachedDocument:
    known = {
        "created": datetime.fromisoformat(values["created"]),
        "expires": values["expires"] and datetime.fromisoformat(values["expires"]),
        "facts": DocumentFacts.from_runs(values["facts"]),
        "replaced": _record(values["replaced"]) if values.get("replaced") else None,
    }
    return CachedDocument(**values | known)


def records(store: Store) -> Iterator[tuple[StoredItem, CachedDocument | None]]:
    """Every document's metadata, expired ones too; None where it is damaged."""
    for item in store.list("documents"):
        try:
            yield item, read_record(store.read(item.key))
        except FileNotFoundError:
            continue
