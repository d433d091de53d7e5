"""Publish many files into a local folder, all of them or none; see `publish_local`."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from docmill.documents.failures import destination_failures
from docmill.documents.local_files import file_sha256, sync_folder, write_all
from docmill.documents.manifest import ListedFile, Manifest
from docmill.documents.model import PublishedOutput
from docmill.documents.publish import (
    TEMPORARY_PREFIX,
    Order,
    Staged,
    already_exists,
    run_of,
    temporary_name,
)
from docmill.documents.publish_local import name_file, stage_file
from docmill.errors import DestinationExists, DestinationForbidden, Phase

# Within the staging folder: this run's files, its manifest, and what they replace.
_NEW, _LIST, _OLD = "new", "list", "old"


class StagedFolder(Staged):
    """Files staged in a folder of their own within the target folder.

    `new/<name>` are the files of this run, which keep that second name until the end, `old/<name>` is what
    they replace: `take_back` tells by them what to remove and what to restore, in this process or, after a
    kill, in another. The staging folder is locked as long as its process lives.
    """

    def __init__(self, order: Order, target: Path) -> None:
        assert order.manifest is not None
        self._order, self._shown = order, str(target)
        self._folder = Path(os.path.realpath(target))
        self._manifest = self._folder / order.manifest
        self._staging: Staging | None = None
        self._made = _make_folder(self._folder, self._shown)
        self._there = _published_before(self._manifest, order.run_id)
        if self._there is not None:
            return
        try:
            take_back_dead(self._folder)
            if not order.overwrite:
                self._check_free()
            self._staging = Staging(self._folder, order.run_id)
            self._stage(self._staging.path)
        except BaseException:
            self.discard()
            raise

    def commit(self) -> PublishedOutput:
        if self._there is not None:
            return self._published(self._there, already_there=True)
        staging = self._staging
        if staging is None:
            raise RuntimeError("this output was discarded")
        try:
            with destination_failures(self._shown):
                self._name_all(staging.path)
        except BaseException:
            self.discard()
            raise
        staging.remove()
        self._staging, self._made = None, []
        return self._published(self._order.listed, already_there=False)

    def discard(self) -> None:
        if self._staging is not None:
            with suppress(OSError):
                take_back(self._staging.path)
            self._staging.remove()
            self._staging = None
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()
        self._made = []

    def _check_free(self) -> None:
        names = [output.name for output in self._order.outputs] + [self._manifest.name]
        taken = [name for name in names if os.path.lexists(self._folder / name)]
        if len(taken) == 1:
            raise already_exists(str(self._folder / taken[0]))
        if taken:
            raise DestinationExists(
                f"'{self._folder / taken[0]}' and {len(taken) - 1} more of the outputs exist already",
                hint="choose another folder, or give the option overwrite",
                phase=Phase.PUBLISH,
            )

    def _stage(self, staging: Path) -> None:
        for output in self._order.outputs:
            target = self._folder / output.name
            refuse_folder(target)
            stage_file(output, staging / _NEW / output.name, self._order.run_id, replaces=target)
        refuse_folder(self._manifest)
        fd = os.open(staging / _LIST / self._manifest.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            write_all(fd, self._order.listed.to_json())
            os.fsync(fd)
        finally:
            os.close(fd)

    def _name_all(self, staging: Path) -> None:
        if self._order.overwrite:
            self._set_aside(staging)
        for output in self._order.outputs:
            self._name(staging / _NEW / output.name)
        sync_folder(self._folder)
        self._name(staging / _LIST / self._manifest.name)

    def _name(self, staged: Path) -> None:
        # A rename would lose the second name that tells whose the file is.
        spare = staged.with_name(staged.name + ".spare")
        target = self._folder / staged.name
        spare.hardlink_to(staged)
        name_file(spare, target, str(target), overwrite=False)

    def _set_aside(self, staging: Path) -> None:
        """Take away what this run replaces, the old manifest first, and what that lists and this does not."""
        ours = [output.name for output in self._order.outputs]
        for name in dict.fromkeys([self._manifest.name, *_unchanged(self._manifest), *ours]):
            with suppress(FileNotFoundError):
                (self._folder / name).rename(staging / _OLD / name)

    def _published(self, manifest: Manifest, *, already_there: bool) -> PublishedOutput:
        return PublishedOutput(
            uri=self._folder.as_uri() + "/",
            files=tuple((self._folder / file.name).as_uri() for file in manifest.files),
            size=manifest.size,
            sha256=manifest.sha256,
            already_there=already_there,
            manifest=self._manifest.as_uri(),
        )


class Staging:
    """A staging folder, locked so that others can tell if its process lives."""

    def __init__(self, folder: Path, run_id: str) -> None:
        while True:
            self.path = folder / temporary_name(run_id)
            self.path.mkdir()
            lock = lock_folder(self.path)
            if lock is not None:
                break  # else somebody took it for a dead one's, in the moment before it was locked
        self._lock = lock
        for name in (_NEW, _LIST, _OLD):
            (self.path / name).mkdir()

    def remove(self) -> None:
        """Remove the folder, and let go of its lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def lock_folder(path: Path) -> int | None:
    """A descriptor that holds the lock on a folder; None if another process has it, or it is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), path.stat()):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def take_back_dead(folder: Path, is_alive: Callable[[str], bool] = lambda run_id: False) -> int:
    """Undo what killed runs left half-way in `folder`; returns how many there were."""
    count = 0
    for path in sorted(folder.glob(f"{TEMPORARY_PREFIX}*")):
        run_id = run_of(path.name)
        if run_id is None or not path.is_dir() or is_alive(run_id):
            continue
        lock = lock_folder(path)
        if lock is None:
            continue
        try:
            take_back(path)
            shutil.rmtree(path, ignore_errors=True)
            count += 1
        finally:
            os.close(lock)
    return count


def take_back(staging: Path) -> None:
    """Undo what was named from `staging`, and restore what that replaced, unless its manifest was named."""
    folder = staging.parent
    if any(_same_file(new, folder / new.name) for new in _files(staging / _LIST)):
        return
    for new in _files(staging / _NEW):
        if _same_file(new, folder / new.name):
            (folder / new.name).unlink()
    for old in _files(staging / _OLD):
        if not os.path.lexists(folder / old.name):
            old.rename(folder / old.name)


def refuse_folder(path: Path) -> None:
    """Raise `DestinationForbidden` where a folder has the name that an output is to get."""
    if path.is_dir():
        raise DestinationForbidden(
            f"'{path}' is a folder, in the way of an output",
            hint="choose another folder",
            phase=Phase.PUBLISH,
        )


def _make_folder(folder: Path, shown: str) -> list[Path]:
    """Make `folder` and its parents; returns those that were missing, the innermost first."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise DestinationForbidden(
            f"'{shown}' is no folder, and the output is of many files",
            hint="name a folder, with / at its end",
            phase=Phase.PUBLISH,
        )
    missing = []
    for path in (folder, *folder.parents):
        if path.exists():
            break
        missing.append(path)
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _published_before(path: Path, run_id: str) -> Manifest | None:
    """The manifest at `path`, if this run has published it and its files are still what it says."""
    manifest = _read_manifest(path)
    if manifest is None or manifest.run_id != run_id:
        return None
    return manifest if len(_unchanged(path)) == len(manifest.files) else None


def _unchanged(path: Path) -> list[str]:
    """The files that the manifest at `path` lists and that still are what it says."""
    manifest = _read_manifest(path)
    if manifest is None:
        return []
    return [file.name for file in manifest.files if _is_file(path.with_name(file.name), file)]


def _is_file(path: Path, file: ListedFile) -> bool:
    try:
        return path.stat().st_size == file.size and file_sha256(path) == file.sha256
    except OSError:
        return False


def _read_manifest(path: Path) -> Manifest | None:
    try:
        return Manifest.from_json(path.read_bytes())
    except OSError:
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(one.stat(), other.stat())
    except OSError:
        return False
