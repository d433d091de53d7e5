"""Editing PDFs that are damaged, or made to be endless."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pikepdf
import pytest
from pikepdf import Array, Name
from reportlab.pdfgen.canvas import Canvas

from docmill.errors import CorruptDocument, LimitExceeded
from docmill.options import BadPage, OnError
from tests.engines import bad_pdfs
from tests.engines.pdf_support import bookmarks, check, convert, merge, rich_pdf, texts


def test_a_page_that_is_missing_is_named_skipped_or_left_blank(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 4)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.Root.Pages.Kids[1] = pdf.make_indirect(Array([1, 2]))
        pdf.save()
    with pytest.raises(CorruptDocument, match="page 2") as caught:
        convert(source)
    assert caught.value.page == 2
    assert texts(convert(source, pages="3-").outputs[0]) == ["A 3", "A 4"]

    skipped = convert(source, on_error=OnError.RESUME)
    check(skipped.outputs[0])
    assert texts(skipped.outputs[0]) == ["A 1", "A 3", "A 4"]
    assert [failure.page for failure in skipped.failures] == [2]
    assert [page.source_page for page in skipped.pages] == [1, 3, 4]

    blank = convert(source, on_error=OnError.RESUME, bad_page=BadPage.BLANK)
    check(blank.outputs[0])
    assert texts(blank.outputs[0]) == ["A 1", "", "A 3", "A 4"]
    assert [failure.page for failure in blank.failures] == [2]


def test_a_damaged_file_is_repaired_and_the_notes_say_so(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 3)
    source.write_bytes(source.read_bytes().replace(b"startxref", b"startxxxx"))
    result = convert(source)
    check(result.outputs[0])
    assert texts(result.outputs[0]) == ["A 1", "A 2", "A 3"]
    assert any("damaged and was repaired" in note for note in result.notes)


def test_a_stream_that_says_it_has_4_gb_is_copied_as_long_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "a.pdf"
    canvas = Canvas(str(source), pageCompression=0)
    canvas.drawString(50, 50, "here")
    canvas.save()
    raw = source.read_bytes()
    source.write_bytes(raw.replace(b"/Length ", b"/Length 4294967296 % "))
    result = convert(source)
    check(result.outputs[0])
    assert texts(result.outputs[0]) == ["here"]
    assert result.notes


def test_a_page_tree_that_loops_is_told_or_rebuilt(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 2)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.Root.Pages.Kids.append(pdf.Root.Pages)
        pdf.save()
    try:
        result = convert(source)
    except CorruptDocument as error:
        assert "loop" in str(error).lower()
    else:
        assert texts(result.outputs[0])[:2] == ["A 1", "A 2"]
        assert any("rebuilt" in note for note in result.notes)


def test_outlines_that_loop_end(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 3)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.Root.Outlines.Last.Next = pdf.Root.Outlines.First
        pdf.Root.Outlines.First.First = pdf.Root.Outlines.First
        pdf.save()
    (output,) = convert(source, pages="1,3").outputs
    check(output)
    assert [title for title, _ in bookmarks(output)] == ["A 1", "A 3"]


def test_too_many_pages_are_refused(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 3)
    with pytest.raises(LimitExceeded, match="DOCMILL_MAX_PAGES"):
        convert(source, max_pages=2)
    with pytest.raises(LimitExceeded, match="DOCMILL_MAX_PAGES"):
        merge(tmp_path, source, source, max_pages=5)


def test_fields_that_are_reached_in_a_thousand_million_ways_are_sorted_by_page(tmp_path: Path) -> None:
    source = tmp_path / "a.pdf"
    source.write_bytes(bad_pdfs.fields_that_double())
    with pikepdf.open(convert(source, pages="1").outputs[0]) as pdf:
        assert len(pdf.Root.AcroForm.Fields) == 1
    with pikepdf.open(convert(source, pages="2").outputs[0]) as pdf:
        assert Name.AcroForm not in pdf.Root


@pytest.mark.parametrize(
    ("entry", "options"),
    [
        ("/Names 7", {"split": 1}),
        ("/Metadata /None", {"title": "New"}),
        ("/Outlines 7", {"pages": "2"}),
        ("/AcroForm [1]", {"pages": "2"}),
    ],
)
def test_a_catalog_with_nonsense_in_it_does_not_matter(
    tmp_path: Path, entry: str, options: dict[str, Any]
) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 2)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        name, value = entry.split(" ", 1)
        pdf.Root[name] = pikepdf.Object.parse(value.encode())
        pdf.save(fix_metadata_version=False)
    for output in convert(source, **options).outputs:
        check(output)
    check(merge(tmp_path, source, source).outputs[0])
