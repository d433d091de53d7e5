"""The last stage of a job: `stage` brings its output where nobody sees it, `commit` shows it.

An output goes to a target, into the document cache, or both. Whatever can fail for long or for lack of room
is done by `stage`; `commit` gives names.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docmill import targets
from docmill.documents.model import CachedDocument, LoadedDocument, PublishedOutput
from docmill.documents.uris import document_uri, is_hidden, same_place
from docmill.errors import DocmillError, InvalidJobData, Phase, in_phase
from docmill.facts import DocumentFacts
from docmill.formats import ZIP
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.sandbox import Sandbox
from docmill.workspace import Converted, Workspace

if TYPE_CHECKING:
    from docmill.documents.publish import Preparation, Staged

# File systems hold 255 bytes; endings as long as `.manifest.json.spare` come after it.
_STEM_BYTES = 230


@dataclass(frozen=True, slots=True)
class StagedOutput:
    """An output out of sight: `files` beside the target, `document` with its content in the cache.

    One of them may be None.
    """

    files: Staged | None
    document: LoadedDocument | None

    def discard(self) -> None:
        """Take back what was staged and is not to be published."""
        # Content in the cache that no document has is collected.
        if self.files:
            self.files.discard()


def stage(
    work: Workspace, request: ConvertRequest, documents: Sequence[LoadedDocument], converted: Converted
) -> StagedOutput:
    """Put the outputs beside the target, and into the cache where they are to be kept there, unseen.

    Raises the `Destination...` errors.
    """
    from docmill.documents.publish import prepare
    from docmill.documents.publish import stage as stage_files

    with in_phase(Phase.PUBLISH):
        for document in documents:
            # Engines read a local file where it lies: what was made of one that changed meanwhile is nothing.
            document.check_unchanged()
        outputs = converted.result.outputs
        prepared = converted.prepared
        if prepared is None or not prepared.is_of(outputs):
            prepared = prepare(outputs, request.target)
        kept = None
        if request.target is None or request.output_document_id is not None:
            kept = _stage_in_cache(work, request, converted, prepared)
        if request.target is None:
            return StagedOutput(None, kept)
        destination = targets.destination(request, len(outputs))
        for output in outputs if destination.endswith("/") else ():
            refuse_same_place(request, targets.in_folder(destination, output.name))
        files = stage_files(
            outputs,
            destination,
            overwrite=request.overwrite,
            run_id=work.run_id,
            document_name=output_stem(request, documents[0]),
            allow_non_atomic=work.settings.allow_non_atomic_publish,
            rerun=work.attempt > 1,
            prepared=prepared,
        )
        return StagedOutput(files, kept)


def commit(
    work: Workspace,
    request: ConvertRequest,
    staged: StagedOutput,
    converted: Converted,
    input_ids: Sequence[str],
    started: float,
) -> ConvertOutcome:
    """Publish what was staged: the point of no return. `started` is a `time.monotonic` of the run's start."""
    with in_phase(Phase.PUBLISH):
        # First the cache, which can be taken back: what stands at the target is never of a job that failed.
        # Between the two is the moment that only a kill -9 can hit: then the cache has the new document, with
        # what it replaced still at its side, so that a rerun that fails brings that back.
        kept = None
        try:
            if staged.document:
                kept = _show_in_cache(work, request, staged.document)
            published = _show_files(staged, kept)
        except BaseException:
            if staged.document:
                _take_back(work, request)
            raise
        if kept and kept.replaced:
            with suppress(DocmillError):  # all is published
                work.cache().confirm(kept.document_id, work.run_id)
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


def refuse_same_place(request: ConvertRequest, place: str | None) -> None:
    """Raise `InvalidJobData` where an output at `place` would replace a source."""
    if place and any(not is_hidden(source) and same_place(source, place) for source in request.sources):
        raise InvalidJobData("source and target are the same", hint="name another target")


def output_stem(request: ConvertRequest, document: LoadedDocument) -> str:
    """The output's name without its ending."""
    if request.document_name:
        return request.document_name
    if request.target and not targets.is_folder(request.target):
        return Path(targets.last_name(request.target)).stem
    stem = Path(document.name).stem or "document"
    # Where the source has it from, as from a server, names may be longer than a file's.
    while len(os.fsencode(stem)) > _STEM_BYTES:
        stem = stem[:-1]
    return stem


def _stage_in_cache(
    work: Workspace, request: ConvertRequest, converted: Converted, prepared: Preparation
) -> LoadedDocument:
    from docmill.documents.load import describe_file
    from docmill.documents.model import KnownDigest

    outputs = converted.result.outputs
    if len(outputs) != 1:
        raise InvalidJobData(
            f"{len(outputs)} output files do not make one document in the cache",
            hint="name a target folder",
        )
    if targets.target_of(request).archive:
        facts = DocumentFacts(ZIP.mime_type)  # nothing that docmill reads; a client fetches it
    else:
        # An output that only its owner password protects opens without one.
        password = work.secret_option(request, "encrypt_user_password")
        facts = Sandbox(work.settings).probe_blocking(outputs[0], outputs[0].name, password)
    digest = KnownDigest(prepared.outputs()[0].sha256)
    document = describe_file(outputs[0], facts, uri=request.target or "", digest=digest)
    work.cache().stage(
        document, document_id=_output_id(work, request), overwrite=request.overwrite, run_id=work.run_id
    )
    return document


def _output_id(work: Workspace, request: ConvertRequest) -> str:
    """The id of the output in the cache: a run that is tried again, or run again, comes to the same one."""
    if request.output_document_id is not None:
        return request.output_document_id
    return hashlib.sha256(f"the output of {work.run_id}".encode()).hexdigest()[:32]


def _show_in_cache(work: Workspace, request: ConvertRequest, document: LoadedDocument) -> CachedDocument:
    return work.cache().put(
        document,
        document_id=_output_id(work, request),
        expires=work.expiry(),
        overwrite=request.overwrite,
        run_id=work.run_id,
        revocable=True,
    )


def _show_files(staged: StagedOutput, kept: CachedDocument | None) -> PublishedOutput:
    if staged.files:
        return staged.files.commit()
    assert kept is not None
    uri = document_uri(kept.document_id)
    return PublishedOutput(uri=uri, files=(uri,), size=kept.size, sha256=kept.sha256)


def _take_back(work: Workspace, request: ConvertRequest) -> None:
    """Bring the cache to what it was before."""
    with suppress(DocmillError):  # the failure that led here is the one to tell
        work.cache().revoke(_output_id(work, request), work.run_id)
