"""Where the errors of operating system, stores and their libraries become docmill's own.

One classification serves both directions: `source_failures` while reading, `destination_failures` while
writing. Libraries are told by the names of their modules, so that none has to be imported to ask.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from docmill.documents.secrets import redact
from docmill.errors import (
    DestinationExists,
    DestinationForbidden,
    DestinationFull,
    DestinationUnavailable,
    DocmillError,
    InvalidJobData,
    MissingExtra,
    Phase,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
)


class Kind(Enum):
    """What a failure of a store means to the caller."""

    NOT_FOUND = auto()
    FORBIDDEN = auto()
    EXISTS = auto()
    FULL = auto()
    UNAVAILABLE = auto()
    INVALID = auto()
    MISSING_EXTRA = auto()


@dataclass(frozen=True, slots=True)
class Failure:
    kind: Kind
    why: str
    hint: str = ""


@contextmanager
def source_failures(shown: str, *, phase: Phase = Phase.LOAD) -> Iterator[None]:
    """Raise what goes wrong inside as a `Source...` error about `shown`."""
    try:
        yield
    except DocmillError:
        raise
    except Exception as exc:
        failure = classify(exc)
        if failure is None:
            raise
        raise _source_error(failure, shown, phase) from exc


@contextmanager
def destination_failures(shown: str, *, phase: Phase = Phase.PUBLISH) -> Iterator[None]:
    """Raise what goes wrong inside as a `Destination...` error about `shown`."""
    try:
        yield
    except DocmillError:
        raise
    except Exception as exc:
        failure = classify(exc)
        if failure is None:
            raise
        raise _destination_error(failure, shown, phase) from exc


def classify(exc: BaseException) -> Failure | None:
    """What `exc` means; None where it is none of the known ways of failing, so a defect."""
    if isinstance(exc, OSError) and exc.errno in _BY_ERRNO:
        return _BY_ERRNO[exc.errno]
    if isinstance(exc, FileNotFoundError):
        return _NOT_FOUND
    if isinstance(exc, PermissionError):
        return _DENIED
    if isinstance(exc, FileExistsError):
        return Failure(Kind.EXISTS, "it is there already")
    if isinstance(exc, TimeoutError):
        return _NO_ANSWER
    if isinstance(exc, OSError):
        return Failure(Kind.UNAVAILABLE, _words(exc))
    return None


_NOT_FOUND = Failure(Kind.NOT_FOUND, "it does not exist")
_DENIED = Failure(Kind.FORBIDDEN, "permission denied", "check the permissions and who docmill runs as")
_READ_ONLY = Failure(Kind.FORBIDDEN, "the file system is read-only", "choose another place")
_IS_FOLDER = Failure(Kind.INVALID, "it is a folder")
_FULL = Failure(Kind.FULL, "no space is left", "free some space or choose another place")
_QUOTA = Failure(Kind.FULL, "the disk quota is used up", "free some space or choose another place")
_NO_ANSWER = Failure(Kind.UNAVAILABLE, "no answer came in time", "try again later")
_BY_ERRNO: dict[int | None, Failure] = {
    errno.ENOENT: _NOT_FOUND,
    errno.ENOTDIR: Failure(Kind.NOT_FOUND, "a part of its path is no folder"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _READ_ONLY,
    errno.EISDIR: _IS_FOLDER,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _QUOTA,
    errno.EFBIG: Failure(Kind.FULL, "the file system holds no file of this size", "choose another place"),
    errno.ENAMETOOLONG: Failure(Kind.INVALID, "the name is too long"),
    errno.ELOOP: Failure(Kind.INVALID, "its symbolic links lead in a circle"),
    errno.ETIMEDOUT: _NO_ANSWER,
    errno.ECONNREFUSED: Failure(Kind.UNAVAILABLE, "the connection was refused", "is the store running?"),
}


def _words(exc: BaseException) -> str:
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return " ".join(redact(str(text)).split())[:300]


def _source_error(failure: Failure, shown: str, phase: Phase) -> DocmillError:
    message = f"cannot read '{shown}': {failure.why}"
    match failure.kind:
        case Kind.NOT_FOUND | Kind.INVALID:
            return SourceNotFound(message, hint=failure.hint or "check the name", phase=phase)
        case Kind.FORBIDDEN:
            return SourceForbidden(message, hint=failure.hint, phase=phase)
        case Kind.MISSING_EXTRA:
            return MissingExtra(message, hint=failure.hint, phase=phase)
        case _:
            return SourceUnavailable(message, hint=failure.hint, phase=phase)


def _destination_error(failure: Failure, shown: str, phase: Phase) -> DocmillError:
    message = f"cannot write '{shown}': {failure.why}"
    match failure.kind:
        case Kind.EXISTS:
            return DestinationExists(message, hint=failure.hint, phase=phase)
        case Kind.FULL:
            return DestinationFull(message, hint=failure.hint, phase=phase)
        case Kind.INVALID:
            return InvalidJobData(message, hint=failure.hint, phase=phase)
        case Kind.MISSING_EXTRA:
            return MissingExtra(message, hint=failure.hint, phase=phase)
        case Kind.UNAVAILABLE:
            return DestinationUnavailable(message, hint=failure.hint or "try again later", phase=phase)
        case _:
            return DestinationForbidden(message, hint=failure.hint, phase=phase)
