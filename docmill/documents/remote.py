"""Sources that are not local files: opened through fsspec, read as a stream of chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from docmill.documents.local_files import CHUNK
from docmill.documents.model import LoadLimits
from docmill.documents.uris import Location


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """An open source; `size` and `name` are what its store says of it, None and empty where it does not."""

    chunks: Iterable[bytes]
    size: int | None
    name: str = ""


@contextmanager
def open_source(location: Location, limits: LoadLimits) -> Iterator[RemoteSource]:
    """Open `location` for reading, once and from the start. Raises what its library raises."""
    fs, path = open_filesystem(location, limits)
    info = fs.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError(path)
    with fs.open(path, "rb", cache_type="none") as file:
        yield RemoteSource(iter(lambda: file.read(CHUNK), b""), info.get("size"))


def open_filesystem(location: Location, limits: LoadLimits | None = None) -> tuple[Any, str]:
    """The fsspec file system of `location` and the path in it; never one that remembers listings."""
    import fsspec

    fs, path = fsspec.core.url_to_fs(location.uri, use_listings_cache=False)
    return fs, str(path)
