"""Engines that fail, for the tests of the sandbox.

`Sandbox(settings, load="doubles:load")` finds them by name, `processes.run("doubles:whoami", ...)` the rest.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import logging
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from docmill.engines.base import Engine, EngineOptions, EngineResult, PageFailure, PageResult, Progress
from docmill.errors import CorruptDocument
from docmill.processes import map_in_children

PAGES = 5
libc = ctypes.CDLL(None)


def load(name: str) -> Engine:
    """The engine whose behaviour at page 3 is the function of that name."""
    return Double(globals()[name])


class Double:
    """Writes `source`'s bytes and a line a page to `out.bin`; at page 3 it does what it was made for."""

    def __init__(self, at_page_3: Callable[[Path], Any]) -> None:
        self.at_page_3 = at_page_3

    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult:
        output = out_dir / "out.bin"
        with output.open("wb") as file:
            file.write(source.read_bytes())
            for page in range(1, PAGES + 1):
                progress(Progress(page, PAGES))
                if page == 3 and (other := self.at_page_3(out_dir)) is not None:
                    return other  # type: ignore[no-any-return]
                file.write(f"page {page} of {options.target.name} {options.options.pages}\n".encode())
        return EngineResult((output,), tuple(PageResult(n, 595.0, 842.0) for n in range(1, PAGES + 1)))


def good(out_dir: Path) -> None:
    pass


def slow(out_dir: Path) -> None:
    time.sleep(0.3)


def sleeps(out_dir: Path) -> None:
    time.sleep(600)


def null_pointer(out_dir: Path) -> None:
    ctypes.string_at(0)


def aborts_in_c(out_dir: Path) -> None:
    os.write(2, b"before\ndouble free or corruption (!prev) \x1b[2J\n")
    libc.abort()


def killed(out_dir: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exits(out_dir: Path) -> None:
    sys.exit(7)


def hangs_in_c(out_dir: Path) -> None:
    """Waits in C for ever; no Python code, a signal handler's neither, runs meanwhile."""
    while True:
        ctypes.PyDLL(None).pause()


def burns_in_c(out_dir: Path) -> None:
    """Holds the GIL in a regular expression of exponential time."""
    re.match(r"(a|a)*$", "a" * 60 + "b")


def ignores_sigterm(out_dir: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def tidies(out_dir: Path) -> None:
    try:
        (out_dir / "trying").touch()
        time.sleep(600)
    finally:
        (out_dir / "tidied").touch()


def burns_cpu(out_dir: Path) -> None:
    while True:
        pass


def burns_cpu_deaf(out_dir: Path) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    burns_cpu(out_dir)


def takes_memory(out_dir: Path) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(16 << 20))


def takes_memory_and_dies(out_dir: Path) -> None:
    # As a C library does that does not look at what malloc returns.
    try:
        takes_memory(out_dir)
    except MemoryError as error:
        assert error.__traceback__  # its frames hold the hoard
        os.kill(os.getpid(), signal.SIGSEGV)


def takes_memory_and_blames_the_page(out_dir: Path) -> None:
    try:
        takes_memory(out_dir)
    except Exception as error:
        raise CorruptDocument("page 3 is broken", page=3) from error


def writes_one_large_file(out_dir: Path) -> None:
    with (out_dir / "large").open("wb") as file:
        while True:
            file.write(bytes(1 << 20))
            file.flush()


def writes_many_files(out_dir: Path) -> None:
    for number in range(100_000):
        (out_dir / f"{number}").write_bytes(bytes(1 << 20))
        time.sleep(0.005)


def maps_a_large_file(out_dir: Path) -> None:
    """Reserves more than there is room for, as a sparse file, and fills it through a mapping: SIGBUS."""
    with (out_dir / "mapped").open("w+b") as file:
        file.truncate(8 << 20)
        with mmap.mmap(file.fileno(), 0) as memory:
            for offset in range(0, 8 << 20, 4096):
                memory[offset] = 1


def disk_full(out_dir: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def raises(out_dir: Path) -> None:
    raise ZeroDivisionError("no such luck")


def refuses(out_dir: Path) -> None:
    raise CorruptDocument("page 3 has no pixels", hint="scan it again", page=3)


def returns_nonsense(out_dir: Path) -> Any:
    return {"outputs": ["/etc/passwd"]}


def names_a_file_elsewhere(out_dir: Path) -> Any:
    return EngineResult((Path("/etc/passwd"),))


def links_elsewhere(out_dir: Path) -> Any:
    (out_dir / "link").symlink_to("/etc/passwd")
    return EngineResult((out_dir / "link",))


def makes_nothing(out_dir: Path) -> Any:
    return EngineResult(())


def writes_over_the_wire(out_dir: Path) -> None:
    os.write(3, b"\xff" * 1000)
    time.sleep(600)


def chats(out_dir: Path) -> None:
    """Prints more than a pipe holds, on both streams, from Python and from C."""
    for number in range(20_000):
        print(f"line {number}")
    libc.puts(b"from C")
    libc.fflush(None)
    sys.stderr.write("last words\n")


def logs(out_dir: Path) -> None:
    logging.getLogger("docmill.engines.double").warning("page %d looks odd", 3)
    logging.getLogger("library").error("the tree includes an object")
    logging.getLogger("library").debug("tag: ImageWidth (256)")


def resumes(out_dir: Path) -> Any:
    (out_dir / "out.bin").write_bytes(b"x")
    failure = PageFailure(2, CorruptDocument("page 2 is torn", page=2).to_dict())
    pages = tuple(PageResult(n, 595.0, 842.0, how="kept") for n in (1, 3))
    return EngineResult((out_dir / "out.bin",), pages, (failure,), ("half of it",))


def tool_runs(out_dir: Path) -> None:
    """Waits for a tool in a process of its own."""
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"])


def leaves_a_daemon(out_dir: Path) -> None:
    """Ends, and leaves a process that took itself out of the group and to another session."""
    daemon = (
        "import os, pathlib, sys, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    subprocess.run([sys.executable, "-c", daemon, out_dir / "daemon.pid"])
    while not (out_dir / "daemon.pid").exists() or not (out_dir / "daemon.pid").read_text():
        time.sleep(0.01)


def siblings_sleep(out_dir: Path) -> None:
    for _ in map_in_children(lambda n: time.sleep(600), range(4), workers=2):
        pass


def sibling_dies(out_dir: Path) -> None:
    def work(page: int) -> int:
        if page == 4:
            ctypes.string_at(0)
        return page

    for _ in map_in_children(work, range(1, 9), workers=2, page=lambda n: n):
        pass


def sibling_takes_memory(out_dir: Path) -> None:
    for _ in map_in_children(lambda n: takes_memory(out_dir), range(1, 9), workers=2, page=lambda n: n):
        pass


def pages_of_siblings(out_dir: Path) -> Any:
    """A result whose notes say what became of each page in four processes, one of which dies at page 4."""

    def work(page: int) -> str:
        if page == 4:
            os.kill(os.getpid(), signal.SIGBUS)
        if page == 6:
            raise CorruptDocument("torn")
        if page == 7:
            raise ValueError("odd")
        if page == 8:
            return open  # type: ignore[return-value]
        return f"page {page} by {os.getpid()}"

    outcomes = map_in_children(work, range(1, 21), workers=4, page=lambda n: n, errors="yield")
    (out_dir / "out.bin").touch()
    return EngineResult((out_dir / "out.bin",), notes=tuple(str(outcome) for outcome in outcomes))


class _Second:
    """The second step of a route: reports what it was given, and loses page 2."""

    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult:
        progress(Progress(1, 2, "second"))
        output = out_dir / "second.bin"
        output.write_bytes(b"second " + source.read_bytes())
        failure = PageFailure(2, CorruptDocument("torn", page=2).to_dict())
        note = f"{source.name} {options.options.pages} {options.password} {options.mime_type}"
        return EngineResult((output,), (PageResult(1, 1.0, 1.0),), (failure,), (note,))


class _First(Double):
    """The first step: its pages are 4 and 9 of the source."""

    def convert(
        self, source: Path, out_dir: Path, options: EngineOptions, progress: Callable[[Progress], None]
    ) -> EngineResult:
        made = super().convert(source, out_dir, options, progress)
        return replace(made, pages=(PageResult(4, 1.0, 1.0), PageResult(9, 1.0, 1.0)))


def load_steps(name: str) -> Engine:
    """Two engines for a route of two steps."""
    return {"first": _First(good), "second": _Second()}[name]


def whoami(report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """What a worker sees of itself."""
    descriptors = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    return {
        "pid": os.getpid(),
        "server": os.getppid(),
        "group": os.getpgrp(),
        "session": os.getsid(0),
        "cwd": str(Path.cwd()),
        "path": sys.path,
        "modules": sorted(sys.modules),
        "descriptors": descriptors,
        "ignored": [int(n) for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN],
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def has_imported(name: str, claimed: bool, report: Callable[[dict[str, Any]], None]) -> bool:
    """Whether this worker has a module from its server; it imports it now, or only says so."""
    there = name in sys.modules
    if claimed:
        sys.modules[name] = sys
    else:
        importlib.import_module(name)
    return there


def echo(value: Any, report: Callable[[dict[str, Any]], None]) -> Any:
    return value


def count(pages: int, report: Callable[[dict[str, Any]], None]) -> None:
    for page in range(1, pages + 1):
        report({"page": page})


def sleep(seconds: float, report: Callable[[dict[str, Any]], None]) -> None:
    report({"page": 1})
    time.sleep(seconds)


def sleep_in_children(report: Callable[[dict[str, Any]], None]) -> None:
    report({"page": 1})
    siblings_sleep(Path("/nowhere"))


def sleep_in_a_tool(report: Callable[[dict[str, Any]], None]) -> None:
    report({"page": 1})
    tool_runs(Path("/nowhere"))


def hang(report: Callable[[dict[str, Any]], None]) -> None:
    report({"page": 1})
    hangs_in_c(Path("/nowhere"))
