"""Keeps the processes of `docmill up` running: starts them, waits until each answers, restarts one that dies
or answers no more, and stops them in order.

One thread, which sleeps until a child ends or a signal comes. Linux kills a child with the thread that made
it (PR_SET_PDEATHSIG), so processes are made in this one.
"""

from __future__ import annotations

import math
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docmill.errors import PrefectUnavailable
from docmill.processes.linux import die_with_parent
from docmill.up.signals import Signals

#: Waits before a part that died is started again: doubled each time, from the first when it has run a while.
FIRST_WAIT, LONGEST_WAIT, STEADY = 0.5, 30.0, 60.0
#: A part that dies as often as this before it ever answered is not going to.
MOST_FAILED_STARTS = 3
READY_INTERVAL = 0.1
#: How often parts are asked whether they still answer.
CHECK_INTERVAL = 5.0
MOST_LOG_BYTES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A process to keep running. It is stopped when no part that needs it is left.

    `ready` is asked while it starts, with the time (of `time.time`) at which it was started; `answers` now
    and then from then on, and a part that has not answered for `hang_seconds` is killed, to be started again;
    both take a few seconds at most. `prepare` is called before each start. `environment` is added to that of
    this process; None takes a variable away. A part that is to end by itself (`once`) is ready when it has,
    with exit code 0.
    """

    name: str
    command: Sequence[str]
    log: Path
    ready: Callable[[float], bool] = lambda started: True
    answers: Callable[[], bool] = lambda: True
    hang_seconds: float = 30.0
    prepare: Callable[[], None] = lambda: None
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    directory: Path | None = None
    user: str | None = None
    once: bool = False
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 10.0
    kill_signal: int = signal.SIGKILL
    orphan_signal: int = signal.SIGKILL


class Supervisor:
    """Runs parts until SIGINT, SIGTERM or SIGHUP; `say` is told what a person should know."""

    def __init__(self, parts: Sequence[Part], say: Callable[[str], None]) -> None:
        self._children = [_Child(part) for part in parts]
        self._say = say
        self._signals = Signals(_stop_signals() | {signal.SIGCHLD})
        self._start_seconds = math.inf
        self._next_check = 0.0

    def run(self, when_ready: Callable[[float], None], start_seconds: float = 180.0) -> None:
        """Start all parts, call `when_ready` with the seconds that took, and keep them until a signal comes.

        Returns when all are stopped. Raises `PrefectUnavailable` where one cannot be started.
        """
        self._start_seconds = start_seconds
        with self._signals:
            try:
                if self._start(when_ready):
                    self._watch()
            finally:
                self._stop()

    def _start(self, when_ready: Callable[[float], None]) -> bool:
        started = time.monotonic()
        for child in self._children:
            child.start()
        while not all(child.is_ready() for child in self._children):
            if self._stop_asked(READY_INTERVAL):
                return False
            self._revive()
            for child in self._children:
                if child.failed_starts >= MOST_FAILED_STARTS:
                    raise PrefectUnavailable(f"{child.last_words()}, again", hint=f"see {child.part.log}")
                if time.monotonic() - started > self._start_seconds and not child.is_ready():
                    late = f"{child.part.name} did not answer within {self._start_seconds:g} s"
                    raise PrefectUnavailable(late, hint=f"see {child.part.log}")
        when_ready(time.monotonic() - started)
        return True

    def _watch(self) -> None:
        while True:
            unsteady = [child for child in self._children if not child.is_ready() or child.due is not None]
            if self._stop_asked(READY_INTERVAL if unsteady else CHECK_INTERVAL):
                return
            for child in unsteady:
                if child.has_come_back():
                    self._say(f"{child.part.name} answers again")
            self._end_what_hangs()
            self._revive()

    def _end_what_hangs(self) -> None:
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + CHECK_INTERVAL
        answering: dict[str, bool] = {}
        for child in self._children:
            # A part cannot answer while one that it needs does not.
            excused = not all(self._answers(needed, answering) for needed in self._needs_of(child))
            answered = self._answers(child, answering) or excused
            if silent := child.hangs(answered, self._start_seconds):
                self._say(f"{child.part.name} has not answered for {silent:.0f} s")
                child.kill()

    def _answers(self, child: _Child, known: dict[str, bool]) -> bool:
        if child.part.name not in known:
            needs_answer = all(self._answers(needed, known) for needed in self._needs_of(child))
            known[child.part.name] = needs_answer and child.answers()
        return known[child.part.name]

    def _needs_of(self, child: _Child) -> list[_Child]:
        return [each for each in self._children if each.part.name in child.part.needs]

    def _revive(self) -> None:
        for child in self._children:
            if child.has_died() and child.due is None:
                wait = child.schedule()
                self._say(f"{child.last_words()}; starting it again in {wait:g} s (log: {child.part.log})")
            elif child.due is not None and time.monotonic() >= child.due:
                child.start()

    def _stop(self) -> None:
        hurried = False
        while alive := [child for child in self._children if child.is_alive()]:
            needed = {name for child in alive for name in child.part.needs}
            for child in alive:
                if child.part.name not in needed or hurried:
                    child.stop(hurried)
            # A second Ctrl-C: no more patience.
            hurried = self._stop_asked(READY_INTERVAL) or hurried

    def _stop_asked(self, seconds: float) -> bool:
        """Sleep until the time is over, a child has ended, or someone asks to stop: then it is true."""
        return self._signals.wait(seconds) not in {None, signal.SIGCHLD}


class _Child:
    """A part and its process."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.due: float | None = None
        self.failed_starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._ready = False
        self._wait = FIRST_WAIT
        self._stop_by: float | None = None
        self._fell = False
        self._last_answer = 0.0

    def start(self) -> None:
        self.due = None
        self._last_answer = time.monotonic()
        self._ready = False
        self._started = time.time()
        self.part.prepare()
        self._process = spawn(self.part)

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def is_ready(self) -> bool:
        if not self._ready and self._process is not None:
            if self.part.once:
                self._ready = self._process.poll() == 0
            else:
                self._ready = self.is_alive() and self.part.ready(self._started)
        return self._ready and not self.has_died()

    def has_come_back(self) -> bool:
        """Whether it answers now, after it had died; told once."""
        if not self._fell or not self.is_ready():
            return False
        self._fell = False
        return True

    def has_died(self) -> bool:
        if self._process is None or (code := self._process.poll()) is None:
            return False
        return not (self.part.once and code == 0)

    def answers(self) -> bool:
        """Whether it does now what it is for, as far as a look can tell."""
        return self.is_ready() and (self.part.once or self.part.answers())

    def hangs(self, answered: bool, start_seconds: float) -> float:
        """The seconds that it has been alive without an answer, where these are too many; else 0."""
        now = time.monotonic()
        if answered or not self.is_alive():
            self._last_answer = now
        silent = now - self._last_answer
        return silent if silent > (self.part.hang_seconds if self._ready else start_seconds) else 0.0

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    def schedule(self) -> float:
        """Note that it died; returns the seconds until it is started again."""
        if not self._ready:
            self.failed_starts += 1
        if time.time() - self._started > STEADY:
            self._wait = FIRST_WAIT
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
        self.due = time.monotonic() + wait
        self._fell = self._fell or self._ready
        self._ready = False
        return wait

    def last_words(self) -> str:
        code = self._process.returncode if self._process else 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{self.part.name} {how}"

    def stop(self, hurried: bool) -> None:
        """Ask it to end, once; and end it when its time is over."""
        assert self._process is not None
        if self._stop_by is None:
            self._stop_by = time.monotonic() + self.part.stop_seconds
            self._process.send_signal(self.part.stop_signal)
        elif hurried or time.monotonic() > self._stop_by:
            self._process.send_signal(self.part.kill_signal)


def spawn(part: Part) -> subprocess.Popen[bytes]:
    """Start a part's process, its output in its log, to end with this one however this one ends."""
    part.log.parent.mkdir(parents=True, exist_ok=True)
    if part.log.exists() and part.log.stat().st_size > MOST_LOG_BYTES:
        part.log.replace(part.log.with_suffix(".log.1"))
    environment = {**os.environ, **part.environment}
    with part.log.open("ab") as log:
        return subprocess.Popen(
            part.command,
            env={name: value for name, value in environment.items() if value is not None},
            cwd=part.directory,
            **_identity(part.user),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C in the terminal is for `docmill up`, which then stops its parts in order.
            start_new_session=True,
            preexec_fn=_in_child(part.orphan_signal),
        )


def _in_child(orphan_signal: int) -> Callable[[], None]:
    # The child needs it, and as another user it may not be able to read Python's modules any more.
    import ctypes  # noqa: F401 (for `die_with_parent`)

    parent = os.getpid()

    def prepare() -> None:
        # Python changes the user before it calls this.
        die_with_parent(parent, orphan_signal)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    return prepare


def _identity(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    account = pwd.getpwnam(user)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _stop_signals() -> set[int]:
    # What is ignored stays so: nohup ignores SIGHUP, a script SIGINT for what it starts in the background.
    asked = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    return {number for number in asked if signal.getsignal(number) is not signal.SIG_IGN}
