"""What every way to run jobs keeps: embedded, on a docmill worker, and on Prefect's process worker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from campaign import LONGEST, campaign, sandbox_processes
from conftest import SECONDS, until
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.states import Cancelling
from support import check_pdf, page_count

from docmill.errors import JobNotFound, JobTokenInUse
from docmill.formats import DocumentFormat
from docmill.jobs.models import JobData, JobStatus, StatusJobData
from docmill.jobs.tokens import new_job_token

TIFF_PAGES = 3
USER = "Zoë 字"


@pytest.fixture(scope="module")
def tiff(tmp_path_factory):
    from PIL import Image

    path = tmp_path_factory.mktemp("tiff") / "scan.tif"
    pages = [Image.new("1", (850, 1100), n % 2) for n in range(TIFF_PAGES)]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="group4", dpi=(100, 100))
    return path


def submit(way, request, **more):
    job = way.runner.submit(request, user_token=USER, **more)
    return (job.user_token, job.job_token), job.flow_run_id


def at_page(number):
    return lambda status: status.job_status_page_number >= number


def scratch(way, flow_run_id) -> Path:
    return way.settings.scratch_dir / flow_run_id


def is_aborted(status: StatusJobData) -> bool:
    return (
        status.is_completed
        and status.abort
        and status.job_status is JobStatus.ABORTED
        and status.error_messages == ("Job aborted",)
        and status.output_document_uri is None
    )


def nothing_left(way, flow_run_id, target: Path) -> bool:
    return not scratch(way, flow_run_id).exists() and not list(target.parent.iterdir())


def test_a_job_is_done(way, tiff):
    job = way.runner.run_convert_job(
        str(tiff),
        JobData(
            document_format=DocumentFormat.PDF, job_name="nightly", document_name="scan 1", user_data="me"
        ),
        user_token=USER,
        job_token="täglich/1 " + way.name,
    )
    assert (job.user_token, job.job_token, job.user_data) == (USER, "täglich/1 " + way.name, "me")
    status = way.runner.wait(USER, job.job_token, SECONDS)
    assert status.error_messages == ()
    assert status.job_status is JobStatus.SUCCESS
    assert (status.job_name, status.user_data, status.output_document_name) == ("nightly", "me", "scan 1")
    assert (status.page_count, status.percent) == (TIFF_PAGES, 100)
    assert status.job_status_message == f"done, {TIFF_PAGES} pages"
    assert status.job_started_timestamp < status.job_completed_timestamp <= status.query_job_status_timestamp
    assert len(status.input_document_id) == len(status.output_document_id) == 32
    with way.runner.open_document(status.output_document_uri) as output:
        check_pdf(output)
        assert page_count(output) == TIFF_PAGES
    assert not scratch(way, job.flow_run_id).exists()


def test_progress_moves_and_the_pair_is_unique(way, drill, tmp_path):
    request = drill("pages=30 pause=0.15")
    pair, flow_run_id = submit(way, request, job_data=JobData(job_name="a"))
    assert submit(way, request, job_token=pair[1], job_data=JobData(job_name="a"))[1] == flow_run_id
    with pytest.raises(JobTokenInUse):
        submit(way, drill("pages=31"), job_token=pair[1])
    with pytest.raises(JobTokenInUse):
        submit(way, request, job_token=pair[1], job_data=JobData(job_name="b"))
    seen: list[StatusJobData] = []
    status = until(way, pair, lambda status: seen.append(status) or status.is_completed)
    assert status.job_status_message == "done, 30 pages"
    pages = [s.job_status_page_number for s in seen if s.job_status_message.startswith("converting")]
    assert len(set(pages)) >= 3
    assert pages == sorted(pages)
    percents = [s.percent for s in seen]
    assert percents == sorted(percents)
    assert any(s.page_count == 30 and 0 < s.percent < 100 for s in seen)
    assert not any(s.error_messages or s.abort or s.output_document_uri for s in seen if not s.is_completed)
    assert (tmp_path / "out.dds").read_text().endswith("whole\n")
    # A finished job stays what it is.
    way.runner.abort_convert_job(*pair)
    after = way.runner.query_convert_job_status(*pair)
    asked = {"query_job_status_timestamp": None}
    assert after.model_copy(update=asked) == status.model_copy(update=asked)


def test_jobs_that_fail_say_why_and_leave_nothing(way, drill, tmp_path):
    wanted = {"fail": "page 3 is damaged", "crash": "signal 11"}
    # At once, since each process of the stock worker takes seconds to start; so below.
    jobs = {do: submit(way, drill(f"pages=5 at=3 do={do}", target=f"{do}.dds")) for do in wanted}
    some, _ = submit(way, drill("pages=5 at=3 do=fail", target="some.dds", on_error="resume"))
    for do, (pair, flow_run_id) in jobs.items():
        status = way.runner.wait(*pair, SECONDS)
        assert status.job_status is JobStatus.ABORTED
        assert not status.abort
        assert len(status.error_messages) == 1
        assert wanted[do] in status.error_messages[0].lower()
        assert status.job_status_message == status.error_messages[0]
        assert not scratch(way, flow_run_id).exists()
    status = way.runner.wait(*some, SECONDS)
    assert status.job_status is JobStatus.SUCCESS_WITH_ERRORS
    assert status.error_messages == ("page 3 is damaged",)
    assert status.job_status_message == "done, 1 of 5 pages failed"
    assert [path.name for path in tmp_path.iterdir()] == ["some.dds"]


def test_abort_stops_an_engine_even_one_that_hangs_in_c(way, api, drill, tmp_path):
    """So does the cancel button of the UI."""
    orders = {"call": "sleep", "hung": "hang", "button": "sleep"}
    jobs = {
        name: submit(way, drill(f"pages=5 at=3 do={do}", target=f"{name}.dds")) for name, do in orders.items()
    }

    async def press(flow_run_id):
        async with get_client() as client:
            await client.set_flow_run_state(flow_run_id, Cancelling())

    for name, (pair, flow_run_id) in jobs.items():
        until(way, pair, at_page(3))
        assert sandbox_processes(flow_run_id)
        if name == "button":
            asyncio.run(press(flow_run_id))
        else:
            way.runner.abort_convert_job(*pair)
    for pair, flow_run_id in jobs.values():
        status = until(way, pair, lambda status: status.is_completed)
        assert is_aborted(status), status
        assert not sandbox_processes(flow_run_id)
        assert nothing_left(way, flow_run_id, tmp_path / "out.dds")
        way.runner.abort_convert_job(*pair)
        assert is_aborted(way.runner.query_convert_job_status(*pair))


def test_a_job_that_is_aborted_before_it_starts_leaves_nothing(way, drill, tmp_path):
    pair, flow_run_id = submit(way, drill("pages=50 pause=0.2"))
    way.runner.abort_convert_job(*pair)
    assert is_aborted(way.runner.wait(*pair, SECONDS))
    assert nothing_left(way, flow_run_id, tmp_path / "out.dds")


def test_delete_stops_a_running_job_and_frees_the_pair(way, api, drill, tmp_path):
    pair, flow_run_id = submit(way, drill("pages=5 at=3 do=sleep"))
    until(way, pair, at_page(3))
    way.runner.delete_convert_job(*pair)
    assert way.runner.query_convert_job_status(*pair) is None
    assert nothing_left(way, flow_run_id, tmp_path / "out.dds")
    # The same pair, another job.
    again, other_run = submit(way, drill("pages=2"), job_token=pair[1])
    assert again == pair
    assert other_run != flow_run_id
    assert way.runner.wait(*pair, SECONDS).job_status_message == "done, 2 pages"
    assert asyncio.run(artifacts_of(other_run))
    way.runner.delete_convert_job(*pair)
    assert not asyncio.run(artifacts_of(other_run))
    assert (tmp_path / "out.dds").exists()


async def artifacts_of(flow_run_id):
    async with get_client() as client:
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        return await client.read_artifacts(artifact_filter=wanted)


def test_unknown_pairs(way):
    pair = (USER, new_job_token())
    assert way.runner.query_convert_job_status(*pair) is None
    for call in (way.runner.abort_convert_job, way.runner.delete_convert_job, way.runner.wait):
        with pytest.raises(JobNotFound):
            call(*pair)


def test_a_run_that_was_started_without_a_pair_is_a_job(way, api, drill, tmp_path):
    if not way.polls:
        return  # nobody but its submitter runs a job of the embedded deployment

    async def start():
        async with get_client() as client:
            deployment = await client.read_deployment_by_name(f"convert/contract-{way.name}")
            return await client.create_flow_run_from_deployment(
                deployment.id, parameters={"request": drill("pages=20 pause=0.1").to_dict()}
            )

    run = asyncio.run(start())
    pair = (way.settings.default_user, str(run.id))
    assert way.runner.query_convert_job_status("somebody else", pair[1]) is None
    until(way, pair, at_page(2))
    way.runner.abort_convert_job(*pair)
    assert is_aborted(way.runner.wait(*pair, SECONDS))
    listed = way.runner.list_convert_jobs(pair[0], state="aborted").jobs
    assert pair in [(job.user_token, job.job_token) for job in listed]


def test_aborts_at_random_moments_leave_the_whole_output_or_none(way, bmp, tmp_path):
    """The whole campaign is `python tests/jobs/campaign.py`."""
    if way.name == "process":
        return  # the stock worker takes seconds for each job, and kills it itself at any moment of these
    ends = campaign(way.runner, bmp, tmp_path, jobs=12, longest=LONGEST)
    assert {end.message for end in ends} <= {"aborted", "done, 4 pages"}
