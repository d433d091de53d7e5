"""The document cache in an S3 bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from docmill.documents.s3 import PART_BYTES, S3, split
from docmill.documents.stores import StoredItem
from docmill.documents.uris import Location


class S3Store:
    """The objects below `s3://bucket/prefix`. S3 writes an object at once, and lists it from then on."""

    def __init__(self, location: Location) -> None:
        self.url = location.shown
        bucket, prefix = split(location)
        self._s3 = S3(bucket)
        self._root = prefix.strip("/") + "/" if prefix.strip("/") else ""

    def read(self, key: str) -> bytes:
        return b"".join(self.chunks(key))

    def write(self, key: str, data: bytes, *, exclusive: bool = False, durable: bool = True) -> None:
        self._s3.put(self._root + key, data, exclusive=exclusive)

    def upload(self, key: str, source: Path, check: Callable[[], None]) -> None:
        if source.stat().st_size <= PART_BYTES:
            data = source.read_bytes()
            check()
            self._s3.put(self._root + key, data)
            return
        upload = self._s3.upload(self._root + key, source)
        try:
            check()
            self._s3.complete(upload, exclusive=False)
        except BaseException:
            self._s3.abort_quietly(upload)
            raise

    def chunks(self, key: str) -> Iterator[bytes]:
        _, chunks = self._s3.get(self._root + key)
        yield from chunks

    def size(self, key: str) -> int | None:
        found = self._s3.head(self._root + key)
        return None if found is None else found.size

    def list(self, folder: str) -> Iterator[StoredItem]:
        for found in self._s3.list(f"{self._root}{folder}/"):
            yield StoredItem(found.key[len(self._root) :], found.size, found.modified.timestamp())

    def delete(self, key: str) -> None:
        self._s3.delete(self._root + key)

    def sweep(self, before: float) -> int:
        stale = [
            upload for upload, begun in self._s3.uploads(f"{self._root}blobs/") if begun.timestamp() < before
        ]
        for upload in stale:
            self._s3.abort(upload)
        return len(stale)
