"""Documents on their way through docmill: loaded to scratch, kept in the cache, published."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from docmill.facts import DocumentFacts


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """A source on local disk: where it came from (without secrets), its bytes' SHA-256 and its facts."""

    uri: str
    name: str
    path: Path
    size: int
    sha256: str
    facts: DocumentFacts


@dataclass(frozen=True, slots=True)
class CachedDocument:
    """A document in the cache, by its id: 32 lower-case hex digits, or the caller's own name for it."""

    document_id: str
    name: str
    uri: str
    size: int
    sha256: str
    facts: DocumentFacts
    created: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class PublishedOutput:
    """What was published: the URI that a reader opens, each file's URI, and if it stood there before."""

    uri: str
    files: tuple[str, ...]
    size: int
    sha256: str
    already_there: bool = False
