"""Workers, and what becomes of their jobs when they stop, die, freeze or lose the API."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from campaign import sandbox_processes
from conftest import SECONDS, Jobs, deploy, use
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow_async
from prefect.states import Cancelled, Cancelling, Pending, Running
from servers import free_port, server_folder, worker
from test_contract import is_aborted

from docmill.errors import JobAborted
from docmill.flows.convert import convert_document
from docmill.jobs import labels
from docmill.jobs.claim import Ownership
from docmill.jobs.models import JobStatus
from docmill.jobs.report import JobReporter, Patience
from docmill.jobs.runner import StatusJobDataRunner
from docmill.jobs.running import RunningJob
from docmill.jobs.status import status_from_run
from docmill.jobs.sweep import Sweeper, recover, sweep_once
from docmill.jobs.watch import AbortEvent, AbortReason
from docmill.request import ConvertOutcome

# A job goes on for this long without contact; it is recovered after 1.5 times that. The default is 60 s.
CONTACT = 4.0
FAST = {"DOCMILL_CONTACT_TIMEOUT": str(CONTACT)}


def gone(flow_run_id) -> bool:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if not sandbox_processes(flow_run_id):
            return True
        time.sleep(0.1)
    return False


def working(page=2):
    return lambda status: status.job_status_page_number >= page


def test_a_killed_workers_job_is_run_again_by_another(jobs, server, drill, tmp_path):
    with worker(server, jobs.pool, environment=FAST) as first:
        pair, flow_run_id = jobs.submit(drill("pages=40 pause=0.1"))
        jobs.until(pair, working())
        first.kill()
        assert gone(flow_run_id)
        with worker(server, jobs.pool, environment=FAST):
            status = jobs.runner.wait(*pair, SECONDS)
    assert status.job_status is JobStatus.SUCCESS
    states = jobs.states(flow_run_id)
    assert "AwaitingRetry" in states
    assert "Crashed" not in states
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")


def test_jobs_of_a_killed_worker_are_told_by_whoever_sweeps(jobs, server, drill, tmp_path):
    """The cleanup flow, say, where no worker is left: Crashed without reruns, Cancelled if aborted."""
    asyncio.run(deploy(jobs.pool, "docmill", reruns=0))
    with worker(server, jobs.pool, environment=FAST) as first:
        crashed, run_of_crashed = jobs.submit(drill("pages=9 at=2 do=hang", target="crashed.dds"))
        aborted, run_of_aborted = jobs.submit(drill("pages=9 at=2 do=sleep", target="aborted.dds"))
        jobs.until(crashed, working())
        jobs.until(aborted, working())
        first.kill()
        first.wait()
    assert gone(run_of_crashed)
    assert gone(run_of_aborted)
    jobs.runner.abort_convert_job(*aborted)
    assert not jobs.runner.query_convert_job_status(*aborted).is_completed
    told, deadline = set(), time.monotonic() + SECONDS
    # A sweep does not wait for runs that have moved just now.
    while not told >= {run_of_crashed, run_of_aborted}:
        assert time.monotonic() < deadline, told
        told |= {str(run.id) for run in asyncio.run(sweep_once(Patience(CONTACT)))}
    status = jobs.runner.query_convert_job_status(*crashed)
    assert status.job_status is JobStatus.ABORTED
    assert not status.abort
    assert status.error_messages == ("the process that ran it is gone while converting page 2 of 9",)
    assert is_aborted(jobs.runner.query_convert_job_status(*aborted))
    assert not list(tmp_path.iterdir())


def test_a_frozen_worker_that_wakes_does_not_publish_over_its_successor(jobs, server, drill, tmp_path):
    output = tmp_path / "out.dds"
    with worker(server, jobs.pool, environment=FAST, name="frozen") as frozen:
        pair, flow_run_id = jobs.submit(drill("pages=20 pause=0.2"))
        jobs.until(pair, working())
        # Its sandbox goes on and finishes the conversion meanwhile.
        frozen.send_signal(signal.SIGSTOP)
        with worker(server, jobs.pool, environment=FAST, name="successor"):
            status = jobs.runner.wait(*pair, SECONDS)
            assert status.job_status is JobStatus.SUCCESS
            published, states = output.stat(), jobs.states(flow_run_id)
            frozen.send_signal(signal.SIGCONT)
            time.sleep(CONTACT)
    after = output.stat()
    assert (after.st_ino, after.st_mtime_ns) == (published.st_ino, published.st_mtime_ns)
    assert states.count("Publishing") == 1
    assert jobs.states(flow_run_id) == states
    assert list(tmp_path.iterdir()) == [output]


def test_a_worker_that_is_cut_off_stops_its_job_before_it_is_run_again(jobs, server, drill, tmp_path):
    with cuttable(server) as (line, through), worker(through, jobs.pool, environment=FAST, name="cut off"):
        pair, flow_run_id = jobs.submit(drill("pages=45 pause=0.2"))
        jobs.until(pair, working())
        line.cut()
        cut = time.monotonic()
        while sandbox_processes(flow_run_id):
            assert time.monotonic() - cut < 30, "the sandbox of a worker without contact goes on"
            time.sleep(0.05)
        assert jobs.states(flow_run_id)[-1] == "Running"
        with worker(server, jobs.pool, environment=FAST, name="connected"):
            status = jobs.runner.wait(*pair, SECONDS)
            line.mend()
            time.sleep(CONTACT)
    assert status.job_status is JobStatus.SUCCESS
    assert jobs.states(flow_run_id).count("Publishing") == 1
    assert jobs.states(flow_run_id)[-1] == "Completed"
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")


def test_a_job_that_lost_contact_goes_back_to_its_pool_when_there_is_contact_again(
    jobs, server, drill, tmp_path
):
    asyncio.run(deploy(jobs.pool, "docmill", reruns=0))
    with cuttable(server) as (line, through), worker(through, jobs.pool, environment=FAST):
        pair, flow_run_id = jobs.submit(drill("pages=60 pause=0.1"))
        jobs.until(pair, working())
        line.cut()
        assert gone(flow_run_id)
        line.mend()
        assert jobs.runner.wait(*pair, SECONDS).job_status is JobStatus.SUCCESS
    assert "Crashed" not in jobs.states(flow_run_id)
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")


def test_a_restarted_server_finds_its_jobs_running(drill, tmp_path):
    port = free_port()
    with ExitStack() as stack:
        start = stack.enter_context(use_postgres(stack.enter_context(server_folder())))
        server, process = stack.enter_context(start(port))
        stack.enter_context(use(server))
        asyncio.run(deploy("restart", "docmill"))
        # On a busy machine a server takes longer to start than a job waits for it.
        stack.enter_context(worker(server, "restart", environment={"DOCMILL_CONTACT_TIMEOUT": "600"}))
        jobs = Jobs("restart", stack.enter_context(StatusJobDataRunner(deployment="restart")))
        pair, _ = jobs.submit(drill("pages=150 pause=0.2"))
        jobs.until(pair, working())
        process.kill()
        process.wait()
        stack.enter_context(start(port))
        status = jobs.until(pair, lambda status: status.job_status_page_number > 10)
        assert not status.error_messages
        assert jobs.runner.wait(*pair, SECONDS).job_status is JobStatus.SUCCESS
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")


def test_sigterm_lets_jobs_finish(jobs, server, drill):
    with worker(server, jobs.pool) as stopping:
        pair, flow_run_id = jobs.submit(drill("pages=20 pause=0.15"))
        jobs.until(pair, working())
        waiting, _ = jobs.submit(drill("pages=1", target="later.dds"))
        stopping.terminate()
        assert stopping.wait(30) is not None
    assert jobs.runner.query_convert_job_status(*pair).job_status_message == "done, 20 pages"
    assert "AwaitingRetry" not in jobs.states(flow_run_id)
    jobs.runner.abort_convert_job(*waiting)


def test_sigterm_hands_back_what_takes_too_long(jobs, server, drill, tmp_path):
    with worker(server, jobs.pool, environment={"DOCMILL_DRAIN_SECONDS": "0.5"}) as stopping:
        pair, flow_run_id = jobs.submit(drill("pages=60 pause=0.1"))
        jobs.until(pair, working())
        stopping.terminate()
        assert stopping.wait(30) is not None
    assert not sandbox_processes(flow_run_id)
    status = jobs.runner.query_convert_job_status(*pair)
    assert not status.is_completed
    assert status.job_status_message.endswith("its worker stopped")
    with worker(server, jobs.pool):
        assert jobs.runner.wait(*pair, SECONDS).job_status is JobStatus.SUCCESS
    assert not {"Crashed", "Failed", "Cancelled"} & set(jobs.states(flow_run_id))
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")


def test_other_flows_are_refused(jobs, server):
    async def submit():
        async with get_client() as client:
            flow_id = await client.create_flow_from_name("other")
            deployment = await client.create_deployment(
                flow_id, "other", entrypoint="os:getcwd", path=".", pull_steps=[], work_pool_name=jobs.pool
            )
            run = await client.create_flow_run_from_deployment(deployment)
            deadline = time.monotonic() + SECONDS
            while not (run.state and run.state.is_final()):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
                run = await client.read_flow_run(run.id)
            return run.state

    with worker(server, jobs.pool):
        state = asyncio.run(submit())
    assert state.is_crashed()
    assert "docmill's own flows only, not os:getcwd" in state.message


async def begin(client, jobs, drill):
    """A run as the process that starts it has it: Running, and its hold on it."""
    job = await jobs.runner.asubmit(drill())
    await client.set_flow_run_state(job.flow_run_id, Pending())
    await client.set_flow_run_state(job.flow_run_id, Running())
    run = await client.read_flow_run(job.flow_run_id)
    abort = AbortEvent()
    return run, Ownership(client, run.id, run.state.id, abort), abort


PATIENCE = Patience(1.0)


async def recovered(run, sweeper):
    """Sweep until this run is found dead."""
    deadline = time.monotonic() + SECONDS
    while run.id not in [dead.id for dead in await sweeper.sweep()]:
        assert time.monotonic() < deadline
        await asyncio.sleep(PATIENCE.beat)


def test_a_job_whose_worker_died_before_it_left_its_name_is_run_again(jobs, drill):
    """A worker killed with ten jobs on their way left one Pending for a quarter of an hour."""

    async def scenario():
        job = await jobs.runner.asubmit(drill())
        async with get_client() as client:
            await client.set_flow_run_state(job.flow_run_id, Pending())
            run = await client.read_flow_run(job.flow_run_id)
            assert "prefect.worker.type" not in run.labels
            async with asyncio.timeout(SECONDS):
                await recovered(run, Sweeper(PATIENCE))
            return (await client.read_flow_run(run.id)).state.name

    assert asyncio.run(scenario()) == "AwaitingRetry"


def test_the_claim_of_a_recovered_run_is_refused(jobs, drill):
    async def scenario():
        async with get_client() as client:
            run, ownership, abort = await begin(client, jobs, drill)
            await recovered(run, Sweeper(PATIENCE))
            with pytest.raises(JobAborted):
                await ownership.claim_publication()
            return abort.reason, (await client.read_flow_run(run.id)).state.name

    assert asyncio.run(scenario()) == (AbortReason.SUPERSEDED, "AwaitingRetry")


def test_a_lease_that_was_lost_does_not_come_back_with_the_next_write(jobs, drill):
    """A worker that was frozen wrote its progress when it woke, and then published without a look."""

    async def scenario():
        async with get_client() as client:
            run, _, abort = await begin(client, jobs, drill)
            report = JobReporter(client, run.id, abort, Patience(60.0), age=100.0)
            async with report.reporting():
                async with asyncio.timeout(SECONDS):
                    while (await client.read_flow_run(run.id)).updated == run.updated:  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
            return report.holds_lease()

    assert asyncio.run(scenario()) is False


def test_a_job_that_begins_anew_is_not_told_by_its_earlier_attempt(jobs, drill):
    """A rerun read 'converting page 30 of 160' while it loaded its source; a retried one had an output."""

    async def scenario():
        async with get_client() as client:
            run, _, abort = await begin(client, jobs, drill)
            earlier = {
                **labels.progress_label(labels.Progress(stage="convert", at="", page=30, page_count=160)),
                **labels.outcome_label(labels.Outcome(output_uri="file:///out.dds", page_count=160)),
                **labels.error_label(JobAborted("stopped").to_dict()),
            }
            await client.update_flow_run_labels(run.id, earlier)
            job = RunningJob(client, await client.read_flow_run(run.id), abort, PATIENCE)
            async with job.report.reporting():
                await asyncio.sleep(0.5)
            return await client.read_flow_run(run.id)

    run = asyncio.run(scenario())
    status = status_from_run(run, datetime.now(UTC), default_user="default")
    assert (status.job_status_message, status.job_status_page_number, status.percent) == ("loading", 0, 0)
    assert (status.output_document_uri, status.page_count) == (None, 0)
    assert labels.JobLabels.read(run.labels).error is None


def test_a_claim_between_the_look_and_the_verdict_wins(jobs, drill, monkeypatch):
    async def scenario():
        async with get_client() as client:
            run, ownership, abort = await begin(client, jobs, drill)
            read = type(client).read_deployment

            async def claim_meanwhile(self, deployment_id):
                if not ownership.claimed:
                    await ownership.claim_publication()
                return await read(self, deployment_id)

            monkeypatch.setattr(type(client), "read_deployment", claim_meanwhile)
            sweeper = Sweeper(PATIENCE)
            told = []
            while not ownership.claimed:
                told += [dead.id for dead in await sweeper.sweep()]
            return run.id in told, abort.is_set(), (await client.read_flow_run(run.id)).state.name

    assert asyncio.run(scenario()) == (False, False, "Publishing")


def test_a_recovery_in_the_middle_of_a_claim_wins(jobs, drill, monkeypatch):
    async def scenario():
        async with get_client() as client:
            run, ownership, abort = await begin(client, jobs, drill)
            set_state = type(client).set_flow_run_state

            async def recover_first(self, flow_run_id, state, force=False):
                if state.name == "Publishing" and not force:
                    monkeypatch.setattr(type(client), "set_flow_run_state", set_state)
                    await recovered(run, Sweeper(PATIENCE))
                return await set_state(self, flow_run_id, state, force=force)

            monkeypatch.setattr(type(client), "set_flow_run_state", recover_first)
            with pytest.raises(JobAborted):
                await ownership.claim_publication()
            return abort.reason, (await client.read_flow_run(run.id)).state.name

    assert asyncio.run(scenario()) == (AbortReason.SUPERSEDED, "AwaitingRetry")


def test_an_abort_before_the_claim_wins_and_after_it_loses(jobs, drill):
    async def scenario():
        async with get_client() as client:
            run, ownership, abort = await begin(client, jobs, drill)
            await client.set_flow_run_state(run.id, Cancelling())
            with pytest.raises(JobAborted):
                await ownership.claim_publication()
            first = abort.reason
            run, ownership, abort = await begin(client, jobs, drill)
            await ownership.claim_publication()
            await client.set_flow_run_state(run.id, Cancelling())
            return first, await ownership.holds(), ownership.claimed

    assert asyncio.run(scenario()) == (AbortReason.ABORTED, True, True)


@pytest.mark.parametrize("noted", [True, False], ids=["its outcome is noted", "nothing is noted"])
def test_an_aborted_job_that_died_past_its_claim_is_not_told_cancelled(jobs, drill, noted):
    async def scenario():
        async with get_client() as client:
            run, ownership, abort = await begin(client, jobs, drill)
            await ownership.claim_publication()
            if noted:
                report = JobReporter(client, run.id, abort, PATIENCE)
                made = {"output_uri": "file:///out.dds", "page_count": 3}
                rest = {"output_document_id": None, "input_document_id": "in", "route": "drill"}
                await report.finished(
                    ConvertOutcome.from_dict(made | rest | {"output_bytes": 9, "seconds": 1.0})
                )
            await client.set_flow_run_state(run.id, Cancelling())
            await recovered(run, Sweeper(PATIENCE))
            return run.labels["docmill.user"], run.labels["docmill.job"]

    status = jobs.runner.query_convert_job_status(*asyncio.run(scenario()))
    told = (status.job_status, status.error_messages)
    if noted:
        assert told == (JobStatus.SUCCESS, ())
        assert (status.job_status_message, status.output_document_uri) == ("done, 3 pages", "file:///out.dds")
    else:
        gone = "the process that ran it is gone; it was publishing, so its output may be in place"
        assert told == (JobStatus.ABORTED, (gone,))


def test_of_a_job_that_died_past_its_claim_it_is_told_that_its_output_may_be_there(jobs, drill):
    async def scenario():
        async with get_client() as client:
            run, ownership, _ = await begin(client, jobs, drill)
            await ownership.claim_publication()
            assert await recover(client, await client.read_flow_run(run.id), reruns=False)
            return run.labels["docmill.user"], run.labels["docmill.job"]

    status = jobs.runner.query_convert_job_status(*asyncio.run(scenario()))
    gone = "the process that ran it is gone; it was publishing, so its output may be in place"
    assert (status.job_status, status.error_messages) == (JobStatus.ABORTED, (gone,))


def test_who_waits_for_an_aborted_job_ends_it_where_nobody_else_does(jobs, drill):
    """As on Prefect's process worker, where an abort found the job's process starting."""

    async def aborted():
        async with get_client() as client:
            run, _, _ = await begin(client, jobs, drill)
            await client.set_flow_run_state(run.id, Cancelling())
            return run.labels["docmill.user"], run.labels["docmill.job"]

    settings = replace(jobs.runner.settings, contact_timeout=PATIENCE.lost)
    with StatusJobDataRunner(settings, deployment=jobs.pool) as runner:
        assert is_aborted(runner.wait(*asyncio.run(aborted()), SECONDS))


def test_a_job_that_was_told_cancelled_while_its_process_started_does_nothing(jobs, drill, tmp_path):
    """Prefect lets Running follow Cancelled."""

    async def scenario():
        job = await jobs.runner.asubmit(drill())
        async with get_client() as client:
            await client.set_flow_run_state(job.flow_run_id, Pending())
            await client.set_flow_run_state(job.flow_run_id, Cancelled())
            run = await client.read_flow_run(job.flow_run_id)
        await run_flow_async(convert_document, flow_run=run, parameters=run.parameters, return_type="state")
        return (job.user_token, job.job_token), str(run.id)

    pair, flow_run_id = asyncio.run(scenario())
    assert is_aborted(jobs.runner.query_convert_job_status(*pair))
    assert jobs.states(flow_run_id)[-2:] == ["Running", "Cancelled"]
    assert not list(tmp_path.iterdir())


class Line:
    """A TCP line to a server that can be cut, as a firewall or a switch would, and mended."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._cut = True
        for pair in self._pairs:
            for end in pair:
                with_reset(end)
        self._pairs.clear()

    def mend(self) -> None:
        self._cut = False

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            with_reset(end)


def with_reset(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()


@contextmanager
def cuttable(server):
    from dataclasses import replace
    from urllib.parse import urlsplit

    line = Line(urlsplit(server.url).port)
    try:
        yield line, replace(server, url=f"http://127.0.0.1:{line.port}/api")
    finally:
        line.close()


@contextmanager
def use_postgres(folder: Path):
    """A way to start a server again and again on one database, with the server's process."""
    from servers import database, start_server

    with database(folder, postgres=True) as url:
        yield lambda port: start_server(folder, url, port)
