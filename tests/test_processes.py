"""The forkserver and its workers: what they see, what they may take, and that they die with their parent."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docmill import processes
from docmill.errors import CorruptDocument, EngineCrashed, EngineFailed, LimitExceeded
from docmill.processes import Limits, map_in_children
from docmill.processes.frames import MESSAGE, RESULT, FrameReader, write_frame

TESTS = Path(__file__).parent
LIMITS = Limits(memory=4 << 30, cpu_seconds=60, wall_seconds=60, output_bytes=1 << 30)
MARK = "DOCMILL_TEST_MARK"


@pytest.fixture(scope="module", autouse=True)
def own_server() -> Iterator[None]:
    """A server that holds nothing of what earlier tests had it import."""
    processes.shutdown()
    yield
    processes.shutdown()


def run(function: str, *args: Any, **options: Any) -> Any:
    return processes.run(f"doubles:{function}", args, limits=options.pop("limits", LIMITS), **options)


def test_a_worker_has_a_session_of_its_own_and_nothing_of_the_server_open() -> None:
    first, second = run("whoami"), run("whoami")
    assert first["pid"] == first["group"] == first["session"] != second["pid"]
    assert first["server"] == second["server"] != os.getpid()
    assert first["cwd"] == "/"
    assert first["core"] <= 1
    assert first["threads"] == 1
    # Standard input; the two standard streams and the frames are pipes.
    assert [name for name in first["descriptors"] if not name.startswith("pipe:")] == ["/dev/null"]
    assert len(first["descriptors"]) == 4
    assert int(signal.SIGTERM) not in first["ignored"]


def test_workers_share_what_the_server_has_imported() -> None:
    assert "colorsys" not in run("whoami")["modules"]
    modules = run("whoami", modules=["colorsys", "no_such_module"])["modules"]
    assert "colorsys" in modules
    assert "colorsys" in run("whoami")["modules"]


def test_what_a_worker_had_to_import_those_after_it_share() -> None:
    module = "docmill.engines.raster.png_rows"
    assert [run("has_imported", module, False) for _ in range(2)] == [False, True]


@pytest.mark.parametrize("name", ["wave", "docmill.cli.up", "docmill.engines..raster preload"])
def test_a_worker_cannot_have_just_anything_imported(name: str) -> None:
    # A hostile file may have taken it over.
    assert [run("has_imported", name, True) for _ in range(2)] == [False, False]


def test_the_server_has_one_thread_with_everything_preloaded() -> None:
    from docmill.engines.registry import ENGINES
    from docmill.sandbox import CHECK, PRELOAD

    modules = [*PRELOAD, *CHECK, *(spec.entry.partition(":")[0] for spec in ENGINES)]
    server = run("whoami", modules=modules)["server"]
    # A fork of a process with threads can find any lock taken for good.
    assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1


@pytest.mark.parametrize("value", [None, 1, "ü\udc80\0", [1.5, {"a": [True]}], "x" * 3_000_000])
def test_a_result_comes_back_as_it_was(value: Any) -> None:
    assert run("echo", value) == value


def test_the_newest_message_arrives() -> None:
    seen: list[dict[str, Any]] = []
    run("count", 5000, on_message=seen.append)
    pages = [message["page"] for message in seen]
    assert pages == sorted(set(pages))
    assert pages[-1] == 5000


def test_a_slow_listener_does_not_slow_the_worker() -> None:
    seen: list[dict[str, Any]] = []

    def listen(message: dict[str, Any]) -> None:
        seen.append(message)
        time.sleep(0.02)

    run("count", 20_000, on_message=listen)
    assert seen[-1] == {"page": 20_000}
    assert len(seen) < 5_000


def test_a_failing_listener_ends_the_worker() -> None:
    def listen(message: dict[str, Any]) -> None:
        raise KeyError("listener")

    with pytest.raises(KeyError, match="listener"):
        run("sleep", 600, on_message=listen)


def test_an_unknown_function_is_told() -> None:
    with pytest.raises(EngineFailed, match="AttributeError"):
        run("no_such_function")
    with pytest.raises(EngineFailed, match="No module named 'no_such_module'"):
        processes.run("no_such_module:f", (), limits=LIMITS)


def test_fifty_at_once_from_threads() -> None:
    with ThreadPoolExecutor(50) as pool:
        started = list(pool.map(lambda n: run("echo", n), range(200)))
    assert started == list(range(200))


HUNDREDS = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
sys.path.append(sys.argv[1])
from docmill import processes
from docmill.processes import Limits

def run(function, *args):
    return processes.run("doubles:" + function, args, limits=Limits(1 << 32, 60, 60, 1 << 30))

def held(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    memory = int(status.partition("RssAnon:")[2].split()[0]) * 1024
    return min(open_descriptors(pid) for _ in range(50)), memory

def open_descriptors(pid):
    # The server closes its end of a job a moment after it has told the job's end.
    time.sleep(0.01)
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))

with ThreadPoolExecutor(4) as pool:
    assert list(pool.map(lambda n: run("echo", n), range(100))) == list(range(100))
    server = run("whoami")["server"]
    before = held("self"), held(server)
    assert list(pool.map(lambda n: run("echo", n), range(400))) == list(range(400))
    assert run("whoami")["server"] == server
    after = held("self"), held(server)
children = Path(f"/proc/{server}/task/{server}/children").read_text()
print(json.dumps([before, after, children]))
"""


def test_hundreds_of_jobs_leave_no_descriptor_and_no_memory_behind() -> None:
    # In a process of their own: what other tests have running opens and closes descriptors of its own.
    done = subprocess.run([sys.executable, "-c", HUNDREDS, TESTS], capture_output=True, text=True)
    assert done.stderr == ""
    before, after, children = json.loads(done.stdout)
    for (fds, memory), (fds_now, memory_now) in zip(before, after, strict=True):
        assert fds_now == fds
        assert memory_now < memory + (1 << 20)
    assert children == ""


def test_a_server_that_was_killed_is_replaced() -> None:
    first = run("whoami")["server"]
    os.kill(first, signal.SIGKILL)
    second = run("whoami")["server"]
    assert first != second
    processes.shutdown()
    assert run("whoami")["server"] not in (first, second)


def test_jobs_of_a_killed_server_crash_and_are_gone() -> None:
    with marked() as left:
        server = run("whoami")["server"]

        def listen(message: dict[str, Any]) -> None:
            assert len(left(patience=0)) > 1
            os.kill(server, signal.SIGKILL)

        with pytest.raises(EngineCrashed, match="server died while converting") as error:
            run("sleep_in_a_tool", on_message=listen)
        assert error.value.page == 1
        # The keeper, which tidies up after the server, may need a moment for itself.
        assert [pid for pid in left(patience=0) if name_of(pid) != "docmill-keeper"] == []
        assert left(patience=60) == []


def test_a_server_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    processes.shutdown()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EngineFailed, match="server process of the sandbox cannot be started"):
        run("echo", 1)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(EngineFailed, match="No such file"):
        run("echo", 1)
    monkeypatch.undo()
    assert run("echo", 1) == 1


def test_a_module_that_hangs_the_server_does_not_outlast_the_wall_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.shutdown()
    (tmp_path / "hanging_module.py").write_text("import time; time.sleep(600)")
    monkeypatch.syspath_prepend(tmp_path)
    limits = Limits(memory=4 << 30, cpu_seconds=60, wall_seconds=0.3, output_bytes=1 << 30)
    with pytest.raises(LimitExceeded, match=r"0\.3 s"):
        run("echo", 1, limits=limits, modules=["hanging_module"])
    assert run("echo", 1) == 1


def test_a_process_forked_from_the_parent_has_a_server_of_its_own() -> None:
    server = run("whoami")["server"]
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, str(run("whoami")["server"]).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(reader, 100)) != server
    assert run("whoami")["server"] == server


def test_nothing_in_the_working_directory_shadows_a_module(tmp_path: Path) -> None:
    for name in ("json", "PIL", "docmill", "tasks", "flows", "ctypes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('shadowed')")
    script = (
        "import sys; sys.path.append(sys.argv[1]); sys.path.insert(0, '')\n"
        "from docmill import processes; from docmill.processes import Limits\n"
        "import os; os.chdir(sys.argv[2])\n"
        "limits = Limits(1 << 32, 9, 9, 1 << 30)\n"
        "me = processes.run('doubles:whoami', (), limits=limits, modules=['PIL.Image'])\n"
        "print(me['path'], 'PIL.Image' in me['modules'])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, TESTS, tmp_path], cwd="/", capture_output=True, text=True
    )
    assert done.stderr == ""
    assert "''" not in done.stdout
    assert done.stdout.endswith("True\n")


def test_a_parent_that_ignores_sigchld_is_served() -> None:
    script = (
        "import signal, sys; sys.path.append(sys.argv[1])\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "from docmill import processes; from docmill.processes import Limits\n"
        "print(processes.run('doubles:echo', (42,), limits=Limits(1 << 32, 9, 9, 1 << 30)))\n"
        "processes.shutdown()\n"
        "print(processes.run('doubles:echo', (43,), limits=Limits(1 << 32, 9, 9, 1 << 30)))"
    )
    done = subprocess.run([sys.executable, "-c", script, TESTS], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("42\n43\n", "")


# What is killed at a random moment, while workers of every kind are at work.
PARENT = """
import sys, threading, time
sys.path.append(sys.argv[1])
from docmill import processes
from docmill.errors import DocmillError
from docmill.processes import Limits

processes.warm(fork=sys.argv[2] == "fork")

def work(function, args):
    while True:
        try:
            processes.run("doubles:" + function, args, limits=Limits(1 << 32, 99, 99, 1 << 30))
        except DocmillError:
            time.sleep(0.05)

for function, args in [("sleep", (600,)), ("hang", ()), ("sleep_in_children", ()), ("sleep_in_a_tool", ()),
                       ("count", (2000,)), ("count", (10,)), ("whoami", ())]:
    threading.Thread(target=work, args=(function, args), daemon=True).start()
print("started", flush=True)
time.sleep(600)
"""


def start_parent(how: str) -> subprocess.Popen[bytes]:
    """A parent with workers of every kind; its first server is spawned, or forked from it."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, TESTS, how], stdout=subprocess.PIPE)
    assert parent.stdout
    assert parent.stdout.readline() == b"started\n"
    parent.stdout.close()
    return parent


def test_a_server_forked_from_its_parent_takes_nothing_along() -> None:
    script = (
        "import logging, os, signal, sys; sys.path.append(sys.argv[1]); sys.path.insert(0, '')\n"
        "import colorsys\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled by the parent'))\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "kept = os.open('/etc/passwd', os.O_RDONLY)\n"
        "os.set_inheritable(kept, True)\n"
        "sys.stdout.write('once')\n"
        "from docmill import processes; from docmill.processes import Abort, Limits\n"
        "processes.warm(fork=True)\n"
        "limits = Limits(1 << 32, 9, 9, 1 << 30)\n"
        "me = processes.run('doubles:whoami', (), limits=limits)\n"
        "assert 'colorsys' in me['modules'] and '' not in me['path'], me\n"
        "assert len(me['descriptors']) == 4 and me['cwd'] == '/' and me['threads'] == 1, me\n"
        "abort = Abort(); abort.set()\n"
        "try: processes.run('doubles:sleep', (600,), limits=limits, abort=abort, grace=60)\n"
        "except Exception as error: assert type(error).__name__ == 'JobAborted', error\n"
    )
    done = subprocess.run([sys.executable, "-c", script, TESTS], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("once", "")


def test_a_server_is_not_forked_from_a_process_with_threads() -> None:
    script = (
        "import sys, threading, time; sys.path.append(sys.argv[1]); import colorsys\n"
        "from docmill import processes; from docmill.processes import Limits\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "processes.warm(fork=True)\n"
        "me = processes.run('doubles:whoami', (), limits=Limits(1 << 32, 9, 9, 1 << 30))\n"
        "print('colorsys' in me['modules'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, TESTS], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("moment", range(9))
@pytest.mark.parametrize("how", ["spawn", "fork"])
def test_nothing_outlives_a_killed_parent(how: str, moment: int) -> None:
    chance = random.Random(f"{how} {moment}")
    with marked() as left:
        parent = start_parent(how)
        time.sleep(chance.uniform(0, 0.6))
        # The parent, and at the same time one of those that should tidy up after it.
        names = ["", "docmill-keeper", "docmill-server"][moment % 3]
        others = [pid for pid in left(patience=0) if name_of(pid) == names]
        for victim in chance.sample([parent.pid, *others], 1 + len(others)):
            kill(victim)
        parent.wait()
        assert left(patience=60) == []


@pytest.mark.parametrize("moment", range(6))
def test_killed_servers_and_workers_do_not_stop_a_parent(moment: int) -> None:
    chance = random.Random(moment)
    with marked() as left:
        parent = start_parent(["spawn", "fork"][moment % 2])
        for _ in range(8):
            time.sleep(chance.uniform(0, 0.15))
            victims = [pid for pid in left(patience=0) if pid != parent.pid]
            if victims:
                kill(chance.choice(victims))
        # It goes on: there is a server with workers again.
        deadline = time.monotonic() + 60
        while len(left(patience=0)) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert parent.poll() is None
        parent.kill()
        parent.wait()
        assert left(patience=60) == []


@pytest.mark.parametrize("fork", [False, True])
def test_a_clean_exit_of_the_parent_ends_the_server(fork: bool) -> None:
    script = f"from docmill import processes; processes.warm(['PIL.Image'], fork={fork}); print('bye')"
    with marked() as left:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("bye\n", "")
        assert left(patience=60) == []


class TestMapInChildren:
    """Inside of a worker it works as here: it forks from where it is called."""

    def test_results_come_in_order_from_several_processes(self) -> None:
        def work(number: int) -> tuple[int, int]:
            time.sleep(0.02 if number % 3 == 0 else 0)
            return number, os.getpid()

        results = list(map_in_children(work, range(40), workers=3))
        assert [number for number, _ in results] == list(range(40))
        assert len({pid for _, pid in results} - {os.getpid()}) == 3

    @pytest.mark.parametrize(("items", "workers"), [([], 3), ([1], 3), ([1, 2, 3], 1)])
    def test_little_work_is_not_forked(self, items: list[int], workers: int) -> None:
        pids = map_in_children(lambda _: os.getpid(), items, workers=workers)
        assert list(pids) == [os.getpid()] * len(items)

    def test_large_results(self) -> None:
        results = map_in_children(lambda n: bytes([n]) * 3_000_000, range(10), workers=2)
        assert [(result[0], len(result)) for result in results] == [(n, 3_000_000) for n in range(10)]

    def test_it_does_not_run_far_ahead(self, tmp_path: Path) -> None:
        results = map_in_children(lambda n: (tmp_path / str(n)).touch(), range(1000), workers=2)
        list(islice(results, 10))
        time.sleep(0.3)
        assert 10 <= len(list(tmp_path.iterdir())) <= 20

    def test_closing_it_early_ends_the_processes(self) -> None:
        before = children_of(os.getpid())
        results = map_in_children(lambda n: time.sleep(600) if n else os.getpid(), range(100), workers=3)
        assert next(results) in children_of(os.getpid()) - before
        results.close()  # type: ignore[attr-defined]
        assert children_of(os.getpid()) == before

    @pytest.mark.parametrize("workers", [1, 3])
    def test_an_exception_comes_out_with_its_page(self, workers: int) -> None:
        def work(number: int) -> int:
            if number == 5:
                raise CorruptDocument("torn")
            return number

        results = map_in_children(work, range(20), workers=workers, page=lambda n: n + 1)
        assert list(islice(results, 5)) == [0, 1, 2, 3, 4]
        with pytest.raises(CorruptDocument, match="torn") as error:
            next(results)
        assert error.value.page == 6

    @pytest.mark.parametrize("errors", ["raise", "yield"])
    def test_a_death_is_the_failure_of_one_page(self, errors: Any) -> None:
        def work(number: int) -> int:
            if number in (3, 4, 9):
                os.kill(os.getpid(), signal.SIGKILL)
            return number

        results = map_in_children(work, range(10), workers=2, page=lambda n: n, errors=errors)
        if errors == "raise":
            with pytest.raises(
                EngineCrashed, match=r"killed by signal 9 \(SIGKILL\) while converting page 3"
            ):
                list(results)
        else:
            outcomes = list(results)
            died = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, EngineCrashed)]
            assert died == [3, 4, 9]
            assert [n for n in outcomes if isinstance(n, int)] == [0, 1, 2, 5, 6, 7, 8]

    def test_one_page_in_a_process_of_its_own(self) -> None:
        outcomes = list(map_in_children(lambda _: os._exit(3), [1], workers=1, errors="yield", page=int))
        assert [type(outcome) for outcome in outcomes] == [EngineCrashed]
        assert "exit code 3 while converting page 1" in str(outcomes[0])


@given(st.lists(st.tuples(st.sampled_from([MESSAGE, RESULT]), st.text())), st.integers(1, 50))
def test_frames_are_read_however_they_arrive(values: list[tuple[bytes, str]], size: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for kind, value in values:
            write_frame(ours.fileno(), kind, value)
        ours.close()
        reader = FrameReader()
        seen = []
        while data := theirs.recv(size):
            seen += [(kind, json.loads(body)) for kind, body in reader.feed(data)]
    assert seen == values


@given(st.binary(min_size=5))
def test_what_is_no_frame_is_refused_or_not_complete(data: bytes) -> None:
    try:
        frames = list(FrameReader().feed(data))
    except ValueError:
        assert data[0:1] not in b"MREL" or int.from_bytes(data[1:5], "little") >= 0
    else:
        assert sum(5 + len(body) for _, body in frames) <= len(data)


class marked:
    """Marks the processes that are started inside, by their environment, to find those that are left.

    Entered, it gives a function that lists the marked processes, once they are none or patience is over.
    """

    def __enter__(self) -> Callable[..., list[int]]:
        processes.shutdown()
        self.mark = f"{MARK}={random.random()}"
        os.environ[MARK] = self.mark.partition("=")[2]
        self.known = {os.getpid()}
        return self.left

    def __exit__(self, *error: object) -> None:
        del os.environ[MARK]
        processes.shutdown()
        for pid in self.left(patience=0):
            kill(pid)

    def left(self, *, patience: float) -> list[int]:
        deadline = time.monotonic() + patience
        while True:
            found = [pid for pid in running() if pid not in self.known and self.has_mark(pid)]
            if not found or time.monotonic() >= deadline:
                return found
            time.sleep(0.01)

    def has_mark(self, pid: int) -> bool:
        try:
            return self.mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            # It has just ended. A zombie has an empty environment.
            return False


def running() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
