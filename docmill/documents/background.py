"""Work beside the caller's own: any call in a thread, and the SHA-256 of files, also while they grow."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from docmill.documents.model import FileSnapshot

T = TypeVar("T")
# Called with the bytes so far, and their number in all where it is known; what it raises ends the reading.
LoadProgress = Callable[[int, int | None], None]

# Small enough to be hashed out of the processor's cache: chunks of 1 MiB take a third longer.
_CHUNK = 1 << 17
# How often a growing file is looked at, in seconds: the more seldom, the longer there was nothing new.
_LOOK, _SELDOM_LOOK = 0.002, 0.1


class Background(Generic[T]):
    """A call that runs in a thread of its own from now on."""

    def __init__(self, call: Callable[[], T], name: str) -> None:
        self._call = call
        self._values: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until the call has ended, in whichever way."""
        self._thread.join()

    def result(self) -> T:
        """What the call returned, once it has; raises what it raised."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._values[0]

    def _run(self) -> None:
        try:
            self._values.append(self._call())
        except BaseException as error:
            self._error = error


class Hashing:
    """The SHA-256 of files, one after the other in a thread.

    Raises `OSError` where one cannot be opened; `snapshots` is what each was before its first byte was read.
    """

    def __init__(self, paths: Sequence[Path], progress: LoadProgress | None = None) -> None:
        self._paths = paths
        self._progress = progress
        self._stopped = False
        self.snapshots = tuple(FileSnapshot.of(path) for path in paths)
        self._background = Background(self._hash_all, "docmill-hash")

    def results(self) -> tuple[str, ...]:
        """The digests in hex, in the order of the files, once they are made; raises what reading raised."""
        return self._background.result()

    def result(self) -> str:
        """The digest of the only file."""
        (digest,) = self.results()
        return digest

    def stop(self) -> None:
        """Give up; nothing is read any more when this returns."""
        self._stopped = True
        self._background.wait()

    def _hash_all(self) -> tuple[str, ...]:
        return tuple(map(self._hash, self._paths, self.snapshots))

    def _hash(self, path: Path, snapshot: FileSnapshot) -> str:
        digest, done = hashlib.sha256(), 0
        buffer = memoryview(bytearray(_CHUNK))
        with path.open("rb", buffering=0) as file:
            # One that grows is read no further: who compares snapshots is told.
            while not self._stopped and done <= snapshot.size and (count := file.readinto(buffer)):
                digest.update(buffer[:count])
                done += count
                if self._progress is not None:
                    self._progress(done, snapshot.size)
        return digest.hexdigest()


class GrowingHash:
    """The SHA-256 of a file that is written from its beginning to its end, made in a thread while it grows.

    The file may not be there yet. `complete` says that it is whole, `stop` that nobody wants the digest.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._snapshot: FileSnapshot | None = None
        self._over = threading.Event()
        self._stopped = False
        self._background = Background(self._follow, "docmill-hash")

    @property
    def snapshots(self) -> tuple[FileSnapshot, ...]:
        """What the file was when it was complete."""
        return (self._snapshot,) if self._snapshot else ()

    def complete(self) -> None:
        """The file is whole from now on; raises `OSError` where it is not there."""
        self._snapshot = FileSnapshot.of(self.path)
        self._over.set()

    def results(self) -> tuple[str, ...]:
        """The digest in hex, once it is made; raises what reading raised."""
        return (self._background.result(),)

    def stop(self) -> None:
        """Give up; nothing is read any more when this returns."""
        self._stopped = True
        self._over.set()
        self._background.wait()

    def _follow(self) -> str:
        digest, pause = hashlib.sha256(), _LOOK
        buffer = memoryview(bytearray(_CHUNK))
        while not self.path.exists() and not self._over.wait(pause):
            pause = min(2 * pause, _SELDOM_LOOK)
        if self._stopped:
            return ""
        with self.path.open("rb", buffering=0) as file:
            while not self._stopped:
                # Asked before the file is read: what is there then is all.
                over = self._over.is_set()
                if count := file.readinto(buffer):
                    digest.update(buffer[:count])
                    pause = _LOOK
                elif over:
                    break
                else:
                    self._over.wait(pause)
                    pause = min(2 * pause, _SELDOM_LOOK)
        return digest.hexdigest()
