"""`docmill convert --direct` of several sources: their names, their order, and one that fails."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from docmill.errors import (
    EXIT_CODES,
    CorruptDocument,
    SourceNotFound,
)


def test_several_sources_go_into_a_folder_and_one_failure_stops_no_other(docmill, scan):
    (docmill.folder / "bad.tif").write_bytes(b"not a picture")
    (docmill.folder / "b.tif").write_bytes(scan.read_bytes())
    result = docmill("convert", "bad.tif", "scan.tif", "b.tif", "pdfs/", "--to", "pdf", "--direct")
    assert result.code == 3
    assert result.err.count("docmill:") == 1
    assert "bad.tif: " in result.err
    assert sorted(path.name for path in (docmill.folder / "pdfs").iterdir()) == ["b.pdf", "scan.pdf"]


@pytest.mark.parametrize("command", [["info"], ["convert", "--direct", "--to", "pdf", "out/"]])
def test_where_all_of_several_sources_failed_the_code_is_that_of_the_first(docmill, command):
    (docmill.folder / "text.tif").write_bytes(b"This is a letter, not a picture.\n")
    (name, *options) = command
    result = docmill(name, "missing.tif", "text.tif", *options)
    assert result.code == EXIT_CODES[SourceNotFound]
    assert len(result.err.splitlines()) == 2


def test_sources_side_by_side_are_told_as_one_after_the_other(docmill):
    names = []
    for number, (side, name) in enumerate([(2000, "a.png"), (20, "b.png"), (0, "c.png"), (1500, "d.png")]):
        names.append(name)
        if side:
            Image.effect_noise((side, side + number), 60).save(docmill.folder / name)
    made = {}
    for workers in ("1", "3"):
        result = docmill(
            "convert",
            *names,
            "out/",
            "--to",
            "tiff",
            "--direct",
            "--overwrite",
            DOCMILL_ENGINE_WORKERS=workers,
        )
        assert result.code == 3
        lines = re.sub(r"cached as \w+|\d+\.\d s", "", result.err)
        made[lines] = [path.read_bytes() for path in sorted((docmill.folder / "out").iterdir())]
        assert len(made[lines]) == 3
    assert len(made) == 1, made.keys()
    assert (
        lines.index("load: a.png") < lines.index("load: b.png") < lines.index("c.png'") < lines.index("d.png")
    )
    assert not docmill.leftovers()


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_sources_that_would_have_the_same_output_are_refused(docmill, scan, overwrite):
    (docmill.folder / "sub").mkdir()
    (docmill.folder / "sub" / "scan.tif").write_bytes(scan.read_bytes())

    result = docmill("convert", "scan.tif", "sub/scan.tif", "out/", "--to", "pdf", "--direct", *overwrite)

    assert result.code == 2
    assert "two sources named 'scan.tif' would have the same output in 'out/'" in result.err
    assert not (docmill.folder / "out").exists()


def test_sources_that_differ_in_their_ending_only_keep_it(docmill, scan):
    Image.new("L", (60, 60)).save(docmill.folder / "scan.png")
    (docmill.folder / "other.tif").write_bytes(scan.read_bytes())

    result = docmill("convert", "scan.tif", "scan.png", "other.tif", "out/", "--to", "pdf", "--direct")

    assert result.code == 0
    names = sorted(path.name for path in (docmill.folder / "out").iterdir())
    assert names == ["other.pdf", "scan.png.pdf", "scan.tif.pdf"]


def test_documents_of_the_cache_that_would_have_the_same_output_are_refused(docmill, scan):
    ids = []
    for folder in ("one", "two"):
        (docmill.folder / folder).mkdir()
        Image.new("L", (60, 60 + len(ids))).save(docmill.folder / folder / "page.png")
        result = docmill("convert", f"{folder}/page.png", f"{folder}/page.pdf", "--direct", "--json")
        ids.append("docmill://" + json.loads(result.out)["input_document_id"])

    result = docmill("convert", *ids, "out/", "--to", "pdf", "--direct", "--overwrite")

    assert result.code == 2
    assert "two sources named 'page.png'" in result.err


def test_info_names_each_file_that_fails(docmill, scan):
    (docmill.folder / "bad.tif").write_bytes(b"II*\x00\x08\x00\x00\x00")
    (docmill.folder / "empty.tif").touch()
    result = docmill("info", "bad.tif", scan, "empty.tif")
    assert result.code == 3
    assert "3 pages" in result.out
    assert ["bad.tif" in line for line in result.err.splitlines()] == [True, False]
    assert "empty.tif" in result.err.splitlines()[1]
    assert docmill("info", "bad.tif").code == EXIT_CODES[CorruptDocument]


def test_each_result_of_several_names_its_source(docmill, scan):
    (docmill.folder / "empty.tif").touch()
    result = docmill("convert", scan, "empty.tif", "out/", "--to", "pdf", "--direct", "--json")
    assert [json.loads(line)["source"] for line in result.out.splitlines()] == [
        str(scan), str(docmill.folder / "empty.tif")
    ]  # fmt: skip
