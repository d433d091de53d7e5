"""Load a source: find it, bring it to local disk under a limit, hash it, and have it identified.

A local file is not copied: it is read once, for its SHA-256, where it lies, and `LoadedDocument.snapshot`
tells later if it changed. Everything else is streamed to disk in chunks and hashed on the way.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from docmill.documents.background import Hashing, LoadProgress
from docmill.documents.failures import destination_failures, source_failures
from docmill.documents.local_files import CHUNK, is_descriptor, write_all
from docmill.documents.model import Digest, KnownDigest, LoadedDocument, LoadLimits
from docmill.documents.secrets import SecretResolver, redact_uri
from docmill.documents.uris import Location, is_hidden, parse_location, resolved_location
from docmill.errors import LimitExceeded, Phase, SourceNotFound, SourceUnavailable
from docmill.facts import DocumentFacts

Probe = Callable[[Path, str], DocumentFacts]


def load_document(
    uri: str,
    *,
    into: Path,
    limits: LoadLimits,
    secrets: SecretResolver,
    probe: Probe,
    progress: LoadProgress | None = None,
) -> LoadedDocument:
    """Load `uri`: a path, `file:`, `http(s):`, `s3:`, any other fsspec URL, or a reference to one.

    `into` is a folder of the caller's for what has to be copied. A URI that carries a secret, as a signed
    one, is given whole as `env:NAME` or `block:NAME`. `probe` reads the facts off the local file; it gets
    the source's name as a hint.

    Raises `SourceNotFound`, `SourceForbidden`, `SourceUnavailable`, `LimitExceeded`, `InvalidJobData` and
    what `probe` raises.
    """
    document = begin_load(uri, into=into, limits=limits, secrets=secrets, probe=probe, progress=progress)
    return document.finished()


def begin_load(
    uri: str,
    *,
    into: Path,
    limits: LoadLimits,
    secrets: SecretResolver,
    probe: Probe,
    progress: LoadProgress | None = None,
) -> LoadedDocument:
    """`load_document`, but a local file may still be being hashed: asking for its `sha256` waits for that.

    `progress` is then called, and may raise, in another thread.
    """
    location = _locate(uri, secrets)
    if location.is_local:
        return _load_local(location, into, limits, probe, progress)
    from docmill.documents.remote import open_source

    secret = location.uri != location.shown
    with source_failures(location.shown, secret=secret), open_source(location, limits) as source:
        name = source.name or location.name or location.scheme
        size, digest = _spool(source.chunks, _spool_path(into), location, limits, progress, source.size)
    path = into / "source"
    facts = probe(path, name)
    return LoadedDocument(location.shown, name, path, size, KnownDigest(digest), facts)


def describe_file(
    path: Path, facts: DocumentFacts, *, name: str = "", uri: str = "", digest: Digest | None = None
) -> LoadedDocument:
    """The document that docmill's own file `path` is, to put it into the cache; `digest` if it has one."""
    with source_failures(str(path)):
        return LoadedDocument(
            uri, name or path.name, path, path.stat().st_size, digest or Hashing([path]), facts
        )


def spool_stream(stream: BinaryIO, path: Path, limits: LoadLimits, *, shown: str) -> None:
    """Write what `stream`, standard input for one, gives to a new file; raises `LimitExceeded`."""
    location = Location("file", str(path), shown)
    with source_failures(shown):
        chunks = iter(lambda: stream.read(CHUNK), b"")
        _spool(chunks, _spool_path(path.parent), location, limits, None, None)
        path.with_name("source").rename(path)


def _locate(uri: str, secrets: SecretResolver) -> Location:
    if is_hidden(uri):
        resolved = secrets.resolve(uri, what="source")
        # Nobody knows which of its query fields is the secret, so none is shown.
        return resolved_location(resolved, shown=redact_uri(resolved).partition("?")[0])
    return parse_location(uri)


def _load_local(
    location: Location, into: Path, limits: LoadLimits, probe: Probe, progress: LoadProgress | None
) -> LoadedDocument:
    with source_failures(location.shown):
        path = location.path.absolute()
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise SourceNotFound(
                f"cannot read '{location.shown}': it is a folder", hint="name a file in it", phase=Phase.LOAD
            )
        if not stat.S_ISREG(status.st_mode) or is_descriptor(path):
            return _load_stream(path, location, into, limits, probe, progress)
        _check_size(status.st_size, location, limits)
        # Opened here, so that one that may not be read is told before anything else.
        path.open("rb").close()
        hashing = Hashing([path], progress)
    try:
        facts = probe(path, location.name)
    except BaseException:
        hashing.stop()
        raise
    (snapshot,) = hashing.snapshots
    digest = _SourceDigest(hashing, location.shown)
    return LoadedDocument(path.as_uri(), path.name, path, snapshot.size, digest, facts, snapshot)


def _load_stream(
    path: Path,
    location: Location,
    into: Path,
    limits: LoadLimits,
    probe: Probe,
    progress: LoadProgress | None,
) -> LoadedDocument:
    """A pipe or device, as `<(command)` gives: its bytes come once, so they are copied.

    So are those of a descriptor, which is another one in the sandbox.
    """
    with path.open("rb", buffering=0) as file:
        chunks = iter(lambda: file.read(CHUNK), b"")
        size, digest = _spool(chunks, _spool_path(into), location, limits, progress, None)
    copy = into / "source"
    facts = probe(copy, location.name)
    return LoadedDocument(location.shown, location.name, copy, size, KnownDigest(digest), facts)


@dataclass(frozen=True, slots=True)
class _SourceDigest:
    """A digest in the making, with what reading raises told of the source."""

    hashing: Hashing
    shown: str

    def result(self) -> str:
        with source_failures(self.shown):
            return self.hashing.result()

    def stop(self) -> None:
        self.hashing.stop()


def _check_size(size: int | None, location: Location, limits: LoadLimits) -> None:
    if size is not None and size > limits.max_source_bytes:
        raise LimitExceeded(
            f"'{location.shown}' is larger than {limits.max_source_bytes} bytes",
            limit="source bytes",
            setting="DOCMILL_MAX_SOURCE_BYTES",
            phase=Phase.LOAD,
        )


def _spool_path(into: Path) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    return into / "source.part"


def _spool(
    chunks: Iterable[bytes],
    part: Path,
    location: Location,
    limits: LoadLimits,
    progress: LoadProgress | None,
    expected: int | None,
) -> tuple[int, str]:
    """Write `chunks` to disk; returns their size and SHA-256. `part` loses its ending once it is whole."""
    _check_size(expected, location, limits)
    digest, size = hashlib.sha256(), 0
    try:
        with part.open("wb", buffering=0) as file:
            for chunk in chunks:
                size += len(chunk)
                # The store may have named a smaller size, or none.
                _check_size(size, location, limits)
                digest.update(chunk)
                with destination_failures(str(part), phase=Phase.LOAD):
                    write_all(file.fileno(), chunk)
                if progress is not None:
                    progress(size, expected)
        if expected is not None and size < expected:
            raise SourceUnavailable(
                f"'{location.shown}' ended after {size} of {expected} bytes",
                hint="try again later",
                phase=Phase.LOAD,
            )
        part.rename(part.with_name("source"))
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return size, digest.hexdigest()
