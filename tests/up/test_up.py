"""`docmill up` on PostgreSQL and on SQLite, with its real parts."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from machine import Up, up
from PIL import Image


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.tif"
    pages = [Image.new("1", (400, 560), shade) for shade in (0, 1, 1)]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="group4", dpi=(72, 72))
    return path


def test_jobs_by_their_tokens(running_up: Up, scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.pdf"
    ran = running_up.run("run", str(scan), str(target), "--user", "anna", "--job", "first", "--wait")
    assert (ran.returncode, ran.stdout.split()) == (0, ["user", "anna", "job", "first", target.as_uri()])
    assert subprocess.run(["qpdf", "--check", target], capture_output=True).returncode == 0

    status = running_up.run("status", "first", "--user", "anna", "--json")
    assert json.loads(status.stdout)["jobStatusMessage"] == "done, 3 pages"
    jobs = running_up.run("jobs", "--user", "anna", "--json").stdout.splitlines()
    assert [json.loads(job)["jobToken"] for job in jobs] == ["first"]
    assert "done, 3 pages" in running_up.run("jobs", "--since", "1h", "--state", "done").stdout

    assert running_up.run("abort", "first", "--user", "anna").returncode == 0
    assert running_up.run("wait", "first", "--user", "anna").stdout == f"{target.as_uri()}\n"
    assert running_up.run("delete", "--job", "first", "--user", "anna").returncode == 0
    gone = running_up.run("status", "first", "--user", "anna")
    assert gone.returncode == 60
    assert "user anna has no job first" in gone.stderr
    assert target.exists()


def test_a_command_in_a_new_users_terminal_says_its_own_lines_alone(running_up: Up, tmp_path: Path) -> None:
    # Prefect's notice of what it collects comes once, in a terminal, and not where it takes it for a test's.
    quiet = ("CI", "GITHUB_ACTIONS", "DO_NOT_TRACK")
    environment = {name: value for name, value in running_up.environment.items() if name not in quiet}
    controller, terminal = pty.openpty()
    with os.fdopen(controller, "rb") as screen:
        ran = subprocess.run(
            [sys.executable, "-m", "docmill", "jobs", "--user", "nobody"],
            env=environment | {"HOME": str(tmp_path)}, stdin=terminal, stdout=terminal, stderr=terminal,
        )  # fmt: skip
        os.close(terminal)
        shown = os.read(screen.fileno(), 10_000)
    assert (ran.returncode, shown.split()) == (0, [b"no", b"jobs"])


def test_the_exit_code_is_that_of_the_jobs_error(running_up: Up, tmp_path: Path) -> None:
    failed = running_up.run("run", str(tmp_path / "none.tif"), str(tmp_path / "x.pdf"), "--wait")
    assert failed.returncode == 10
    assert "none.tif' : it does not exist" in failed.stderr.replace("':", "' :")


def test_paths_are_those_of_whoever_submits(running_up: Up, scan: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "docmill", "run", scan.name, "./", "--to", "pdf", "--wait"],
        env=running_up.environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "scan.pdf").exists()


def test_convert_uses_the_server_that_runs(running_up: Up, scan: Path, tmp_path: Path) -> None:
    converted = running_up.run("convert", str(scan), str(tmp_path / "direct.pdf"))
    assert converted.returncode == 0, converted.stderr
    assert "embedded" not in converted.stderr
    jobs = running_up.run("jobs", "--json").stdout.splitlines()
    assert (tmp_path / "direct.pdf").as_uri() in [json.loads(job)["outputDocumentUri"] for job in jobs]


def test_a_second_one_says_that_it_is_running(running_up: Up) -> None:
    second = running_up.run("up")
    assert second.returncode == 2
    assert f"running on {running_up.data} already as process {running_up.process.pid}" in second.stderr
    assert running_up.note["ui_url"] in second.stderr


def test_only_this_machine_is_served(running_up: Up) -> None:
    port = int(running_up.note["ui_url"].rpartition(":")[2])
    with socket.socket() as other:
        # All of 127/8 is this machine's; a server on all addresses would answer on this one too.
        assert other.connect_ex(("127.0.0.2", port)) != 0
    assert (running_up.data / "postgres").stat().st_mode & 0o077 == 0


def test_what_dies_is_started_again_and_jobs_go_on(running_up: Up, scan: Path, tmp_path: Path) -> None:
    words = {"worker 1": "up.worker", "PostgreSQL": "bin/postgres", "Prefect server": "up.server"}
    for part, word in words.items():
        os.kill(running_up.child(word), signal.SIGKILL)
        running_up.until(lambda line=f"{part} answers again": line in running_up.said())  # type: ignore[misc]
    ran = running_up.run("run", str(scan), str(tmp_path / "out.pdf"), "--wait")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out.pdf").exists()


def test_killed_it_leaves_nothing_running_and_its_jobs_are_kept(scan: Path, tmp_path: Path) -> None:
    with up(tmp_path / "data", "--database", "postgres") as machine:
        # Ctrl-C in a script's terminal is not for what the script has started in the background.
        machine.process.send_signal(signal.SIGINT)
        assert machine.run("run", str(scan), "--to", "pdf", "--job", "kept", "--wait").returncode == 0
        assert machine.process.poll() is None
        machine.process.kill()
        machine.process.wait()
        # At once, while PostgreSQL may still be writing its last checkpoint.
        machine.start(in_background=False)
        status = machine.run("status", "kept", "--json")
        assert json.loads(status.stdout)["jobStatusMessage"] == "done, 3 pages"
        assert machine.stop(signal.SIGINT) == 0
        assert machine.processes() == []
        assert machine.said().endswith("docmill: stopped\n")
        assert not (machine.data / "up.json").exists()


def test_on_sqlite(scan: Path, tmp_path: Path) -> None:
    with up(tmp_path / "data", "--database", "sqlite") as machine:
        assert machine.run("run", str(scan), str(tmp_path / "out.pdf"), "--wait").returncode == 0
        machine.process.kill()
        machine.process.wait()
        machine.until(lambda: machine.processes() == [], 20)
    nothing = machine.run("jobs")
    assert nothing.returncode == 62
    assert "no Prefect server is running here" in nothing.stderr


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = Up(tmp_path / "data").run("up", "--port", str(port))
    assert refused.returncode == 2
    assert f"port {port} of 127.0.0.1 cannot be used" in refused.stderr
