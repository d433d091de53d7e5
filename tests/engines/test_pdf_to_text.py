"""PDF to text against `pdftotext` and against where the test itself drew the words."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate, Paragraph

from docmill.engines.base import EngineOptions, EngineResult, Progress
from docmill.engines.pdf_to_text import PdfToText
from docmill.errors import CorruptDocument, InvalidJobData, LimitExceeded, PasswordRequired, PasswordWrong
from docmill.formats import JSON, TEXT, Target
from docmill.options import ConvertOptions, OnError

WORDS = ["archive", "keeps", "every", "first", "office", "page", "affluent", "waffle", "fields", "difficult"]
BIDI_MARKS = dict.fromkeys(map(ord, "\u202a\u202b\u202c\u200e\u200f"))


def prose(seed: int, words: int) -> str:
    pick = random.Random(seed)
    return " ".join(f"{pick.choice(WORDS)}{pick.randrange(100)}" for _ in range(words))


def convert(source: Path, out_dir: Path, *, to_json: bool = False, **options: Any) -> EngineResult:
    names = {key: options.pop(key) for key in ("password", "max_pages", "workers") if key in options}
    asked = EngineOptions(Target(JSON if to_json else TEXT), ConvertOptions(**options), name="out", **names)
    return PdfToText().convert(source, out_dir, asked, lambda progress: None)


def text_of(source: Path, out_dir: Path, **options: Any) -> str:
    return convert(source, out_dir, **options).outputs[0].read_text(encoding="utf-8")


def pages_of(source: Path, out_dir: Path, **options: Any) -> list[dict[str, Any]]:
    result = convert(source, out_dir, to_json=True, **options)
    pages: list[dict[str, Any]] = json.loads(result.outputs[0].read_text(encoding="utf-8"))["pages"]
    return pages


def pdftotext(source: Path) -> str:
    done = subprocess.run(["pdftotext", source, "-"], capture_output=True, check=True, text=True)
    return done.stdout.translate(BIDI_MARKS)


def same_words(a: str, b: str) -> float:
    x, y = Counter(a.split()), Counter(b.split())
    return (x & y).total() / max(x.total(), y.total())


def chromium_pdf(folder: Path, body: str) -> Path:
    page, target = folder / "page.html", folder / "page.pdf"
    page.write_text(f'<meta charset="utf-8"><body>{body}', encoding="utf-8")
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
         f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={target}", page],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return target


def drawn(folder: Path, *pages: list[tuple[float, float, str]]) -> Path:
    """A PDF of 500 by 700 points with pieces of text at (x, y), from the bottom left, in the order given."""
    target = folder / "drawn.pdf"
    canvas = Canvas(str(target), pagesize=(500, 700))
    for page in pages:
        canvas.setFont("Helvetica", 10)
        for x, y, text in page:
            canvas.drawString(x, y, text)
        canvas.showPage()
    canvas.save()
    return target


def test_columns_of_prose_from_reportlab_have_the_words_of_pdftotext(tmp_path: Path) -> None:
    style = getSampleStyleSheet()["BodyText"]
    style.alignment = 4
    target = tmp_path / "columns.pdf"
    frames = [Frame(50 + 170 * i, 50, 160, 740) for i in range(3)]
    template = BaseDocTemplate(str(target), pageTemplates=[PageTemplate(frames=frames)])
    template.build([Paragraph(prose(i, 120), style) for i in range(30)])

    text = text_of(target, tmp_path)

    assert same_words(text, pdftotext(target)) >= 0.99
    assert text.split() == " ".join(prose(i, 120) for i in range(30)).split()
    assert text.count("\f") == len(pikepdf.open(target).pages)


def test_ligatures_hyphens_and_turned_text_from_chromium_have_the_words_of_pdftotext(tmp_path: Path) -> None:
    broken = "".join(f"<p>the affiliate of the conver-<br>sion{i} office" for i in range(40))
    table = "".join(f"<tr><td>Item {i}<td>{i * 11}<td>{i / 7:.2f}" for i in range(30))
    body = f"""<style>body {{ font: 11pt 'Liberation Serif'; text-align: justify }}</style>
        <h1>First efficient fluffy affidavit</h1><div style="columns: 3">{broken}</div><table>{table}</table>
        <div style="writing-mode: vertical-rl; height: 300px">Turned words run down the page</div>"""
    source = chromium_pdf(tmp_path, body)

    text = text_of(source, tmp_path)

    assert same_words(text, pdftotext(source)) >= 0.99
    assert re.findall(r"conversion\d+", text) == [f"conversion{i}" for i in range(40)]
    assert "Turned words run down the page\n" in text
    assert all(f"Item {i} {i * 11} {i / 7:.2f}" in text for i in range(30))


def test_right_to_left_text_comes_in_logical_order(tmp_path: Path) -> None:
    hebrew, arabic = "בראשית ברא אלהים את השמים", "كان يا ما كان في قديم الزمان ملك عادل يحب شعبه"
    body = f"<div dir=rtl style='font-family: DejaVu Sans'><p>{hebrew}<p>{arabic}</div><p>plain English"
    text = text_of(chromium_pdf(tmp_path, body), tmp_path)
    assert text.split("\n")[:3] == [hebrew, arabic, "plain English"]


MIXED = [
    "שלום עולם (abc) 45",
    'מחיר 12.50 ש"ח [לא כולל] סוף',
    "كان يا ما (كان) في 2024/05/06 قديم PDF الزمان",
    "האתר www.example.com/a-b הוא (טוב).",
    'טלפון 03-1234567, דוא"ל a@b.co',
    "(באנגלית, שפה זרה: several lines)",
    "א) סעיף ראשון",
    "(א) סעיף [ב(ג)] שני",
    'הוא אמר "Hello World!" והלך',
    "קובץ C:\\temp\\a.txt נמחק, טמפ' 25-30",
    "3+4=7 חשבון",
    "الإسلام لا يقبل (الظلم) 5% من 100",
    "سعر 1,250.75 دولار أمريكي (USD)",
]
MOSTLY_LEFT = ["The word שלום (peace) and עולם [world] 12 בית", "English (עברית) 45 text", "plain (b)"]


def test_lines_of_both_directions_come_in_logical_order(tmp_path: Path) -> None:
    rows = "".join(f"<p dir=rtl>{line}" for line in MIXED) + "".join(f"<p>{line}" for line in MOSTLY_LEFT)
    source = chromium_pdf(tmp_path, f"<div style='font: 12px DejaVu Sans'>{rows}</div>")
    assert text_of(source, tmp_path).split("\n")[:-1] == [*MIXED, *MOSTLY_LEFT]
    (page,) = pages_of(source, tmp_path)
    words = [word["text"] for word in page["words"]]
    assert words == " ".join([*MIXED, *MOSTLY_LEFT]).split()
    latin = next(word for word in page["words"] if word["text"] == "(abc)")
    hebrew = next(word for word in page["words"] if word["text"] == "עולם")
    assert latin["box"][2] <= hebrew["box"][0]


LETTERS = {"a": "ש", "b": "ל", "c": "ו", "d": "ם", "e": "لا", "f": "و", "g": "ي", "h": "ة", "x": "X"}


def lettered(folder: Path, content: bytes, rotate: int = 0) -> Path:
    """A PDF whose font /F has for the keys of LETTERS their values, each half of the size wide."""
    codes = LETTERS | {letter: letter for letter in " ()-.0123456789"}
    lines = "".join(f"<{ord(key):02X}> <{value.encode('utf-16-be').hex()}>\n" for key, value in codes.items())
    with pikepdf.new() as pdf:
        page = pdf.add_blank_page(page_size=(500, 700))
        cmap = f"begincmap 1 begincodespacerange <00> <FF> endcodespacerange\n{len(codes)} beginbfchar\n"
        font = pikepdf.Dictionary(
            Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica,
            FirstChar=32, LastChar=126, Widths=pikepdf.Array([500] * 95),
            ToUnicode=pdf.make_stream(f"{cmap}{lines}endbfchar endcmap".encode()),
        )  # fmt: skip
        page.obj.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
        page.obj.Contents = pdf.make_stream(b"BT /F 20 Tf " + content + b" ET")
        page.obj.Rotate = rotate
        pdf.save(folder / "lettered.pdf")
    return folder / "lettered.pdf"


@pytest.mark.parametrize("rotate", [0, 90])
@pytest.mark.parametrize("matrix", [b"1 0 0 1 100 600", b"0 1 -1 0 100 100"])
def test_right_to_left_text_is_put_in_order_whichever_way_it_is_turned(
    tmp_path: Path, matrix: bytes, rotate: int
) -> None:
    source = lettered(tmp_path, matrix + b" Tm (-4.3  \\(x\\) dcba) Tj", rotate)
    assert text_of(source, tmp_path).split("\n")[0] == "שלום (X) -4.3"


def test_right_to_left_text_that_runs_by_mirroring_and_ligatures_are_in_order(tmp_path: Path) -> None:
    source = lettered(tmp_path, b"-1 0 0 1 300 400 Tm (abcd) Tj 1 0 0 1 100 300 Tm (hgef) Tj")
    assert text_of(source, tmp_path).split("\n")[:2] == ["שלום", "ولاية"]
    (page,) = pages_of(source, tmp_path)
    assert [word.get("angle", 0) for word in page["words"]] == [0, 0]


def test_a_page_drawn_row_by_row_across_two_columns_is_read_column_by_column(tmp_path: Path) -> None:
    left = [f"left column line {i} goes on here" for i in range(12)]
    right = [f"right column line {i} goes on too" for i in range(12)]
    rows = [(x, 600 - 14 * i, s[i]) for i in range(12) for x, s in ((50, left), (260, right))]
    source = drawn(tmp_path, [(50, 650, "A title across the two columns"), *rows])
    lines = text_of(source, tmp_path).split("\n")
    assert lines[:-1] == ["A title across the two columns", *left, *right]


def test_the_cells_of_a_table_stay_in_their_rows(tmp_path: Path) -> None:
    rows = [(x, 600 - 14 * i, f"{word} {i}") for i in range(12) for x, word in ((50, "Name"), (200, "Value"))]
    lines = text_of(drawn(tmp_path, rows), tmp_path).split("\n")
    assert lines[:-1] == [f"Name {i} Value {i}" for i in range(12)]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a piece of furniture no {i}", "{i}.50 EUR"),
        ("some cell {i}{more}", "right cell of the line {i} here"),
    ],
    ids=["short cells", "cells of uneven length"],
)
def test_cells_as_close_as_columns_stay_in_their_rows(tmp_path: Path, left: str, right: str) -> None:
    rows = [
        (left.format(i=i, more=" that goes on for long" if i % 4 == 0 else ""), right.format(i=i))
        for i in range(12)
    ]
    pieces = [(x, 600 - 14 * i, row[k]) for i, row in enumerate(rows) for k, x in ((0, 50), (1, 260))]
    lines = text_of(drawn(tmp_path, pieces), tmp_path).split("\n")
    assert lines[:-1] == [" ".join(row) for row in rows]


def test_lines_drawn_in_any_order_are_read_from_the_top(tmp_path: Path) -> None:
    lines = [f"line {i} of the text stands here" for i in range(20)]
    pieces = [(50.0, 600.0 - 14 * i, line) for i, line in enumerate(lines)]
    random.Random(3).shuffle(pieces)
    assert text_of(drawn(tmp_path, pieces), tmp_path).split("\n")[:-1] == lines


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_boxes_lie_where_the_words_are_on_the_page_as_shown(tmp_path: Path, rotation: int) -> None:
    source = drawn(tmp_path, [(100, 600, "Hither and thither"), (300, 100, "Yonder")])
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.pages[0].CropBox = [20, 30, 480, 690]
        pdf.pages[0].Rotate = rotation
        pdf.save()

    page = pages_of(source, tmp_path)[0]

    shown = subprocess.run(
        ["pdftotext", "-bbox", "-cropbox", source, "-"], capture_output=True, check=True, text=True
    ).stdout
    turned = rotation in (90, 270)
    assert (page["width"], page["height"]) == ((660, 460) if turned else (460, 660))
    assert page["rotation"] == rotation
    words = {word["text"]: word for word in page["words"]}
    assert set(words) == {"Hither", "and", "thither", "Yonder"}
    for x0, y0, x1, y1, word in re.findall(
        r'xMin="(.*?)" yMin="(.*?)" xMax="(.*?)" yMax="(.*?)">(.*?)<', shown
    ):
        # Heights differ by how each library reads the font's ascent.
        assert words[word]["box"] == pytest.approx([float(v) for v in (x0, y0, x1, y1)], abs=3)
        assert words[word].get("angle", 0) == rotation

    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.pages[0].UserUnit = 2.5
        pdf.save()
    larger = pages_of(source, tmp_path)[0]
    assert (larger["width"], larger["height"]) == (2.5 * page["width"], 2.5 * page["height"])
    for word, enlarged in zip(page["words"], larger["words"], strict=True):
        assert enlarged["box"] == pytest.approx([2.5 * side for side in word["box"]], abs=0.02)


def test_page_ranges_come_in_the_order_asked_for(tmp_path: Path) -> None:
    source = drawn(tmp_path, *([(50, 600, f"page {i}")] for i in range(1, 6)))
    assert text_of(source, tmp_path, pages="4-,2") == "page 4\n\fpage 5\n\fpage 2\n\f"
    assert [p["page"] for p in pages_of(source, tmp_path, pages="4-,2")] == [4, 5, 2]
    with pytest.raises(InvalidJobData, match="beyond the last"):
        convert(source, tmp_path, pages="6")
    with pytest.raises(LimitExceeded, match="DOCMILL_MAX_PAGES"):
        convert(source, tmp_path, max_pages=4)


def test_many_pages_by_several_workers_are_those_of_one(tmp_path: Path) -> None:
    source = drawn(tmp_path, *([(50, 600, f"page {i} \U0001d49c")] for i in range(1, 101)))
    progress: list[Progress] = []
    asked = EngineOptions(Target(TEXT), name="out", workers=2)
    result = PdfToText().convert(source, tmp_path, asked, progress.append)
    assert re.findall(r"page (\d+)", result.outputs[0].read_text()) == [str(i) for i in range(1, 101)]
    assert [page.source_page for page in result.pages] == list(range(1, 101))
    assert [p.page for p in progress] == list(range(1, 101))


def test_a_page_that_cannot_be_read_is_named_or_left_empty(tmp_path: Path) -> None:
    source = drawn(tmp_path, *([(50, 600, f"page {i}")] for i in range(1, 4)))
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.Root.Pages.Kids[1] = pdf.make_indirect(pikepdf.Dictionary(Type=pikepdf.Name.Nothing))
        pdf.save()

    with pytest.raises(CorruptDocument, match="page 2") as caught:
        convert(source, tmp_path)
    assert caught.value.page == 2

    result = convert(source, tmp_path, on_error=OnError.RESUME)
    assert result.outputs[0].read_text() == "page 1\n\f\fpage 3\n\f"
    assert [failure.page for failure in result.failures] == [2]
    assert [page.source_page for page in result.pages] == [1, 3]


def test_a_page_whose_content_is_damaged_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    source = drawn(tmp_path, *([(50, 600, f"page {i}")] for i in range(1, 4)))
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.pages[1].Contents.write(b"x\x9cdamaged", filter=pikepdf.Name.FlateDecode)
        pdf.save(compress_streams=False)
    with pytest.raises(CorruptDocument, match="content of page 2 cannot be decoded"):
        convert(source, tmp_path)
    assert (
        convert(source, tmp_path, on_error=OnError.RESUME).outputs[0].read_text() == "page 1\n\f\fpage 3\n\f"
    )


def test_an_encrypted_pdf_needs_its_password(tmp_path: Path) -> None:
    source = drawn(tmp_path, [(50, 600, "secret")])
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.save(encryption=pikepdf.Encryption(user="öffne", owner="x"))
    with pytest.raises(PasswordRequired):
        convert(source, tmp_path)
    with pytest.raises(PasswordWrong):
        convert(source, tmp_path, password="wrong")
    assert text_of(source, tmp_path, password="öffne") == "secret\n\f"


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7\n", b"%PDF-1.7\n%%EOF", b"not a PDF at all" * 100])
def test_what_is_no_pdf_is_told_so(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "broken.pdf"
    source.write_bytes(content)
    with pytest.raises(CorruptDocument):
        convert(source, tmp_path)


def test_what_stamps_and_typed_notes_say_is_text_of_the_page(tmp_path):
    """Also on a page that inherits its size, which flattening by pdfium takes for 612 by 792 points."""
    source = drawn(tmp_path, [(50, 600, "Name:")], [(50, 600, "Second")])
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        page = pdf.pages[0]
        pdf.Root.Pages.MediaBox = page.obj.MediaBox
        del page.obj["/MediaBox"]

        def annotation(kind: pikepdf.Name, text: str, x: int, flags: int) -> pikepdf.Object:
            shown = pdf.make_stream(
                f"BT /F1 18 Tf 4 12 Td ({text}) Tj ET".encode(),
                Type=pikepdf.Name.XObject,
                Subtype=pikepdf.Name.Form,
                BBox=[0, 0, 100, 40],
                Resources=page.Resources,
            )
            entries = {
                "Type": pikepdf.Name.Annot,
                "Subtype": kind,
                "F": flags,
                "Rect": [x, 500, x + 100, 540],
            }
            return pdf.make_indirect(pikepdf.Dictionary(**entries, AP=pikepdf.Dictionary(N=shown)))

        page.obj.Annots = pikepdf.Array(
            [
                annotation(pikepdf.Name.FreeText, "Ann", 100, 4),
                annotation(pikepdf.Name.Stamp, "Paid", 300, 4),
                annotation(pikepdf.Name.Stamp, "Secret", 200, 2),
            ]
        )
        pdf.save(source)
    text = text_of(source, tmp_path)
    assert text == "Name:\nAnn Paid\n\fSecond\n\f"
    assert same_words(text, pdftotext(source)) == 1
    first = pages_of(source, tmp_path, pages="1,1")[1]
    assert (first["width"], first["height"]) == (500, 700)
    box = next(word["box"] for word in first["words"] if word["text"] == "Paid")
    assert 300 < box[0] < 310 and 160 < box[1] < box[3] < 200


def test_what_fields_hold_is_text_also_where_the_pdf_does_not_say_how_they_look(tmp_path: Path) -> None:
    source = drawn(tmp_path, [(50, 600, "Name:")], [(50, 600, "Second")])
    kinds: list[dict[str, object]] = [
        {"FT": pikepdf.Name.Tx, "V": "Typed value"},
        {"FT": pikepdf.Name.Ch, "Ff": 1 << 17, "V": "Chosen", "Opt": pikepdf.Array(["Other", "Chosen"])},
    ]
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        fields = pikepdf.Array()
        for number, kind in enumerate(kinds):
            entries = {"Type": pikepdf.Name.Annot, "Subtype": pikepdf.Name.Widget, "F": 4, "T": f"f{number}"}
            place = [100, 500 - 100 * number, 300, 540 - 100 * number]
            field = pikepdf.Dictionary(**entries, **kind, Rect=place, DA="/Helv 12 Tf 0 g")
            fields.append(pdf.make_indirect(field))
        pdf.pages[0].obj.Annots = fields
        helvetica = pikepdf.Dictionary(
            Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
        )
        resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(Helv=helvetica))
        pdf.Root.AcroForm = pikepdf.Dictionary(Fields=fields, DR=resources, DA="/Helv 12 Tf 0 g")
        pdf.save(source)
    assert text_of(source, tmp_path) == "Name:\nTyped value\nChosen\n\fSecond\n\f"


def test_a_repaired_pdf_is_told(tmp_path):
    source = drawn(tmp_path, [(50, 600, "Whole")])
    whole = source.read_bytes()
    assert convert(source, tmp_path).notes == ()
    source.write_bytes(b"from a mail\n" + whole)
    assert convert(source, tmp_path).notes == ()
    source.write_bytes(whole[: whole.rindex(b"startxref")])
    (note,) = convert(source, tmp_path).notes
    assert "was repaired" in note
    assert (tmp_path / "out.txt").read_text() == "Whole\n\f"


def test_a_document_of_pictures_is_told_to_have_no_text(tmp_path):
    (tmp_path / "scan").mkdir()
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        pdf.save(scan := tmp_path / "scan" / "scan.pdf")
    for to_json in (False, True):
        assert convert(scan, tmp_path, to_json=to_json).notes == (
            "no page has text: pictures of text are not read",
        )
        assert convert(drawn(tmp_path, [], [(50, 600, "Read")]), tmp_path, to_json=to_json).notes == ()


def test_words_behind_letters_beyond_the_first_plane_are_where_they_stand(tmp_path: Path) -> None:
    """Word's formulas are of such letters; pdfium counts each of them twice."""
    source = drawn(tmp_path, [(50, 600, "QQ = QQ"), (50, 580, "The next line"), (300, 560, "and the last")])
    plain = pages_of(source, tmp_path)[0]["words"]
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        (font,) = (value for _, value in pdf.pages[0].obj.Resources.Font.items())
        meaning = b"1 begincodespacerange <00> <FF> endcodespacerange 1 beginbfchar <51> <D835DC44> endbfchar"
        font.ToUnicode = pdf.make_stream(meaning)
        pdf.save()
    words = pages_of(source, tmp_path)[0]["words"]
    assert [word["text"] for word in words] == ["𝑄𝑄", "=", "𝑄𝑄", "The", "next", "line", "and", "the", "last"]
    assert [word["box"] for word in words] == [word["box"] for word in plain]


def test_a_dynamic_xfa_form_is_told(tmp_path: Path) -> None:
    source = drawn(tmp_path, [(50, 600, "Please wait...")])
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.Root.AcroForm = pikepdf.Dictionary(Fields=pikepdf.Array(), XFA=pdf.make_stream(b"<xdp:xdp/>"))
        pdf.save()
        assert convert(source, tmp_path).notes == ()
        pdf.Root.NeedsRendering = True
        pdf.save()
    assert any("dynamic XFA form" in note for note in convert(source, tmp_path).notes)


def test_fonts_that_say_wrongly_how_many_characters_they_name_are_read_all_the_same(tmp_path: Path) -> None:
    source = lettered(tmp_path, b"1 0 0 1 100 600 Tm (x dcba) Tj")
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        cmap = pdf.pages[0].Resources.Font.F.ToUnicode
        data = re.sub(rb"(\d+) beginbfchar", lambda m: b"%d beginbfchar" % (int(m[1]) + 1), cmap.read_bytes())
        pdf.pages[0].Resources.Font.F.ToUnicode = pdf.make_stream(data)
        # In a form, as a stamp is.
        form = pdf.make_stream(pdf.pages[0].Contents.read_bytes())
        form.Type, form.Subtype, form.BBox = pikepdf.Name.XObject, pikepdf.Name.Form, [0, 0, 500, 700]
        form.Resources = pdf.pages[0].Resources
        pdf.pages[0].Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(F=form))
        pdf.pages[0].Contents = pdf.make_stream(b"/F Do")
        pdf.save()
    result = convert(source, tmp_path)
    assert result.outputs[0].read_text(encoding="utf-8").split("\n")[0] == "שלום X"
    assert any("its fonts say wrongly" in note for note in result.notes)


@pytest.mark.parametrize("rotate", [0, 90])
def test_text_beyond_the_page_is_not_of_the_page(tmp_path: Path, rotate: int) -> None:
    """As of a scan of two pages that was cut by its boxes; pdftotext leaves it out as well."""
    lines = [
        (60.0, 600.0, "left page"),
        (300.0, 600.0, "right page"),
        (60.0, 560.0, "across the two of them"),
    ]
    source = drawn(tmp_path, [*lines, (300, 500, "right again"), (60, 450, "left again")])
    with pikepdf.open(source, allow_overwriting_input=True) as pdf:
        pdf.pages[0].obj.CropBox = pikepdf.Array([40, 0, 110, 700])
        pdf.pages[0].obj.Rotate = rotate
        pdf.save()
    text = text_of(source, tmp_path)
    assert "right" not in text and "left page" in text and "left again" in text
    assert "across the" in text and "them" not in text
    (page,) = pages_of(source, tmp_path)
    assert [word["text"] for word in page["words"]] == text.split()
    assert all(word["box"][0] > -10 and word["box"][2] < page["width"] + 10 for word in page["words"])
