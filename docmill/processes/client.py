"""Calling a function in a worker."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from docmill.errors import EngineFailed
from docmill.processes.handle import ServerLost, current_server, running_server
from docmill.processes.job import AbortFlag, Job, Watch
from docmill.processes.limits import Limits

# Of what workers say to have imported the server imports these, for those to come. A worker may have been
# taken over by a hostile file: it can have no more imported than what engines are made of.
_SHARED = re.compile(r"docmill\.(?:documents|engines)(?:\.[a-z0-9_]+)+")
_MOST_SHARED = 200
_learned: dict[tuple[str, ...], set[str]] = {}


def run(
    function: str,
    args: tuple[Any, ...],
    *,
    limits: Limits,
    doing: str = "converting",
    out_dir: Path | None = None,
    on_message: Callable[[dict[str, Any]], None] | None = None,
    abort: AbortFlag | None = None,
    grace: float = 0.5,
    modules: Sequence[str] = (),
) -> Any:
    """Call `function` (`module:name`) with `args` and a reporter in a worker; return its JSON-safe result.

    The function may call the reporter with JSON-safe dicts; `on_message` gets the newest, and misses those
    that a newer one overtook. A `page` in them is named in errors, with `doing`. The server imports `modules`
    first, where later workers share them, and before the next call like it what of docmill's engines this
    worker had to import itself. Returns or raises only when no process of the worker is left; may be called
    from many threads at once.

    Raises the `DocmillError` that the function raised; `LimitExceeded`; `EngineFailed` for any other
    exception in it (its cause holds the traceback); `EngineCrashed` where its process died; `JobAborted` once
    `abort` is set: SIGTERM first, SIGKILL after `grace` seconds.
    """
    log_level = logging.getLogger("docmill").getEffectiveLevel()
    payload = pickle.dumps((function, args, limits, doing, log_level))
    watch = Watch(limits, doing, out_dir, on_message, abort, grace)
    learned = _learned.setdefault((function, *modules), set())
    for _ in range(3):
        try:
            job = Job(current_server(), payload, [*modules, *sorted(learned)], watch)
            result = job.finish()
            if len(learned) < _MOST_SHARED:
                learned.update(filter(_SHARED.fullmatch, job.imported[:_MOST_SHARED]))
            return result
        except ServerLost as error:
            # Killed since its last use, before this worker began: begin again.
            lost = error
    raise EngineFailed("the server process of the sandbox cannot be started", hint=str(lost)) from lost


def shutdown() -> None:
    """End the server and every worker now, and not with this process."""
    if server := running_server():
        server.discard()
