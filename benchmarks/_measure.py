"""Timing of contenders in turns, so that what else the machine does meets all of them alike; the machine."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def cpu_time() -> float:
    """CPU seconds of this process and of the children that it has waited for: steady on a busy machine."""
    who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))


def medians(
    contenders: dict[str, Callable[[], object]],
    *,
    runs: int,
    warm: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The median seconds of each contender by `clock`; with `warm` a run beforehand does not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in range(runs + warm):
        for name, contender in contenders.items():
            start = clock()
            contender()
            if run >= warm:
                times[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def run(command: Sequence[str | os.PathLike[str]]) -> None:
    """Run a command to its end; its output is shown only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def machine() -> str:
    """A line about the machine, for the tables."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    load = os.getloadavg()[0]
    return f"{len(os.sched_getaffinity(0))} x {names[0] if names else 'CPU'}, load {load:.1f}"
