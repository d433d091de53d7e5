from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from docmill.errors import Phase, SourceUnavailable
from docmill.pipeline import Silent, convert_document
from docmill.request import ConvertRequest
from docmill.settings import Settings


def test_a_source_that_changes_while_it_is_converted_fails_the_job(tmp_path: Path) -> None:
    scan = tmp_path / "scan.png"
    Image.new("L", (50, 50)).save(scan)

    class Meddler(Silent):
        def stage(self, phase: Phase, message: str) -> None:
            if phase is Phase.CONVERT:
                Image.new("L", (60, 60)).save(scan)

    request = ConvertRequest(sources=(str(scan),), target=str(tmp_path / "scan.pdf"))
    settings = Settings(data_dir=tmp_path / "data", scratch_dir=tmp_path / "scratch")

    with pytest.raises(SourceUnavailable, match="changed while"):
        convert_document(request, settings, observer=Meddler())

    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == ["scan.png"]
