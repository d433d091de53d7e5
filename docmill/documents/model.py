"""Documents on their way through docmill: loaded to scratch, kept in the cache, published."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from docmill.documents.uris import document_uri
from docmill.errors import Phase, SourceUnavailable
from docmill.facts import DocumentFacts
from docmill.settings import Settings


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """How much a source may be, and how long its store may keep silent (seconds)."""

    max_source_bytes: int
    connect_timeout: float = 10.0
    read_timeout: float = 60.0

    @classmethod
    def from_settings(cls, settings: Settings) -> LoadLimits:
        return cls(max_source_bytes=settings.max_source_bytes)


@dataclass(frozen=True, slots=True)
class FileSnapshot:
    """What tells that a file is still the one that was read: its place on disk, size and time of change."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: Path | int) -> FileSnapshot:
        """The snapshot of a path or an open file descriptor; raises `OSError`."""
        status = os.stat(file)  # noqa: PTH116 - a descriptor has no Path
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Digest(Protocol):
    """The SHA-256 of a document, which may still be in the making."""

    def result(self) -> str:
        """The digest in hex, once it is made; raises what reading raised."""

    def stop(self) -> None:
        """Give up: nothing is read any more when this returns."""


@dataclass(frozen=True, slots=True)
class KnownDigest:
    """A digest that was made before."""

    sha256: str

    def result(self) -> str:
        return self.sha256

    def stop(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """A source on local disk: where it came from (without secrets), its bytes' SHA-256 and its facts.

    A local file is used where it lies, so `path` may be the user's own file, which docmill never writes to,
    moves or removes; `snapshot` then tells if somebody else changed it. It is None for docmill's own copy.
    """

    uri: str
    name: str
    path: Path
    size: int
    digest: Digest
    facts: DocumentFacts
    snapshot: FileSnapshot | None = None

    @property
    def sha256(self) -> str:
        """In hex; waits for it where the file is still being hashed."""
        return self.digest.result()

    def finished(self) -> LoadedDocument:
        """The same with its digest made; raises as `sha256` and `check_unchanged` do."""
        known = replace(self, digest=KnownDigest(self.sha256))
        self.check_unchanged()
        return known

    def check_unchanged(self) -> None:
        """Raise `SourceUnavailable` if the user's file is not any more what was read when it was loaded."""
        if self.snapshot is None:
            return
        try:
            if FileSnapshot.of(self.path) == self.snapshot:
                return
        except OSError:
            pass
        raise SourceUnavailable(
            f"'{self.uri}' changed while it was being read",
            hint="run it again when nothing writes to the file",
            phase=Phase.LOAD,
        )


@dataclass(frozen=True, slots=True)
class CachedDocument:
    """A document in the cache, by its id: 32 lower-case hex digits, or the caller's own name for it.

    `blob` is the name of its content in the cache, `run_id` the flow run that made it, if one did. `replaced`
    is what stood under its id before and comes back if that run fails; None once the run has succeeded.
    """

    document_id: str
    name: str
    uri: str
    size: int
    sha256: str
    facts: DocumentFacts
    created: datetime
    expires: datetime | None
    blob: str = ""
    run_id: str = ""
    replaced: CachedDocument | None = None

    @property
    def document_uri(self) -> str:
        """Its own URI, `docmill://<id>`, which is a source for jobs; `uri` says where it was loaded from."""
        return document_uri(self.document_id)

    @property
    def blobs(self) -> set[str]:
        """The contents that it needs."""
        return {self.blob, self.replaced.blob} if self.replaced else {self.blob}

    def is_expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now


@dataclass(frozen=True, slots=True)
class PublishedOutput:
    """What was published: the URI that a reader opens, each file's URI, and if it stood there before.

    Of a single file, `sha256` is its own. Of many, `uri` is the folder, `manifest` the URI of the list of
    them, and `sha256` that of the lines `<sha256>  <name>` in order.
    """

    uri: str
    files: tuple[str, ...]
    size: int
    sha256: str
    already_there: bool = False
    manifest: str | None = None
