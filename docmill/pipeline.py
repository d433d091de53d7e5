"""A job's way through docmill as plain functions: load, cache and convert here, then `publication`.

The four Prefect tasks wrap these, and `convert_document` runs them without Prefect. Every function takes the
`Workspace` of its run: nothing is global, and all that a run keeps on this host lies under one folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from docmill import targets, wording
from docmill.documents.model import CachedDocument, KnownDigest, LoadedDocument, LoadLimits
from docmill.documents.uris import document_id_of, parse_location
from docmill.engines.base import EngineOptions, MergeSource, Progress
from docmill.engines.registry import Route, plan_merge, plan_route
from docmill.errors import DocmillError, JobAborted, Phase, in_phase
from docmill.facts import DocumentFacts
from docmill.processes import AbortFlag
from docmill.publication import commit, output_stem, refuse_same_place, stage
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.sandbox import Sandbox
from docmill.settings import Settings
from docmill.workspace import Converted, Workspace, make_folder

if TYPE_CHECKING:
    from docmill.documents.background import Background, GrowingHash
    from docmill.documents.publish import Preparation


# An output is hashed as it is being written where its source has so many bytes: below, waking up costs more.
_WORTH_FOLLOWING = 1 << 20


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


def convert_document(
    request: ConvertRequest,
    settings: Settings,
    *,
    observer: Observer | None = None,
    abort: AbortFlag | None = None,
    before_commit: Callable[[], None] = lambda: None,
) -> ConvertOutcome:
    """Run a whole job, without Prefect: caching goes on in a thread of its own while this one converts.

    `before_commit` is called at the point of no return: from then on no exception may stop it.
    Raises `DocmillError` with the phase in which it came up; nothing is left at the destination then.
    """
    observer = observer or Silent()
    work = Workspace(settings)
    started = time.monotonic()
    documents: list[LoadedDocument] = []
    caching: list[Background[CachedDocument]] = []
    try:
        for index in range(len(request.sources)):
            document = begin_load(work, request, index, abort=abort)
            observer.stage(Phase.LOAD, wording.describe_source(document))
            documents.append(document)
            caching.append(_in_background(partial(cache, work, document)))
        converted = convert(work, request, documents, on_progress=observer.progress, abort=abort)
        ids = [cached.result().document_id for cached in caching]
        for document_id in ids:
            observer.stage(Phase.CACHE, f"cached as {document_id}")
        observer.stage(Phase.CONVERT, wording.describe_conversion(converted))
        staged = stage(work, request, documents, converted)
        try:
            refuse_aborted(abort)
            before_commit()
            outcome = commit(work, request, staged, converted, ids, started)
        except BaseException:
            # Ctrl-C too: nothing may be left beside the target.
            staged.discard()
            raise
        observer.stage(Phase.PUBLISH, outcome.output_uri)
        return outcome
    finally:
        # Nothing goes on behind the caller's back.
        for document in documents:
            document.digest.stop()
        for cached in caching:
            cached.wait()
        work.remove()


def load(
    work: Workspace, request: ConvertRequest, index: int = 0, *, abort: AbortFlag | None = None
) -> LoadedDocument:
    """Bring one source of the request to this host's scratch and read its facts in the sandbox.

    Raises `SourceNotFound`, `SourceForbidden`, `SourceUnavailable`, `UnknownFormat`, `CorruptDocument`,
    `PasswordRequired`, `PasswordWrong` and `LimitExceeded`.
    """
    with in_phase(Phase.LOAD):
        return begin_load(work, request, index, abort=abort).finished()


def begin_load(
    work: Workspace, request: ConvertRequest, index: int = 0, *, abort: AbortFlag | None = None
) -> LoadedDocument:
    """`load`, but a local file may still be being hashed: whoever asks for its `sha256` waits for that."""
    from docmill.documents import load

    source = request.sources[index]
    with in_phase(Phase.LOAD), _naming(request, index):
        if index == 0:
            refuse_same_place(request, request.target)
            _check_target(work, request)
        password = work.password(request)
        sandbox = Sandbox(work.settings)

        def probe(path: Path, name: str) -> DocumentFacts:
            return sandbox.probe_blocking(path, name, password, abort=abort)

        directory = make_folder(work, work.source_dir(index))
        document_id = document_id_of(source)
        if document_id is not None:
            document = _from_cache(work, document_id, source, directory)
        else:
            document = load.begin_load(
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
            targets.refuse_many_outputs(request, document.facts.page_count)
        if index == 0:
            _check_target(work, request, output_stem(request, document))
        return document


def refuse_aborted(abort: AbortFlag | None) -> None:
    """Raise `JobAborted` where the job is to stop."""
    if abort and abort.is_set():
        raise JobAborted("the job was aborted")


def cache(work: Workspace, document: LoadedDocument) -> CachedDocument:
    """Keep a loaded document in the document cache; one that came from there is left as it is."""
    with in_phase(Phase.CACHE):
        store = work.cache()
        document_id = document_id_of(document.uri)
        if document_id is not None:
            return store.get(document_id)
        return store.put(document.finished(), expires=work.expiry(), run_id=work.run_id)


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
    with in_phase(Phase.CONVERT):
        started = time.monotonic()
        route, options, out_dir = prepare(work, request, documents)
        sandbox = Sandbox(work.settings)
        publishing = _Publishing(request.target)
        if route.appends and documents[0].size >= _WORTH_FOLLOWING:
            publishing.follow(out_dir.absolute() / f"{options.name}.{route.steps[0].target.format.extension}")
        try:
            if route.parts:
                result = sandbox.merge_blocking(
                    route,
                    [MergeSource(document.path, document.name) for document in documents],
                    out_dir,
                    options,
                    facts=[document.facts for document in documents],
                    on_progress=on_progress,
                    on_made=publishing.prepare,
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
                    on_made=publishing.prepare,
                    abort=abort,
                )
            return Converted(result, route, time.monotonic() - started, publishing.prepared(result.outputs))
        except BaseException:
            publishing.stop()
            raise


class _Publishing:
    """What of publishing is begun while the sandbox is still at work."""

    def __init__(self, target: str | None) -> None:
        self._target = target
        self._growing: GrowingHash | None = None
        self._prepared: Preparation | None = None

    def follow(self, output: Path) -> None:
        """Hash an output as it is being written."""
        from docmill.documents import publish

        self._growing = publish.follow(output)

    def prepare(self, outputs: Sequence[Path]) -> None:
        """Go on with outputs that are whole."""
        from docmill.documents import publish

        self._prepared = publish.prepare(outputs, self._target, self._growing)

    def prepared(self, outputs: Sequence[Path]) -> Preparation:
        """The preparation of these outputs; begun now where the sandbox checked nothing."""
        if self._prepared is None:
            self.prepare(outputs)
        assert self._prepared is not None
        return self._prepared

    def stop(self) -> None:
        """Give up: nothing is read any more when this returns."""
        if self._growing:
            self._growing.stop()
        if self._prepared:
            self._prepared.stop()


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
        max_content_bytes=settings.max_content_bytes,
        max_pages=settings.max_pages,
        workers=settings.engine_workers,
        name=output_stem(request, document),
        mime_type=document.facts.mime_type,
        password=work.password(request),
        encrypt_user_password=work.secret_option(request, "encrypt_user_password"),
        encrypt_owner_password=work.secret_option(request, "encrypt_owner_password"),
    )
    shutil.rmtree(work.output_dir, ignore_errors=True)
    return route, options, make_folder(work, work.output_dir)


def _in_background(call: Callable[[], CachedDocument]) -> Background[CachedDocument]:
    from docmill.documents.background import Background

    return Background(call, "docmill-cache")


def _from_cache(work: Workspace, document_id: str, uri: str, directory: Path) -> LoadedDocument:
    store = work.cache()
    cached = store.get(document_id)
    path = directory / "source"
    path.unlink(missing_ok=True)
    with store.open_local(cached.document_id) as blob:
        try:
            # The collector may remove the blob while the engine reads it; a second name keeps the bytes.
            os.link(blob, path)
        except OSError:
            shutil.copyfile(blob, path)
    digest = KnownDigest(cached.sha256)
    return LoadedDocument(uri, cached.name, path, cached.size, digest, cached.facts)


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


def _check_target(work: Workspace, request: ConvertRequest, stem: str = "") -> None:
    """Refuse before the work what publishing would refuse after it; with `stem` only if it names a file."""
    from docmill.documents.publish import check_target

    if request.target is None:
        return
    place = targets.destination(request, 1 if targets.is_one_file(request) else 2)
    if stem:
        name, folder = targets.name_in_folder(request, stem), parse_location(place)
        if name is None or (folder.is_local and not folder.path.is_dir()):
            return
        place = targets.in_folder(place, name)
        refuse_same_place(request, place)
    check_target(
        place,
        overwrite=request.overwrite,
        run_id=work.run_id,
        rerun=work.attempt > 1,
        allow_non_atomic=work.settings.allow_non_atomic_publish,
    )
