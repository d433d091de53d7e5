"""The mapping of token pairs onto flow runs, on a real server: races, any Unicode, lists, and its cost."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from conftest import deploy
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from docmill.errors import InvalidJobData, JobTokenInUse, PrefectUnavailable
from docmill.jobs.deployments import deploy_convert
from docmill.jobs.local import DataLock, Running
from docmill.jobs.models import JobData
from docmill.jobs.names import FLOW_NAME
from docmill.jobs.runner import StatusJobDataRunner
from docmill.request import ConvertRequest
from docmill.settings import Settings

POOL = "nobody"
REQUEST = ConvertRequest(sources=("/scan.tif",), target="/out.pdf")


@pytest.fixture
def runner(api):
    """A runner whose jobs wait for ever: no worker polls their pool."""
    asyncio.run(deploy(POOL, "docmill"))
    with StatusJobDataRunner(deployment=POOL) as runner:
        yield runner


def test_a_deployment_that_is_made_anew_takes_jobs_of_runners_that_knew_the_old_one(runner):
    async def make_anew() -> None:
        async with get_client() as client:
            old = await client.read_deployment_by_name(f"{FLOW_NAME}/{POOL}")
            await client.delete_deployment(old.id)
        await deploy(POOL, "docmill")

    runner.submit(REQUEST)
    asyncio.run(make_anew())
    job = runner.submit(REQUEST)
    assert runner.query_convert_job_status(job.user_token, job.job_token) is not None


SUBMIT = """
import json, sys, threading
from docmill.errors import JobTokenInUse
from docmill.jobs.runner import StatusJobDataRunner
from docmill.request import ConvertRequest
pair, differ, deployment, threads = json.loads(sys.argv[1])
got, lock = [], threading.Lock()
ready = threading.Barrier(threads)
with StatusJobDataRunner(deployment=deployment) as runner:
    def submit(number):
        source = f"/{number if differ else 'scan'}.tif"
        request = ConvertRequest(sources=(source,), target="/out.pdf")
        ready.wait()
        try:
            run = runner.submit(request, user_token=pair[0], job_token=pair[1]).flow_run_id
        except JobTokenInUse:
            run = "in use"
        with lock:
            got.append(run)
    every = [threading.Thread(target=submit, args=(number,)) for number in range(threads)]
    [thread.start() for thread in every]
    [thread.join() for thread in every]
print(json.dumps(got))
"""


def race(processes: int, threads: int, pair: tuple[str, str], differ: bool) -> Counter[str]:
    argument = json.dumps([pair, differ, POOL, threads])
    command = [sys.executable, "-c", SUBMIT, argument]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return Counter(run for process in running for run in json.loads(process.communicate(timeout=240)[0]))


@pytest.mark.timeout(600)  # two hundred requests, and 300 s are too few on a busy machine
def test_four_processes_of_fifty_threads_make_one_run_of_one_pair(runner):
    pair = ("racer", uuid.uuid4().hex)
    runs = race(4, 50, pair, differ=False)
    assert list(runs.values()) == [200]
    assert runner.query_convert_job_status(*pair).flow_run_id in runs


def test_of_different_jobs_under_one_pair_one_wins(runner):
    pair = ("racer", uuid.uuid4().hex)
    runs = race(1, 20, pair, differ=True)
    assert runs.pop("in use") == 19
    assert list(runs) == [runner.query_convert_job_status(*pair).flow_run_id]


TOKENS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=256)


@given(TOKENS, TOKENS)
@settings(max_examples=15)
def test_any_pair_of_unicode_strings_is_a_job(runner, user, job):
    submitted = runner.submit(REQUEST, user_token=user, job_token=job)
    status = runner.query_convert_job_status(user, job)
    assert (status.user_token, status.job_token) == (user, job)
    assert status.flow_run_id == submitted.flow_run_id
    assert status.job_status_message == "waiting"
    runner.delete_convert_job(user, job)
    assert runner.query_convert_job_status(user, job) is None


def test_missing_tokens_are_made(runner):
    one, two = runner.submit(REQUEST), runner.submit(REQUEST)
    assert one.user_token == runner.settings.default_user
    assert one.job_token != two.job_token
    for empty in ({"user_token": ""}, {"job_token": ""}):
        with pytest.raises(InvalidJobData):
            runner.submit(REQUEST, **empty)
    with pytest.raises(InvalidJobData, match="document id"):
        runner.submit(replace(REQUEST, output_document_id="x" * 257))


@pytest.mark.parametrize(
    "wrong",
    [
        {"sources": ("https://ann:hunter2@example.org/scan.tif",)},
        {"target": "https://example.org/out.pdf?X-Amz-Signature=hunter2"},
        {"password": "hunter2"},
        {"sources": (os.fsdecode(b"/caf\xe9.tif"),)},
        {"document_name": "a\udc80"},
    ],
)
def test_what_may_not_be_stored_is_refused_before_it_reaches_prefect(runner, wrong):
    pair = ("ann", uuid.uuid4().hex)
    with pytest.raises(InvalidJobData) as refused:
        runner.submit(replace(REQUEST, **wrong), user_token=pair[0], job_token=pair[1])
    assert "hunter2" not in str(refused.value)
    assert runner.query_convert_job_status(*pair) is None


def test_a_job_token_that_is_another_runs_id_wins(runner):
    user = runner.settings.default_user
    other = runner.submit(REQUEST)
    # The other run has a pair of its own, and does not answer to its id as well.
    assert runner.query_convert_job_status(user, other.flow_run_id) is None
    named = runner.submit(REQUEST, job_token=other.flow_run_id)
    assert runner.query_convert_job_status(user, other.flow_run_id).flow_run_id == named.flow_run_id


def test_a_query_is_one_request(runner, monkeypatch):
    job = runner.submit(REQUEST, user_token="counter")
    asked = []
    handle = httpx.AsyncHTTPTransport.handle_async_request

    async def count(self, request):
        asked.append(request.url.path)
        return await handle(self, request)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", count)
    assert runner.query_convert_job_status("counter", job.job_token)
    assert runner.query_convert_job_status("counter", str(uuid.uuid4())) is None
    assert asked == ["/api/flow_runs/filter"] * 2


def test_lists_page_by_page(runner):
    user = f"lister {uuid.uuid4().hex} " + "x" * 100
    before = datetime.now(UTC)
    mine = [runner.submit(REQUEST, user_token=user).job_token for _ in range(7)]
    runner.submit(REQUEST, user_token="somebody else")
    pages, cursor = [], None
    while True:
        page = runner.list_convert_jobs(user, limit=3, cursor=cursor)
        pages.append([job.job_token for job in page.jobs])
        if not (cursor := page.cursor):
            break
        # What comes in between does not shift the pages.
        runner.submit(REQUEST, user_token=user)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [token for page in pages for token in page] == mine[::-1]

    runner.abort_convert_job(user, mine[0])
    listed = runner.list_convert_jobs(user, state="aborted").jobs
    assert [job.job_token for job in listed] == [mine[0]]
    assert mine[0] not in [job.job_token for job in runner.list_convert_jobs(user, state="waiting").jobs]
    everyone = runner.list_convert_jobs(since=before, limit=100).jobs
    assert {job.user_token for job in everyone} >= {user, "somebody else"}
    assert not runner.list_convert_jobs(user, since=datetime.now(UTC)).jobs


def test_lists_have_a_users_runs_that_wait_without_a_pair(runner):
    """Started in the UI or by a schedule; they get their user's tag as they start."""
    user = f"lister {uuid.uuid4().hex}"

    async def start() -> str:
        async with get_client() as client:
            deployment = await deploy_convert(client, name="tagged", work_pool=POOL, tags=["nightly"])
            parameters = {"request": REQUEST.to_dict(), "user_token": user}
            run = await client.create_flow_run_from_deployment(deployment, parameters=parameters)
            return str(run.id)

    first = runner.submit(REQUEST, user_token=user).job_token
    bare = asyncio.run(start())
    last = runner.submit(REQUEST, user_token=user).job_token
    page = runner.list_convert_jobs(user, limit=2)
    rest = runner.list_convert_jobs(user, cursor=page.cursor)
    assert [job.job_token for job in (*page.jobs, *rest.jobs)] == [last, bare, first]
    assert bare in [job.job_token for job in runner.list_convert_jobs(user, state="waiting").jobs]


@pytest.mark.parametrize("wrong", [{"state": "happy"}, {"limit": 0}, {"cursor": "x"}])
def test_wrong_lists_are_refused(runner, wrong):
    with pytest.raises(InvalidJobData):
        runner.list_convert_jobs(**wrong)


def test_waiting_has_an_end(runner):
    job = runner.submit(REQUEST)
    with pytest.raises(TimeoutError):
        runner.wait(job.user_token, job.job_token, timeout=0.2)


def test_the_awaitable_half(api, tmp_path):
    """Also with no server set up, on that of a running `docmill up`."""
    asyncio.run(deploy(POOL, "docmill"))
    note = Running(pid=1, api_url=api.url, ui_url="", database="", logs="", started="")
    note.write(tmp_path)
    installation = replace(Settings.from_env(), data_dir=tmp_path)

    async def life():
        async with StatusJobDataRunner(installation, deployment=POOL) as runner:
            return await life_of_a_job(runner)

    async def life_of_a_job(runner):
        job = await runner.asubmit(REQUEST, user_token="async", job_data=JobData(user_data="x"))
        status = await runner.aquery_convert_job_status("async", job.job_token)
        await runner.aabort_convert_job("async", job.job_token)
        done = await runner.await_completion("async", job.job_token, 10)
        page = await runner.alist_convert_jobs("async")
        await runner.adelete_convert_job("async", job.job_token)
        return status, done, page

    with temporary_settings(restore_defaults={PREFECT_API_URL}), DataLock(tmp_path) as up:
        with pytest.raises(PrefectUnavailable):
            asyncio.run(life())
        assert up.acquire()
        status, done, page = asyncio.run(life())
    assert (status.is_completed, status.user_data) == (False, "x")
    assert done.error_messages == ("Job aborted",)
    assert [job.flow_run_id for job in page.jobs] == [done.flow_run_id]


def test_a_server_without_the_deployment_is_told(api):
    with StatusJobDataRunner(deployment="never made") as runner, pytest.raises(PrefectUnavailable) as caught:
        runner.submit(REQUEST)
    assert "never made" in caught.value.message


def test_a_server_that_does_not_answer_is_told(api):
    from servers import free_port

    nowhere = {PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}
    with temporary_settings(nowhere), StatusJobDataRunner() as runner, pytest.raises(PrefectUnavailable):
        runner.query_convert_job_status("a", "b")


def test_in_use_names_the_pair(runner):
    runner.submit(REQUEST, user_token="a", job_token="taken")
    with pytest.raises(JobTokenInUse, match="taken"):
        runner.submit(
            ConvertRequest(sources=("/b.tif",), target="/out.pdf"), user_token="a", job_token="taken"
        )
    runner.delete_convert_job("a", "taken")
