"""The worker: a forked child that limits itself, calls one function and writes down what came of it."""

from __future__ import annotations

import fcntl
import importlib
import logging
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from docmill.processes import linux
from docmill.processes.failures import as_docmill_error
from docmill.processes.frames import ERROR, IMPORTED, LOG, MESSAGE, RESULT, write_frame
from docmill.processes.limits import allow_reserve, applied

# Descriptor numbers in every worker.
_FRAMES_FD, _PAYLOAD_FD = 3, 4


def main(server: int, frames: int, noise: int, payload: int) -> NoReturn:
    """Run one call in this freshly forked process; never returns."""
    code = os.EX_SOFTWARE
    try:
        os.setsid()
        linux.die_with_parent(server)
        _take_descriptors(frames, noise, payload)
        linux.adopt_orphans()
        linux.set_process_name("docmill-engine")
        linux.keep_freed_memory()
        _set_signals()
        _call()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except _Terminated:
        # Die of the signal itself, so that whoever reaps sees what it was.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class _Terminated(BaseException):
    """SIGTERM: tidy up and go. No `Exception`, so that no engine takes it for a bad page."""


def _call() -> None:
    doing, page = "", None
    shared = set(sys.modules)

    def report(message: dict[str, Any]) -> None:
        nonlocal page
        page = message.get("page", page)
        write_frame(_FRAMES_FD, MESSAGE, message)

    try:
        with open(_PAYLOAD_FD, "rb") as file:
            name, args, limits, doing, log_level = pickle.load(file)
        limits.apply()
        _forward_logs(log_level)
        module, _, attribute = name.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        result = function(*args, report)
        _flush()
        write_frame(_FRAMES_FD, RESULT, result)
        write_frame(_FRAMES_FD, IMPORTED, sorted(sys.modules.keys() - shared))
    except Exception as error:
        allow_reserve()
        trace = traceback.format_exc()
        _flush()
        failure = as_docmill_error(error, applied(), doing=doing, page=page)
        write_frame(_FRAMES_FD, ERROR, {"error": failure.to_dict(), "traceback": trace})


def _take_descriptors(frames: int, noise: int, payload: int) -> None:
    """Keep the three given descriptors under fixed numbers, and nothing else that the server had open."""
    null = os.open(os.devnull, os.O_RDONLY)
    # Out of the way of the fixed numbers first.
    frames, noise, payload = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (frames, noise, payload))
    os.dup2(null, 0)
    os.dup2(noise, 1)
    os.dup2(noise, 2)
    os.dup2(frames, _FRAMES_FD, inheritable=False)
    os.dup2(payload, _PAYLOAD_FD, inheritable=False)
    linux.close_from(_PAYLOAD_FD + 1)


def _set_signals() -> None:
    signal.signal(signal.SIGTERM, _terminate)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Python ignores it, and a library may hide the EFBIG that a write gives then: die of it instead.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _forward_logs(level: int) -> None:
    """Send what engines log to the parent, where the handlers are."""
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(level)


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        name, level = record.name, record.levelno
        if not name.startswith("docmill"):
            # What a library has to say of a document, pikepdf of a damaged one for example: docmill tells the
            # user itself, in its own words. What libraries trace is for their own developers.
            if level < logging.INFO or logging.getLogger().level > logging.DEBUG:
                return
            name, level = f"docmill.{name}", logging.DEBUG
        # Short enough to be one write that nothing of a sibling gets into.
        write_frame(_FRAMES_FD, LOG, [name, level, record.getMessage()[:500]])


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
