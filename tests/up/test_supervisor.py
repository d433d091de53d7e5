"""The supervisor with small processes for its parts: start, restart, order of the end, nobody left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from docmill.errors import PrefectUnavailable
from docmill.up import supervisor
from docmill.up.supervisor import Part, Supervisor

#: Notes its name and process id, and when it is told to stop; then waits.
SERVICE = """
import os, signal, sys, time
name, notes = sys.argv[1:3]
def note(what):
    with open(notes, "a") as file:
        file.write(f"{name} {what} {os.getpid()}\\n")
def stop(*_):
    note("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
note("started")
while True:
    time.sleep(0.01)
"""


class Services:
    """Parts whose notes tell what happened to them."""

    def __init__(self, folder: Path) -> None:
        self.notes = folder / "notes"
        self.log = folder / "log"

    def part(self, name: str, *, program: str = SERVICE, **options: object) -> Part:
        command = [sys.executable, "-S", "-c", program, name, str(self.notes)]
        options.setdefault("ready", lambda started: any(map(alive, self.pids(name))))
        return Part(name=name, command=command, log=self.log, **options)  # type: ignore[arg-type]

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.notes.read_text().splitlines()] if self.notes.exists() else []

    def count(self, name: str, what: str) -> int:
        return sum(line[:2] == [name, what] for line in self.lines())

    def pids(self, name: str) -> list[int]:
        return [int(line[2]) for line in self.lines() if line[:2] == [name, "started"]]


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(tmp_path)


def test_parts_stop_when_none_that_needs_them_is_left(services: Services) -> None:
    parts = [
        services.part("server", needs=("database",)),
        services.part("database"),
        services.part("worker-1", needs=("server",)),
        services.part("worker-2", needs=("server",)),
    ]
    run(parts, lambda: True)
    stopped = [name for name, what, _ in services.lines() if what == "stopped"]
    assert set(stopped[:2]) == {"worker-1", "worker-2"}
    assert stopped[2:] == ["server", "database"]


def test_a_part_that_dies_is_started_again_and_said(services: Services) -> None:
    said: list[str] = []
    killed: list[int] = []

    def killed_and_back() -> bool:
        if not killed:
            killed.extend(services.pids("server"))
            os.kill(killed[0], signal.SIGKILL)
        return "server answers again" in said

    run([services.part("server")], killed_and_back, said)
    assert any("server was killed by signal 9; starting it again in 0.5 s" in line for line in said)
    assert services.count("server", "started") == 2


def test_a_part_that_hangs_is_started_again(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "CHECK_INTERVAL", 0.05)
    said: list[str] = []
    stopped: list[int] = []

    def runs(name: str) -> bool:
        return state_of(services.pids(name)[-1]) != "T"

    def hung_and_back() -> bool:
        if not stopped:
            stopped.extend(services.pids("server"))
            os.kill(stopped[0], signal.SIGSTOP)
        return "server answers again" in said

    parts = [
        services.part("server", answers=lambda: runs("server"), hang_seconds=1.0),
        # It answers no more while the server does not, and is no reason to end it.
        services.part("worker", answers=lambda: runs("server"), needs=("server",), hang_seconds=0.5),
    ]
    run(parts, hung_and_back, said)
    assert any(line.startswith("server has not answered for") for line in said)
    assert (services.count("server", "started"), services.count("worker", "started")) == (2, 1)


def test_a_part_that_never_answers_is_given_up(services: Services) -> None:
    broken = services.part("server", program="import sys; print('no such port'); sys.exit(7)")
    with pytest.raises(PrefectUnavailable, match="server ended with exit code 7") as caught:
        run([broken, services.part("worker", needs=("server",))], lambda: False)
    assert str(services.log) in caught.value.hint
    assert "no such port" in services.log.read_text()
    assert services.count("worker", "stopped") == 1


def test_a_part_that_runs_once_is_ready_when_it_is_done(services: Services) -> None:
    once = services.part("deployments", program="import time; time.sleep(0.3)", once=True)
    said: list[str] = []
    seconds = run([services.part("server"), once], lambda: True, said)
    assert seconds >= 0.3
    assert not any("deployments" in line for line in said)


def test_a_thread_that_knows_nothing_of_signals_is_no_danger(services: Services) -> None:
    # The kernel gives a process's signal to any thread that does not block it; this one blocks none.
    over = threading.Event()
    bystander = threading.Thread(target=over.wait)
    bystander.start()
    try:
        run([services.part("server")], lambda: True)
    finally:
        over.set()
        bystander.join()
    assert services.count("server", "stopped") == 1


def test_a_second_signal_ends_a_part_that_does_not_stop(services: Services) -> None:
    deaf = SERVICE.replace("SIGTERM, stop", "SIGTERM, lambda *_: note('was-asked')")
    part = services.part("deaf", program=deaf, stop_seconds=3600.0)

    def again() -> None:
        # Two signals of a kind at once are one: not before the first is taken.
        until(lambda: services.count("deaf", "was-asked") == 1)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=again)

    def stop() -> bool:
        thread.start()
        return True

    run([part], stop)
    thread.join()
    assert not alive(services.pids("deaf")[0])


def test_parts_end_with_a_supervisor_that_is_killed(services: Services) -> None:
    program = f"""
    import sys
    from pathlib import Path
    from docmill.up.supervisor import Part, Supervisor
    part = Part(name="s", command=[sys.executable, "-S", "-c", {SERVICE!r}, "s", {str(services.notes)!r}],
                log=Path({str(services.log)!r}))
    Supervisor([part], print).run(lambda seconds: None)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    until(lambda: services.count("s", "started") == 1)
    parent.kill()
    parent.wait()
    until(lambda: not alive(services.pids("s")[0]))


def run(parts: list[Part], done: Callable[[], bool], said: list[str] | None = None) -> float:
    """Run the parts until `done` holds after they are ready; the seconds until then."""
    took: list[float] = []
    over = threading.Event()

    def when_ready(seconds: float) -> None:
        took.append(seconds)
        stopping.start()

    def stop_when_done() -> None:
        try:
            until(lambda: done() or over.is_set())
        finally:
            # Once the supervisor is back, a signal would be for whoever runs the tests.
            if not over.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop_when_done)
    try:
        Supervisor(parts, (said if said is not None else []).append).run(when_ready)
    finally:
        over.set()
        if took:
            stopping.join()
    return took[0]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return state_of(pid) not in {"Z", ""}


def state_of(pid: int) -> str:
    """The kernel's letter for a process's state; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
