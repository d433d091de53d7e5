"""Publish to local folders: a temporary name in the same folder, fsync, then the name in one system call.

A published file carries `user.docmill.run` and `user.docmill.sha256` as extended attributes where the file
system has them. Where it has not, a rerun compares contents.

An output of many files is staged in a folder of its own inside the target folder, and each file keeps its
name in there until the manifest is committed. So what a killed run had already named can be told by its
inode, and be taken back.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from docmill.documents.failures import destination_failures
from docmill.documents.local_files import (
    copy_content,
    file_sha256,
    is_descriptor,
    link_instead_of_copy,
    sync_folder,
    take_name,
)
from docmill.documents.model import PublishedOutput
from docmill.documents.publish import (
    TEMPORARY_PREFIX,
    Order,
    Output,
    Staged,
    already_exists,
    run_of,
    temporary_name,
)
from docmill.errors import DestinationForbidden, Phase

_RUN, _SHA256 = "user.docmill.run", "user.docmill.sha256"


def stage_local(order: Order, target: str, *, rerun: bool) -> Staged:
    """Stage for a local target; see `publish.stage`."""
    with destination_failures(target):
        if order.manifest is not None:
            from docmill.documents.publish_folder import StagedFolder

            return StagedFolder(order, Path(target))
        path = Path(os.path.realpath(target))
        if target.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            path = Path(os.path.realpath(path / order.outputs[0].name))
            target += order.outputs[0].name
        if rerun:
            _remove_staged(path.parent, lambda run_id: run_id != order.run_id)
        return StagedFile(order, path, target)


def check_local(target: str, *, overwrite: bool, run_id: str, rerun: bool) -> None:
    """Look at a local target before there is an output; see `publish.check_target`."""
    with destination_failures(target):
        path = Path(os.path.realpath(target))
        if target.endswith("/"):
            if os.path.lexists(path) and not path.is_dir():
                raise DestinationForbidden(
                    f"'{target}' is no folder", hint="choose another name", phase=Phase.PUBLISH
                )
            folder = next(each for each in (path, *path.parents) if each.is_dir())
        else:
            folder = path.parent
            check_target(path, target)
            if not overwrite and not (rerun and _may_be_of(path, run_id)):
                check_free(path, target)
        _try_to_write(folder, target, run_id)


def _try_to_write(folder: Path, shown: str, run_id: str) -> None:
    # Asking for permissions alone would not tell of a read-only or full file system, or of /proc.
    probe = folder / temporary_name(run_id)
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        raise DestinationForbidden(
            f"'{shown}' cannot be written: '{folder}' takes no files",
            hint="choose another folder",
            phase=Phase.PUBLISH,
        ) from None
    probe.unlink()


def _may_be_of(path: Path, run_id: str) -> bool:
    """Whether `path` may be the run's own output; without extended attributes nobody can tell yet."""
    try:
        return os.getxattr(path, _RUN) == run_id.encode()
    except OSError as exc:
        return exc.errno == errno.ENOTSUP


class StagedFile(Staged):
    """One file, staged beside its name. A symbolic link is written through, as `cp` does."""

    def __init__(self, order: Order, path: Path, shown: str) -> None:
        self._order, self._path, self._shown = order, path, shown
        self._temporary: Path | None = None
        check_target(path, shown)
        self._there = published_before(path, order.outputs[0], order.run_id)
        if self._there is not None:
            return
        if not order.overwrite:
            check_free(path, shown)
        self._temporary = path.with_name(temporary_name(order.run_id))
        try:
            stage_file(order.outputs[0], self._temporary, order.run_id, replaces=path)
        except BaseException:
            self.discard()
            raise

    def commit(self) -> PublishedOutput:
        output = self._order.outputs[0]
        sha256 = self._there
        if sha256 is None:
            with destination_failures(self._shown):
                sha256 = self._name()
        uri = self._path.as_uri()
        size = output.size if sha256 == output.sha256 else self._path.stat().st_size
        already_there = self._temporary is None
        self._temporary = None
        return PublishedOutput(uri, (uri,), size, sha256, already_there=already_there)

    def _name(self) -> str:
        output, temporary = self._order.outputs[0], self._temporary
        if temporary is None:
            raise RuntimeError("this output was discarded")
        try:
            name_file(temporary, self._path, self._shown, self._order.overwrite)
        except BaseException:
            self.discard()
            raise
        return output.sha256

    def discard(self) -> None:
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.unlink()
            self._temporary = None


def check_target(path: Path, shown: str) -> None:
    """Refuse what cannot be replaced by a file, or has no folder to be in."""
    device = DestinationForbidden(
        f"'{shown}' is a device or a pipe, which cannot be written at once",
        hint="choose a file's name, or - for standard output",
        phase=Phase.PUBLISH,
    )
    if is_descriptor(Path(shown)) and Path(shown).exists():
        # What it leads to may be a file, but not one to be replaced: it is open.
        raise device
    if path.is_dir():
        raise DestinationForbidden(
            f"'{shown}' is a folder", hint="end it with / to put the output into it", phase=Phase.PUBLISH
        )
    if not path.parent.is_dir():
        raise DestinationForbidden(
            f"'{shown}' cannot be written: there is no folder '{path.parent}'",
            hint="create it first",
            phase=Phase.PUBLISH,
        )
    if path.exists() and not path.is_file():
        raise device


def check_free(path: Path, shown: str) -> None:
    """Refuse a name that is taken."""
    if os.path.lexists(path):
        raise already_exists(shown)


def published_before(path: Path, output: Output, run_id: str) -> str | None:
    """The SHA-256 of what this run has published at `path` before and nobody has changed since; else None."""
    try:
        run, sha256 = (os.getxattr(path, name).decode() for name in (_RUN, _SHA256))
    except OSError as exc:
        if exc.errno != errno.ENOTSUP:
            return None
        same = path.stat().st_size == output.size and file_sha256(path) == output.sha256
        return output.sha256 if same else None
    except UnicodeDecodeError:
        return None
    return sha256 if run == run_id and file_sha256(path) == sha256 else None


def stage_file(output: Output, temporary: Path, run_id: str, *, replaces: Path) -> None:
    """Bring the output to the name `temporary`, durably, like a file that `open(replaces, "w")` made."""
    if not link_instead_of_copy(output.path, temporary):
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            copy_content(output.path, fd)
        finally:
            os.close(fd)
    fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _keep_owner_and_mode(fd, replaces)
        with suppress(OSError):  # a file system without extended attributes
            os.setxattr(fd, _RUN, run_id.encode())
            os.setxattr(fd, _SHA256, output.sha256.encode())
        os.fsync(fd)
    finally:
        os.close(fd)


def _keep_owner_and_mode(fd: int, replaces: Path) -> None:
    try:
        old = replaces.stat()
    except FileNotFoundError:
        return
    with suppress(OSError):  # only root may give files away
        os.fchown(fd, old.st_uid, old.st_gid)
    with suppress(OSError):
        os.fchmod(fd, stat.S_IMODE(old.st_mode))


def name_file(temporary: Path, path: Path, shown: str, overwrite: bool) -> None:
    """Give `temporary` its name; raises `DestinationExists` where that is taken and must not be replaced."""
    if overwrite:
        temporary.replace(path)
    else:
        try:
            take_name(temporary, path)
        except FileExistsError:
            raise already_exists(shown) from None
    # The name is given: a folder that cannot be synchronised does not take it back.
    with suppress(OSError):
        sync_folder(path.parent)


def sweep_local(folder: Path, is_alive: Callable[[str], bool]) -> int:
    """Remove what killed runs left in `folder`; see `publish.sweep_stale`."""
    from docmill.documents.publish_folder import take_back_dead

    with destination_failures(str(folder)):
        return take_back_dead(folder, is_alive) + _remove_staged(folder, is_alive)


def _remove_staged(folder: Path, is_alive: Callable[[str], bool]) -> int:
    """Remove the files that runs which are not alive had staged in `folder`; returns how many."""
    count = 0
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        run_id = run_of(path.name)
        if run_id is not None and path.is_file() and not is_alive(run_id):
            path.unlink(missing_ok=True)
            count += 1
    return count
