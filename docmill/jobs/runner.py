"""Jobs as a caller sees them: run, query, abort, delete, list and wait by (userToken, jobToken).

Every call but `open_document` comes twice: `query_convert_job_status` blocks, `aquery_convert_job_status` is
awaited. Both may be used from any number of threads and loops: the Prefect client lives in a loop of the
runner's own. A forked process may use its parent's runner too (not an embedded one), with connections
of its own. To stop waiting, by Ctrl-C or by cancelling a task, leaves the job as it is.

    with StatusJobDataRunner() as runner:
        job = runner.run_convert_job("s3://in/scan.tif", JobData(document_format=DocumentFormat.PDF))
        status = runner.wait(job.user_token, job.job_token, timeout=60)
        print(status.output_document_uri, status.error_messages)
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakSet

from prefect.client.schemas.objects import FlowRun

from docmill.jobs.background import BackgroundLoop
from docmill.jobs.client import JobClient
from docmill.jobs.listing import JobFilter, JobPage
from docmill.jobs.mapping import request_from_job_data
from docmill.jobs.models import JobData, RunConvertJobResult, StatusJobData
from docmill.jobs.names import DEPLOYMENT
from docmill.jobs.submission import Submission
from docmill.request import ConvertRequest
from docmill.settings import Settings

if TYPE_CHECKING:
    from docmill.documents.model import CachedDocument

T = TypeVar("T")


class StatusJobDataRunner:
    """Submits jobs to a deployment on a Prefect server, for a worker to run, and asks after them.

    The server is the one that Prefect's own settings name (`PREFECT_API_URL`, or the profile's), or that of a
    running `docmill up`. Use it as a context manager, with or without `async`, or `close` it.
    `docmill.jobs.EmbeddedRunner` needs no server.
    """

    def __init__(self, settings: Settings | None = None, *, deployment: str = DEPLOYMENT) -> None:
        self.settings = settings or Settings.from_env()
        self._deployment = deployment
        # The Prefect settings that hold here hold for all calls, whichever thread is the first to call.
        self._context = contextvars.copy_context()
        self._closed = False
        self._begin()
        _runners.add(self)

    def _begin(self) -> None:
        """Without any connection, at first and in a process that was forked: those are the parent's."""
        self._background: BackgroundLoop | None = None
        self._lock = threading.Lock()
        self._jobs = JobClient(self.settings, self._deployment)

    def _after_fork(self) -> None:
        # Kept, since to forget the parent's loop would close it, and that reaches into the parent's.
        self._of_parent: tuple[Any, ...] = (self._background, self._jobs)
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    def close(self) -> None:
        """Close the connections; the jobs go on. Who still waits for one gets `RuntimeError`."""
        with self._lock:
            self._closed = True
            background, self._background = self._background, None
        if background:
            background.call(self._jobs.close()).result()
            background.stop()

    def run_convert_job(
        self,
        source: str | Path,
        job_data: JobData,
        *,
        user_token: str | None = None,
        job_token: str | None = None,
    ) -> RunConvertJobResult:
        """Submit a job and return at once, its result to be a new document in the cache.

        `source` is a URI (`docmill://<id>` for a document in the cache), a path, or a document id that
        docmill made (32 hexadecimal digits). The same pair with the same job gives that job back.
        Raises `InvalidJobData`, `UnsupportedConversion`, `JobTokenInUse` and `PrefectUnavailable`.
        """
        return self._wait_for(
            self.arun_convert_job(source, job_data, user_token=user_token, job_token=job_token)
        )

    async def arun_convert_job(
        self,
        source: str | Path,
        job_data: JobData,
        *,
        user_token: str | None = None,
        job_token: str | None = None,
    ) -> RunConvertJobResult:
        """`run_convert_job`, awaitable."""
        request = request_from_job_data(source, job_data)
        return await self.asubmit(request, job_data=job_data, user_token=user_token, job_token=job_token)

    def submit(
        self,
        request: ConvertRequest,
        *,
        job_data: JobData | None = None,
        user_token: str | None = None,
        job_token: str | None = None,
    ) -> RunConvertJobResult:
        """Submit docmill's own form of a request, with a target and all options, as `docmill run` does.

        `job_data` gives the names that the status shows. Raises as `run_convert_job` does.
        """
        return self._wait_for(
            self.asubmit(request, job_data=job_data, user_token=user_token, job_token=job_token)
        )

    async def asubmit(
        self,
        request: ConvertRequest,
        *,
        job_data: JobData | None = None,
        user_token: str | None = None,
        job_token: str | None = None,
    ) -> RunConvertJobResult:
        """`submit`, awaitable."""
        submission = Submission.of(
            request,
            job_data or JobData(),
            self.settings.default_user if user_token is None else user_token,
            job_token,
        )
        run = await self._in_background(self._submit(submission))
        return RunConvertJobResult(
            user_token=submission.user_token,
            job_token=submission.job_token,
            user_data=submission.job_data.user_data,
            flow_run_id=str(run.id),
        )

    def query_convert_job_status(self, user_token: str, job_token: str) -> StatusJobData | None:
        """How a job is, by one request to Prefect; None where no job answers to the pair."""
        return self._wait_for(self.aquery_convert_job_status(user_token, job_token))

    async def aquery_convert_job_status(self, user_token: str, job_token: str) -> StatusJobData | None:
        """`query_convert_job_status`, awaitable."""
        return await self._in_background(self._jobs.query(user_token, job_token))

    def abort_convert_job(self, user_token: str, job_token: str) -> None:
        """Ask a job to stop; it ends soon after. A finished job stays as it is. Raises `JobNotFound`."""
        self._wait_for(self.aabort_convert_job(user_token, job_token))

    async def aabort_convert_job(self, user_token: str, job_token: str) -> None:
        """`abort_convert_job`, awaitable."""
        await self._in_background(self._jobs.abort(user_token, job_token))

    def delete_convert_job(self, user_token: str, job_token: str, *, timeout: float = 60.0) -> None:
        """Remove a job: its flow run, artifacts and scratch, not its output document.

        A job that is not finished is aborted first; `TimeoutError` where it takes more than `timeout` seconds
        to end. Raises `JobNotFound`.
        """
        self._wait_for(self.adelete_convert_job(user_token, job_token, timeout=timeout))

    async def adelete_convert_job(self, user_token: str, job_token: str, *, timeout: float = 60.0) -> None:
        """`delete_convert_job`, awaitable."""
        await self._in_background(self._jobs.delete(user_token, job_token, timeout=timeout))

    def list_convert_jobs(
        self,
        user_token: str | None = None,
        state: str | None = None,
        since: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobPage:
        """Jobs from the newest: of one user, in one state (`docmill.jobs.listing.STATES`), due after a time.

        A time without a zone is local. A page has at most `limit` jobs; its `cursor`, if any, gets the next
        one. Raises `InvalidJobData` for a state, limit or cursor that is none.
        """
        return self._wait_for(self.alist_convert_jobs(user_token, state, since, limit, cursor))

    async def alist_convert_jobs(
        self,
        user_token: str | None = None,
        state: str | None = None,
        since: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobPage:
        """`list_convert_jobs`, awaitable."""
        wanted = JobFilter(user_token, state, since and since.astimezone(UTC))
        return await self._in_background(self._jobs.list(wanted, limit=limit, cursor=cursor))

    def wait(self, user_token: str, job_token: str, timeout: float | None = None) -> StatusJobData:
        """Wait until a job is completed; raises `JobNotFound`, and `TimeoutError` after `timeout` seconds."""
        return self._wait_for(self.await_completion(user_token, job_token, timeout), cancellable=True)

    async def await_completion(
        self, user_token: str, job_token: str, timeout: float | None = None
    ) -> StatusJobData:
        """`wait`, awaitable."""
        return await self._in_background(self._jobs.wait(user_token, job_token, timeout), cancellable=True)

    def load_document(
        self, uri: str | Path, *, document_id: str | None = None, password: str | None = None
    ) -> CachedDocument:
        """Load a URI or path into the document cache; its `document_uri` is a source for jobs.

        So is a `document_id` that docmill made; one of your own would be taken for a path. See
        `docmill.jobs.documents.load_document`.
        """
        from docmill.jobs.documents import load_document

        return load_document(uri, self.settings, document_id=document_id, password=password)

    async def aload_document(
        self, uri: str | Path, *, document_id: str | None = None, password: str | None = None
    ) -> CachedDocument:
        """`load_document`, awaitable."""
        return await asyncio.to_thread(self.load_document, uri, document_id=document_id, password=password)

    def open_document(self, uri: str | Path) -> AbstractContextManager[Path]:
        """A document as a local file to read, such as a finished job's `output_document_uri`."""
        from docmill.jobs.documents import open_document

        return open_document(uri, self.settings)

    async def _submit(self, submission: Submission) -> FlowRun:
        """In the background loop, so that a caller that gives up meanwhile leaves no half of it."""
        return await self._jobs.submit(submission)

    def _loop(self) -> BackgroundLoop:
        with self._lock:
            if self._closed:
                raise RuntimeError("this runner is closed")
            if self._background is None:
                self._background = BackgroundLoop("docmill-jobs", self._context)
            return self._background

    async def _in_background(self, work: Coroutine[Any, Any, T], *, cancellable: bool = False) -> T:
        try:
            loop = self._loop()
        except BaseException:
            work.close()
            raise
        return await asyncio.wrap_future(loop.call(work, cancellable=cancellable))

    def _wait_for(self, work: Coroutine[Any, Any, T], *, cancellable: bool = False) -> T:
        # A loop of its own would cost each call 1 ms and a connection; the background loop runs both halves.
        try:
            loop = self._loop()
        except BaseException:
            work.close()
            raise
        result = loop.call(work, cancellable=cancellable)
        try:
            return result.result()
        except BaseException:  # Ctrl-C among them
            result.cancel()
            raise


_runners: WeakSet[StatusJobDataRunner] = WeakSet()


def _after_fork() -> None:
    for runner in _runners:
        runner._after_fork()


os.register_at_fork(after_in_child=_after_fork)
