"""Where the errors of operating system, stores and their libraries become docmill's own.

One classification (`causes`) serves both directions: `source_failures` while reading, `destination_failures`
while writing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from docmill.documents.causes import Cause, Kind, classify
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


@contextmanager
def source_failures(shown: str, *, phase: Phase = Phase.LOAD, secret: bool = False) -> Iterator[None]:
    """Raise what goes wrong inside as a `Source...` error about `shown`.

    With `secret` it shows no cause: a library's own error may repeat a URI that nobody is to see.
    """
    try:
        yield
    except DocmillError:
        raise
    except Exception as exc:
        cause = classify(exc)
        if cause is None:
            raise
        raise _source_error(cause, shown, phase) from (None if secret else exc)


@contextmanager
def destination_failures(shown: str, *, phase: Phase = Phase.PUBLISH) -> Iterator[None]:
    """Raise what goes wrong inside as a `Destination...` error about `shown`."""
    try:
        yield
    except DocmillError:
        raise
    except Exception as exc:
        cause = classify(exc)
        if cause is None:
            raise
        raise _destination_error(cause, shown, phase) from exc


def _source_error(cause: Cause, shown: str, phase: Phase) -> DocmillError:
    message = f"cannot read '{shown}': {cause.why}"
    match cause.kind:
        case Kind.NOT_FOUND | Kind.INVALID:
            return SourceNotFound(message, hint=cause.hint or "check the name", phase=phase)
        case Kind.FORBIDDEN:
            return SourceForbidden(message, hint=cause.hint, phase=phase)
        case Kind.MISSING_EXTRA:
            return MissingExtra(message, hint=cause.hint, phase=phase)
        case _:
            return SourceUnavailable(message, hint=cause.hint or "try again later", phase=phase)


def _destination_error(cause: Cause, shown: str, phase: Phase) -> DocmillError:
    message = f"cannot write '{shown}': {cause.why}"
    match cause.kind:
        case Kind.EXISTS:
            return DestinationExists(message, hint=cause.hint, phase=phase)
        case Kind.FULL:
            return DestinationFull(message, hint=cause.hint, phase=phase)
        case Kind.INVALID:
            return InvalidJobData(message, hint=cause.hint or "choose another name", phase=phase)
        case Kind.MISSING_EXTRA:
            return MissingExtra(message, hint=cause.hint, phase=phase)
        case Kind.UNAVAILABLE:
            return DestinationUnavailable(message, hint=cause.hint or "try again later", phase=phase)
        case _:
            return DestinationForbidden(message, hint=cause.hint or "check the name", phase=phase)
