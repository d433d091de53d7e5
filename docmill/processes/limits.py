"""What a worker may take."""

from __future__ import annotations

import resource
from dataclasses import dataclass

# Room above the memory limit in which a worker that reached it can still say so.
_MEMORY_RESERVE = 32 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one worker may take; memory and CPU time count for each of its processes on its own.

    Sizes are bytes, times are seconds. `output_bytes` is the total of the output folder.
    """

    memory: int
    cpu_seconds: float
    wall_seconds: float
    output_bytes: int

    def apply(self) -> None:
        """Put this process, and what it will fork, under the limits that the kernel watches."""
        global _applied
        _applied = self
        # RLIMIT_DATA, not RLIMIT_AS: it counts private writable memory only. The address space also holds the
        # source mapped into it, shared libraries, and what pdfium and browsers reserve but never touch.
        _set(resource.RLIMIT_DATA, self.memory, self.memory + _MEMORY_RESERVE)
        # The kernel takes whole seconds. At the soft limit SIGXCPU ends the process, at the hard one SIGKILL
        # does, should a library have caught the first.
        seconds = max(1, -int(-self.cpu_seconds // 1))
        _set(resource.RLIMIT_CPU, seconds, seconds + 2)
        _set(resource.RLIMIT_FSIZE, self.output_bytes, self.output_bytes)
        # 1 and not 0: with a pipe in kernel.core_pattern the kernel dumps at 0 as well, and at 1 never does.
        _set(resource.RLIMIT_CORE, 1, 1)


_applied: Limits | None = None


def applied() -> Limits | None:
    """The limits that this process is under; None outside of a worker."""
    return _applied


def allow_reserve() -> None:
    """Give a worker that may have run into its memory limit the room to report it."""
    if _applied is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _set(which: int, soft: int, hard: int) -> None:
    _, allowed = resource.getrlimit(which)
    if allowed != resource.RLIM_INFINITY:
        soft, hard = min(soft, allowed), min(hard, allowed)
    resource.setrlimit(which, (soft, hard))
