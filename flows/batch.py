"""The flow that converts many documents, each as a flow run of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any, cast

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from docmill import targets, wording
from docmill.documents.listing import FoundSource, find_sources, modified, output_paths
from docmill.documents.publish import manifest_name
from docmill.documents.uris import parse_location
from docmill.errors import DocmillError, InvalidJobData
from docmill.flows.convert import convert_document
from docmill.formats import target_from_name
from docmill.jobs.client import abort_run
from docmill.jobs.names import BATCH_FLOW_NAME
from docmill.jobs.running import RunningJob, running_job
from docmill.jobs.status import WITH_ERRORS
from docmill.jobs.submission import check_text
from docmill.jobs.watch import AbortReason
from docmill.options import ConvertOptions
from docmill.request import ConvertOutcome, ConvertRequest, refuse_empty_target

#: Rows of the table artifact; more of them make the UI slow. Failures come first.
MOST_ROWS = 500


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One document of a batch: its source, where its output goes, and what it came to.

    `state` is one of waiting, skipped, done, done with errors, failed and aborted.
    """

    source: str
    target: str
    state: str = "waiting"
    pages: int = 0
    seconds: float = 0.0
    message: str = ""


def run_name() -> str:
    """The flow run's name in the UI, e.g. `/srv/in/*.tif -> pdf`."""
    sources = flow_run.parameters["sources"]
    first = wording.short_name(sources[0]) if sources else "nothing"
    more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    return f"{first}{more} -> {flow_run.parameters.get('to') or 'pdf'}"


@flow(name=BATCH_FLOW_NAME, flow_run_name=run_name, persist_result=False)
async def convert_batch(
    sources: list[str],
    target: str,
    to: str = "pdf",
    options: ConvertOptions | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
    concurrency: int = 2,
    user_token: str | None = None,
) -> list[dict[str, Any]]:
    """Convert what `sources` name, each document as a job of its own, into the folder `target`.

    A document that fails does not stop the others, nor does a folder or store that cannot be searched: the
    flow ends Completed, Completed with the name WithErrors, or Failed where nothing succeeded. Called from
    another flow it returns the fields of a `BatchItem` for each document.

    Args:
        sources: files, folders (the files in them), patterns (`*`, `?`, `[...]`, `**` for folders of any
            depth) and URIs, as the worker sees them
        target: the folder or URI below which the outputs lie, as their sources lie below the folder that was
            searched
        to: the outputs' format, e.g. `pdf`, `tiff-g4` or `png+zip`; `docmill formats` lists them
        options: what else is asked of each conversion
        overwrite: replace outputs that are there
        skip_existing: leave out what has an output that is not older than the source, so that a batch does
            what is new, or goes on where it was stopped
        concurrency: how many documents are converted at once
        user_token: who asks for it; not set: the worker's `DOCMILL_DEFAULT_USER`
    """
    request = _Batch(target.rstrip("/"), to, options or ConvertOptions(), overwrite, user_token)
    try:
        _check(sources, target, concurrency)
        found, lost = await asyncio.to_thread(_look_for, sources)
        planned = request.plan(found)
    except InvalidJobData as error:
        return _returned(Failed(message=str(error), data=error))
    get_run_logger().info("%s found", wording.plural(len(planned), "document"))
    for item in lost:
        get_run_logger().warning("%s: %s", item.source, item.message)
    async with running_job() as job:
        # What an earlier attempt of this run has made is there now.
        skip = skip_existing or (flow_run.run_count or 1) > 1
        results = lost + await _convert_all(request, planned, job, concurrency, skip)
    if job.abort.is_set() and job.abort.reason is not AbortReason.ABORTED:
        raise Abort(f"the flow run is no longer this process's: {job.abort.reason}")
    await acreate_table_artifact(table(results), description=summary(results))
    return _returned(_final_state(results, aborted=job.abort.is_set()))


def _returned(state: State[Any]) -> list[dict[str, Any]]:
    # Prefect's engine gives the caller of a flow what the state that it returns holds.
    return cast(list[dict[str, Any]], state)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A document of a batch, the files of which one is there if it has an output (that, or the list of many),
    and when it was changed last."""

    item: BatchItem
    signs: tuple[str, str]
    changed: float

    def made(self) -> float | None:
        """When the output that is there was made; None where there is none, or nobody knows."""
        return next((made for sign in self.signs if (made := modified(sign)) is not None), None)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What all documents of a batch have in common."""

    target: str
    to: str
    options: ConvertOptions
    overwrite: bool
    user_token: str | None

    def plan(self, found: Sequence[FoundSource]) -> list[_Planned]:
        target = target_from_name(self.to)
        extension = "zip" if target.archive else target.format.extension
        paths = output_paths(found, extension)
        return [
            _Planned(
                BatchItem(source.uri, self._place(path)),
                (self._place(path), self._place(path.with_name(manifest_name(path.stem)))),
                source.modified or 0,
            )
            for source, path in zip(found, paths, strict=True)
        ]

    def _place(self, path: PurePosixPath) -> str:
        return targets.in_folder(f"{self.target}/", str(path))

    def request(self, item: BatchItem, *, over: bool) -> ConvertRequest:
        return ConvertRequest(
            sources=(item.source,),
            target=item.target,
            to=self.to,
            options=self.options,
            overwrite=self.overwrite or over,
        )


def _check(sources: Sequence[str], target: str, concurrency: int) -> None:
    if concurrency < 1:
        raise InvalidJobData(f"a concurrency of {concurrency} converts nothing")
    if not sources:
        raise InvalidJobData("the batch names no source")
    refuse_empty_target(target)


def _look_for(sources: Sequence[str]) -> tuple[list[FoundSource], list[BatchItem]]:
    """What the sources name, each once, and as failed what cannot be searched or told of."""
    found: dict[str, FoundSource] = {}
    lost: list[BatchItem] = []
    for source in sources:
        try:
            for each in find_sources([source]):
                try:
                    check_text(each.uri)
                except InvalidJobData as error:
                    # One that Prefect cannot be told of, in parameters and tables neither.
                    lost.append(BatchItem(repr(each.uri), "", "failed", message=str(error)))
                    continue
                if each.failure:
                    lost.append(BatchItem(each.uri, "", "failed", message=str(each.failure)))
                else:
                    found.setdefault(each.uri, each)
        except InvalidJobData:
            raise
        except DocmillError as error:
            lost.append(BatchItem(parse_location(source).shown, "", "failed", message=str(error)))
    return list(found.values()), lost


async def _convert_all(
    batch: _Batch,
    planned: Sequence[_Planned],
    job: RunningJob,
    concurrency: int,
    skip_existing: bool,
) -> list[BatchItem]:
    at_once = asyncio.Semaphore(concurrency)

    async def convert(plan: _Planned) -> BatchItem:
        item = plan.item
        async with at_once:
            if job.abort.is_set():
                return replace(item, state="aborted")
            try:
                made = await asyncio.to_thread(plan.made) if skip_existing else None
            except DocmillError as error:
                return replace(item, state="failed", message=str(error))
            if made is not None and made >= plan.changed:
                return replace(item, state="skipped", message="its output is there")
            return await _convert_one(batch, item, over=made is not None)

    # As tasks of one group: an error that is no document's, as of the Prefect API, ends them all.
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(_abort_with(job))
        tasks = [group.create_task(convert(each)) for each in planned]
        results = [await task for task in tasks]
        watcher.cancel()
    return results


async def _convert_one(batch: _Batch, item: BatchItem, *, over: bool) -> BatchItem:
    await asyncio.to_thread(_make_folder, item.target)
    state = await convert_document(
        batch.request(item, over=over), user_token=batch.user_token, return_state=True
    )
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, ConvertOutcome):
        kind = "done with errors" if result.failures else "done"
        pages, seconds = result.page_count, result.seconds
        return replace(item, state=kind, pages=pages, seconds=seconds, message=state.message or "")
    if state.is_cancelled():
        return replace(item, state="aborted", message="aborted")
    message = str(result) if isinstance(result, DocmillError) else state.message or ""
    get_run_logger().warning("%s: %s", item.source, message)
    return replace(item, state="failed", message=message)


def _make_folder(target: str) -> None:
    place = parse_location(target)
    if place.is_local:
        # Where it cannot be made, the job tells so.
        with suppress(OSError):
            place.path.parent.mkdir(parents=True, exist_ok=True)


async def _abort_with(job: RunningJob) -> None:
    """When the batch is to stop, stop the documents that are being converted, and those that just start."""
    await job.abort.wait()
    running = {"type": {"any_": ["PENDING", "RUNNING"]}}
    children = FlowRunFilter.model_validate(
        {"parent_flow_run_id": {"any_": [job.flow_run_id]}, "state": running}
    )
    while job.abort.reason is not AbortReason.LOST:
        async with get_client() as client:
            found = await client.read_flow_runs(flow_run_filter=children)
            # Side by side: each takes two requests, and the documents behind them are still being converted.
            await asyncio.gather(*(abort_run(client, child.id, "its batch was stopped") for child in found))
        await asyncio.sleep(0.5)


def _final_state(results: Sequence[BatchItem], *, aborted: bool) -> State[Any]:
    message = summary(results)
    data = [asdict(result) for result in results]
    failed = sum(result.state == "failed" for result in results)
    if aborted:
        return Cancelled(message=f"aborted: {message}")
    if failed and failed == len(results):
        return Failed(message=f"{message}; {results[0].message}")
    if failed or any(result.state == "done with errors" for result in results):
        return Completed(name=WITH_ERRORS, message=message, data=data)
    return Completed(message=message, data=data)


def summary(results: Sequence[BatchItem]) -> str:
    """A batch in a line, e.g. `12 documents: 10 done, 2 failed`."""
    if not results:
        return "no document matches"
    states = ["done", "done with errors", "skipped", "failed", "aborted"]
    counts = [(sum(result.state == state for result in results), state) for state in states]
    told = ", ".join(f"{count} {state}" for count, state in counts if count)
    return f"{wording.plural(len(results), 'document')}: {told}"


def table(results: Sequence[BatchItem]) -> list[dict[str, Any]]:
    """The artifact's rows, failures first, and what a person looks for in the first columns."""
    order = {"failed": 0, "aborted": 1, "done with errors": 2}
    rows = sorted(results, key=lambda result: order.get(result.state, 3))
    columns = ("source", "state", "message", "pages", "seconds", "target")
    return [{name: getattr(row, name) for name in columns} for row in rows[:MOST_ROWS]]
