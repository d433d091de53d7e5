"""The errors that a worker's end comes to: which limit it reached, how it died, what it raised."""

from __future__ import annotations

import errno
import math
import resource
import signal
from collections.abc import Iterator

from docmill.errors import DocmillError, EngineCrashed, EngineFailed, LimitExceeded
from docmill.processes.limits import Limits


def as_docmill_error(
    error: Exception, limits: Limits | None, *, doing: str = "", page: int | None = None
) -> DocmillError:
    """The error to report for an exception in a worker, which was at `page` then."""
    named = error.page if isinstance(error, DocmillError) else None
    # Engines wrap what their libraries raise: no page is corrupt because memory or the disk ran out.
    for cause in _chain(error):
        if isinstance(cause, LimitExceeded):
            return cause
        if isinstance(cause, MemoryError):
            return memory_exceeded(limits, doing, named or page)
        if isinstance(cause, OSError) and cause.errno == errno.EFBIG:
            return file_exceeded(limits, doing, named or page)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return scratch_full(doing, named or page)
    if isinstance(error, DocmillError):
        return error
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    return EngineFailed(text + _where(doing, page), page=page)


def death(code: int, limits: Limits | None, doing: str, page: int | None, *, hint: str = "") -> DocmillError:
    """The error for a process that ended without an answer; `code` is negative for a signal."""
    if code == -signal.SIGXCPU:
        return cpu_exceeded(limits, doing, page)
    if code == -signal.SIGXFSZ:
        return file_exceeded(limits, doing, page)
    how = (
        f"was killed by signal {-code} ({_signal_name(-code)})"
        if code < 0
        else f"ended with exit code {code}"
    )
    return EngineCrashed(
        f"the engine's process {how}{_where(doing, page).removeprefix(',')}", hint=hint, page=page
    )


def memory_exceeded(limits: Limits | None, doing: str, page: int | None) -> LimitExceeded:
    most, setting = _smallest(
        (limits.memory if limits else _ENDLESS, "ENGINE_MEMORY"),
        (resource.getrlimit(resource.RLIMIT_DATA)[1], "ulimit -d"),
        (resource.getrlimit(resource.RLIMIT_AS)[0], "ulimit -v"),
    )
    what = f"the {_size(most)} of memory that it may take" if most < _ENDLESS else "its memory"
    return _exceeded(f"the engine needs more than {what}", "memory", setting, doing, page)


def cpu_exceeded(limits: Limits | None, doing: str, page: int | None) -> LimitExceeded:
    most = f"the {limits.cpu_seconds:g} s of CPU time that it may take" if limits else "its CPU time"
    return _exceeded(f"the engine needs more than {most}", "CPU time", "ENGINE_CPU_SECONDS", doing, page)


def wall_exceeded(limits: Limits, doing: str, page: int | None) -> LimitExceeded:
    most = f"the {limits.wall_seconds:g} s that it may take"
    return _exceeded(f"the engine needs more than {most}", "time", "ENGINE_WALL_SECONDS", doing, page)


def output_exceeded(limits: Limits | None, doing: str, page: int | None) -> LimitExceeded:
    most = f"the {_size(limits.output_bytes)} that it may be" if limits else "it may be"
    return _exceeded(f"the output is larger than {most}", "output size", "MAX_OUTPUT_BYTES", doing, page)


def file_exceeded(limits: Limits | None, doing: str, page: int | None) -> LimitExceeded:
    """A single file grew over what the kernel lets one grow to."""
    most, setting = _smallest(
        (limits.output_bytes if limits else _ENDLESS, "MAX_OUTPUT_BYTES"),
        (resource.getrlimit(resource.RLIMIT_FSIZE)[1], "ulimit -f"),
    )
    what = f"the {_size(most)} that it may be" if most < _ENDLESS else "it may be"
    return _exceeded(f"the output is larger than {what}", "output size", setting, doing, page)


_ENDLESS = math.inf


def _smallest(*limits: tuple[float, str]) -> tuple[float, str]:
    """The limit that was reached: the settings', or a smaller one that docmill was started under. A worker's
    own are never larger than either."""
    finite = [limit for limit in limits if limit[0] != resource.RLIM_INFINITY]
    return min(finite, key=lambda limit: limit[0])


def scratch_full(doing: str = "", page: int | None = None) -> LimitExceeded:
    return LimitExceeded(
        f"no room is left in the scratch folder{_where(doing, page)}",
        limit="scratch space",
        setting="DOCMILL_SCRATCH_DIR",
        hint="free some, or set DOCMILL_SCRATCH_DIR to a folder on a larger disk",
        page=page,
    )


def _exceeded(message: str, limit: str, setting: str, doing: str, page: int | None) -> LimitExceeded:
    message += _where(doing, page)
    if setting.startswith("ulimit"):
        hint = f"docmill was started under this limit, see `{setting}`"
        return LimitExceeded(message, limit=limit, hint=hint, page=page)
    return LimitExceeded(message, limit=limit, setting=f"DOCMILL_{setting}", page=page)


def _where(doing: str, page: int | None) -> str:
    if page is None:
        return f", while {doing}" if doing else ""
    return f", while {doing} page {page}" if doing else f" (page {page})"


def _size(count: float) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} bytes"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
