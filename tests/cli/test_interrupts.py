"""Ctrl-C before the point of no return leaves nothing; after it, the job is done."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from docmill import pipeline, publication
from docmill.cli import convert, flowrun, streams
from docmill.cli.interrupts import Interrupts
from docmill.cli.parser import build_parser
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.settings import Settings


@pytest.fixture(autouse=True)
def ctrl_c_as_in_a_command() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`docmill convert --direct` in this process, with pages to convert."""
    for name in ("a.png", "b.png"):
        Image.new("L", (50, 50)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCMILL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DOCMILL_SCRATCH_DIR", str(tmp_path / "scratch"))

    def run(*arguments: str) -> int:
        return convert.run(build_parser("").parse_args(["convert", *arguments, "--direct", "-q"]))

    return run


@pytest.fixture
def interrupted_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(*arguments: Any) -> Any:
        outcome = publication.commit(*arguments)
        interrupt()
        return outcome

    monkeypatch.setattr(pipeline, "commit", commit)


def test_a_job_whose_output_is_in_place_is_done(run, interrupted_commit, tmp_path):
    assert run("a.png", "a.pdf") == 0
    assert (tmp_path / "a.pdf").exists()
    with pytest.raises(KeyboardInterrupt):  # as before
        interrupt()


def test_of_several_sources_the_next_is_not_begun(run, interrupted_commit, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCMILL_ENGINE_WORKERS", "1")
    with pytest.raises(KeyboardInterrupt):
        run("a.png", "b.png", "out/", "--to", "pdf")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.pdf"]


def test_of_sources_side_by_side_the_one_in_place_is_told_and_the_other_leaves_nothing(
    run, monkeypatch, tmp_path, capfd
):
    monkeypatch.setenv("DOCMILL_ENGINE_WORKERS", "2")
    committed = threading.Event()

    def stage(work: Any, request: ConvertRequest, *others: Any) -> Any:
        staged = publication.stage(work, request, *others)
        if request.sources[0].endswith("a.png"):
            assert committed.wait(60)
            interrupt()
            time.sleep(0.5)  # it is for the main thread
        return staged

    def commit(*arguments: Any) -> Any:
        outcome = publication.commit(*arguments)
        committed.set()
        return outcome

    monkeypatch.setattr(pipeline, "stage", stage)
    monkeypatch.setattr(pipeline, "commit", commit)
    with pytest.raises(KeyboardInterrupt):
        run("a.png", "b.png", "out/", "--to", "pdf", "--json")
    (told,) = map(json.loads, capfd.readouterr().out.splitlines())
    assert told["source"].endswith("b.png")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.pdf"]
    assert not list((tmp_path / "scratch").iterdir())
    with pytest.raises(KeyboardInterrupt):  # as before
        interrupt()


def test_whose_reader_goes_away_the_other_conversions_are_stopped(run, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCMILL_ENGINE_WORKERS", "2")
    gone, held = threading.Event(), threading.Event()

    def stage(work: Any, request: ConvertRequest, *others: Any) -> Any:
        staged = publication.stage(work, request, *others)
        if request.sources[0].endswith("b.png"):
            held.set()
            assert gone.wait(60)
        return staged

    def unread(*arguments: Any, **options: Any) -> None:
        assert held.wait(60)
        threading.Timer(0.2, gone.set).start()
        raise BrokenPipeError

    monkeypatch.setattr(pipeline, "stage", stage)
    monkeypatch.setattr(convert, "print", unread, raising=False)
    with pytest.raises(BrokenPipeError):
        run("a.png", "b.png", "out/", "--to", "pdf", "--json")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.pdf"]


class Done:
    """A final state of a flow run."""

    def __init__(self, outcome: ConvertOutcome) -> None:
        self.outcome = outcome

    async def aresult(self, raise_on_failure: bool) -> ConvertOutcome:
        return self.outcome


@pytest.fixture
def run_interrupted_as_flow_runs(run, monkeypatch) -> Callable[..., int]:
    """The same with Prefect, where each run ends well, and is interrupted just before or just after that."""
    from docmill.flows import convert as flow

    def with_prefect(*arguments: str, late: bool) -> int:
        asked = build_parser("").parse_args(["convert", *arguments, "-q"])

        async def convert_document(request: ConvertRequest, return_state: bool) -> Done:
            settings = Settings.from_env()
            outcome = await asyncio.to_thread(pipeline.convert_document, request, settings)
            if not late:
                interrupt()
                await asyncio.sleep(0.5)
            return Done(outcome)

        @contextmanager
        def prefect_api(*arguments: Any) -> Iterator[Callable[[], None]]:
            yield lambda: None
            if late:
                interrupt()  # while Prefect is told how it came out

        monkeypatch.setattr(flow, "convert_document", convert_document)
        monkeypatch.setattr(flowrun, "prefect_api", prefect_api)
        return convert.run(asked)

    return with_prefect


@pytest.mark.parametrize("late", [False, True])
def test_a_flow_run_that_is_done_is_done(run_interrupted_as_flow_runs, tmp_path, late):
    assert run_interrupted_as_flow_runs("a.png", "a.pdf", late=late) == 0
    assert (tmp_path / "a.pdf").exists()


def test_of_several_flow_runs_the_next_is_not_begun(run_interrupted_as_flow_runs, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCMILL_ENGINE_WORKERS", "1")
    with pytest.raises(KeyboardInterrupt):
        run_interrupted_as_flow_runs("a.png", "b.png", "out/", "--to", "pdf", late=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.pdf"]


def test_before_the_commit_nothing_is_left(run, monkeypatch, tmp_path):
    def stage(*arguments: Any) -> Any:
        interrupt()
        return publication.stage(*arguments)

    monkeypatch.setattr(pipeline, "stage", stage)
    with pytest.raises(KeyboardInterrupt):
        run("a.png", "a.pdf")
    assert not (tmp_path / "a.pdf").exists()


def test_a_second_interrupt_is_not_held_back():
    interrupts = Interrupts()
    interrupts.hold()
    interrupt()
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert interrupts.release()
    assert not interrupts.release()


def test_a_job_that_cannot_be_stopped_any_more_says_so_before_its_output_shows(tmp_path):
    Image.new("L", (50, 50)).save(tmp_path / "a.png")
    target = tmp_path / "a.pdf"
    seen = []
    pipeline.convert_document(
        ConvertRequest(sources=(str(tmp_path / "a.png"),), target=str(target)),
        Settings(data_dir=tmp_path / "data", scratch_dir=tmp_path / "scratch"),
        before_commit=lambda: seen.append(target.exists()),
    )
    assert seen == [False]
    assert target.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_that_asks_to_stop_leaves_nothing_unless_it_is_ignored(docmill, number):
    Image.new("L", (50, 50)).save(docmill.folder / "a.png")
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = docmill.start("convert", "-", "out.pdf", "--direct", **pipes)
    _wait_until(docmill.leftovers)
    run.send_signal(number)
    assert run.wait(60) == 130
    assert run.communicate()[1] == b"docmill: stopped\n"
    assert not docmill.leftovers()

    # As by nohup, or in the background of a script.
    ignoring = docmill.start(
        "convert",
        "-",
        "out.pdf",
        "--direct",
        **pipes,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    )
    _wait_until(docmill.leftovers)
    ignoring.send_signal(number)
    assert b"publish: " in ignoring.communicate((docmill.folder / "a.png").read_bytes())[1]
    assert ignoring.returncode == 0


def _wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_closing_the_terminal_stops_a_command_in_order(docmill):
    pages = [Image.effect_noise((2480, 3508), 60)] * 12
    pages[0].save(docmill.folder / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    ours, theirs = pty.openpty()
    run = docmill.start("convert", "a.tif", "out.pdf", "--direct", stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"pages" not in shown.partition(b"TIFF, 12 pages")[2]:  # the bar
        shown += os.read(ours, 1000)
    os.close(ours)
    run.send_signal(signal.SIGHUP)  # as the kernel does for a terminal's foreground
    assert run.wait(60) == 130
    assert not docmill.leftovers()
    assert [path.name for path in docmill.folder.iterdir()] == ["a.tif"]


def test_a_signal_that_does_not_break_off_the_wait_for_input_is_heeded():
    """One that comes just before the wait, or, as here, to another thread."""
    read, write = os.pipe()
    over = threading.Event()

    def late() -> None:
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        over.wait(10)
        os.close(write)

    thread = threading.Thread(target=late)
    thread.start()
    with os.fdopen(read) as source, streams.wakeful(source) as stream:
        os.write(write, b"first")
        assert stream.read(100) == b"first"
        with pytest.raises(KeyboardInterrupt):
            stream.read(100)
        assert thread.is_alive()
    over.set()
    thread.join()
