"""Publish to S3: uncompleted multipart uploads, completed under the condition that the key is free.

Objects carry the run id and their SHA-256 as metadata. As long as something is staged, an object named like a
temporary file (`.docmill-<run id>-<nonce>`) in the target's folder lists the keys, so that uploads of runs
that died can be found and aborted, and an output of many files without its manifest be taken back.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from docmill.documents.failures import destination_failures
from docmill.documents.model import PublishedOutput
from docmill.documents.publish import (
    TEMPORARY_PREFIX,
    Order,
    already_exists,
    listing_sha256,
    run_of,
    temporary_name,
)
from docmill.documents.s3 import S3, Upload, split
from docmill.documents.uris import Location
from docmill.formats import BY_EXTENSION

_RUN, _SHA256 = "docmill-run", "docmill-sha256"


class StagedS3:
    """Uploads that nobody sees until they are completed, the manifest last."""

    def __init__(self, order: Order, location: Location) -> None:
        self._order, self._shown = order, location.shown
        bucket, key = split(location)
        in_folder = order.manifest is not None or not key or key.endswith("/")
        self._folder = key.rstrip("/") + "/" if in_folder and key.strip("/") else key[: key.rfind("/") + 1]
        self._keys = [self._folder + output.name for output in order.outputs] if in_folder else [key]
        self._manifest = None if order.manifest is None else self._folder + order.manifest
        self._s3 = S3(bucket)
        self._uploads: list[Upload] = []
        self._marker: _Marker | None = None
        self._there = self._published_before()
        if self._there is not None:
            return
        self._take_back_earlier_attempts()
        if not order.overwrite:
            self._check_free()
        self._stage()

    def commit(self) -> PublishedOutput:
        if self._there is not None:
            return self._there
        if self._marker is None:
            raise RuntimeError("this output was discarded")
        with destination_failures(self._shown):
            try:
                if self._manifest is not None and self._order.overwrite:
                    self._set_aside(self._marker)
                for upload in self._uploads:
                    self._complete(upload)
                if self._manifest is not None:
                    self._write_manifest(self._manifest)
            except BaseException:
                self.discard()
                raise
            marker, self._marker = self._marker, None
            with suppress(Exception):  # the output is whole; what is left here, a sweep removes
                marker.remove(self._s3)
        return self._published(already_there=False)

    def discard(self) -> None:
        if self._marker is None:
            return
        marker, self._marker = self._marker, None
        with suppress(Exception):  # a store that fails; a sweep does it later
            marker.take_back(self._s3, self._uploads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _published_before(self) -> PublishedOutput | None:
        """What this very run has published there before, if it is still there."""
        if self._manifest is not None:
            values = _read_manifest(self._s3, self._manifest)
            if values is None or values["run_id"] != self._order.run_id:
                return None
            if not all(self._is(self._folder + file["name"], file["sha256"]) for file in values["files"]):
                return None
            return self._published(values["files"], already_there=True)
        found = self._s3.head(self._keys[0])
        if found is None or found.metadata.get(_RUN) != self._order.run_id or _SHA256 not in found.metadata:
            return None
        file = {"name": "", "size": found.size, "sha256": found.metadata[_SHA256]}
        return self._published([file], already_there=True)

    def _is(self, key: str, sha256: str) -> bool:
        found = self._s3.head(key)
        return (
            found is not None
            and found.metadata.get(_RUN) == self._order.run_id
            and found.metadata.get(_SHA256) == sha256
        )

    def _take_back_earlier_attempts(self) -> None:
        for found in self._s3.list(f"{self._folder}{TEMPORARY_PREFIX}{self._order.run_id}-"):
            marker = _Marker.read(self._s3, found.key)
            if marker is not None:
                marker.take_back(self._s3)

    def _check_free(self) -> None:
        for key in [*self._keys, *([self._manifest] if self._manifest else [])]:
            if self._s3.head(key) is not None:
                raise already_exists(f"s3://{self._s3.bucket}/{key}")

    def _stage(self) -> None:
        marker = _Marker(self._folder + temporary_name(self._order.run_id), tuple(self._keys), self._manifest)
        marker.write(self._s3)
        self._marker = marker
        try:
            for key, output in zip(self._keys, self._order.outputs, strict=True):
                metadata = {_RUN: self._order.run_id, _SHA256: output.sha256}
                kind = BY_EXTENSION.get(output.path.suffix.lower().lstrip("."))
                media_type = str(kind.mime_type) if kind else ""
                self._uploads.append(
                    self._s3.upload(key, output.path, metadata=metadata, media_type=media_type)
                )
        except BaseException:
            self.discard()
            raise

    def _set_aside(self, marker: _Marker) -> None:
        """Copy away what this run replaces, then take away the old manifest, and what only that lists."""
        assert self._manifest is not None
        values = _read_manifest(self._s3, self._manifest)
        listed = [self._folder + file["name"] for file in values["files"]] if values else []
        keys = dict.fromkeys([*self._keys, *listed, self._manifest])
        replaced = [key for key in keys if self._s3.head(key) is not None]
        for key in replaced:
            self._s3.copy(key, marker.old(key))
        self._s3.delete(self._manifest)
        for key in replaced:
            if key not in self._keys:
                self._s3.delete(key)

    def _complete(self, upload: Upload) -> None:
        output = self._order.outputs[self._uploads.index(upload)]
        try:
            self._s3.complete(upload, exclusive=not self._order.overwrite)
        except Exception as exc:
            # An answer may get lost on its way, and the second try then finds the first one's success.
            if self._is(upload.key, output.sha256):
                return
            if isinstance(exc, FileExistsError):
                raise already_exists(f"s3://{self._s3.bucket}/{upload.key}") from exc
            raise

    def _write_manifest(self, key: str) -> None:
        content = self._order.manifest_content()
        try:
            self._s3.put(
                key,
                content,
                exclusive=not self._order.overwrite,
                metadata={_RUN: self._order.run_id, _SHA256: self._order.sha256},
            )
        except Exception as exc:
            if self._is(key, self._order.sha256):
                return
            if isinstance(exc, FileExistsError):
                raise already_exists(f"s3://{self._s3.bucket}/{key}") from exc
            raise

    def _published(
        self, files: list[dict[str, Any]] | None = None, *, already_there: bool
    ) -> PublishedOutput:
        base = f"s3://{self._s3.bucket}/"
        if files is None:
            files = [{"name": o.name, "size": o.size, "sha256": o.sha256} for o in self._order.outputs]
        size = sum(file["size"] for file in files)
        if self._manifest is None:
            uri = base + self._keys[0]
            return PublishedOutput(uri, (uri,), size, files[0]["sha256"], already_there=already_there)
        return PublishedOutput(
            uri=base + self._folder,
            files=tuple(base + self._folder + file["name"] for file in files),
            size=size,
            sha256=listing_sha256([(file["name"], file["sha256"]) for file in files]),
            already_there=already_there,
            manifest=base + self._manifest,
        )


@dataclass(frozen=True, slots=True)
class _Marker:
    """Says which keys a run is about to write; what it replaces is kept below the marker's own key."""

    key: str
    keys: tuple[str, ...]
    manifest: str | None

    def write(self, s3: S3) -> None:
        content = {"keys": self.keys, "manifest": self.manifest}
        s3.put(self.key, json.dumps(content).encode(), metadata={})

    @classmethod
    def read(cls, s3: S3, key: str) -> _Marker | None:
        """The marker at `key`; None if it is none, as what a run has set aside."""
        if run_of(key.rpartition("/")[2]) is None:
            return None
        try:
            values = json.loads(b"".join(s3.get(key)[1]))
            return cls(key, tuple(values["keys"]), values["manifest"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    @property
    def run_id(self) -> str:
        return run_of(self.key.rpartition("/")[2]) or ""

    def old(self, key: str) -> str:
        return f"{self.key}.old/{key.rpartition('/')[2]}"

    def take_back(self, s3: S3, uploads: list[Upload] | None = None) -> None:
        """Undo what the run has done, unless its manifest is there.

        `uploads` are its uploads; None where they have to be found, after the run has died.
        """
        for upload in self._begun_uploads(s3) if uploads is None else uploads:
            s3.abort(upload)
        if self.manifest is not None and not self._owns(s3, self.manifest):
            for key in self.keys:
                if self._owns(s3, key):
                    s3.delete(key)
            folder = self.key.rpartition("/")[0]
            for old in s3.list(f"{self.key}.old/"):
                target = f"{folder}/{old.key.rpartition('/')[2]}".lstrip("/")
                if s3.head(target) is None:
                    s3.copy(old.key, target)
        self.remove(s3)

    def remove(self, s3: S3) -> None:
        for old in s3.list(f"{self.key}.old/"):
            s3.delete(old.key)
        s3.delete(self.key)

    def _owns(self, s3: S3, key: str) -> bool:
        found = s3.head(key)
        return found is not None and found.metadata.get(_RUN) == self.run_id

    def _begun_uploads(self, s3: S3) -> list[Upload]:
        """Uploads to this run's keys. Another run's to the same key look the same, so they are left alone
        as long as that run's marker is there."""
        folder = self.key[: self.key.rfind("/") + 1]
        others: set[str] = set()
        for found in s3.list(folder + TEMPORARY_PREFIX):
            other = _Marker.read(s3, found.key) if found.key != self.key else None
            others |= set(other.keys) if other is not None else set()
        return [
            upload
            for key in self.keys
            if key not in others
            for upload, _ in s3.uploads(key)
            if upload.key == key
        ]


def sweep_s3(location: Location, is_alive: Callable[[str], bool]) -> int:
    """Take back what dead runs have begun below `location`; returns how many runs."""
    bucket, key = split(location)
    folder = key.rstrip("/") + "/" if key.strip("/") else ""
    s3 = S3(bucket)
    count = 0
    for found in s3.list(folder + TEMPORARY_PREFIX):
        marker = _Marker.read(s3, found.key)
        if marker is not None and not is_alive(marker.run_id):
            marker.take_back(s3)
            count += 1
    return count


def _read_manifest(s3: S3, key: str) -> dict[str, Any] | None:
    from docmill.documents.publish import parse_manifest

    try:
        return parse_manifest(b"".join(s3.get(key)[1]))
    except FileNotFoundError:
        return None
