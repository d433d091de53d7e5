"""What the tests of editing PDFs share: rich PDFs, the engine asked for, and what is in its output."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pikepdf
import pypdf
import pypdfium2
from pikepdf import Array, Dictionary, Name
from reportlab.pdfgen.canvas import Canvas

from docmill.engines.base import EngineOptions, EngineResult, MergeSource
from docmill.engines.pdf_to_pdf import PdfToPdf
from docmill.formats import PDF, Target
from docmill.options import ConvertOptions


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
