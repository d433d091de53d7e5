"""Sources that are not local files: opened through fsspec, read once, as a stream of chunks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from docmill import __version__
from docmill.documents.causes import UnknownScheme
from docmill.documents.local_files import CHUNK
from docmill.documents.model import LoadLimits
from docmill.documents.s3 import S3, SCHEMES, split
from docmill.documents.streams import read_chunks
from docmill.documents.uris import Location


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """An open source; `size` and `name` are what its store says of it, None and empty where it does not."""

    chunks: Iterator[bytes]
    size: int | None
    name: str = ""


def open_source(location: Location, limits: LoadLimits) -> AbstractContextManager[RemoteSource]:
    """Open `location` for reading. Raises what its library raises."""
    if location.scheme in {"http", "https"}:
        return _open_http(location, limits)
    if location.scheme in SCHEMES:
        return _open_s3(location, limits)
    return _open_fsspec(location)


@contextmanager
def _open_http(location: Location, limits: LoadLimits) -> Iterator[RemoteSource]:
    # Not by fsspec's own open(): it asks for the size in a request of its own, and reads in ranges, which
    # may be of several versions and which many servers do not do.
    import aiohttp
    import fsspec
    from fsspec.asyn import sync

    client = {
        "timeout": aiohttp.ClientTimeout(
            total=None, sock_connect=limits.connect_timeout, sock_read=limits.read_timeout
        ),
        "headers": {"User-Agent": f"docmill/{__version__}", "Accept-Encoding": "identity"},
        # HTTP_PROXY and ~/.netrc, as other programs honour them
        "trust_env": True,
    }
    configured = fsspec.config.conf.get(location.scheme, {}).get("client_kwargs", {})
    fs = fsspec.filesystem(location.scheme, client_kwargs=client | configured, skip_instance_cache=True)
    session = sync(fs.loop, fs.set_session)
    try:
        response = sync(fs.loop, session.get, fs.encode_url(location.uri))
        try:
            response.raise_for_status()
            encoded = response.headers.get("Content-Encoding", "identity").lower() != "identity"
            size = None if encoded else response.content_length
            yield RemoteSource(read_chunks(fs.loop, response.content.read), size, _http_name(response))
        finally:
            response.close()
    finally:
        sync(fs.loop, session.close)


def _http_name(response: Any) -> str:
    """The name that the server gives the file, as for a download; it names no folder."""
    disposition = response.content_disposition
    name = disposition.filename if disposition is not None else None
    return (name or "").replace("\\", "/").rpartition("/")[2].replace("\0", "")


@contextmanager
def _open_s3(location: Location, limits: LoadLimits) -> Iterator[RemoteSource]:
    bucket, key = split(location)
    if not key or key.endswith("/"):
        raise IsADirectoryError(location.shown)
    size, chunks = S3(bucket, read_timeout=limits.read_timeout).get(key)
    yield RemoteSource(chunks, size)


@contextmanager
def _open_fsspec(location: Location) -> Iterator[RemoteSource]:
    fs, path = open_filesystem(location)
    info = fs.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError(location.shown)
    with fs.open(path, "rb", cache_type="none") as file:
        yield RemoteSource(iter(lambda: file.read(CHUNK), b""), info.get("size"))


def changed_at(info: dict[str, Any]) -> float | None:
    """When a file of an fsspec store was changed last, in seconds since 1970; None where that is not told."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "modify", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None


def open_filesystem(location: Location) -> tuple[Any, str]:
    """The fsspec file system of `location` and the path in it; never one that remembers listings.

    Raises `UnknownScheme`, or `ImportError` where the package of the store is missing.
    """
    import fsspec

    try:
        fsspec.get_filesystem_class(location.scheme)
    except ValueError:
        raise UnknownScheme(location.scheme) from None
    fs, path = fsspec.core.url_to_fs(location.uri, use_listings_cache=False)
    return fs, str(path)
