"""The main job under faults: killed, interrupted, without room.

Whatever happens, there is the whole output or none, nothing runs on, and a person reads one line.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from test_processes import kill, marked, name_of

from docmill.cleanup import clean_scratch
from docmill.errors import EXIT_CODES, DestinationForbidden, DestinationFull, JobAborted, LimitExceeded
from docmill.settings import Settings
from tests.support import check_pdf, page_count

PAGES = 8


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages that have to be decoded and encoded: the conversion takes half a second."""
    path = tmp_path_factory.mktemp("faults") / "scan.tif"
    noise = Image.effect_noise((1240, 1754), 40)
    pages = [noise.rotate(90 * n, expand=False) for n in range(PAGES)]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw", dpi=(150, 150))
    return path


@dataclass
class Ended:
    code: int
    err: str


class Job:
    """A `docmill convert --direct` that is on its way."""

    def __init__(self, folder: Path, source: Path, target: Path, **settings: Path | str) -> None:
        self.folder, self.target = folder, target
        self.settings = {"DATA_DIR": folder / "data", "SCRATCH_DIR": folder / "scratch"} | settings
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("docmill"), "convert", "--direct", source, target],
            env=os.environ | {f"DOCMILL_{name}": str(value) for name, value in self.settings.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )

    def end(self) -> Ended:
        out, err = self.process.communicate(timeout=60)
        assert "Traceback" not in out + err
        assert "a defect" not in err
        return Ended(self.process.returncode, err.strip().splitlines()[-1] if err.strip() else "")

    @property
    def scratch(self) -> list[Path]:
        return sorted(Path(self.settings["SCRATCH_DIR"]).glob("*"))

    def check_whole_or_nothing(self) -> bool:
        """True where there is the whole output."""
        if not self.target.exists():
            return False
        check_pdf(self.target)
        assert page_count(self.target) == PAGES
        return True


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "scan.pdf"


@pytest.fixture(scope="session")
def duration(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds that an undisturbed job takes here, now."""
    folder = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    job = Job(folder, scan, folder / "scan.pdf")
    assert job.end().code == 0
    assert job.check_whole_or_nothing()
    return time.monotonic() - started


@pytest.mark.parametrize("moment", range(8))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment(
    scan: Path, target: Path, tmp_path: Path, duration: float, number: signal.Signals, moment: int
) -> None:
    with marked() as left:
        job = Job(tmp_path, scan, target)
        # Not while Python itself starts, which answers Ctrl-C with a traceback of its own.
        while not any(name_of(pid) == "docmill-keeper" for pid in left(patience=0)):
            assert job.process.poll() is None
            time.sleep(0.001)
        time.sleep(random.Random(moment).uniform(0, 1) * duration)
        job.process.send_signal(number)
        ended = job.end()
        assert left(patience=5) == []
    if ended.code == 0:
        assert job.check_whole_or_nothing()
    else:
        # Before docmill has installed its own handling, the signal ends the process as it does any other.
        assert ended.code in (EXIT_CODES[JobAborted], -number)
        job.check_whole_or_nothing()
    assert [path.name for path in target.parent.iterdir()] in ([], [target.name])
    assert job.scratch == []


@pytest.mark.parametrize("moment", range(6))
def test_kill_9_of_the_command(
    scan: Path, target: Path, tmp_path: Path, duration: float, moment: int
) -> None:
    with marked() as left:
        job = Job(tmp_path, scan, target)
        time.sleep(random.Random(moment).uniform(0.05, 1.0) * duration)
        kill(job.process.pid)
        job.process.wait()
        assert left(patience=5) == []
    job.check_whole_or_nothing()
    # What is left on this host goes with a cleanup, once it is sure that nobody uses it.
    for path in [found for folder in job.scratch for found in (folder, *folder.rglob("*"))]:
        os.utime(path, (0, 0), follow_symlinks=False)
    clean_scratch(Settings(scratch_dir=tmp_path / "scratch"))
    assert job.scratch == []
    # And the job can be done again, in the same place.
    if not target.exists():
        again = Job(tmp_path, scan, target)
        assert again.end().code == 0
        assert again.check_whole_or_nothing()


@pytest.mark.parametrize("moment", range(4))
@pytest.mark.parametrize("victim", ["docmill-engine", "docmill-server", "docmill-keeper"])
def test_kill_9_of_what_the_command_started(
    scan: Path, target: Path, tmp_path: Path, duration: float, victim: str, moment: int
) -> None:
    with marked() as left:
        job = Job(tmp_path, scan, target)
        time.sleep(random.Random(f"{victim} {moment}").uniform(0.2, 0.9) * duration)
        for pid in left(patience=0):
            if name_of(pid) == victim:
                kill(pid)
        ended = job.end()
        assert left(patience=5) == []
    if ended.code == 0:
        assert job.check_whole_or_nothing()
    else:
        assert ended.code in (41,)
        assert "killed by signal 9" in ended.err or "server died" in ended.err
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] in ([], [target.name])
    assert job.scratch == []


class TestWithoutRoom:
    """On real file systems that are small or read-only."""

    @pytest.fixture
    def mounted(self, tmp_path: Path) -> Iterator[object]:
        mounts: list[Path] = []

        def mount(name: str, options: str) -> Path:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
            mounts.append(folder)
            return folder

        yield mount
        for folder in mounts:
            subprocess.run(["umount", folder], check=True)

    @pytest.mark.parametrize("room", [0, 0.05, 0.3, 0.6])
    def test_full_scratch(self, scan: Path, target: Path, tmp_path: Path, mounted, room: float) -> None:
        # Too small for a folder, then for the output, which is 0.7 of the source.
        scratch = mounted("scratch", f"size={int(room * scan.stat().st_size) or 4096},nr_inodes=64")
        job = Job(tmp_path, scan, target, SCRATCH_DIR=scratch)
        ended = job.end()
        assert ended.code == EXIT_CODES[LimitExceeded]
        assert "DOCMILL_SCRATCH_DIR" in ended.err
        assert not target.exists()
        assert job.scratch == []

    def test_full_destination(self, scan: Path, tmp_path: Path, mounted) -> None:
        folder = mounted("full", "size=1m")
        job = Job(tmp_path, scan, folder / "scan.pdf")
        ended = job.end()
        assert ended.code == EXIT_CODES[DestinationFull]
        assert list(folder.iterdir()) == []
        assert job.scratch == []

    def test_full_cache(self, scan: Path, target: Path, tmp_path: Path, mounted) -> None:
        data = mounted("data", "size=1m")
        job = Job(tmp_path, scan, target, DATA_DIR=data)
        ended = job.end()
        assert ended.code == EXIT_CODES[DestinationFull]
        assert str(data) in ended.err
        assert not target.exists()
        assert job.scratch == []

    def test_read_only_destination(self, scan: Path, tmp_path: Path, mounted) -> None:
        folder = mounted("sealed", "ro")
        job = Job(tmp_path, scan, folder / "scan.pdf")
        ended = job.end()
        assert ended.code == EXIT_CODES[DestinationForbidden]
        assert job.scratch == []

    def test_read_only_scratch(self, scan: Path, target: Path, tmp_path: Path, mounted) -> None:
        scratch = mounted("scratch", "ro")
        ended = Job(tmp_path, scan, target, SCRATCH_DIR=scratch).end()
        assert ended.code not in (0, 1)
        assert "DOCMILL_SCRATCH_DIR" in ended.err
        assert not target.exists()
