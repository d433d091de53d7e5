"""A job from a program, without Prefect: documents of the cache as its target and its source."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from docmill.errors import InvalidJobData
from docmill.pipeline import convert_document
from docmill.request import ConvertRequest
from docmill.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", scratch_dir=tmp_path / "scratch")


@pytest.mark.parametrize("document_id", ["Q3/été 100%", "a%2Fb", "../x", " "])
def test_an_output_of_any_id_is_the_source_of_another_job(
    tmp_path: Path, settings: Settings, document_id: str
) -> None:
    Image.new("L", (50, 50)).save(scan := tmp_path / "scan.png")
    request = ConvertRequest(sources=(str(scan),), to="pdf", output_document_id=document_id)
    first = convert_document(request, settings)
    assert first.output_document_id == document_id
    again = ConvertRequest(sources=(first.output_uri,), target=str(tmp_path / "again.png"))
    assert convert_document(again, settings).input_document_id == document_id
    assert (tmp_path / "again.png").exists()


def test_a_source_is_not_its_own_target_whatever_it_is_called(tmp_path: Path, settings: Settings) -> None:
    Image.new("L", (50, 50)).save(scan := tmp_path / "scan.png")
    before = scan.read_bytes()
    for source, target in [(str(scan), scan.as_uri()), (scan.as_uri(), str(scan))]:
        with pytest.raises(InvalidJobData, match="the same"):
            convert_document(ConvertRequest(sources=(source,), target=target, overwrite=True), settings)
    assert scan.read_bytes() == before
