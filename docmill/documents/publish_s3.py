"""Publish to S3: an object at once, or uploads that are completed, if the key is free.

Objects carry the run id and their SHA-256 as metadata, so that a rerun knows its own. One small file is
written by a single conditional request. A larger one, and the files of an output of many, are staged as
uncompleted multipart uploads, and completed under a lock (see `s3_lock` for why); as long as they are not, a
marker object (`s3_marker`) says so.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

from docmill.documents.failures import destination_failures
from docmill.documents.manifest import ListedFile, Manifest
from docmill.documents.model import PublishedOutput
from docmill.documents.publish import (
    Order,
    Output,
    Staged,
    already_exists,
    temporary_name,
)
from docmill.documents.s3 import PART_BYTES, S3, Upload, at_once, split
from docmill.documents.s3_lock import LOCK_PREFIX, S3Lock
from docmill.documents.s3_marker import RUN, SHA256, Marker, take_back_attempts
from docmill.documents.uris import Location
from docmill.formats import BY_EXTENSION

_FILES_AT_ONCE = 8


def stage_s3(order: Order, location: Location) -> Staged:
    """Stage for S3; see `publish.stage`."""
    if order.manifest is None and order.size <= PART_BYTES:
        return StagedObject(order, location)
    return StagedUploads(order, location)


def check_s3(location: Location, *, overwrite: bool, run_id: str) -> None:
    """Look at a target on S3 before there is an output; see `publish.check_target`."""
    bucket, key = split(location)
    s3 = S3(bucket)
    found = s3.head(key) if key and not key.endswith("/") else None
    if found is None:
        s3.check_bucket()
    elif not overwrite and found.metadata.get(RUN) != run_id:
        raise already_exists(location.shown)


class _StagedS3(Staged):
    """What both kinds share: which keys are written, and what is there already."""

    def __init__(self, order: Order, location: Location) -> None:
        bucket, key = split(location)
        self._order, self._shown, self._s3 = order, location.shown, S3(bucket)
        folder = key.rstrip("/") + "/" if key.strip("/") else ""
        if order.manifest is None and folder and not key.endswith("/"):
            self._folder, self._keys = key[: key.rfind("/") + 1], [key]
        else:
            self._folder, self._keys = folder, [folder + output.name for output in order.outputs]
        self._manifest = None if order.manifest is None else folder + order.manifest
        self._there = self._published_before()

    def commit(self) -> PublishedOutput:
        if self._there is not None:
            return self._there
        with destination_failures(self._shown):
            self._commit()
        return self._published(self._order.listed, already_there=False)

    @abstractmethod
    def _commit(self) -> None:
        """Give the bytes their names."""

    def _published_before(self) -> PublishedOutput | None:
        """What this very run has published there before, if it is still there."""
        if self._manifest is not None:
            manifest = self._read_manifest(self._manifest)
            if manifest is None or manifest.run_id != self._order.run_id:
                return None
            if not all(self._is_mine(self._folder + file.name, file.sha256) for file in manifest.files):
                return None
            return self._published(manifest, already_there=True)
        found = self._s3.head(self._keys[0])
        if found is None or found.metadata.get(RUN) != self._order.run_id or SHA256 not in found.metadata:
            return None
        file = ListedFile(self._order.outputs[0].name, found.size, found.metadata[SHA256])
        return self._published(Manifest(self._order.run_id, (file,)), already_there=True)

    def _read_manifest(self, key: str) -> Manifest | None:
        try:
            return Manifest.from_json(b"".join(self._s3.get(key)[1]))
        except FileNotFoundError:
            return None

    def _check_free(self) -> None:
        if self._order.overwrite:
            return
        keys = [*self._keys, *([self._manifest] if self._manifest else [])]
        found = at_once(self._s3.head, keys, _FILES_AT_ONCE)
        taken = [key for key, there in zip(keys, found, strict=True) if there is not None]
        if taken:
            raise already_exists(self._uri(taken[0]))

    def _metadata(self, sha256: str) -> dict[str, str]:
        return {RUN: self._order.run_id, SHA256: sha256}

    def _is_mine(self, key: str, sha256: str) -> bool:
        found = self._s3.head(key)
        return found is not None and found.metadata | self._metadata(sha256) == found.metadata

    @contextmanager
    def _writing(self, key: str, sha256: str) -> Iterator[None]:
        """An answer may get lost on its way, and the second try then finds the first one's success."""
        try:
            yield
        except Exception as exc:
            with suppress(Exception):
                if self._is_mine(key, sha256):
                    return
            if isinstance(exc, FileExistsError):
                raise already_exists(self._uri(key)) from exc
            raise

    def _uri(self, key: str) -> str:
        return f"s3://{self._s3.bucket}/{key}"

    def _published(self, listed: Manifest, *, already_there: bool) -> PublishedOutput:
        if self._manifest is None:
            uri, sha256 = self._uri(self._keys[0]), listed.files[0].sha256
            return PublishedOutput(uri, (uri,), listed.size, sha256, already_there=already_there)
        return PublishedOutput(
            uri=self._uri(self._folder),
            files=tuple(self._uri(self._folder + file.name) for file in listed.files),
            size=listed.size,
            sha256=listed.sha256,
            already_there=already_there,
            manifest=self._uri(self._manifest),
        )


class StagedObject(_StagedS3):
    """A file that goes in one request: nothing is in the store before that."""

    def __init__(self, order: Order, location: Location) -> None:
        super().__init__(order, location)
        if self._there is None:
            self._check_free()

    def _commit(self) -> None:
        output, key = self._order.outputs[0], self._keys[0]
        with self._writing(key, output.sha256):
            self._s3.put(
                key,
                output.path.read_bytes(),
                exclusive=not self._order.overwrite,
                metadata=self._metadata(output.sha256),
                media_type=_media_type(output),
            )

    def discard(self) -> None:
        pass


class StagedUploads(_StagedS3):
    """Uploads that nobody sees until they are completed, the manifest last."""

    def __init__(self, order: Order, location: Location) -> None:
        super().__init__(order, location)
        self._uploads: list[Upload] = []
        self._marker: Marker | None = None
        if self._there is not None:
            return
        take_back_attempts(self._s3, self._folder, order.run_id)
        self._check_free()
        self._marker = Marker(self._folder + temporary_name(order.run_id), tuple(self._keys), self._manifest)
        self._marker.write(self._s3)
        try:
            at_once(self._upload, list(zip(self._keys, order.outputs, strict=True)), _FILES_AT_ONCE)
        except BaseException:
            self.discard()
            raise

    def _upload(self, item: tuple[str, Output]) -> None:
        key, output = item
        metadata, media_type = self._metadata(output.sha256), _media_type(output)
        self._uploads.append(self._s3.upload(key, output.path, metadata=metadata, media_type=media_type))

    def _commit(self) -> None:
        marker = self._marker
        if marker is None:
            raise RuntimeError("this output was discarded")
        try:
            self._complete_all(marker)
        except BaseException:
            self.discard()
            raise
        self._marker = None
        with suppress(Exception):  # the output is whole; what is left of the marker, a sweep removes
            marker.remove(self._s3)

    def _complete_all(self, marker: Marker) -> None:
        # One file that replaces whatever there is needs no lock: the last one wins.
        needed = self._manifest is not None or not self._order.overwrite
        lock = S3Lock(self._s3, self._lock_key(), self._order.run_id) if needed else None
        with lock or nullcontext():
            self._check_free()
            if self._manifest is not None and self._order.overwrite:
                self._set_aside(marker, self._manifest)
            sha256s = dict(zip(self._keys, (o.sha256 for o in self._order.outputs), strict=True))

            def complete(upload: Upload) -> None:
                if lock is not None:
                    lock.refresh()
                with self._writing(upload.key, sha256s[upload.key]):
                    self._s3.complete(upload, exclusive=not self._order.overwrite)

            at_once(complete, self._uploads, _FILES_AT_ONCE)
            if self._manifest is not None:
                self._write_manifest(self._manifest)

    def _set_aside(self, marker: Marker, manifest: str) -> None:
        """Keep what this run replaces; take away the old manifest, and what only that lists."""
        old = self._read_manifest(manifest)
        listed = [self._folder + file.name for file in old.files] if old else []
        keys = list(dict.fromkeys([*self._keys, *listed, manifest]))
        found = at_once(self._s3.head, keys, _FILES_AT_ONCE)
        replaced = [key for key, there in zip(keys, found, strict=True) if there is not None]
        marker.set_aside(self._s3, replaced)
        self._s3.delete(manifest)
        for key in replaced:
            if key not in self._keys:
                self._s3.delete(key)

    def _write_manifest(self, key: str) -> None:
        with self._writing(key, self._order.sha256):
            self._s3.put(
                key,
                self._order.listed.to_json(),
                exclusive=not self._order.overwrite,
                metadata=self._metadata(self._order.sha256),
                media_type="application/json",
            )

    def discard(self) -> None:
        if self._marker is None:
            return
        marker, self._marker = self._marker, None
        with suppress(Exception):  # a store that fails; a sweep does it later
            marker.take_back(self._s3, self._uploads)

    def _lock_key(self) -> str:
        name = hashlib.sha256((self._manifest or self._keys[0]).encode()).hexdigest()[:8]
        return f"{self._folder}{LOCK_PREFIX}{name}"


def _media_type(output: Output) -> str:
    found = BY_EXTENSION.get(output.path.suffix.lower().lstrip("."))
    return str(found.mime_type) if found else ""
