"""A lock in S3: an object that one writer at a time can create.

Only writing an object under the condition that there is none (IfNoneMatch) is atomic on every S3 store. AWS
says the same of completing a multipart upload; SeaweedFS 4.48 looks first and completes then, and of four at
once up to four succeeded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from docmill.documents.s3 import S3

LOCK_PREFIX = ".docmill-lock-"
# A lock that says nothing new for so long is one of a process that died.
STALE_SECONDS = 30.0
_REFRESH_SECONDS = 5.0
_PAUSE = 0.1


class S3Lock:
    """Held within the context. Who takes long calls `refresh` now and then."""

    def __init__(self, s3: S3, key: str, run_id: str) -> None:
        self._s3, self._key, self._run_id = s3, key, run_id
        self._refreshed, self._etag = 0.0, ""

    def __enter__(self) -> S3Lock:
        seen, since = "", time.monotonic()
        while True:
            try:
                self._etag = self._s3.put(self._key, self._content(), exclusive=True)
                self._refreshed = time.monotonic()
                return self
            except FileExistsError:
                held = self._s3.head(self._key)
            # Told by its own clock, not by the time on the object: clocks differ.
            if held is not None and held.etag != seen:
                seen, since = held.etag, time.monotonic()
            elif held is not None and time.monotonic() - since > STALE_SECONDS:
                self._s3.delete(self._key, etag=seen)
            time.sleep(_PAUSE)

    def refresh(self) -> None:
        """Say that the holder is alive; costs a request every few seconds."""
        if time.monotonic() - self._refreshed > _REFRESH_SECONDS:
            self._etag = self._s3.put(self._key, self._content())
            self._refreshed = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # a store that fails; whoever comes next finds the lock stale
            self._s3.delete(self._key, etag=self._etag)

    @staticmethod
    def sweep(s3: S3, folder: str, is_alive: Callable[[str], bool]) -> None:
        """Remove the locks of dead runs in `folder`; who waits for one finds out by itself, but later."""
        for found in s3.list(folder + LOCK_PREFIX):
            with suppress(FileNotFoundError):
                run_id = b"".join(s3.get(found.key)[1]).decode().partition(" ")[0]
                if not is_alive(run_id):
                    s3.delete(found.key, etag=found.etag)

    def _content(self) -> bytes:
        return f"{self._run_id} {os.urandom(8).hex()}".encode()
