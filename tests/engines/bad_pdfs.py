"""PDFs that are built to trouble a renderer; run as a script to write them all into a folder."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path


def build(objects: dict[int, bytes], root: int = 1) -> bytes:
    """A PDF of these objects, with a table of where they are."""
    out = bytearray(b"%PDF-1.7\n")
    offsets = {}
    for number, body in sorted(objects.items()):
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    size = max(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        out += b"%010d 00000 n \n" % offsets[number] if number in offsets else b"0000000000 65535 f \n"
    out += b"trailer\n<</Size %d/Root %d 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, root, start)
    return bytes(out)


def stream(data: bytes, entries: bytes = b"", length: int | None = None) -> bytes:
    return b"<<%s/Length %d>>\nstream\n%s\nendstream" % (
        entries, len(data) if length is None else length, data,
    )  # fmt: skip


SQUARE = b"0 0 1 rg 10 10 50 50 re f"
CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"


def one_page(content: bytes, page: bytes = b"", **more: bytes) -> dict[int, bytes]:
    return {
        1: more.get("catalog", CATALOG),
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Contents 4 0 R%s>>" % page,
        4: content,
    }


def looping_page_tree() -> bytes:
    """The second kid of the root is the root."""
    objects = one_page(stream(SQUARE))
    objects[2] = b"<</Type/Pages/Kids[3 0 R 2 0 R]/Count 5>>"
    return build(objects)


def page_tree_that_is_only_a_loop() -> bytes:
    return build({1: CATALOG, 2: b"<</Type/Pages/Kids[2 0 R]/Count 1>>"})


def stream_of_4_gigabytes() -> bytes:
    """The stream says that it is much longer than the file."""
    return build(one_page(stream(SQUARE, length=0xFFFFFFFF)))


def deflate_bomb() -> bytes:
    """A page's content that is a GiB of spaces once inflated."""
    spaces = zlib.compressobj(9)
    packed = b"".join(spaces.compress(b" " * (1 << 20)) for _ in range(1024)) + spaces.flush()
    return build(one_page(stream(packed, b"/Filter/FlateDecode")))


def many_pages(count: int = 100_000) -> bytes:
    objects = {1: CATALOG, 3: stream(SQUARE)}
    kids = []
    for number in range(4, 4 + count):
        objects[number] = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Contents 3 0 R>>"
        kids.append(b"%d 0 R" % number)
    objects[2] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(kids), count)
    return build(objects)


def nested_forms(depth: int = 10_000) -> bytes:
    """Form XObjects, each of which draws the next one."""
    objects = one_page(stream(b"/F Do"), b"/Resources<</XObject<</F 5 0 R>>>>")
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 100 100]"
    for number in range(5, 4 + depth):
        inner = b"/Resources<</XObject<</F %d 0 R>>>>" % (number + 1)
        objects[number] = stream(b"/F Do", form + inner)
    objects[4 + depth] = stream(SQUARE, form)
    return build(objects)


def doubling_forms(depth: int = 30) -> bytes:
    """Forms that each draw the next one twice: 2^30 squares."""
    objects = one_page(stream(b"/F Do"), b"/Resources<</XObject<</F 5 0 R>>>>")
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 100 100]"
    for number in range(5, 4 + depth):
        inner = b"/Resources<</XObject<</F %d 0 R>>>>" % (number + 1)
        objects[number] = stream(b"/F Do /F Do", form + inner)
    objects[4 + depth] = stream(SQUARE, form)
    return build(objects)


def form_that_draws_itself() -> bytes:
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 100 100]/Resources<</XObject<</F 5 0 R>>>>"
    objects = one_page(stream(SQUARE + b" /F Do"), b"/Resources<</XObject<</F 5 0 R>>>>")
    objects[5] = stream(b"/F Do", form)
    return build(objects)


def javascript() -> bytes:
    """Scripts that run when the document is opened and when its page is."""
    script = b"<</S/JavaScript/JS(while(true){app.alert('x');})>>"
    catalog = b"<</Type/Catalog/Pages 2 0 R/OpenAction %s/AcroForm<</Fields[]>>>>" % script
    return build(one_page(stream(SQUARE), b"/AA<</O %s>>" % script, catalog=catalog))


def embedded_file() -> bytes:
    catalog = (
        b"<</Type/Catalog/Pages 2 0 R/Names<</EmbeddedFiles<</Names[(a.exe)"
        b"<</Type/Filespec/F(a.exe)/EF<</F 5 0 R>>>>]>>>>>>"
    )
    objects = one_page(stream(SQUARE), catalog=catalog)
    objects[5] = stream(b"MZ" * 1000, b"/Type/EmbeddedFile")
    return build(objects)


def page_of_200_inches() -> bytes:
    objects = one_page(stream(SQUARE))
    objects[3] = objects[3].replace(b"100 100", b"14400 14400")
    return build(objects)


def undecodable(content: bytes) -> bytes:
    """Three pages, of which the second has this as its content."""
    objects = one_page(stream(SQUARE))
    objects[2] = b"<</Type/Pages/Kids[3 0 R 5 0 R 3 0 R]/Count 3>>"
    objects[5] = objects[3].replace(b"4 0 R", b"[6 0 R 4 0 R]")
    objects[6] = content
    return build(objects)


def fields_that_double(depth: int = 30) -> bytes:
    """Form fields that each have the next one twice as their kid: 2^30 ways to the last."""
    objects = one_page(
        stream(SQUARE), b"/Annots[%d 0 R]" % (5 + depth),
        catalog=b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[5 0 R]/CO[5 0 R]>>>>",
    )  # fmt: skip
    objects[2] = b"<</Type/Pages/Kids[3 0 R 90 0 R]/Count 2>>"
    objects[90] = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Resources<<>>>>"
    for number in range(5, 5 + depth):
        objects[number] = b"<</Kids[%d 0 R %d 0 R]/Parent %d 0 R>>" % (number + 1, number + 1, number - 1)
    objects[5] = b"<</Kids[6 0 R 6 0 R]>>"
    objects[5 + depth] = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/Rect[0 0 9 9]/Parent %d 0 R>>" % (
        4 + depth
    )
    return build(objects)


def damaged_deflate_bomb(times: int = 4000) -> bytes:
    """A page that names a MB of spaces 4000 times, in a PDF whose table has to be mended."""
    objects = one_page(stream(zlib.compress(b" " * (1 << 20), 9), b"/Filter/FlateDecode"))
    objects[3] = objects[3].replace(b"4 0 R", b"[%s]" % (b"4 0 R " * times))
    return build(objects).replace(b"startxref\n", b"startxref\n1")


def page_without_content() -> bytes:
    objects = one_page(stream(SQUARE))
    objects[2] = b"<</Type/Pages/Kids[3 0 R 9 0 R 5 0 R]/Count 3>>"
    objects[5] = objects[3]
    return build(objects)


def short_section_of_the_table() -> bytes:
    """A section of the cross-reference table has a line less than it says: pdfium finds none of what comes
    after it, here the content of the page."""
    objects = one_page(stream(SQUARE))
    objects[19] = objects.pop(4)
    objects[3] = objects[3].replace(b"4 0 R", b"19 0 R")
    body, table = build(objects).split(b"xref\n", 1)
    lines, trailer = table.split(b"trailer", 1)
    entries = lines.splitlines(keepends=True)[1:]
    sections = [b"0 3\n", *entries[:3], b"3 2\n", entries[3], b"19 1\n", entries[19]]
    return b"".join([body, b"xref\n", *sections, b"trailer", trailer])


ALL = {
    maker.__name__: maker
    for maker in (
        looping_page_tree, page_tree_that_is_only_a_loop, stream_of_4_gigabytes, deflate_bomb, many_pages,
        nested_forms, doubling_forms, form_that_draws_itself, javascript, embedded_file, page_of_200_inches,
        page_without_content, fields_that_double, damaged_deflate_bomb, short_section_of_the_table,
    )
}  # fmt: skip

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, maker in ALL.items():
        (folder / f"{name}.pdf").write_bytes(maker())
