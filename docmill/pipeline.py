"""A job's way through docmill as plain functions: load, cache, convert, publish.

The four Prefect tasks wrap these, and `convert_document` runs them one after the other without Prefect. Every
function takes the `Workspace` of its run: nothing is global, and all that a run keeps on this host lies under
one folder.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from docmill import targets, wording
from docmill.documents.model import CachedDocument, LoadedDocument, LoadLimits, PublishedOutput
from docmill.documents.secrets import SecretResolver
from docmill.engines.base import EngineOptions, EngineResult, MergeSource, Progress
from docmill.engines.registry import Route, plan_merge, plan_route
from docmill.errors import DocmillError, EngineFailed, InvalidJobData, JobAborted, Phase
from docmill.facts import DocumentFacts
from docmill.processes import AbortFlag
from docmill.processes.failures import scratch_full
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.sandbox import Sandbox
from docmill.settings import Settings

if TYPE_CHECKING:
    from docmill.documents.cache import DocumentCache
    from docmill.documents.publish import Staged

log = logging.getLogger(__name__)

DOCUMENT_SCHEME = "docmill://"


class Observer(Protocol):
    """Who wants to know how a job goes on: the command line, a log, a program."""

    def stage(self, phase: Phase, message: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...


class Silent:
    """An observer that does nothing."""

    def stage(self, phase: Phase, message: str) -> None:
        pass

    def progress(self, progress: Progress) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one run works: its settings, its id, its folder `<scratch>/<run id>/attempt-<n>` on this host.

    Each attempt has a folder of its own: a process that was thought dead and wakes up must not remove the
    files of its successor.
    """

    settings: Settings
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    attempt: int = 1
    secrets: SecretResolver = field(default_factory=SecretResolver)

    @property
    def root(self) -> Path:
        return self.settings.scratch_dir / self.run_id / f"attempt-{self.attempt}"

    @property
    def output_dir(self) -> Path:
        return self.root / "output"

    def source_dir(self, index: int = 0) -> Path:
        return self.root / "source" / str(index)

    def remove(self) -> None:
        """Remove all that this attempt left on this host."""
        shutil.rmtree(self.root, ignore_errors=True)
        with contextlib.suppress(OSError):  # another attempt is at work
            self.root.parent.rmdir()


@dataclass(frozen=True, slots=True)
class Converted:
    """What the convert stage made, before it is published."""

    result: EngineResult
    route: Route
    seconds: float


def convert_document(
    request: ConvertRequest,
    settings: Settings,
    *,
    observer: Observer | None = None,
    abort: AbortFlag | None = None,
    secrets: SecretResolver | None = None,
) -> ConvertOutcome:
    """Run a whole job in this thread, without Prefect.

    Raises `DocmillError` with the phase in which it came up; nothing is left at the destination then.
    """
    observer = observer or Silent()
    work = Workspace(settings, secrets=secrets or SecretResolver())
    started = time.monotonic()
    try:
        documents, ids = [], []
        for index in range(len(request.sources)):
            document = load(work, request, index, abort=abort)
            observer.stage(Phase.LOAD, wording.describe_source(document))
            documents.append(document)
            cached = cache(work, document)
            observer.stage(Phase.CACHE, f"cached as {cached.document_id}")
            ids.append(cached.document_id)
        converted = convert(work, request, documents, on_progress=observer.progress, abort=abort)
        observer.stage(Phase.CONVERT, wording.describe_conversion(converted))
        staged = stage(work, request, documents, converted)
        try:
            refuse_aborted(abort)
            outcome = commit(work, request, staged, converted, ids, started)
        except BaseException:
            # Ctrl-C too: nothing may be left beside the target.
            discard(staged)
            raise
        observer.stage(Phase.PUBLISH, outcome.output_uri)
        return outcome
    finally:
        work.remove()


def load(
    work: Workspace, request: ConvertRequest, index: int = 0, *, abort: AbortFlag | None = None
) -> LoadedDocument:
    """Bring one source of the request to this host's scratch and read its facts in the sandbox.

    Raises `SourceNotFound`, `SourceForbidden`, `SourceUnavailable`, `UnknownFormat`, `CorruptDocument`,
    `PasswordRequired`, `PasswordWrong` and `LimitExceeded`.
    """
    from docmill.documents.load import load_document

    source = request.sources[index]
    with _in_phase(Phase.LOAD), _naming(request, index):
        if index == 0:
            _check_target(work, request)
        password = _password(work, request)
        sandbox = Sandbox(work.settings)

        def probe(path: Path, name: str) -> DocumentFacts:
            return sandbox.probe_blocking(path, name, password, abort=abort)

        directory = make_folder(work.source_dir(index))
        if source.startswith(DOCUMENT_SCHEME):
            document = _from_cache(work, source, directory)
        else:
            document = load_document(
                source,
                into=directory,
                limits=LoadLimits.from_settings(work.settings),
                secrets=work.secrets,
                probe=probe,
                progress=lambda done, total: refuse_aborted(abort),
            )
        if len(request.sources) == 1 and (request.target or request.to):
            # What cannot be done is told before it is cached.
            plan_route(document.facts.mime_type, targets.target_of(request), request.options)
        return document


def refuse_aborted(abort: AbortFlag | None) -> None:
    """Raise `JobAborted` where the job is to stop."""
    if abort and abort.is_set():
        raise JobAborted("the job was aborted")


def discard(staged: Staged | None) -> None:
    """Take back what was staged and is not to be published."""
    if staged:
        staged.discard()


def cache(work: Workspace, document: LoadedDocument) -> CachedDocument:
    """Keep a loaded document in the document cache; one that came from there is left as it is."""
    with _in_phase(Phase.CACHE):
        store = _cache(work)
        if document.uri.startswith(DOCUMENT_SCHEME):
            return store.get(document.uri.removeprefix(DOCUMENT_SCHEME))
        return store.put(document, expires=_expiry(work.settings), run_id=work.run_id)


def convert(
    work: Workspace,
    request: ConvertRequest,
    documents: Sequence[LoadedDocument],
    *,
    on_progress: Callable[[Progress], None],
    abort: AbortFlag | None = None,
) -> Converted:
    """Plan the route and run it in the sandbox; the outputs lie in the run's scratch.

    Raises what the engines raise, `UnsupportedConversion`, `MissingExtra`, `LimitExceeded`, `EngineCrashed`
    and `JobAborted`.
    """
    with _in_phase(Phase.CONVERT):
        started = time.monotonic()
        route, options, out_dir = prepare(work, request, documents)
        sandbox = Sandbox(work.settings)
        if route.parts:
            sources = [MergeSource(document.path, document.name) for document in documents]
            result = sandbox.merge_blocking(
                route,
                sources,
                out_dir,
                options,
                facts=[document.facts for document in documents],
                on_progress=on_progress,
                abort=abort,
            )
        else:
            result = sandbox.run_blocking(
                route,
                documents[0].path,
                out_dir,
                options,
                facts=documents[0].facts,
                on_progress=on_progress,
                abort=abort,
            )
        return Converted(result, route, time.monotonic() - started)


def prepare(
    work: Workspace, request: ConvertRequest, documents: Sequence[LoadedDocument]
) -> tuple[Route, EngineOptions, Path]:
    """What the sandbox needs to run a request: the route, the engine's options, and a fresh folder."""
    document = documents[0]
    target = targets.target_of(request)
    if len(documents) > 1:
        route = plan_merge([each.facts.mime_type for each in documents], target, request.options)
    else:
        route = plan_route(document.facts.mime_type, target, request.options)
    settings = work.settings
    options = EngineOptions(
        target=target,
        options=request.options,
        default_dpi=settings.default_dpi,
        max_page_pixels=settings.max_page_pixels,
        max_pages=settings.max_pages,
        workers=settings.engine_workers,
        name=_output_stem(request, document),
        mime_type=document.facts.mime_type,
        password=_password(work, request),
        encrypt_user_password=_resolved(work, request, "encrypt_user_password"),
        encrypt_owner_password=_resolved(work, request, "encrypt_owner_password"),
    )
    shutil.rmtree(work.output_dir, ignore_errors=True)
    return route, options, make_folder(work.output_dir)


def stage(
    work: Workspace, request: ConvertRequest, documents: Sequence[LoadedDocument], converted: Converted
) -> Staged | None:
    """Put the outputs beside the target, where no reader sees them yet; None where the target is the cache.

    Raises the `Destination...` errors.
    """
    from docmill.documents.publish import stage

    with _in_phase(Phase.PUBLISH):
        for document in documents:
            # Engines read a local file where it lies: what was made of one that changed meanwhile is nothing.
            document.check_unchanged()
        if request.target is None:
            return None
        return stage(
            converted.result.outputs,
            targets.destination(request, len(converted.result.outputs)),
            overwrite=request.overwrite,
            run_id=work.run_id,
            document_name=_output_stem(request, documents[0]),
            allow_non_atomic=work.settings.allow_non_atomic_publish,
        )


def commit(
    work: Workspace,
    request: ConvertRequest,
    staged: Staged | None,
    converted: Converted,
    input_ids: Sequence[str],
    started: float,
) -> ConvertOutcome:
    """Publish what was staged: the point of no return. `started` is a `time.monotonic` of the run's start."""
    with _in_phase(Phase.PUBLISH):
        published = staged.commit() if staged else None
        kept = None
        if published is None or request.output_document_id is not None:
            kept = _keep_output(work, request, converted)
        if published is None:
            assert kept is not None
            uri = DOCUMENT_SCHEME + kept.document_id
            published = PublishedOutput(uri=uri, files=(uri,), size=kept.size, sha256=kept.sha256)
    result = converted.result
    return ConvertOutcome(
        output_uri=published.uri,
        output_files=published.files,
        output_document_id=kept.document_id if kept else None,
        input_document_id=input_ids[0],
        page_count=len(result.pages),
        output_bytes=published.size,
        route=str(converted.route),
        seconds=round(time.monotonic() - started, 3),
        failures=tuple({"page": failure.page} | failure.error for failure in result.failures),
        notes=result.notes,
    )


def make_folder(folder: Path) -> Path:
    """A folder in scratch; raises `LimitExceeded` where scratch is full, `EngineFailed` if it is sealed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise scratch_full() from error
        raise EngineFailed(
            f"the scratch folder '{folder}' cannot be made: {error.strerror}",
            hint="set DOCMILL_SCRATCH_DIR to a folder that can be written to",
        ) from error
    return folder


class _in_phase:
    """Names the phase in the errors that come up inside, where they do not name one themselves."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, DocmillError) and error.phase is None:
            error.phase = self._phase


def _cache(work: Workspace) -> DocumentCache:
    from docmill.documents.cache import DocumentCache

    return DocumentCache(work.settings.cache_location, scratch=work.root)


def _expiry(settings: Settings) -> datetime | None:
    return datetime.now(UTC) + timedelta(seconds=settings.document_ttl) if settings.document_ttl else None


def _password(work: Workspace, request: ConvertRequest) -> str | None:
    return work.secrets.resolve(request.password, what="password") if request.password else None


def _resolved(work: Workspace, request: ConvertRequest, option: str) -> str | None:
    """The secret that an option refers to, where it is set."""
    reference = getattr(request.options, option)
    return work.secrets.resolve(reference, what=option) if reference else None


def _from_cache(work: Workspace, uri: str, directory: Path) -> LoadedDocument:
    store = _cache(work)
    cached = store.get(uri.removeprefix(DOCUMENT_SCHEME))
    path = directory / "source"
    path.unlink(missing_ok=True)
    with store.open_local(cached.document_id) as blob:
        try:
            # The collector may remove the blob while the engine reads it; a second name keeps the bytes.
            os.link(blob, path)
        except OSError:
            shutil.copyfile(blob, path)
    return LoadedDocument(
        uri=uri, name=cached.name, path=path, size=cached.size, sha256=cached.sha256, facts=cached.facts
    )


def _keep_output(work: Workspace, request: ConvertRequest, converted: Converted) -> CachedDocument:
    from docmill.documents.load import describe_file

    outputs = converted.result.outputs
    if len(outputs) != 1:
        raise InvalidJobData(
            f"{len(outputs)} output files do not make one document in the cache",
            hint="name a target folder, or convert to zip",
        )
    # An output that only its owner password protects opens without one.
    password = _resolved(work, request, "encrypt_user_password")
    facts = Sandbox(work.settings).probe_blocking(outputs[0], outputs[0].name, password)
    document = describe_file(outputs[0], facts, uri=request.target or "")
    return _cache(work).put(
        document,
        document_id=request.output_document_id,
        expires=_expiry(work.settings),
        overwrite=request.overwrite,
        run_id=work.run_id,
    )


def _output_stem(request: ConvertRequest, document: LoadedDocument) -> str:
    if request.document_name:
        return request.document_name
    if request.target and not targets.is_folder(request.target):
        return Path(targets.last_name(request.target)).stem
    return Path(document.name).stem or "document"


@contextlib.contextmanager
def _naming(request: ConvertRequest, index: int) -> Iterator[None]:
    """Say which of several sources an error is about."""
    try:
        yield
    except DocmillError as error:
        name = wording.short_name(request.sources[index])
        if len(request.sources) > 1 and name not in error.message:
            error.message = f"{name}: {error.message}"
        raise


def _check_target(work: Workspace, request: ConvertRequest) -> None:
    """Refuse before the work what publishing would refuse after it."""
    from docmill.documents.publish import check_target

    _refuse_same_place(request)
    if request.target is None:
        return
    one_file = targets.is_one_file(request)
    check_target(
        targets.destination(request, 1 if one_file else 2),
        overwrite=request.overwrite,
        run_id=work.run_id,
        rerun=work.attempt > 1,
        allow_non_atomic=work.settings.allow_non_atomic_publish,
    )


def _refuse_same_place(request: ConvertRequest) -> None:
    if request.target is None or "://" in request.target:
        same = request.target in request.sources
    else:
        target = Path(request.target)
        same = any(
            "://" not in source and target.exists() and Path(source).exists() and target.samefile(source)
            for source in request.sources
        )
    if same:
        raise InvalidJobData("source and target are the same", hint="name another target")
