"""Files on local disk: copy without passing the bytes through Python, and take a name without a race."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

CHUNK = 1 << 20
_COPY_STEP = 1 << 30
# What says that two places cannot share a copy or a link, so that another way has to be tried.
_UNSUPPORTED = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EMLINK, errno.EBADF}
)


def is_descriptor(path: Path) -> bool:
    """Whether it is `/dev/stdin` or the like, which means what this process has open there."""
    places = [os.path.realpath(path.parent)]
    if path.is_symlink():
        places.append(os.readlink(path))  # noqa: PTH115 (as realpath gives it)
    return any(Path(place).is_relative_to("/proc") for place in places)


def copy_content(source: Path, target_fd: int) -> int:
    """Copy the bytes of `source` to the open file `target_fd`; returns their number.

    By `copy_file_range`, which shares the blocks where the file system can (Btrfs, XFS) and never passes the
    bytes through this process, else by reading and writing.
    """
    with source.open("rb", buffering=0) as file:
        copied = 0
        try:
            while step := os.copy_file_range(file.fileno(), target_fd, _COPY_STEP):
                copied += step
        except OSError as exc:
            if exc.errno not in _UNSUPPORTED:
                raise
        # Also where the kernel says 0 for what it cannot copy, as of files in /proc.
        while chunk := file.read(CHUNK):
            copied += len(chunk)
            write_all(target_fd, chunk)
        return copied


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little the kernel takes at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def take_name(temporary: Path, target: Path) -> None:
    """Give the file `temporary` the name `target`; raises `FileExistsError` if that name is taken.

    Never replaces, also when several processes try at once. `temporary` is gone afterwards.
    """
    try:
        target.hardlink_to(temporary)
    except OSError as exc:
        if exc.errno not in _UNSUPPORTED:
            raise
        _rename_no_replace(temporary, target)
    else:
        temporary.unlink()


def _rename_no_replace(source: Path, target: Path) -> None:
    # For file systems without hard links (FAT, some FUSE). Python has no renameat2; glibc has it since 2.28.
    import ctypes

    at_fdcwd, no_replace = -100, 1
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(at_fdcwd, os.fsencode(source), at_fdcwd, os.fsencode(target), no_replace) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` last through a loss of power."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # a file system that cannot, as some of FUSE
            raise
    finally:
        os.close(fd)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_instead_of_copy(source: Path, target: Path) -> bool:
    """Give docmill's own file `source` the second name `target`; False where a copy is needed.

    The file then is as if it had been made at `target` with the usual rights. That cannot be had by a link
    where new files get more than the umask from their folder: its group, access lists, or a security label.
    """
    try:
        status = source.lstat()
        folder = target.parent.stat()
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_nlink != 1
            or status.st_uid != os.geteuid()
            or status.st_gid != os.getegid()
            or status.st_dev != folder.st_dev
            or folder.st_mode & stat.S_ISGID
            or _has_default_acl(target.parent)
            or _SELINUX.exists()
        ):
            return False
        source.chmod(0o666 & ~_umask())
        target.hardlink_to(source)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


_SELINUX = Path("/sys/fs/selinux/enforce")


def _has_default_acl(folder: Path) -> bool:
    try:
        return bool(os.getxattr(folder, "system.posix_acl_default"))
    except OSError:
        return False


def _umask() -> int:
    # os.umask would change it for a moment, for every thread. Linux tells it since 4.7.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o077
