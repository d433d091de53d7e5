"""An output that goes to a target and into the cache is in both, or in neither."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from docmill import publication
from docmill.documents.cache import DocumentCache
from docmill.documents.load import describe_file
from docmill.documents.model import CachedDocument
from docmill.documents.stores import LocalStore, StoredItem
from docmill.errors import DestinationExists, DestinationForbidden, DestinationUnavailable
from docmill.facts import DocumentFacts
from docmill.pipeline import convert, convert_document, load
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.settings import Settings
from docmill.workspace import Workspace

TEXT = DocumentFacts("text/plain", ())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", scratch_dir=tmp_path / "scratch")


@pytest.fixture
def request_for_both(tmp_path: Path) -> ConvertRequest:
    Image.new("L", (50, 50)).save(tmp_path / "scan.png")
    (tmp_path / "out").mkdir()
    target = str(tmp_path / "out" / "scan.pdf")
    return ConvertRequest(
        sources=(str(tmp_path / "scan.png"),), target=target, output_document_id="the-output"
    )


def ids(settings: Settings) -> set[str]:
    return {each.document_id for each in DocumentCache(settings.cache_location).list()}


def test_an_output_is_published_and_kept(settings, request_for_both):
    outcome = convert_document(request_for_both, settings)

    assert outcome.output_document_id == "the-output"
    with DocumentCache(settings.cache_location).open_local("the-output") as path:
        assert path.read_bytes() == Path(request_for_both.target).read_bytes()


def test_where_the_cache_refuses_the_output_nothing_is_published(settings, request_for_both, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("in use")
    DocumentCache(settings.cache_location).put(describe_file(other, TEXT), document_id="the-output")

    with pytest.raises(DestinationExists, match="the-output"):
        convert_document(request_for_both, settings)

    assert not list(Path(request_for_both.target).parent.iterdir())


def test_where_the_target_is_taken_in_the_last_moment_nothing_is_kept(settings, request_for_both):
    target = Path(request_for_both.target)

    class TakesTheName:
        """An abort flag, which is looked at between staging and committing."""

        def is_set(self) -> bool:
            if any(path.suffix == "" for path in target.parent.glob(".docmill-*")):
                target.write_text("somebody else's")
            return False

    with pytest.raises(DestinationExists):
        convert_document(request_for_both, settings, abort=TakesTheName())

    assert target.read_text() == "somebody else's"
    assert "the-output" not in ids(settings)
    assert [path.name for path in target.parent.iterdir()] == ["scan.pdf"]


class DestroysTheFolder:
    """An abort flag, which is looked at between staging and committing: then the target cannot be written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def is_set(self) -> bool:
        if any(path.suffix == "" for path in self._folder.glob(".docmill-*")):
            self._folder.rename(self._folder.with_name("moved"))
            self._folder.write_text("no folder any more")
        return False


@pytest.fixture
def kept_before(settings, tmp_path) -> CachedDocument:
    other = tmp_path / "other.txt"
    other.write_text("what was there before")
    cache = DocumentCache(settings.cache_location)
    return cache.put(describe_file(other, TEXT), document_id="the-output", run_id="another-run")


def content(settings: Settings, document_id: str) -> bytes:
    with DocumentCache(settings.cache_location).open_local(document_id) as path:
        return path.read_bytes()


def test_what_an_output_replaced_comes_back_where_the_target_fails(settings, request_for_both, kept_before):
    overwriting = replace(request_for_both, overwrite=True)

    with pytest.raises(DestinationForbidden):
        convert_document(overwriting, settings, abort=DestroysTheFolder(Path(request_for_both.target).parent))

    assert DocumentCache(settings.cache_location).get("the-output") == kept_before
    assert content(settings, "the-output") == b"what was there before"


def test_what_an_output_replaced_is_let_go_once_it_is_published(settings, request_for_both, kept_before):
    convert_document(replace(request_for_both, overwrite=True), settings)

    cache = DocumentCache(settings.cache_location)
    document = cache.get("the-output")
    assert document.sha256 != kept_before.sha256
    assert document.replaced is None
    cache.collect(grace=timedelta(0))
    assert cache.get("the-output") == document


def test_a_document_with_the_same_content_is_as_before_where_the_target_fails(
    settings, request_for_both, tmp_path
):
    elsewhere = replace(request_for_both, target=str(tmp_path / "first.pdf"))
    convert_document(elsewhere, replace(settings, document_ttl=0))
    before = DocumentCache(settings.cache_location).get("the-output")

    with pytest.raises(DestinationForbidden):
        convert_document(
            request_for_both, settings, abort=DestroysTheFolder(Path(request_for_both.target).parent)
        )

    assert DocumentCache(settings.cache_location).get("the-output") == before


def attempt(request: ConvertRequest, settings: Settings, number: int) -> ConvertOutcome:
    """One attempt of one and the same run."""
    work = Workspace(settings, run_id="the-run", attempt=number)
    document = load(work, request)
    converted = convert(work, request, [document], on_progress=lambda progress: None)
    staged = publication.stage(work, request, [document], converted)
    return publication.commit(work, request, staged, converted, ["in"], 0.0)


def test_a_run_that_is_run_again_makes_one_document_of_the_cache(settings, request_for_both):
    """As after a kill between publishing and saying so."""
    in_cache = replace(request_for_both, target=None, to="pdf", output_document_id=None)

    made = [attempt(in_cache, settings, number) for number in (1, 2)]

    assert made[0].output_document_id == made[1].output_document_id
    assert ids(settings) == {made[0].output_document_id}


def test_an_output_that_the_cache_shows_and_does_not_confirm_is_taken_back(
    settings, request_for_both, monkeypatch
):
    """The store fails after it has taken the document: a job that fails leaves nothing."""
    in_cache = replace(request_for_both, target=None, to="pdf", output_document_id=None)
    listing = LocalStore.list

    def fails(self: LocalStore, folder: str) -> Iterator[StoredItem]:
        if folder.startswith("condemned/document-"):
            raise TimeoutError("the store does not answer")
        return listing(self, folder)

    monkeypatch.setattr(LocalStore, "list", fails)
    with pytest.raises(DestinationUnavailable):
        attempt(in_cache, settings, 1)

    monkeypatch.undo()
    assert ids(settings) == set()


def test_a_lease_that_cannot_be_given_back_does_not_undo_a_document(settings, request_for_both, monkeypatch):
    delete = LocalStore.delete

    def fails(self: LocalStore, key: str) -> None:
        if key.startswith("leases/"):
            raise TimeoutError("the store does not answer")
        delete(self, key)

    monkeypatch.setattr(LocalStore, "delete", fails)
    outcome = convert_document(request_for_both, settings)

    assert outcome.output_document_id in ids(settings)
