"""PDF to PDF: what is written is read again by qpdf, poppler and pypdf."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pikepdf
import pypdf
import pytest
from pikepdf import Array, Dictionary, Name
from reportlab.pdfgen.canvas import Canvas

from docmill.engines.base import EngineResult
from docmill.engines.pdf_edit.claims import pdfa_claim
from docmill.errors import InvalidJobData, PasswordRequired, PasswordWrong
from docmill.options import ConvertOptions
from tests.engines import bad_pdfs
from tests.engines.pdf_support import (
    attachments,
    bookmarks,
    check,
    convert,
    fields,
    headings,
    labels,
    links,
    merge,
    rich_pdf,
    tagged_pdf,
    texts,
)


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


XMP_OF_A_CONTROL_CHARACTER = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="a&#1;b"><a/>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("xmp", [None, XMP_OF_A_CONTROL_CHARACTER, b"\0\1"])
def test_a_title_is_set_whatever_the_metadata_are(tmp_path: Path, xmp: bytes | None) -> None:
    source = tmp_path / "odd.pdf"
    info = b"<</Author(A)/Producer(a\\000b\\001)/M\xf8te()/Subject 5>>"
    objects = bad_pdfs.one_page(bad_pdfs.stream(bad_pdfs.SQUARE))
    source.write_bytes(bad_pdfs.build(objects | {5: info}).replace(b"/Root 1 0 R", b"/Root 1 0 R/Info 5 0 R"))
    if xmp is not None:
        with pikepdf.open(source, allow_overwriting_input=True) as pdf:
            pdf.Root.Metadata = pdf.make_stream(xmp, Type=Name.Metadata, Subtype=Name.XML)
            pdf.save(fix_metadata_version=False)

    (output,) = convert(source, title="T").outputs

    check(output)
    with pikepdf.open(output) as pdf:
        assert str(pdf.docinfo.Title) == "T" and str(pdf.docinfo.Author) == "A"
        assert pdf.open_metadata()["dc:title"] == "T"


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
