"""A runner in the programs of others: forked, given up, closed while somebody waits."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from conftest import SECONDS, deploy

from docmill.jobs.background import BackgroundLoop
from docmill.jobs.embedded import EmbeddedRunner
from docmill.jobs.mapping import source_uri
from docmill.jobs.runner import StatusJobDataRunner
from docmill.jobs.server import embedded_home
from docmill.request import ConvertRequest
from docmill.settings import Settings

POOL = "runner"
REQUEST = ConvertRequest(sources=("/scan.tif",), target="/out.pdf")


@pytest.fixture
def runner(api):
    """A runner whose jobs wait for ever: no worker polls their pool."""
    asyncio.run(deploy(POOL, "docmill"))
    with StatusJobDataRunner(deployment=POOL) as runner:
        yield runner


# Without `if __name__ == "__main__"`, as scripts and notebooks are.
FORKS = """
import json, os, sys
from docmill.jobs import EmbeddedRunner, StatusJobDataRunner
from docmill.jobs.server import embedded_home
from docmill.request import ConvertRequest
from docmill.settings import Settings

bmp, target, deployment = json.loads(sys.argv[1])
told = {}

def in_child(call):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(theirs, call().encode())
        sys.exit(0)  # leaves the `with` below, as a program does that forks by hand
    os.close(theirs)
    told[call.__name__] = os.read(ours, 1000).decode()
    assert os.waitpid(child, 0)[1] == 0

with StatusJobDataRunner(deployment=deployment) as runner:
    request = ConvertRequest(sources=("/scan.tif",), target="/out.pdf")
    job = runner.submit(request)

    def query():
        return runner.query_convert_job_status(job.user_token, job.job_token).job_status_message

    in_child(query)
    told["after"] = query()
    runner.delete_convert_job(job.user_token, job.job_token)

with EmbeddedRunner() as embedded:
    def submit():
        try:
            return embedded.submit(request).job_token
        except RuntimeError as error:
            return str(error)

    in_child(submit)
    mine = embedded.submit(ConvertRequest(sources=(bmp,), target=target))
    told["embedded"] = embedded.wait(mine.user_token, mine.job_token, 100).job_status_message
print(json.dumps(told))
"""


def test_a_forked_process_uses_its_parents_runner_but_not_its_jobs(runner, bmp, tmp_path):
    argument = json.dumps([str(bmp), str(tmp_path / "out.pdf"), POOL])
    done = subprocess.run(
        [sys.executable, "-c", FORKS, argument], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["query"] == told["after"] == "waiting"
    assert "make another in this one" in told["submit"]
    assert told["embedded"] == "done, 1 page"


def test_who_gives_up_waiting_asks_no_more(runner):
    job = runner.submit(REQUEST)

    async def give_up():
        await asyncio.wait_for(runner.await_completion(job.user_token, job.job_token), 0.3)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())

    async def waits():
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    deadline = time.monotonic() + SECONDS
    while left := runner._loop().call(waits()).result():
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_a_submission_is_whole_even_where_its_caller_gives_up(runner, monkeypatch):
    submitted = []

    async def slow(self, submission):
        await asyncio.sleep(0.3)
        submitted.append(submission)

    monkeypatch.setattr(StatusJobDataRunner, "_submit", slow)

    async def give_up():
        await asyncio.wait_for(runner.asubmit(REQUEST), 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    time.sleep(0.5)
    assert len(submitted) == 1


def test_a_closed_runner_says_so_also_to_who_waits(runner):
    job = runner.submit(REQUEST)
    caught = []

    def wait():
        with pytest.raises(RuntimeError, match="closed") as error:
            runner.wait(job.user_token, job.job_token)
        caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.5)
    runner.close()
    waiting.join(10)
    assert caught
    with pytest.raises(RuntimeError, match="closed"):
        runner.query_convert_job_status("a", "b")
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(runner.aquery_convert_job_status("a", "b"))


def test_no_call_is_lost_by_a_loop_that_ends():
    async def nothing():
        await asyncio.sleep(0)

    for _ in range(100):
        loop = BackgroundLoop("ends")
        calls = []

        def call(loop=loop, calls=calls):
            while True:
                calls.append(loop.call(nothing()))
                if calls[-1].done() and calls[-1].exception():
                    return

        caller = threading.Thread(target=call)
        caller.start()
        time.sleep(0.001)
        loop.stop()
        caller.join(10)
        assert not caller.is_alive()
        for each in calls:
            each.exception(10)


def test_a_document_under_an_id_of_ones_own_is_a_source(tmp_path, bmp):
    runner = StatusJobDataRunner(replace(Settings.from_env(), data_dir=tmp_path, cache_url=""))
    document = runner.load_document(bmp, document_id="invoice 7/a")
    assert source_uri(document.document_uri) == document.document_uri
    with runner.open_document(document.document_uri) as path:
        assert path.read_bytes() == bmp.read_bytes()


def test_an_embedded_runner_uses_the_server_of_prefects_settings(api, tmp_path, monkeypatch):
    """As a program's tests set it, and `prefect.toml`; not only the environment."""
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    installation = replace(Settings.from_env(), data_dir=tmp_path)
    with EmbeddedRunner(installation) as runner:
        job = runner.submit(REQUEST)
        with StatusJobDataRunner(installation) as other:
            assert other.query_convert_job_status(job.user_token, job.job_token) is not None
    assert not embedded_home(installation).exists()
