"""Any store that fsspec knows, for the document cache: memory, and what has a package installed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docmill.documents.local_files import CHUNK
from docmill.documents.remote import changed_at, open_filesystem
from docmill.documents.stores import StoredItem
from docmill.documents.uris import Location

_TEMPORARY = ".tmp-"
# Stores that take an object at once. Elsewhere it is written under a temporary name and moved.
_AT_ONCE = frozenset({"memory", "gs", "gcs", "abfs", "abfss", "az"})


class FsspecStore:
    """The folder at `location` in a store of fsspec's. It writes exclusively among its own threads only."""

    def __init__(self, location: Location) -> None:
        self.url = location.shown
        self._fs, root = open_filesystem(location)
        self._root = root.rstrip("/")
        self._at_once = location.scheme in _AT_ONCE

    def read(self, key: str) -> bytes:
        content: bytes = self._fs.cat_file(self._path(key))
        return content

    def write(self, key: str, data: bytes, *, exclusive: bool = False, durable: bool = True) -> None:
        if exclusive and self.size(key) is not None:
            raise FileExistsError(key)
        with self._writing(key) as path:
            self._fs.pipe_file(path, data)

    def upload(self, key: str, source: Path, check: Callable[[], None]) -> None:
        with self._writing(key) as path, source.open("rb") as file, self._fs.open(path, "wb") as target:
            while chunk := file.read(CHUNK):
                target.write(chunk)
            try:
                check()
            except BaseException:
                target.discard()
                raise

    def chunks(self, key: str) -> Iterator[bytes]:
        with self._fs.open(self._path(key), "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def size(self, key: str) -> int | None:
        try:
            size: int = self._fs.info(self._path(key))["size"]
        except FileNotFoundError:
            return None
        return size

    def list(self, folder: str) -> Iterator[StoredItem]:
        try:
            found: dict[str, dict[str, Any]] = self._fs.find(self._path(folder), detail=True)
        except FileNotFoundError:
            return
        for path, info in found.items():
            key = path[len(self._root) :].lstrip("/")
            if info["type"] == "file" and not key.rpartition("/")[2].startswith(_TEMPORARY):
                yield StoredItem(key, info["size"], _modified(info))

    def delete(self, key: str) -> None:
        try:
            self._fs.rm_file(self._path(key))
        except FileNotFoundError:
            pass

    def sweep(self, before: float) -> int:
        count = 0
        for path, info in self._fs.find(self._root, detail=True).items():
            if path.rpartition("/")[2].startswith(_TEMPORARY) and _modified(info) < before:
                self._fs.rm_file(path)
                count += 1
        return count

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @contextmanager
    def _writing(self, key: str) -> Iterator[str]:
        path = self._path(key)
        folder, _, name = path.rpartition("/")
        self._fs.makedirs(folder, exist_ok=True)
        if self._at_once:
            yield path
            return
        temporary = f"{folder}/{_TEMPORARY}{name}-{os.urandom(8).hex()}"
        try:
            yield temporary
            self._fs.mv(temporary, path)
        except BaseException:
            self.delete(temporary[len(self._root) + 1 :])
            raise


def _modified(info: dict[str, Any]) -> float:
    """Seconds since 1970; now, so never old, where the store does not say."""
    when = changed_at(info)
    return time.time() if when is None else when
