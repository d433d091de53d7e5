"""The two document calls that a client makes around a job: bring a source into the cache, open an output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from docmill import pipeline
from docmill.documents.cache import DocumentCache
from docmill.documents.model import CachedDocument, LoadedDocument
from docmill.documents.secrets import SecretResolver
from docmill.documents.uris import document_id_of
from docmill.jobs.blocks import read_secret_block
from docmill.jobs.mapping import source_uri
from docmill.request import ConvertRequest
from docmill.settings import Settings
from docmill.workspace import Workspace


def load_document(
    uri: str | Path, settings: Settings, *, document_id: str | None = None, password: str | None = None
) -> CachedDocument:
    """Load a URI or path into the document cache, under a new id unless `document_id` names one.

    `password` is a reference (`env:NAME`), never the secret. Raises what `docmill.pipeline.load` raises, and
    `DestinationExists` where the id is in use for other content.
    """
    with _loaded(uri, settings, password) as document:
        cache = DocumentCache(settings.cache_location)
        known = document_id_of(document.uri)
        if known is not None and document_id is None:
            return cache.get(known)
        return cache.put(document, document_id=document_id, expires=Workspace(settings).expiry())


@contextmanager
def open_document(uri: str | Path, settings: Settings) -> Iterator[Path]:
    """A document as a local file to read, such as the `output_document_uri` of a finished job.

    From the cache (`docmill://<id>`) or from any URI; raises as `docmill.pipeline.load` does.
    """
    place = source_uri(uri)
    document_id = document_id_of(place)
    if document_id is not None:
        cache = DocumentCache(settings.cache_location, scratch=settings.scratch_dir)
        with cache.open_local(document_id) as path:
            yield path
    else:
        with _loaded(uri, settings, None) as document:
            yield document.path


@contextmanager
def _loaded(uri: str | Path, settings: Settings, password: str | None) -> Iterator[LoadedDocument]:
    work = Workspace(settings, secrets=SecretResolver(block=read_secret_block))
    try:
        yield pipeline.load(work, ConvertRequest(sources=(source_uri(uri),), to="pdf", password=password))
    finally:
        work.remove()
