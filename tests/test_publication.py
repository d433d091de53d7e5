"""An output that goes to a target and into the cache is in both, or in neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from docmill.documents.cache import DocumentCache
from docmill.documents.load import describe_file
from docmill.documents.model import CachedDocument
from docmill.errors import DestinationExists, DestinationForbidden
from docmill.facts import DocumentFacts
from docmill.pipeline import convert_document
from docmill.request import ConvertRequest
from docmill.settings import Settings

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
