"""PDF to PDF: what is written is read again by qpdf, poppler and pypdf."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pikepdf
import pypdf
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pikepdf import Array, Dictionary, Name, String
from reportlab.pdfgen.canvas import Canvas

from docmill.engines.base import EngineOptions, EngineResult, MergeSource
from docmill.engines.pdf_edit.claims import pdfa_claim
from docmill.engines.pdf_edit.destinations import link_items
from docmill.engines.pdf_to_pdf import PdfToPdf
from docmill.errors import CorruptDocument, InvalidJobData, LimitExceeded, PasswordRequired, PasswordWrong
from docmill.formats import PDF, Target
from docmill.options import BadPage, ConvertOptions, OnError
from tests.engines import bad_pdfs


def rich_pdf(target: Path, name: str, pages: int) -> Path:
    """A PDF each of whose pages has its name as text, a bookmark, a link to the next one and a form field."""
    canvas = Canvas(str(target), pagesize=(400, 500))
    for number in range(1, pages + 1):
        canvas.drawString(50, 450, f"{name} {number}")
        canvas.bookmarkPage(f"p{number}")
        canvas.addOutlineEntry(f"{name} {number}", f"p{number}", level=0)
        canvas.linkRect("", f"p{number % pages + 1}", (50, 300, 150, 320), relative=0)
        canvas.acroForm.textfield(name=f"field{number}", x=50, y=200, value=f"{name} {number}")
        canvas.showPage()
    canvas.save()
    with pikepdf.open(target, allow_overwriting_input=True) as pdf:
        pdf.attachments["note.txt"] = f"attached to {name}".encode()
        labels = [0, Dictionary(S=Name.r), 2, Dictionary(S=Name.D, P="x-")]
        pdf.Root.PageLabels = pdf.make_indirect(Dictionary(Nums=Array(labels)))
        pdf.save(target)
    return target


def asked(**options: Any) -> EngineOptions:
    own = ("password", "max_pages", "encrypt_user_password", "encrypt_owner_password")
    values = {key: options.pop(key) for key in own if key in options}
    if "permissions" in options:
        options["encrypt_owner_password"] = "env:OWNER"
    return EngineOptions(Target(PDF), ConvertOptions(**options), name="out", **values)


def convert(source: Path, **options: Any) -> EngineResult:
    out = source.parent / "out"
    out.mkdir(exist_ok=True)
    result = PdfToPdf().convert(source, out, asked(**options), lambda progress: None)
    assert sorted(out.iterdir()) == sorted(
        {*result.outputs, *(p for p in out.iterdir() if p.suffix == ".pdf")}
    )
    return result


def merge(folder: Path, *sources: Path, **options: Any) -> EngineResult:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    named = [MergeSource(source, source.name) for source in sources]
    return PdfToPdf().merge(named, out, asked(**options), lambda progress: None)


def check(path: Path, password: str = "") -> None:
    done = subprocess.run(
        ["qpdf", "--check", f"--password={password}", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def texts(path: Path, password: str | None = None) -> list[str]:
    """The text of each page as pypdf reads it."""
    return [page.extract_text().strip() for page in pypdf.PdfReader(path, password=password).pages]


def bookmarks(path: Path) -> list[tuple[str, int | None]]:
    """The bookmarks with the index of the page each leads to."""
    reader = pypdf.PdfReader(path)
    return [
        (str(item.title), None if item.page is None else reader.get_destination_page_number(item))
        for item in reader.outline
        if not isinstance(item, list)
    ]


def links(path: Path) -> list[tuple[int, int | None]]:
    """(page, page it leads to) of each link, as pdfium resolves them."""
    raw = pypdfium2.raw
    found: list[tuple[int, int | None]] = []
    with pypdfium2.PdfDocument(path) as document:
        for index in range(len(document)):
            page, place, link = document[index], raw.c_int(0), raw.FPDF_LINK()
            while raw.FPDFLink_Enumerate(page, place, link):
                target = raw.FPDFLink_GetDest(document, link)
                found.append((index, raw.FPDFDest_GetDestPageIndex(document, target) if target else None))
    return found


def fields(path: Path) -> dict[str, str]:
    return {name: str(field.get("/V")) for name, field in (pypdf.PdfReader(path).get_fields() or {}).items()}


def labels(path: Path) -> list[str]:
    return pypdf.PdfReader(path).page_labels


def attachments(path: Path) -> dict[str, bytes]:
    with pikepdf.open(path) as pdf:
        return {name: pdf.attachments[name].get_file().read_bytes() for name in pdf.attachments}


def test_a_whole_copy_keeps_everything(tmp_path: Path) -> None:
    result = convert(rich_pdf(tmp_path / "a.pdf", "A", 4))
    (output,) = result.outputs
    check(output)
    assert texts(output) == ["A 1", "A 2", "A 3", "A 4"]
    assert bookmarks(output) == [(f"A {n}", n - 1) for n in range(1, 5)]
    assert links(output) == [(0, 1), (1, 2), (2, 3), (3, 0)]
    assert fields(output) == {f"field{n}": f"A {n}" for n in range(1, 5)}
    assert labels(output) == ["i", "ii", "x-1", "x-2"]
    assert attachments(output) == {"note.txt": b"attached to A"}
    assert [(page.source_page, page.width_pt, page.height_pt) for page in result.pages] == [
        (number, 400, 500) for number in range(1, 5)
    ]


def test_chosen_pages_take_what_is_theirs_and_nothing_of_the_others(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 6)
    (output,) = convert(source, pages="5,3,4").outputs
    check(output)
    assert texts(output) == ["A 5", "A 3", "A 4"]
    assert bookmarks(output) == [("A 3", 1), ("A 4", 2), ("A 5", 0)]
    # 5 led to 6, which is gone; 3 to 4, 4 to 5.
    assert links(output) == [(1, 2), (2, 0)]
    assert fields(output) == {f"field{n}": f"A {n}" for n in (3, 4, 5)}
    assert labels(output) == ["x-3", "x-1", "x-2"]
    assert attachments(output) == {"note.txt": b"attached to A"}
    with pikepdf.open(output) as pdf:
        streams = [obj for obj in pdf.objects if isinstance(obj, pikepdf.Stream)]
        assert not any(b"A 1" in s.read_bytes() or b"A 6" in s.read_bytes() for s in streams)


def test_labels_that_begin_elsewhere_than_at_1_go_with_their_pages(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 4)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.Root.PageLabels.Nums = Array([0, Dictionary(S=Name.D, St=17), 3, Dictionary(S=Name.A)])
        pdf.save(source)
    (output,) = convert(source, pages="2-4").outputs
    assert labels(output) == ["18", "19", "A"]


def test_a_page_may_be_taken_twice(tmp_path: Path) -> None:
    (output,) = convert(rich_pdf(tmp_path / "a.pdf", "A", 3), pages="2,1,2").outputs
    check(output)
    assert texts(output) == ["A 2", "A 1", "A 2"]
    assert set(fields(output)) == {"field1", "field2"}


def test_a_heading_whose_page_is_gone_stays_over_bookmarks_that_are_not(tmp_path: Path) -> None:
    source = tmp_path / "a.pdf"
    canvas = Canvas(str(source))
    for number in range(3):
        canvas.bookmarkPage(f"chapter {number}")
        canvas.bookmarkPage(f"section {number - 1}")
        canvas.addOutlineEntry(f"chapter {number}", f"chapter {number}", level=0)
        canvas.addOutlineEntry(f"section {number}", f"section {number}", level=1)
        canvas.showPage()
    canvas.bookmarkPage("section 2")
    canvas.drawString(9, 9, "end")
    canvas.save()
    (output,) = convert(source, pages="2").outputs
    check(output)
    reader = pypdf.PdfReader(output)
    first, below, second = reader.outline
    assert isinstance(first.page, pypdf.generic.NullObject)
    assert (first.title, [b.title for b in below], second.title) == (
        "chapter 0", ["section 0"], "chapter 1",
    )  # fmt: skip


def tagged_pdf(target: Path, name: str, pages: int) -> Path:
    """A tagged PDF of Chromium, with a heading a page."""
    html = target.with_suffix(".html")
    body = "".join(
        f'<h1 style="break-before: page">{name} {n}</h1><p>text of {n}</p>' for n in range(1, pages + 1)
    )
    html.write_text(f'<html lang="en"><title>{name}</title>{body}')
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
         f"--user-data-dir={target.parent / 'profile'}", f"--print-to-pdf={target}", html],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return target


def headings(path: Path) -> list[str]:
    """The text under each H1 of the structure tree, as poppler reads it."""
    shown = subprocess.run(
        ["pdfinfo", "-struct-text", path], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r'^ *H1[^"]*"(.*?)"', shown, re.MULTILINE)


def test_tags_go_with_their_pages(tmp_path: Path) -> None:
    a, b = tagged_pdf(tmp_path / "a.pdf", "A", 4), tagged_pdf(tmp_path / "b.pdf", "B", 2)
    assert headings(a) == ["A 1", "A 2", "A 3", "A 4"]

    (chosen,) = convert(a, pages="2,4").outputs
    check(chosen)
    assert headings(chosen) == ["A 2", "A 4"]

    (merged,) = merge(tmp_path, a, b, a).outputs
    check(merged)
    assert headings(merged) == [f"A {n}" for n in (1, 2, 3, 4)] + ["B 1", "B 2"] + [
        f"A {n}" for n in (1, 2, 3, 4)
    ]
    with pikepdf.open(merged) as pdf:
        numbers = pikepdf.NumberTree(pdf.Root.StructTreeRoot.ParentTree)
        for page in pdf.pages:
            pieces = numbers[int(page.obj.StructParents)]
            assert {piece.Pg.objgen for piece in pieces} == {page.obj.objgen}


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


def destinations(path: Path) -> dict[str, int]:
    """The named destinations of both kinds with the index of the page each leads to."""
    with pikepdf.open(path) as pdf:
        indexes = {page.objgen: index for index, page in enumerate(pdf.pages)}
        found = dict(pdf.Root.get(Name.Dests, Dictionary()).items())
        found |= dict(pikepdf.NameTree(pdf.Root.Names.Dests).items())
        arrays = {key: value.D if isinstance(value, Dictionary) else value for key, value in found.items()}
        return {key: indexes[value[0].objgen] for key, value in arrays.items()}


def with_destinations(path: Path, name: str, pages: int) -> Path:
    """A PDF with destinations by its name and a number, and some that others have as well."""
    with pikepdf.new() as pdf:
        for _ in range(pages):
            pdf.add_blank_page(page_size=(400, 500))
        tree = pikepdf.NameTree.new(pdf)
        views = [Array([page.obj, Name.XYZ, 0, 500, None]) for page in pdf.pages]
        for number, view in enumerate(views):
            tree[f"{name} {number}"] = Dictionary(D=view)
        tree["last"] = views[-1]
        # Beyond what a view is.
        tree[f"{name} odd"] = Array([pdf.pages[0].obj, Name.Fit, Array([1]), String("x"), pdf.pages[0].obj])
        pdf.Root.Names = Dictionary(Dests=tree.obj)
        pdf.Root.Dests = Dictionary({f"/{name}": views[0], "/first": views[0]})
        pdf.save(path)
    return path


def test_named_destinations_that_no_link_uses_are_merged(tmp_path: Path) -> None:
    a, b = (with_destinations(tmp_path / f"{n}.pdf", n, pages) for n, pages in (("a", 2), ("b", 3)))
    (output,) = merge(tmp_path, a, b).outputs
    check(output)
    assert destinations(output) == {
        "a 0": 0, "a 1": 1, "last": 1, "a odd": 0, "/a": 0, "/first": 0,
        "b 0": 2, "b 1": 3, "b 2": 4, "b odd": 2, "/b": 2,
    }  # fmt: skip

    (part,) = convert(output, pages="2-3").outputs
    check(part)
    assert destinations(part) == {"a 1": 0, "last": 0, "b 0": 1, "b odd": 1, "/b": 1}


def again_and_again(pdf: pikepdf.Pdf, leaf: Any) -> Any:
    """A tree of one leaf that is reached in a thousand million million ways, and that loops."""
    node = leaf if leaf.is_indirect else pdf.make_indirect(leaf)
    for _ in range(50):
        node = pdf.make_indirect(Dictionary(Kids=Array([node, node])))
    node.Kids.append(node)
    return node


def test_trees_whose_nodes_come_again_and_again_end(tmp_path: Path) -> None:
    source = with_destinations(tmp_path / "a.pdf", "a", 2)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        file = Dictionary(Type=Name.Filespec, F="n", EF=Dictionary(F=pdf.make_stream(b"x")))
        files = Dictionary(Names=Array([String("n"), pdf.make_indirect(file)]))
        pdf.Root.Names.Dests = again_and_again(pdf, pdf.Root.Names.Dests)
        pdf.Root.Names.EmbeddedFiles = again_and_again(pdf, files)
        pdf.Root.PageLabels = again_and_again(pdf, Dictionary(Nums=Array([0, Dictionary(S=Name.r)])))
        # The root of the tags directly in the catalogue.
        parents = again_and_again(pdf, Dictionary(Nums=Array([0, Array()])))
        pdf.Root.StructTreeRoot = Dictionary(K=Array(), ParentTree=parents)
        pdf.save()

    (output,) = merge(tmp_path, with_destinations(tmp_path / "b.pdf", "b", 1), source).outputs
    assert destinations(output)["a 1"] == 2
    assert attachments(output) == {"n": b"x"}
    assert labels(output) == ["1", "i", "ii"]
    for options in ({"pages": "2"}, {"split": 1}):
        output = convert(source, **options).outputs[-1]
        assert destinations(output) == {"a 1": 0, "last": 0}
        assert labels(output) == ["ii"]


def with_xfa(path: Path, *, dynamic: bool) -> Path:
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        pdf.Root.AcroForm.XFA = pdf.make_stream(b"<xdp:xdp/>")
        if dynamic:
            pdf.Root.NeedsRendering = True
        pdf.save()
    return path


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_form_that_is_not_whole_any_more_has_no_xfa(tmp_path: Path, dynamic: bool) -> None:
    a = with_xfa(rich_pdf(tmp_path / "a.pdf", "A", 3), dynamic=dynamic)
    b = with_xfa(rich_pdf(tmp_path / "b.pdf", "B", 2), dynamic=dynamic)
    told = "dynamic XFA form" if dynamic else "XFA of its form is left out"

    whole = convert(a)
    with pikepdf.open(whole.outputs[0]) as pdf:
        assert Name.XFA in pdf.Root.AcroForm and (Name.NeedsRendering in pdf.Root) is dynamic
    assert not whole.notes

    for result, count in ((merge(tmp_path, a, b), 2), (convert(a, pages="1-2"), 1), (convert(a, split=2), 1)):
        assert len([note for note in result.notes if told in note]) == count
        for output in result.outputs:
            with pikepdf.open(output) as pdf:
                assert Name.XFA not in pdf.Root.AcroForm and Name.NeedsRendering not in pdf.Root
            assert fields(output)


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


@pytest.mark.parametrize(("pages", "each", "count"), [(7, 3, 3), (150, 1, 150), (3, 5, 1)])
def test_split_by_count(tmp_path: Path, pages: int, each: int, count: int) -> None:
    result = convert(rich_pdf(tmp_path / "a.pdf", "A", pages), split=each)
    assert len(result.outputs) == count
    assert [text for output in result.outputs for text in texts(output)] == [
        f"A {number}" for number in range(1, pages + 1)
    ]
    if count > 1:
        assert [output.name for output in result.outputs][:2] == [
            "out_Page(1).pdf",
            f"out_Page({each + 1}).pdf",
        ]
        assert labels(result.outputs[1])[0] == ("x-2" if each == 3 else "ii")
    for output in result.outputs[:5]:
        check(output)
        assert [title for title, _ in bookmarks(output)] == texts(output)
        assert sorted(fields(output).values()) == texts(output)


def test_split_files_are_named_by_the_template(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 3)
    result = convert(source, split=2, page_names="##name##-##page##.##extension##")
    assert [output.name for output in result.outputs] == ["out-1.pdf", "out-3.pdf"]


def test_rotation_turns_further_what_is_turned(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 2)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.pages[1].Rotate = 270
        pdf.save()
    result = convert(source, rotate=180)
    shown = subprocess.run(
        ["pdfinfo", "-l", "2", result.outputs[0]], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[-1] for line in shown.split("\n") if " rot:" in line] == ["180", "90"]
    assert [(page.width_pt, page.height_pt) for page in result.pages] == [(400, 500), (500, 400)]


def test_metadata_stands_in_both_places(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 1)
    words = {"title": "Tïtle", "author": "A. Uthor", "subject": "Säge", "keywords": "one, two"}
    (output,) = convert(source, **words).outputs
    check(output)
    reader = pypdf.PdfReader(output)
    info, xmp = reader.metadata, reader.xmp_metadata
    assert info is not None and xmp is not None
    assert (info.title, info.author, info.subject, info.get("/Keywords")) == tuple(words.values())
    assert (xmp.dc_title["x-default"], xmp.dc_creator, xmp.dc_description["x-default"], xmp.pdf_keywords) == (
        "Tïtle", ["A. Uthor"], "Säge", "one, two",
    )  # fmt: skip


def test_metadata_that_is_not_asked_for_stays(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 1)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.docinfo.Author, pdf.docinfo.CreationDate = "Ann", "D:20200102030405Z"
        pdf.docinfo.Custom = "kept"
        pdf.save()
    with pikepdf.open(convert(source, title="New").outputs[0]) as pdf:
        kept = {key: str(value) for key, value in pdf.docinfo.items()}
        assert kept["/Title"] == "New" and kept["/Author"] == "Ann" and kept["/Custom"] == "kept"
        assert kept["/CreationDate"] == "D:20200102030405Z"
        metadata = pdf.open_metadata()
        assert metadata["dc:title"] == "New" and metadata["dc:creator"] == ["Ann"]
        assert str(metadata["xmp:CreateDate"]).startswith("2020-01-02")


def pdfa(target: Path, part: str) -> Path:
    with pikepdf.open(rich_pdf(target, "A", 2), allow_overwriting_input=True) as pdf:
        with pdf.open_metadata() as metadata:
            metadata["pdfaid:part"], metadata["pdfaid:conformance"] = part, "B"
        pdf.save()
    return target


def test_an_output_does_not_claim_to_be_pdfa_that_it_cannot_be(tmp_path: Path) -> None:
    a, b = pdfa(tmp_path / "a.pdf", "2"), pdfa(tmp_path / "b.pdf", "3")

    def claim(result: EngineResult, password: str = "") -> tuple[str, bool]:
        with pikepdf.open(result.outputs[0], password=password) as pdf:
            return pdfa_claim(pdf), any("not PDF/A" in note for note in result.notes)

    assert claim(convert(a, pages="2")) == ("2B", False)
    assert claim(merge(tmp_path, a, a)) == ("2B", False)
    assert claim(merge(tmp_path, a, b)) == ("", True)
    assert claim(merge(tmp_path, a, rich_pdf(tmp_path / "c.pdf", "C", 1))) == ("", True)
    assert claim(convert(a, encrypt_user_password="secret"), "secret") == ("", True)


def test_linearized_also_with_pages_chosen(tmp_path: Path) -> None:
    (output,) = convert(rich_pdf(tmp_path / "a.pdf", "A", 5), linearize=True, pages="4,2").outputs
    check(output)
    done = subprocess.run(
        ["qpdf", "--check-linearization", output], capture_output=True, text=True, check=True
    )
    assert "no linearization errors" in done.stdout
    assert texts(output) == ["A 4", "A 2"]


def test_encryption_and_its_permissions_are_those_asked_for(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 2)
    (output,) = convert(
        source, encrypt_user_password="öffne", encrypt_owner_password="owner", permissions="print-low, copy"
    ).outputs
    check(output, "öffne")
    assert texts(output, "öffne") == texts(output, "owner") == ["A 1", "A 2"]
    with pytest.raises(pikepdf.PasswordError):
        pikepdf.open(output)
    with pikepdf.open(output, password="öffne") as pdf:
        assert pdf.encryption.R == 6 and pdf.encryption.bits == 256
        allowed = {name for name, granted in pdf.allow._asdict().items() if granted}
        assert allowed == {"accessibility", "extract", "print_lowres"}
        assert not pdf.owner_password_matched
    with pikepdf.open(output, password="owner") as pdf:
        assert pdf.owner_password_matched


def test_the_user_password_alone_does_not_open_as_owner(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 1)
    (output,) = convert(source, encrypt_user_password="user").outputs
    with pikepdf.open(output, password="user") as pdf:
        assert pdf.user_password_matched and not pdf.owner_password_matched
        assert all(granted for granted in pdf.allow._asdict().values())


def test_split_files_are_encrypted_each(tmp_path: Path) -> None:
    result = convert(rich_pdf(tmp_path / "a.pdf", "A", 3), split=1, encrypt_user_password="user")
    for output in result.outputs:
        with pytest.raises(pikepdf.PasswordError):
            pikepdf.open(output)
        check(output, "user")


def test_an_encrypted_source_is_decrypted_with_its_password(tmp_path: Path) -> None:
    source = rich_pdf(tmp_path / "a.pdf", "A", 2)
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.save(encryption=pikepdf.Encryption(user="secret", owner="x"))
    with pytest.raises(PasswordRequired):
        convert(source)
    with pytest.raises(PasswordWrong):
        convert(source, password="wrong")
    result = convert(source, password="secret")
    assert texts(result.outputs[0]) == ["A 1", "A 2"]
    assert "the source is encrypted, the output is not" in result.notes


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidJobData, match="rotate 45"):
        ConvertOptions(rotate=45)
    with pytest.raises(InvalidJobData, match="split 0"):
        ConvertOptions(split=0)
    with pytest.raises(InvalidJobData, match="no 'fly'"):
        ConvertOptions(encrypt_owner_password="env:X", permissions="print,fly")
    with pytest.raises(InvalidJobData, match="owner password"):
        ConvertOptions(permissions="print")
    with pytest.raises(InvalidJobData, match="reference") as caught:
        ConvertOptions(encrypt_user_password="hunter2")
    assert "hunter2" not in str(caught.value)


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


def with_encrypted_attachment(target: Path, *, password: str) -> Path:
    """A PDF of which only what is attached is encrypted (/EFF): no library at hand writes such a one."""
    plain, encrypted = target.with_suffix(".plain.pdf"), target.with_suffix(".encrypted.pdf")
    with pikepdf.open(rich_pdf(target, "A", 2)) as pdf:
        pdf.save(plain, object_stream_mode=pikepdf.ObjectStreamMode.disable, static_id=True)
        pdf.save(
            encrypted, object_stream_mode=pikepdf.ObjectStreamMode.disable, static_id=True,
            encryption=pikepdf.Encryption(user=password, owner="owner", R=4, aes=True),
        )  # fmt: skip
    objects, secret = (
        {int(m[1]): m[0] for m in re.finditer(rb"(?ms)^(\d+) 0 obj\n.*?\nendobj\n", path.read_bytes())}
        for path in (plain, encrypted)
    )
    (file,) = (number for number, text in objects.items() if b"/Type /EmbeddedFile" in text)
    (handler,) = (number for number, text in secret.items() if b"/StdCF" in text)
    objects[file] = re.sub(rb"/CheckSum <\w+>", b"", secret[file])
    objects[handler] = (
        secret[handler]
        .replace(b"/StmF /StdCF", b"/StmF /Identity /EFF /StdCF")
        .replace(b"/StrF /StdCF", b"/StrF /Identity")
    )
    trailer = re.search(rb"trailer (<<.*?>>)\nstartxref", encrypted.read_bytes(), re.DOTALL)
    assert trailer
    out = bytearray(b"%PDF-1.6\n")
    table = b""
    for number, text in sorted(objects.items()):
        table += b"%d 1\n%010d 00000 n \n" % (number, len(out))
        out += text
    out += b"xref\n0 1\n0000000000 65535 f \n%strailer %s\nstartxref\n%d\n%%%%EOF\n" % (
        table, trailer[1], len(out),
    )  # fmt: skip
    target.write_bytes(out)
    return target


def test_attachments_that_alone_are_encrypted_need_the_password(tmp_path: Path) -> None:
    source = with_encrypted_attachment(tmp_path / "a.pdf", password="open")
    without = convert(source)
    check(without.outputs[0])
    assert texts(without.outputs[0]) == ["A 1", "A 2"]
    assert bookmarks(without.outputs[0]) == [("A 1", 0), ("A 2", 1)]
    assert attachments(without.outputs[0]) == {}
    assert any("1 attachment is encrypted and left out" in note for note in without.notes)

    kept = convert(source, password="open")
    check(kept.outputs[0])
    assert attachments(kept.outputs[0]) == {"note.txt": b"attached to A"}
    assert kept.notes == ("the source is encrypted, the output is not",)
    with pytest.raises(PasswordWrong):
        convert(source, password="wrong")


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


def test_fields_that_are_reached_in_a_thousand_million_ways_are_sorted_by_page(tmp_path: Path) -> None:
    source = tmp_path / "a.pdf"
    source.write_bytes(bad_pdfs.fields_that_double())
    with pikepdf.open(convert(source, pages="1").outputs[0]) as pdf:
        assert len(pdf.Root.AcroForm.Fields) == 1
    with pikepdf.open(convert(source, pages="2").outputs[0]) as pdf:
        assert Name.AcroForm not in pdf.Root


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
