"""Many jobs at once: the worker's limit, the priorities of queues, the limits of pool and deployment."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

from conftest import SECONDS
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from servers import worker

from docmill.jobs.deployments import deploy_convert
from docmill.jobs.runner import StatusJobDataRunner

LIMIT = 6


def test_a_hundred_jobs_at_once_keep_to_the_workers_limit(jobs, server, drill, tmp_path):
    with ThreadPoolExecutor(16) as pool:
        submitted = list(pool.map(lambda n: jobs.submit(drill(target=f"{n}.dds")), range(100)))
        with worker(server, jobs.pool, limit=LIMIT):
            ends = list(pool.map(lambda job: jobs.runner.wait(*job[0], 3 * SECONDS), submitted))
    assert {end.job_status_message for end in ends} == {"done, 1 page"}
    outputs = list(tmp_path.iterdir())
    assert len(outputs) == 100
    assert all(path.read_text().endswith("whole\n") for path in outputs)
    assert 2 <= most_at_once(times([run for _, run in submitted])) <= LIMIT


def test_queues_have_priorities_and_pool_and_deployment_a_limit(jobs, server, drill):
    """Three urgent jobs before three idle ones, one at a time; then two at a time by the deployment."""

    async def prepare():
        async with get_client() as client:
            await client.update_work_pool(jobs.pool, WorkPoolUpdate(concurrency_limit=1))
            for name, priority in (("urgent", 1), ("idle", 9)):
                await client.create_work_queue(name, priority=priority, work_pool_name=jobs.pool)
                await deploy_convert(client, name=name, work_pool=jobs.pool, work_queue_name=name)
            await deploy_convert(client, name="two", work_pool=jobs.pool, concurrency_limit=2)

    async def lift():
        async with get_client() as client:
            await client.update_work_pool(jobs.pool, WorkPoolUpdate(concurrency_limit=50))

    asyncio.run(prepare())
    idle, urgent = (submit(drill, queue, 3) for queue in ("idle", "urgent"))
    with worker(server, jobs.pool):
        spans = {name: times(runs) for name, runs in (("urgent", urgent), ("idle", idle))}
        asyncio.run(lift())
        by_two = times(submit(drill, "two", 4, "pages=10 pause=0.1"))
    assert max(end for _, end in spans["urgent"]) <= min(begin for begin, _ in spans["idle"])
    assert most_at_once(spans["urgent"] + spans["idle"]) == 1
    assert most_at_once(by_two) == 2


def submit(drill, deployment: str, count: int, orders: str = "") -> list[str]:
    with StatusJobDataRunner(deployment=deployment) as runner:
        requests = [drill(orders, target=f"{deployment}{n}.dds") for n in range(count)]
        return [runner.submit(request).flow_run_id for request in requests]


def times(flow_run_ids):
    """When each of these runs began and ended, once it has."""

    async def read_all():
        async with get_client() as client:
            deadline = time.monotonic() + SECONDS
            found = []
            for flow_run_id in flow_run_ids:
                while not (run := await client.read_flow_run(flow_run_id)).end_time:
                    assert time.monotonic() < deadline, run
                    await asyncio.sleep(0.2)
                assert run.state.is_completed(), run.state
                found.append((run.start_time, run.end_time))
            return found

    return asyncio.run(read_all())


def most_at_once(spans) -> int:
    """Of periods that each begin and end, the most that overlap."""
    moments = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    return max(accumulate(step for _, step in moments))
