"""Jobs in the background of a program, with no server set up: what is left when the program ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from servers import DRILL
from support import check_pdf

from docmill.jobs.local import answers
from docmill.jobs.server import EmbeddedServer

PROGRAM = """
import json, sys, time
import docmill_drill
from docmill.formats import DocumentFormat
from docmill.jobs.embedded import EmbeddedRunner
from docmill.jobs.models import JobData
from docmill.options import ConvertOptions
from docmill.request import ConvertRequest

finish, tiff, bmp, target, asked = json.loads(sys.argv[1])

def say(**what):
    print(json.dumps(what), flush=True)

with EmbeddedRunner(finish=finish, limit=1) as runner:
    for pair in asked:
        status = runner.query_convert_job_status(*pair)
        message, errors = status.job_status_message, status.error_messages
        say(pair=pair, message=message, errors=errors, done=status.is_completed)
    document = runner.load_document(tiff)
    job = runner.run_convert_job(document.document_id, JobData(document_format=DocumentFormat.PDF))
    with runner.open_document(runner.wait(job.user_token, job.job_token).output_document_uri) as path:
        say(pdf=list(path.read_bytes()[:5]))
        open(target + ".pdf", "wb").write(path.read_bytes())
    orders = "pages=60 pause=0.2" if finish else "pages=3000 pause=0.2"
    long = ConvertRequest(sources=(bmp,), target=target, options=ConvertOptions(title=orders))
    other = ConvertRequest(sources=(bmp,), target=target + "2.dds", options=ConvertOptions(title="pages=2"))
    running, waiting = runner.submit(long), runner.submit(other, user_token="patient")
    while runner.query_convert_job_status(running.user_token, running.job_token).job_status_page_number < 2:
        time.sleep(0.1)
    say(pairs=[[job.user_token, job.job_token] for job in (running, waiting)])
    if finish is None:
        time.sleep(600)
"""


@pytest.fixture
def program(tmp_path, bmp):
    from PIL import Image

    tiff = tmp_path / "scan.tif"
    Image.new("1", (850, 1100), 1).save(tiff, compression="group4", dpi=(100, 100))
    target = tmp_path / "out" / "long.dds"
    target.parent.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {
        "HOME": str(tmp_path / "home"),
        "DOCMILL_DATA_DIR": str(tmp_path / "data"),
        "DOCMILL_SCRATCH_DIR": str(tmp_path / "scratch"),
        "PYTHONPATH": str(DRILL),
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }

    def start(finish, asked=()):
        argument = json.dumps([finish, str(tiff), str(bmp), str(target), asked])
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, argument], env=environment, stdout=subprocess.PIPE, text=True
        )

    start.target = target
    return start


def said(process) -> dict[str, object]:
    merged: dict[str, object] = {"asked": []}
    for line in process.stdout:
        what = json.loads(line)
        if "pair" in what:
            merged["asked"].append(what)
        merged |= what
        if "pairs" in what:
            break
    return merged


def processes_of(data: Path) -> list[str]:
    """The command lines of processes that were started on this data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if str(data) in (entry / "environ").read_text(errors="replace"):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def none_left(data: Path) -> bool:
    deadline = time.monotonic() + 20
    while processes_of(data):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.timeout(600)  # four starts of a server
def test_jobs_live_and_end_with_their_program(program, tmp_path):
    # Leaving the program aborts what is not finished.
    first = program(False)
    told = said(first)
    assert told["pdf"] == list(b"%PDF-")
    check_pdf(Path(f"{program.target}.pdf"))
    assert first.wait(60) == 0
    assert none_left(tmp_path / "data")
    assert [path.name for path in program.target.parent.iterdir()] == ["long.dds.pdf"]

    # Another program finds them so; this one is killed while its jobs run and wait.
    second = program(None, told["pairs"])
    told = said(second)
    assert [(job["message"], job["errors"]) for job in told["asked"]] == [("aborted", ["Job aborted"])] * 2
    second.send_signal(signal.SIGKILL)
    second.wait()
    assert none_left(tmp_path / "data")

    # The next program finds out; it finishes its own jobs before it ends.
    third = program(True, told["pairs"])
    told = said(third)
    assert all(job["done"] for job in told["asked"])
    assert all("the program that ran it is gone" in job["message"] for job in told["asked"])
    assert third.wait(90) == 0
    assert program.target.read_text().endswith("whole\n")

    fourth = program(False, told["pairs"])
    told = said(fourth)
    assert [job["message"] for job in told["asked"]] == ["done, 60 pages", "done, 2 pages"]
    assert fourth.wait(60) == 0
    assert not (tmp_path / "home" / ".prefect" / "prefect.db").exists()


def test_the_server_outlives_the_thread_that_started_it(tmp_path):
    """A program's first call may come from a thread that ends soon, as those of `asyncio.run` do."""
    home = tmp_path / "embedded"
    home.mkdir(mode=0o755)  # as it was made for all once
    server = EmbeddedServer(home)

    def start() -> None:
        server.start()
        server.wait_until_ready()

    try:
        first = threading.Thread(target=start)
        first.start()
        first.join()
        time.sleep(0.5)
        assert answers(f"{server.url}/health")
        # Its database holds tokens.
        assert home.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in home.glob("prefect.db*")} == {0o600}
    finally:
        server.stop()


def test_requests_that_come_at_once_wait_for_sqlite_s_lock(tmp_path):
    """Each is a transaction that reads and then writes; refused, its client would sleep for two seconds."""
    server = EmbeddedServer(tmp_path)
    server.start()
    try:
        with httpx.Client(base_url=server.wait_until_ready(), timeout=60) as client:
            flow = client.post("/flows/", json={"name": "drill"}).json()["id"]
            run = client.post("/flow_runs/", json={"flow_id": flow}).json()["id"]

            def label(number: int) -> int:
                return client.patch(f"/flow_runs/{run}/labels", json={"n": number}).status_code

            with ThreadPoolExecutor(8) as pool:
                statuses = list(pool.map(label, range(100)))
    finally:
        server.stop()
    assert statuses == [204] * 100
