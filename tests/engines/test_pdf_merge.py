"""Merging PDFs: what each brings along, and what they lose."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pikepdf import Array, Dictionary, Name
from reportlab.pdfgen.canvas import Canvas

from docmill.engines.pdf_edit.destinations import link_items
from docmill.errors import CorruptDocument
from docmill.options import BadPage, OnError
from tests.engines import bad_pdfs
from tests.engines.pdf_support import (
    attachments,
    bookmarks,
    check,
    convert,
    fields,
    labels,
    links,
    merge,
    rich_pdf,
    tagged_pdf,
    texts,
)


def test_merging_brings_all_that_the_documents_have(tmp_path: Path) -> None:
    a, b = rich_pdf(tmp_path / "a.pdf", "A", 3), rich_pdf(tmp_path / "b.pdf", "B", 2)
    result = merge(tmp_path, a, b, a)
    (output,) = result.outputs
    check(output)
    assert texts(output) == ["A 1", "A 2", "A 3", "B 1", "B 2", "A 1", "A 2", "A 3"]
    assert bookmarks(output) == [
        (text, page) for page, text in enumerate(["A 1", "A 2", "A 3", "B 1", "B 2", "A 1", "A 2", "A 3"])
    ]
    assert links(output) == [(0, 1), (1, 2), (2, 0), (3, 4), (4, 3), (5, 6), (6, 7), (7, 5)]
    assert sorted(fields(output).values()) == sorted(["A 1", "A 2", "A 3"] * 2 + ["B 1", "B 2"])
    assert labels(output) == ["i", "ii", "x-1", "i", "ii", "i", "ii", "x-1"]
    assert sorted(attachments(output).values()) == [b"attached to A", b"attached to A", b"attached to B"]
    assert any("form fields renamed" in note for note in result.notes)
    assert [page.source_page for page in result.pages] == list(range(1, 9))


@settings(max_examples=15)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.data())
def test_pages_come_in_the_order_asked_for(tmp_path: Path, documents: list[int], data: st.DataObject) -> None:
    for index in range(4):
        if not (tmp_path / f"{index}.pdf").exists():
            rich_pdf(tmp_path / f"{index}.pdf", f"D{index}", index + 1)
    expected = [f"D{index} {n}" for index in documents for n in range(1, index + 2)]
    chosen = data.draw(st.lists(st.integers(1, len(expected)), min_size=1, max_size=6))
    ranges = ",".join(map(str, chosen))
    (output,) = merge(tmp_path, *(tmp_path / f"{index}.pdf" for index in documents), pages=ranges).outputs
    check(output)
    wanted = [expected[number - 1] for number in chosen]
    assert texts(output) == wanted
    assert all(page is not None and wanted[page] == title for title, page in bookmarks(output))
    assert {title for title, _ in bookmarks(output)} == set(wanted)
    names = [text.split() for text in wanted]
    assert all(names[a][0] == names[b][0] for a, b in links(output) if b is not None)


def test_more_sources_than_are_opened_at_a_time(tmp_path: Path) -> None:
    sources = []
    for index in range(7):
        canvas = Canvas(str(tmp_path / f"{index}.pdf"))
        canvas.drawString(50, 50, f"document {index}")
        canvas.save()
        sources.append(tmp_path / f"{index}.pdf")
    order = [random.Random(1).randrange(7) for _ in range(230)]
    (output,) = merge(tmp_path, *(sources[index] for index in order)).outputs
    check(output)
    assert texts(output) == [f"document {index}" for index in order]


def test_a_source_that_cannot_be_merged_is_named_or_left_out(tmp_path: Path) -> None:
    good, bad = rich_pdf(tmp_path / "good.pdf", "A", 2), tmp_path / "bad.pdf"
    bad.write_bytes(b"%PDF-1.7\nnothing")
    with pytest.raises(CorruptDocument, match=r"bad\.pdf"):
        merge(tmp_path, good, bad)
    result = merge(tmp_path, good, bad, good, on_error=OnError.RESUME)
    assert texts(result.outputs[0]) == ["A 1", "A 2", "A 1", "A 2"]
    assert [failure.page for failure in result.failures] == [3]
    assert "bad.pdf" in result.failures[0].error["message"]


def page_of(element: Any) -> Any:
    while Name.Pg not in element:
        element = element.K[0] if isinstance(element.K, Array) else element.K
    return element.Pg


def bookmarked_pdf(target: Path, name: str) -> Path:
    """Two tagged pages, with a bookmark of each kind that leads to no page by /Dest."""
    with pikepdf.open(tagged_pdf(target, name, 2), allow_overwriting_input=True) as pdf:
        elements = [item for item in pdf.objects if isinstance(item, Dictionary)]
        headings = [item for item in elements if item.get(Name.S) == Name.H1]
        second = next(item for item in headings if page_of(item).objgen == pdf.pages[1].obj.objgen)
        pdf.Root.Names = Dictionary(
            Dests=Dictionary(Names=[pikepdf.String("top"), Dictionary(D=[pdf.pages[0].obj, Name.Fit])])
        )
        jump = pdf.make_indirect(Dictionary(S=Name.GoTo, D=pikepdf.String("top")))
        kinds = {
            "SE": Dictionary(SE=second),
            "web": Dictionary(A=Dictionary(S=Name.URI, URI=pikepdf.String("https://example.org/"))),
            "file": Dictionary(A=Dictionary(S=Name.GoToR, F=pikepdf.String("other.pdf"), D=[0, Name.Fit])),
            "jump": Dictionary(A=jump),
            "jump again": Dictionary(A=jump),
            "heading": Dictionary(),
        }
        items = [pdf.make_indirect(item) for item in kinds.values()]
        for kind, item in zip(kinds, items, strict=True):
            item.Title = pikepdf.String(f"{name} {kind}")
        root = pdf.Root.Outlines = pdf.make_indirect(Dictionary(Type=Name.Outlines))
        link_items(root, items)
        pdf.save()
    return target


def outline(path: Path) -> list[str]:
    """Each bookmark with where it leads: the index of the page, or the kind of its action."""
    found = []
    with pikepdf.open(path) as pdf:
        pages = {page.obj.objgen: index for index, page in enumerate(pdf.pages)}
        item = pdf.Root.Outlines.get(Name.First)
        while item is not None:
            action = item.get(Name.A)
            if Name.SE in item:
                leads = f"page {pages.get(page_of(item.SE).objgen)}"
            elif action is None:
                leads = "-"
            elif Name.GoTo == action.S and isinstance(action.D, Array):
                leads = f"page {pages.get(action.D[0].objgen)}"
            else:
                leads = str(action.S)
            found.append(f"{item.Title} {leads}")
            item = item.get(Name.Next)
        assert int(pdf.Root.Outlines.Count) == len(found)
    return found


def test_bookmarks_that_lead_elsewhere_than_to_a_page_are_merged(tmp_path: Path) -> None:
    a, b = bookmarked_pdf(tmp_path / "a.pdf", "A"), bookmarked_pdf(tmp_path / "b.pdf", "B")
    (output,) = merge(tmp_path, a, b).outputs
    check(output)
    # The first document's are as they were.
    assert outline(output)[6:] == [
        "B SE page 3", "B web /URI", "B file /GoToR", "B jump page 2", "B jump again page 2", "B heading -"
    ]  # fmt: skip
    assert outline(output)[:2] == ["A SE page 1", "A web /URI"]


def test_a_bookmark_of_a_piece_of_structure_goes_with_its_page(tmp_path: Path) -> None:
    a = bookmarked_pdf(tmp_path / "a.pdf", "A")
    assert outline(convert(a, pages="1").outputs[0])[0] == "A web /URI"
    assert outline(convert(a, pages="2").outputs[0])[:2] == ["A SE page 0", "A web /URI"]


def test_each_document_of_a_merge_tells_what_it_loses(tmp_path: Path) -> None:
    a = rich_pdf(tmp_path / "a.pdf", "A", 1)
    b, c = tmp_path / "b.pdf", tmp_path / "c.pdf"
    with pikepdf.open(a) as pdf:
        pdf.save(b, encryption=pikepdf.Encryption(user="", owner="owner"))
        # Not every program that signs sets SigFlags.
        (field,) = pdf.Root.AcroForm.Fields
        field.FT, field.V = Name.Sig, Dictionary(Type=Name.Sig, Filter=Name("/Adobe.PPKLite"))
        pdf.save(c)
    assert convert(c).notes == ("the PDF was signed; its signatures do not hold for the output",)
    notes = merge(tmp_path, a, b, c).notes
    assert "b.pdf: the source is encrypted, the output is not" in notes
    assert "c.pdf: the PDF was signed; its signatures do not hold for the output" in notes


def test_a_page_that_the_file_does_not_have_is_missing_also_in_a_merge(tmp_path: Path) -> None:
    a, b = rich_pdf(tmp_path / "a.pdf", "A", 2), tmp_path / "b.pdf"
    b.write_bytes(bad_pdfs.page_without_content())
    with pytest.raises(CorruptDocument, match="page 2 is missing"):
        convert(b)
    with pytest.raises(CorruptDocument, match=r"b.pdf: page 2 is missing"):
        merge(tmp_path, a, b)
    result = merge(tmp_path, a, b, a, on_error=OnError.RESUME, bad_page=BadPage.BLANK)
    check(result.outputs[0])
    assert [failure.page for failure in result.failures] == [4]
    assert result.failures[0].error["message"] == "b.pdf: page 2 is missing from the PDF"
    assert texts(result.outputs[0]) == ["A 1", "A 2", "", "", "", "A 1", "A 2"]
    assert [page.how for page in result.pages].index("blank") == 3
    left_out = merge(tmp_path, a, b, a, on_error=OnError.RESUME)
    assert [page.source_page for page in left_out.pages] == [1, 2, 3, 5, 6, 7]


def form_on_three_pages(target: Path, font: str) -> Path:
    """A text field that shows on each of three pages, and a group of buttons with one on each."""
    canvas = Canvas(str(target), pagesize=(300, 300))
    for number in range(3):
        canvas.acroForm.radio(name="choice", value=f"v{number}", selected=number == 1, x=50, y=100)
        canvas.drawString(50, 200, str(number))
        canvas.showPage()
    canvas.save()
    with pikepdf.open(target, allow_overwriting_input=True) as pdf:
        widgets = [
            pdf.make_indirect(
                Dictionary(Type=Name.Annot, Subtype=Name.Widget, Rect=[50, 150, 200, 170], P=page.obj)
            )
            for page in pdf.pages
        ]
        appearance = pikepdf.String("/F1 12 Tf 0 g")
        field = pdf.make_indirect(
            Dictionary(FT=Name.Tx, T="name", V="Ann", DA=appearance, Kids=Array(widgets))
        )
        for page, widget in zip(pdf.pages, widgets, strict=True):
            widget.Parent = field
            page.Annots.append(widget)
        pdf.Root.AcroForm.Fields.append(field)
        named = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name(font))
        pdf.Root.AcroForm.DR = Dictionary(Font=Dictionary(F1=named))
        pdf.save()
    return target


def test_fields_that_show_on_several_pages_stay_one_in_a_merge(tmp_path: Path) -> None:
    a = form_on_three_pages(tmp_path / "a.pdf", "/Helvetica")
    b = form_on_three_pages(tmp_path / "b.pdf", "/Courier")
    (output,) = merge(tmp_path, rich_pdf(tmp_path / "r.pdf", "R", 1), a, b).outputs
    check(output)
    assert fields(output) == {
        "field1": "R 1", "choice": "/v1", "name": "Ann", "choice+1": "/v1", "name+1": "Ann"
    }  # fmt: skip
    with pikepdf.open(output) as pdf:
        places = {page.obj.objgen: index for index, page in enumerate(pdf.pages)}
        by_name = {str(field.T): field for field in pdf.Root.AcroForm.Fields}
        for name, first in (("choice", 1), ("name", 1), ("choice+1", 4), ("name+1", 4)):
            shown = [places[widget.P.objgen] for widget in by_name[name].Kids]
            assert shown == [first, first + 1, first + 2]
        fonts = pdf.Root.AcroForm.DR.Font
        used = [str(by_name[name].DA).split()[0] for name in ("name", "name+1")]
        assert [fonts[font].BaseFont for font in used] == [Name.Helvetica, Name.Courier]
