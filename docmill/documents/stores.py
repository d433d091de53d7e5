"""What the document cache asks of a store, and the local folder that answers without fsspec.

A key is a relative path with `/`. What a store raises are `OSError`s and its library's own errors; the caller
translates them (`docmill.documents.failures`).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from docmill.documents.local_files import copy_content, sync_folder, take_name, write_all
from docmill.documents.uris import parse_location

_TEMPORARY = ".tmp-"
_TRIES = 100


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An object of a store; `modified` counts seconds since 1970."""

    key: str
    size: int
    modified: float


class Store(Protocol):
    """A folder of objects, each written and replaced at once: a reader sees the old one or the new one."""

    url: str

    def read(self, key: str) -> bytes:
        """A small object; raises `FileNotFoundError`."""

    def write(self, key: str, data: bytes, *, exclusive: bool = False, durable: bool = True) -> None:
        """Write a small object; with `exclusive` raises `FileExistsError` where there is one already.

        What need not outlast a loss of power is not `durable`.
        """

    def upload(self, key: str, source: Path, check: Callable[[], None]) -> None:
        """Write an object from a file, never whole in memory; if `check` raises in the end, there is none."""

    def chunks(self, key: str) -> Iterator[bytes]:
        """The bytes of an object; raises `FileNotFoundError`."""

    def size(self, key: str) -> int | None:
        """The bytes of an object; None where there is none."""

    def list(self, folder: str) -> Iterator[StoredItem]:
        """All objects below `folder`."""

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

    def sweep(self, before: float) -> int:
        """Remove what writers that died before that time left unfinished; returns how many."""


def open_store(url: str) -> Store:
    """The store at `url`, a path or any fsspec URL; local folders need no fsspec."""
    location = parse_location(url)
    if location.is_local:
        return LocalStore(location.path.absolute())
    from docmill.documents.s3 import SCHEMES

    if location.scheme in SCHEMES:
        from docmill.documents.s3_store import S3Store

        return S3Store(location)
    from docmill.documents.fsspec_store import FsspecStore

    return FsspecStore(location)


class LocalStore:
    """A local folder: temporary name, fsync, rename."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def path(self, key: str) -> Path:
        return self.root / key

    def read(self, key: str) -> bytes:
        return self.path(key).read_bytes()

    def write(self, key: str, data: bytes, *, exclusive: bool = False, durable: bool = True) -> None:
        path = self.path(key)
        with self._temporary(key) as (temporary, fd):
            write_all(fd, data)
            if durable:
                os.fsync(fd)
            if exclusive:
                take_name(temporary, path)
            else:
                temporary.replace(path)
        if durable:
            _sync_names(path)

    def upload(self, key: str, source: Path, check: Callable[[], None]) -> None:
        with self._temporary(key) as (temporary, fd):
            copy_content(source, fd)
            check()
            os.fsync(fd)
            temporary.replace(self.path(key))
        _sync_names(self.path(key))

    def chunks(self, key: str) -> Iterator[bytes]:
        with self.path(key).open("rb", buffering=0) as file:
            while chunk := file.read(1 << 20):
                yield chunk

    def size(self, key: str) -> int | None:
        try:
            return self.path(key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, folder: str) -> Iterator[StoredItem]:
        for path, status in _walk(self.path(folder)):
            if not path.name.startswith(_TEMPORARY):
                yield StoredItem(path.relative_to(self.root).as_posix(), status.st_size, status.st_mtime)

    def delete(self, key: str) -> None:
        path = self.path(key)
        path.unlink(missing_ok=True)
        # The folders of a document are its own; one that is in use again is not empty.
        for folder in path.parents:
            if folder == self.root or folder.parent == self.root:
                return
            try:
                folder.rmdir()
            except OSError:
                return

    def sweep(self, before: float) -> int:
        left = [
            path
            for path, status in _walk(self.root)
            if path.name.startswith(_TEMPORARY) and status.st_mtime < before
        ]
        return sum(map(_remove_unlocked, left))

    def link(self, key: str, link: str) -> bool:
        """A second name for an object, which outlives its deletion; False where links are not to be had."""
        target = self.path(link)
        for _ in range(_TRIES):
            _make_folder(target.parent, self.root)
            try:
                target.hardlink_to(self.path(key))
            except FileNotFoundError:
                # The object is gone, or the folder of the link, which is removed when it is empty.
                if self.size(key) is None:
                    raise
            except OSError:
                return False
            else:
                return True
        raise _vanishing(target.parent)

    @contextmanager
    def _temporary(self, key: str) -> Iterator[tuple[Path, int]]:
        path = self.path(key)
        temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{time.time_ns():x}-{os.urandom(4).hex()}")
        fd = _create_locked(temporary, self.root)
        try:
            yield temporary, fd
        finally:
            os.close(fd)
            temporary.unlink(missing_ok=True)


def _create_locked(path: Path, root: Path) -> int:
    """A new file, locked as long as its writer lives: so `sweep` tells it from what was left behind."""
    for _ in range(_TRIES):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            # Somebody may remove the folder, empty as it is, before the file is in it.
            _make_folder(path.parent, root)
            continue
        with suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)  # swept in the moment before it was locked
    raise _vanishing(path.parent)


def _make_folder(folder: Path, root: Path) -> None:
    # What the root holds comes from files that perhaps only their owner may read.
    with suppress(FileExistsError):
        root.mkdir(mode=0o700, parents=True)
    # pathlib says that it exists if it vanishes between the two looks that `exist_ok` takes.
    with suppress(FileExistsError):
        folder.mkdir(parents=True, exist_ok=True)


def _sync_names(path: Path) -> None:
    for folder in (path.parent, path.parent.parent):
        with suppress(FileNotFoundError):  # removed again already
            sync_folder(folder)


def _remove_unlocked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


def _vanishing(folder: Path) -> OSError:
    return OSError(f"the folder {folder} vanishes as often as it is made")


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield Path(entry.path), entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
