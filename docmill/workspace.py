"""Where one run works on this host, and what its stages hand each other."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from docmill.documents.secrets import SecretResolver
from docmill.engines.base import EngineResult
from docmill.engines.registry import Route
from docmill.errors import EngineFailed, InvalidJobData
from docmill.processes.failures import scratch_full
from docmill.qpdf import MAX_PASSWORD_BYTES
from docmill.request import ConvertRequest
from docmill.settings import Settings

if TYPE_CHECKING:
    from docmill.documents.cache import DocumentCache
    from docmill.documents.publish import Preparation


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one run works: its settings, its id, its folder `<scratch>/<run id>/attempt-<n>` on this host.

    Each attempt has a folder of its own: a process that was thought dead and wakes up must not remove the
    files of its successor.
    """

    settings: Settings
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    attempt: int = 1
    secrets: SecretResolver = field(default_factory=SecretResolver)

    @property
    def root(self) -> Path:
        return self.settings.scratch_dir / self.run_id / f"attempt-{self.attempt}"

    @property
    def output_dir(self) -> Path:
        return self.root / "output"

    def source_dir(self, index: int = 0) -> Path:
        return self.root / "source" / str(index)

    def cache(self) -> DocumentCache:
        """The installation's document cache."""
        from docmill.documents.cache import DocumentCache

        return DocumentCache(self.settings.cache_location, scratch=self.root)

    def expiry(self) -> datetime | None:
        """When a document that is put into the cache now expires; None for never."""
        ttl = self.settings.document_ttl
        try:
            return datetime.now(UTC) + timedelta(seconds=ttl) if ttl else None
        except OverflowError:  # beyond the year 9999
            return None

    def password(self, request: ConvertRequest) -> str | None:
        """The password of the source, where the request refers to one."""
        return self.secrets.resolve(request.password, what="password") if request.password else None

    def secret_option(self, request: ConvertRequest, option: str) -> str | None:
        """The secret that an option refers to, where it is set."""
        reference = getattr(request.options, option)
        if not reference:
            return None
        secret = self.secrets.resolve(reference, what=option)
        if not secret:
            raise InvalidJobData(f"the {option} is empty", hint="it would keep nobody out")
        if len(secret.encode()) > MAX_PASSWORD_BYTES:
            raise InvalidJobData(
                f"the {option} is longer than {MAX_PASSWORD_BYTES} bytes", hint="of a PDF's no more count"
            )
        return secret

    def remove(self) -> None:
        """Remove all that this attempt left on this host."""
        shutil.rmtree(self.root, ignore_errors=True)
        with contextlib.suppress(OSError):  # another attempt is at work
            self.root.parent.rmdir()


@dataclass(frozen=True, slots=True)
class Converted:
    """What the convert stage made, before it is published; `prepared` where that has begun."""

    result: EngineResult
    route: Route
    seconds: float
    prepared: Preparation | None = None


def make_folder(work: Workspace, folder: Path) -> Path:
    """A folder in scratch; raises `LimitExceeded` where scratch is full, `EngineFailed` if it is sealed."""
    scratch = work.settings.scratch_dir
    try:
        with contextlib.suppress(FileExistsError):
            scratch.mkdir(mode=0o700, parents=True)
        _refuse_other_owner(scratch)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise scratch_full() from error
        raise EngineFailed(
            f"the scratch folder '{folder}' cannot be made: {error.strerror}",
            hint="set DOCMILL_SCRATCH_DIR to a folder that can be written to",
        ) from error
    return folder


def _refuse_other_owner(scratch: Path) -> None:
    """Raise `EngineFailed` where anybody may make folders and somebody else made this one, who could read and
    change what is converted."""
    if not scratch.parent.stat().st_mode & stat.S_ISVTX:
        return
    status = scratch.lstat()
    if status.st_uid not in (os.geteuid(), 0):
        raise EngineFailed(
            f"the scratch folder '{scratch}' belongs to somebody else",
            hint="set DOCMILL_SCRATCH_DIR to a folder of your own",
        )
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and status.st_mode & 0o077:
        scratch.chmod(0o700)
