"""The errors that a worker's end comes to: which limit it reached, how it died, what it raised."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator

from docmill.errors import DocmillError, EngineCrashed, EngineFailed, LimitExceeded


def as_docmill_error(error: Exception, page: int | None = None) -> DocmillError:
    """The error to report for an exception in a worker; `page` is used where the exception names none."""
    if isinstance(error, DocmillError) and error.page:
        page = error.page
    # Engines wrap what their libraries raise: no page is corrupt because memory or the disk ran out.
    for cause in _chain(error):
        if isinstance(cause, LimitExceeded):
            return cause
        if isinstance(cause, MemoryError):
            return memory_exceeded(page)
        if isinstance(cause, OSError) and cause.errno == errno.EFBIG:
            return output_exceeded(page)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return scratch_full(page)
    if isinstance(error, DocmillError):
        error.page = page
        return error
    text = str(error)
    return EngineFailed(f"{type(error).__name__}: {text}" if text else type(error).__name__, page=page)


def memory_exceeded(page: int | None = None) -> LimitExceeded:
    return _exceeded("the engine needs more memory than it may take", "memory", "ENGINE_MEMORY", page)


def cpu_exceeded(page: int | None = None) -> LimitExceeded:
    return _exceeded("the engine has used up its CPU time", "CPU time", "ENGINE_CPU_SECONDS", page)


def wall_exceeded(page: int | None = None) -> LimitExceeded:
    return _exceeded("the engine runs for longer than it may", "time", "ENGINE_WALL_SECONDS", page)


def output_exceeded(page: int | None = None) -> LimitExceeded:
    return _exceeded("the output is larger than it may be", "output size", "MAX_OUTPUT_BYTES", page)


def scratch_full(page: int | None = None) -> LimitExceeded:
    return LimitExceeded(
        "no room is left in the scratch folder",
        limit="scratch space",
        setting="DOCMILL_SCRATCH_DIR",
        hint="free some, or set DOCMILL_SCRATCH_DIR to a folder on a larger disk",
        page=page,
    )


def death(code: int, doing: str, page: int | None, *, hint: str = "") -> DocmillError:
    """The error for a process that ended without an answer; `code` is negative for a signal."""
    if code == -signal.SIGXCPU:
        return cpu_exceeded(page)
    if code == -signal.SIGXFSZ:
        return output_exceeded(page)
    where = f"while {doing} page {page}" if page else f"while {doing}"
    how = (
        f"was killed by signal {-code} ({_signal_name(-code)})"
        if code < 0
        else f"ended with exit code {code}"
    )
    return EngineCrashed(f"the engine's process {how} {where}", hint=hint, page=page)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def _exceeded(message: str, limit: str, setting: str, page: int | None) -> LimitExceeded:
    where = f" (page {page})" if page else ""
    return LimitExceeded(message + where, limit=limit, setting=f"DOCMILL_{setting}", page=page)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
