"""Timing of contenders in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def medians(contenders: dict[str, Callable[[], object]], *, runs: int, warm: bool = True) -> dict[str, float]:
    """The median wall time of each contender in seconds; with `warm` a run beforehand does not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in range(runs + warm):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender()
            if run >= warm:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}
