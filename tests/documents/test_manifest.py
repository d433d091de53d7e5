"""The list of an output's files: what goes in comes out, and what somebody else wrote leads nowhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from docmill.documents.manifest import ListedFile, Manifest
from docmill.documents.publish import publish

FILES = (ListedFile("a.png", 3, "0" * 64), ListedFile("ä b.png", 4, "f" * 64))


def test_a_manifest_comes_back_as_it_was_written() -> None:
    manifest = Manifest("run-1", FILES)
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_its_digest_is_that_of_the_lines_that_sha256sum_prints() -> None:
    lines = "".join(f"{file.sha256}  {file.name}\n" for file in FILES)
    manifest = Manifest("run-1", FILES)
    assert manifest.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert json.loads(manifest.to_json())["sha256"] == manifest.sha256
    assert manifest.size == 7


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/passwd", "a/b", "a\0b", "."])
def test_a_name_that_leads_out_of_the_folder_makes_it_none(name: str) -> None:
    assert Manifest.from_json(Manifest("run-1", (ListedFile(name, 3, "0" * 64),)).to_json()) is None


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff", b"{}", b'{"run_id": 7, "files": []}', b'{"run_id": "x", "files": [{}]}']
)
def test_what_is_no_manifest_is_none(content: bytes) -> None:
    assert Manifest.from_json(content) is None


def test_a_manifest_with_a_name_that_is_none_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "s.manifest.json").write_bytes(Manifest("x", (ListedFile("", 3, "0" * 64),)).to_json())
    pages = [tmp_path / "1.png", tmp_path / "2.png"]
    for page in pages:
        page.write_bytes(b"pixels")
    publish(pages, f"{out}/", overwrite=True, run_id="run-1", document_name="s")
    manifest = Manifest.from_json((out / "s.manifest.json").read_bytes())
    assert manifest and [file.name for file in manifest.files] == ["1.png", "2.png"]
