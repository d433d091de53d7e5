"""The sandbox: what an engine does wrong ends as one typed error, and the next job is served."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import doubles
import pytest

from docmill import processes
from docmill.engines.base import EngineOptions, EngineResult, Progress
from docmill.engines.registry import Route, Step
from docmill.errors import (
    CorruptDocument,
    DocmillError,
    EngineCrashed,
    EngineFailed,
    JobAborted,
    LimitExceeded,
    Phase,
    UnknownFormat,
)
from docmill.facts import DocumentFacts, PageFacts
from docmill.formats import PDF, TIFF, Target
from docmill.options import ConvertOptions
from docmill.processes import Abort
from docmill.sandbox import Sandbox
from docmill.settings import Settings

SETTINGS = Settings(
    engine_wall_seconds=20,
    engine_cpu_seconds=20,
    engine_memory=1 << 30,
    max_output_bytes=20 << 20,
    abort_grace=0.3,
)


def route(*engines: str) -> Route:
    return Route(tuple(Step(engine, TIFF, Target(PDF)) for engine in engines))


@pytest.fixture(scope="module", autouse=True)
def own_server() -> Iterator[None]:
    """A sandbox server that holds nothing of what earlier tests had it import: it counts as memory."""
    processes.shutdown()
    yield
    processes.shutdown()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"source\n")
    return path


@pytest.fixture
def out_dir(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir()
    return path


class Runner:
    """Runs doubles by name, with one output folder and its own settings."""

    def __init__(self, source: Path, out_dir: Path) -> None:
        self.source, self.out_dir = source, out_dir
        self.progress: list[Progress] = []

    def __call__(self, engine: str, *, abort: object = None, **settings: object) -> EngineResult:
        sandbox = Sandbox(replace(SETTINGS, **settings), load="doubles:load")  # type: ignore[arg-type]
        self.progress = []
        return sandbox.run_blocking(
            route(engine),
            self.source,
            self.out_dir,
            EngineOptions(Target(PDF)),
            on_progress=self.progress.append,
            abort=abort,  # type: ignore[arg-type]
        )


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


@pytest.fixture
def run(source: Path, out_dir: Path) -> Runner:
    return Runner(source, out_dir)


def test_a_good_engine(run: Runner, out_dir: Path) -> None:
    result = run("good")
    assert result.outputs == (out_dir / "out.bin",)
    assert result.outputs[0].read_text().splitlines()[:2] == ["source", "page 1 of pdf None"]
    assert [page.source_page for page in result.pages] == [1, 2, 3, 4, 5]
    assert result.pages[0].width_pt == 595.0
    assert run.progress[-1] == Progress(5, 5)


def test_failures_and_notes_come_back(run: Runner) -> None:
    result = run("resumes")
    assert [page.how for page in result.pages] == ["kept", "kept"]
    assert result.notes == ("half of it",)
    [failure] = result.failures
    assert failure.page == 2
    assert failure.error["code"] == "CorruptDocument"


def test_steps_follow_each_other(source: Path, out_dir: Path) -> None:
    options = EngineOptions(Target(PDF), ConvertOptions(pages="4,9"), password="secret")
    seen: list[Progress] = []
    result = Sandbox(SETTINGS, load="doubles:load_steps").run_blocking(
        route("first", "second"), source, out_dir, options, on_progress=seen.append
    )
    assert sorted(path.name for path in out_dir.iterdir()) == ["second.bin"]
    assert result.outputs[0].read_bytes().startswith(b"second source\npage 1 of pdf 4,9\n")
    # What concerns the source is for the first step; pages are told by the number that they had there.
    assert result.notes == ("out.bin None None image/tiff",)
    assert [page.source_page for page in result.pages] == [4]
    assert [failure.page for failure in result.failures] == [9]
    assert seen[-1] == Progress(1, 2, "step 2 of 2: second")


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("null_pointer", r"killed by signal 11 \(SIGSEGV\) while converting page 3$"),
        (
            "aborts_in_c",
            r"killed by signal 6 \(SIGABRT\) while converting page 3 \(double free .* \?\[2J\)$",
        ),
        ("killed", r"killed by signal 9 \(SIGKILL\) while converting page 3$"),
        ("exits", r"ended with exit code 7 while converting page 3$"),
        ("sibling_dies", r"killed by signal 11 \(SIGSEGV\) while converting page 4$"),
    ],
)
def test_a_crash_names_signal_and_page(run: Runner, engine: str, message: str) -> None:
    with pytest.raises(EngineCrashed, match=message) as error:
        run(engine)
    assert error.value.page == (4 if engine == "sibling_dies" else 3)
    assert error.value.phase == Phase.CONVERT
    assert run("good").pages


def test_a_crash_near_the_limit_of_memory_names_its_setting(run: Runner) -> None:
    message = r"\(SIGSEGV\) while .* MiB; DOCMILL_ENGINE_MEMORY allows 300 MiB"
    with pytest.raises(EngineCrashed, match=message):
        run("takes_memory_and_dies", engine_memory=300 << 20)


@pytest.mark.parametrize(
    ("engine", "settings", "setting", "amount"),
    [
        ("burns_cpu", {"engine_cpu_seconds": 1}, "DOCMILL_ENGINE_CPU_SECONDS", "1 s"),
        ("burns_in_c", {"engine_cpu_seconds": 0.5}, "DOCMILL_ENGINE_CPU_SECONDS", "0.5 s"),
        ("burns_cpu_deaf", {"engine_cpu_seconds": 1}, "DOCMILL_ENGINE_CPU_SECONDS", "1 s"),
        ("takes_memory", {"engine_memory": 200 << 20}, "DOCMILL_ENGINE_MEMORY", "200 MiB"),
        (
            "takes_memory_and_blames_the_page",
            {"engine_memory": 200 << 20},
            "DOCMILL_ENGINE_MEMORY",
            "200 MiB",
        ),
        ("writes_one_large_file", {}, "DOCMILL_MAX_OUTPUT_BYTES", "20 MiB"),
        ("writes_many_files", {}, "DOCMILL_MAX_OUTPUT_BYTES", "20 MiB"),
        ("disk_full", {}, "DOCMILL_SCRATCH_DIR", "no room"),
    ],
)
def test_a_limit_names_itself_and_its_setting(
    run: Runner, engine: str, settings: dict[str, object], setting: str, amount: str
) -> None:
    with pytest.raises(LimitExceeded) as error:
        run(engine, **settings)
    assert error.value.setting == setting
    assert setting in str(error.value)
    assert amount in str(error.value)
    assert error.value.page == 3
    for path in run.out_dir.iterdir():
        path.unlink()
    assert run("good").pages


def test_the_wall_limit_ends_any_engine(source: Path, tmp_path: Path) -> None:
    # Side by side, within a time in which each comes to page 3 on a busy machine as well.
    engines = ["sleeps", "hangs_in_c", "burns_in_c", "ignores_sigterm", "siblings_sleep"]

    def fail(engine: str) -> LimitExceeded:
        (tmp_path / engine).mkdir()
        with pytest.raises(LimitExceeded) as error:
            Runner(source, tmp_path / engine)(engine, engine_wall_seconds=4)
        return error.value

    with ThreadPoolExecutor(len(engines)) as pool:
        for error in pool.map(fail, engines):
            assert (error.setting, error.page) == ("DOCMILL_ENGINE_WALL_SECONDS", 3)
            assert "4 s" in str(error)


def test_a_limit_reached_by_a_sibling(run: Runner) -> None:
    with pytest.raises(LimitExceeded, match=r"200 MiB of memory .*page 1.*DOCMILL_ENGINE_MEMORY"):
        run("sibling_takes_memory", engine_memory=200 << 20)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("raises", "ZeroDivisionError: no such luck, while converting page 3"),
        ("returns_nonsense", "returned dict"),
        ("names_a_file_elsewhere", "no file in its output folder"),
        ("links_elsewhere", "no file in its output folder"),
        ("makes_nothing", "made no output"),
        ("writes_over_the_wire", "sent nonsense"),
        ("no_such_engine", "KeyError: 'no_such_engine'"),
    ],
)
def test_an_engine_that_fails(run: Runner, engine: str, message: str) -> None:
    with pytest.raises(EngineFailed, match=message):
        run(engine)
    assert run("good").pages


def test_the_traceback_is_the_cause(run: Runner) -> None:
    with pytest.raises(EngineFailed) as error:
        run("raises")
    assert 'raise ZeroDivisionError("no such luck")' in str(error.value.__cause__)


def test_an_error_of_the_engine_passes_unchanged(run: Runner) -> None:
    with pytest.raises(CorruptDocument) as error:
        run("refuses")
    assert error.value.to_dict() == {
        "code": "CorruptDocument",
        "message": "page 3 has no pixels",
        "hint": "scan it again",
        "phase": "convert",
        "page": 3,
    }
    assert pickle.loads(pickle.dumps(error.value)).message == "page 3 has no pixels"


def test_one_page_that_kills_its_process_costs_that_page_only(run: Runner) -> None:
    notes = run("pages_of_siblings").notes
    assert len(notes) == 20
    assert "killed by signal 7 (SIGBUS) while converting page 4" in notes[3]
    assert notes[5] == "torn"
    assert notes[6] == "ValueError: odd (page 7)"
    others = [note for number, note in enumerate(notes, 1) if number not in (4, 6, 7, 8)]
    assert [note.split(" by ")[0] for note in others] == [
        f"page {n}" for n in range(1, 21) if n not in (4, 6, 7, 8)
    ]


def test_what_an_engine_prints_is_kept_from_the_terminal(source: Path, out_dir: Path) -> None:
    script = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "from pathlib import Path; from test_sandbox import Runner\n"
        "assert Runner(Path(sys.argv[2]), Path(sys.argv[3]))('chats').pages\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, Path(__file__).parent, source, out_dir], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_an_engine_prints_is_logged(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "docmill"):
        assert run("chats").pages
    assert "from C" in caplog.text
    assert "last words" in caplog.text


def test_what_an_engine_logs_arrives(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    run("logs")
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("docmill.engines.double", "WARNING", "page 3 looks odd")
    ]
    # What a library says of a document is for who asks for it: docmill tells of it in its own words.
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "docmill"):
        run("logs")
    of_library = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "docmill.library"]
    assert of_library == [("DEBUG", "the tree includes an object")]


def test_a_daemon_of_an_engine_ends_with_it(run: Runner, out_dir: Path) -> None:
    run("leaves_a_daemon")
    pid = int((out_dir / "daemon.pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


class TestAbort:
    @pytest.mark.parametrize("flag", [Abort, threading.Event])
    @pytest.mark.parametrize(
        "engine", ["sleeps", "tidies", "hangs_in_c", "burns_in_c", "ignores_sigterm", "siblings_sleep"]
    )
    def test_it_ends_any_engine(
        self, run: Runner, out_dir: Path, engine: str, flag: type[Abort | threading.Event]
    ) -> None:
        abort = flag()

        def abort_at_page_3() -> None:
            while not (run.progress and run.progress[-1].page == 3):
                time.sleep(0.01)
            if engine == "tidies":
                wait_for(out_dir / "trying")
            abort.set()

        threading.Thread(target=abort_at_page_3, daemon=True).start()
        # Who hears SIGTERM has all the time that it needs.
        deaf = engine in {"hangs_in_c", "burns_in_c", "ignores_sigterm"}
        with pytest.raises(JobAborted):
            run(engine, abort=abort, abort_grace=0.3 if deaf else 60)
        assert (out_dir / "tidied").exists() == (engine == "tidies")

    def test_set_beforehand(self, run: Runner) -> None:
        # The signal comes while the worker is being made, and is not lost: the grace outlasts this test.
        abort = Abort()
        abort.set()
        for _ in range(20):
            with pytest.raises(JobAborted):
                run("sleeps", abort=abort, abort_grace=600)

    def test_one_flag_stops_many(self, source: Path, tmp_path: Path) -> None:
        abort = Abort()
        sandbox = Sandbox(SETTINGS, load="doubles:load")
        errors: list[BaseException] = []

        def job(number: int) -> None:
            out_dir = tmp_path / str(number)
            out_dir.mkdir()
            try:
                sandbox.run_blocking(
                    route("sleeps"), source, out_dir, EngineOptions(Target(PDF)), abort=abort
                )
            except DocmillError as error:
                errors.append(error)

        threads = [threading.Thread(target=job, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        abort.set()
        for thread in threads:
            thread.join(30)
        assert [type(error) for error in errors] == [JobAborted] * 10

    def test_ctrl_c_ends_the_engine_first(self, source: Path, out_dir: Path) -> None:
        script = (
            "import sys; sys.path.append(sys.argv[1])\n"
            "from pathlib import Path\n"
            "from test_sandbox import *\n"
            "sandbox = Sandbox(SETTINGS, load='doubles:load')\n"
            "source, out_dir = Path(sys.argv[2]), Path(sys.argv[3])\n"
            "options = EngineOptions(Target(PDF))\n"
            "tell = lambda progress: progress.page == 3 and print('3', flush=True)\n"
            "try:\n"
            "    sandbox.run_blocking(route('tidies'), source, out_dir, options, on_progress=tell)\n"
            "except KeyboardInterrupt:\n"
            "    import shutil; shutil.rmtree(out_dir); print('stopped')\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, Path(__file__).parent, source, out_dir],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        assert process.stdout.readline() == "3\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("stopped\n", "")


class TestAsync:
    def test_run(self, source: Path, out_dir: Path) -> None:
        seen: list[tuple[int, int]] = []

        async def main() -> EngineResult:
            loop_thread = threading.get_ident()
            return await Sandbox(SETTINGS, load="doubles:load").run(
                route("slow"),
                source,
                out_dir,
                EngineOptions(Target(PDF)),
                on_progress=lambda at: seen.append((at.page, threading.get_ident() - loop_thread)),
            )

        assert asyncio.run(main()).outputs == (out_dir / "out.bin",)
        assert (3, 0) in seen

    def test_an_error(self, source: Path, out_dir: Path) -> None:
        sandbox = Sandbox(SETTINGS, load="doubles:load")
        with pytest.raises(EngineCrashed, match="page 3"):
            asyncio.run(sandbox.run(route("null_pointer"), source, out_dir, EngineOptions(Target(PDF))))

    def test_abort(self, source: Path, out_dir: Path) -> None:
        async def main() -> None:
            abort = asyncio.Event()
            asyncio.get_running_loop().call_later(0.3, abort.set)
            sandbox = Sandbox(SETTINGS, load="doubles:load")
            await sandbox.run(route("sleeps"), source, out_dir, EngineOptions(Target(PDF)), abort=abort)

        with pytest.raises(JobAborted):
            asyncio.run(main())

    def test_cancelling_waits_for_the_end_of_the_engine(
        self, source: Path, out_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            sandbox = Sandbox(replace(SETTINGS, abort_grace=60), load="doubles:load")
            task = asyncio.create_task(
                sandbox.run(
                    route("tidies"),
                    source,
                    out_dir,
                    EngineOptions(Target(PDF)),
                )
            )
            await asyncio.to_thread(wait_for, out_dir / "trying")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (out_dir / "tidied").exists()

        asyncio.run(main())
        gc.collect()
        assert "never retrieved" not in caplog.text

    def test_fifty_at_once(self, source: Path, tmp_path: Path) -> None:
        # Each takes 0.3 s: in the loop's default executor they would wait for each other.
        async def main() -> list[EngineResult]:
            sandbox = Sandbox(SETTINGS, load="doubles:load")
            jobs = []
            for number in range(50):
                (tmp_path / str(number)).mkdir()
                jobs.append(
                    sandbox.run(route("slow"), source, tmp_path / str(number), EngineOptions(Target(PDF)))
                )
            return await asyncio.gather(*jobs)

        results = asyncio.run(main())
        assert [result.outputs[0].parent.name for result in results] == [str(n) for n in range(50)]


class TestCheck:
    """An engine's output that is not what its source was: here, 5 pages of nonsense for one of a PDF."""

    FACTS = DocumentFacts("application/pdf", (PageFacts(0, 0, 595.0, 842.0),))

    def run(self, verify: str, source: Path, out_dir: Path) -> EngineResult:
        sandbox = Sandbox(replace(SETTINGS, verify=verify), load="doubles:load")
        return sandbox.run_blocking(
            route("good"), source, out_dir, EngineOptions(Target(PDF)), facts=self.FACTS
        )

    def test_it_fails_the_job(self, source: Path, out_dir: Path) -> None:
        with pytest.raises(EngineFailed, match="cannot be opened again by pdfium"):
            self.run("fail", source, out_dir)

    def test_it_is_a_note_where_it_only_warns(self, source: Path, out_dir: Path) -> None:
        [note] = self.run("warn", source, out_dir).notes
        assert note.startswith("check: out.bin cannot be opened")

    def test_it_can_be_left_out(self, source: Path, out_dir: Path) -> None:
        assert self.run("off", source, out_dir).notes == ()


class TestProbe:
    def test_facts(self, tmp_path: Path) -> None:
        from PIL import Image

        path = tmp_path / "x.bin"
        Image.new("L", (200, 100)).save(path, "TIFF", dpi=(100, 50))
        facts = Sandbox(SETTINGS).probe_blocking(path, "x.png")
        assert facts.mime_type == "image/tiff"
        [page] = facts.pages
        assert (page.width_px, page.height_px, page.width_pt, page.height_pt) == (200, 100, 144.0, 144.0)

    def test_limits_of_the_settings(self, tmp_path: Path) -> None:
        from PIL import Image

        path = tmp_path / "x.png"
        Image.new("L", (200, 100)).save(path)
        with pytest.raises(LimitExceeded, match="DOCMILL_MAX_PAGE_PIXELS"):
            Sandbox(replace(SETTINGS, max_page_pixels=19_999)).probe_blocking(path, "x.png")

    def test_an_unknown_file_is_an_error_of_loading(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(os.urandom(1000))
        with pytest.raises(UnknownFormat) as error:
            Sandbox(SETTINGS).probe_blocking(path, "x")
        assert error.value.phase == Phase.LOAD


class TestFullDisk:
    """On a file system with room for 1 MiB, which fills up as disks do."""

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "small"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
        yield folder
        subprocess.run(["umount", folder], check=True)

    @pytest.mark.parametrize("engine", ["writes_one_large_file", "writes_many_files", "maps_a_large_file"])
    def test_it_is_told_with_the_setting(self, source: Path, small_disk: Path, engine: str) -> None:
        with pytest.raises(LimitExceeded, match="no room is left in the scratch folder") as error:
            Sandbox(SETTINGS, load="doubles:load").run_blocking(
                route(engine), source, small_disk, EngineOptions(Target(PDF))
            )
        assert error.value.setting == "DOCMILL_SCRATCH_DIR"


def test_the_sandbox_imports_nothing_slow() -> None:
    script = "import sys, docmill.sandbox; print(*sys.modules)"
    # Isolated: other tests' PYTHONPATH has modules that start with Python.
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    slow = {"asyncio", "pydantic", "prefect", "fsspec", "numpy", "PIL", "multiprocessing", "ctypes"}
    assert slow.isdisjoint(done.stdout.split())


def test_every_double_is_used() -> None:
    text = Path(__file__).read_text() + Path(__file__).with_name("test_processes.py").read_text()
    names = [name for name, value in vars(doubles).items() if getattr(value, "__module__", "") == "doubles"]
    helpers = {"Double", "_First", "_Second", "tool_runs"}
    assert [name for name in names if name not in text and name not in helpers] == []
