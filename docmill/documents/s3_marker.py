"""What tells, beside a target in S3, that a run is about to write there, and undoes it if the run dies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from docmill.documents.publish import TEMPORARY_PREFIX, run_of
from docmill.documents.s3 import S3, Upload, split
from docmill.documents.s3_lock import S3Lock
from docmill.documents.uris import Location

RUN, SHA256 = "docmill-run", "docmill-sha256"


@dataclass(frozen=True, slots=True)
class Marker:
    """An object named `.docmill-<run id>-<nonce>` that lists the keys; what they replace is kept below it."""

    key: str
    keys: tuple[str, ...]
    manifest: str | None

    @classmethod
    def read(cls, s3: S3, key: str) -> Marker | None:
        """The marker at `key`; None if there is none."""
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

    @property
    def folder(self) -> str:
        return self.key[: self.key.rfind("/") + 1]

    def write(self, s3: S3) -> None:
        s3.put(self.key, json.dumps({"keys": self.keys, "manifest": self.manifest}).encode())

    def set_aside(self, s3: S3, keys: Sequence[str]) -> None:
        """Keep a copy of what is at `keys`, all of them in the marker's own folder."""
        for key in keys:
            s3.copy(key, f"{self.key}.old/{key.removeprefix(self.folder)}")

    def take_back(self, s3: S3, uploads: Sequence[Upload] | None = None) -> None:
        """Undo what the run has done, and restore what that replaced, unless its manifest is there.

        `uploads` are its uploads; None where they have to be found, since the run has died.
        """
        for upload in self._begun_uploads(s3) if uploads is None else uploads:
            s3.abort(upload)
        if self.manifest is not None and not self._owns(s3, self.manifest):
            for key in self.keys:
                if self._owns(s3, key):
                    s3.delete(key)
            for old in s3.list(f"{self.key}.old/"):
                target = self.folder + old.key.removeprefix(f"{self.key}.old/")
                if s3.head(target) is None:
                    s3.copy(old.key, target)
        self.remove(s3)

    def remove(self, s3: S3) -> None:
        """Remove the marker and what was set aside."""
        for old in s3.list(f"{self.key}.old/"):
            s3.delete(old.key)
        s3.delete(self.key)

    def _owns(self, s3: S3, key: str) -> bool:
        found = s3.head(key)
        return found is not None and found.metadata.get(RUN) == self.run_id

    def _begun_uploads(self, s3: S3) -> list[Upload]:
        # Another run's uploads to the same key look the same: as long as its marker is there they are left.
        others: set[str] = set()
        for found in s3.list(self.folder + TEMPORARY_PREFIX):
            other = Marker.read(s3, found.key) if found.key != self.key else None
            others |= set(other.keys) if other is not None else set()
        return [
            upload
            for key in self.keys
            if key not in others
            for upload, _ in s3.uploads(key)
            if upload.key == key
        ]


def take_back_attempts(s3: S3, folder: str, run_id: str) -> None:
    """Undo what earlier attempts of this very run left in `folder`."""
    for found in s3.list(f"{folder}{TEMPORARY_PREFIX}{run_id}-"):
        marker = Marker.read(s3, found.key)
        if marker is not None and marker.run_id == run_id:
            marker.take_back(s3)


def sweep_s3(location: Location, is_alive: Callable[[str], bool]) -> int:
    """Undo what dead runs have begun in the folder `location`; returns how many."""
    bucket, key = split(location)
    folder = key.rstrip("/") + "/" if key.strip("/") else ""
    s3 = S3(bucket)
    count = 0
    for found in s3.list(folder + TEMPORARY_PREFIX):
        marker = Marker.read(s3, found.key)
        if marker is not None and not is_alive(marker.run_id):
            marker.take_back(s3)
            count += 1
    S3Lock.sweep(s3, folder, is_alive)
    return count
