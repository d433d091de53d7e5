"""What of a PDF pdfium would leave out of a page without a word, found before it draws or reads the page.

pdfium shows a page whose content cannot be decoded empty, or up to where the damage begins, and gives up on
forms within forms in silence. qpdf finds the streams; inflating them again takes about a hundredth of the
time of drawing the page.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, Object, Stream

from docmill.engines.annotations import annotations_without_look
from docmill.engines.base import EngineOptions
from docmill.engines.font_cmaps import mend_fonts
from docmill.engines.page_fonts import DoubtfulFonts, FontsNotEmbedded
from docmill.errors import CorruptDocument, DocmillError, LimitExceeded
from docmill.qpdf import decoded, open_with_qpdf
from docmill.settings import variable

# Form XObjects within each other that pdfium draws: those deeper down it leaves out.
MAX_NESTING = 40
# Drawings of forms that a page may come to: each takes pdfium about 4 KiB.
MAX_FORMS = 1_000_000
# Fields that pdfium visits to draw a form. 30 levels of which each has the next twice are a thousand million:
# it does not come back.
MAX_FIELDS = 1_000_000
_FIELD_DEPTH = 32

# A form XObject by its object's number and generation.
Form = tuple[int, int]

_FLATE = frozenset({"/FlateDecode", "/Fl"})
# `/Im1 Do` (ISO 32000-1, 8.8); a name ends at white space or a delimiter.
_DRAWN = re.compile(rb"/([^\0\s()<>\[\]{}/%]+)\s+Do\b")
# Operators that show text, a picture or a form, or paint a path or a shading.
_PAINTS = re.compile(rb"(?:^|[\s)\]>])(?:Tj|TJ|'|\"|Do|EI|sh|S|s|f\*?|F|B\*?|b\*?)(?=[\s/\[(<]|$)")
_ESCAPED = re.compile(rb"#([0-9A-Fa-f]{2})")
_UNREADABLE = (pikepdf.PdfError, RuntimeError, ValueError, TypeError, AttributeError, KeyError)


class PageContents:
    """The content of a PDF's pages. It may be used in forked processes: the file is mapped, not read.

    Of a PDF that qpdf cannot read, or in which it finds other than `page_count` pages, nothing is checked.
    """

    @classmethod
    def of(cls, source: Path, options: EngineOptions, page_count: int) -> PageContents:
        """Those of a source with the password and the limit of a job."""
        return cls(source, options.password, page_count, options.max_content_bytes)

    def __init__(self, source: Path, password: str | None, page_count: int, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pages: list[Object] = []
        self._known: dict[Form, tuple[int, int]] = {}
        self._fonts = FontsNotEmbedded()
        self._form_can_be_drawn = True
        self.damaged = False
        try:
            self._pdf = open_with_qpdf(source, password, access_mode=pikepdf.AccessMode.mmap)
            # Iterated once: `pdf.pages[i]` takes time in proportion to the number of pages.
            pages: list[Object] = [page.obj for page in self._pdf.pages]
            self._form_can_be_drawn = _has_few_fields(self._pdf)
        except (*_UNREADABLE, pikepdf.PasswordError):
            return
        if len(pages) == page_count:
            self._pages = pages
            # Whether qpdf had to mend something to find the pages.
            self.damaged = bool(self._pdf.get_warnings())

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not drawn of all pages, for a person."""
        return () if self._form_can_be_drawn else ("the form has too many fields, and is not drawn",)

    @property
    def form_can_be_drawn(self) -> bool:
        """As `form_can_be_drawn` says."""
        return self._form_can_be_drawn

    def paints(self, number: int) -> bool:
        """Whether there is something in the content of page `number` (from 1) that shows; not where `check`
        refuses it."""
        if not self._pages:
            return False
        try:
            self.check(number)
            parts = _parts(self._pages[number - 1])
            return any(_PAINTS.search(_decoded(number, part, self._max_bytes)) for part, _ in parts)
        except (*_UNREADABLE, DocmillError):
            return False

    def mend_fonts(self, numbers: Sequence[int]) -> bool:
        """Mend what the fonts of pages (from 1) say of their characters; whether there was something to."""
        try:
            return mend_fonts(self._pages[number - 1] for number in numbers) if self._pages else False
        except _UNREADABLE:
            return False

    def doubtful_fonts(self, number: int) -> DoubtfulFonts:
        """The fonts of page `number` (from 1) of which characters may be missing."""
        try:
            return self._fonts.of(self._pages[number - 1]) if self._pages else DoubtfulFonts()
        except _UNREADABLE:
            return DoubtfulFonts()

    def annotations_without_look(self, number: int) -> frozenset[str]:
        """The kinds of annotations on page `number` (from 1) that pdfium does not draw."""
        try:
            return annotations_without_look(self._pages[number - 1]) if self._pages else frozenset()
        except _UNREADABLE:
            return frozenset()

    def save(self, target: Path) -> None:
        """Write the PDF as qpdf has mended it, not encrypted."""
        self._pdf.save(target)

    def check(self, number: int) -> None:
        """Raise `CorruptDocument` where content of page `number` (from 1) cannot be decoded, `LimitExceeded`
        where it is too much or nested too deep."""
        if not self._pages:
            return
        try:
            self._check(number, self._pages[number - 1])
        except DocmillError:
            self._known.clear()
            raise
        except _UNREADABLE:
            # Odd beyond what is looked for here; pdfium has the last word.
            self._known.clear()

    def _check(self, number: int, page: Object) -> None:
        resources = page.get(Name.Resources)
        size, drawn = 0, Counter[Form]()
        for part, times in _parts(page):
            if not isinstance(part, Stream):
                raise _undecodable(number, "a part of it is missing")
            more, forms = self._read(number, part, resources, (self._max_bytes - size) // times)
            size += more * times
            for form, count in forms.items():
                drawn[form] += count * times
        if (
            sum(self._measured(number, form, resources, 1)[1] * times for form, times in drawn.items())
            > MAX_FORMS
        ):
            raise LimitExceeded(
                f"page {number} draws forms within forms more than {MAX_FORMS} times",
                limit="form nesting",
                page=number,
            )

    def _measured(self, number: int, form: Form, resources: Any, level: int) -> tuple[int, int]:
        """How deep a form's forms go, itself counted, and how often it and they are drawn for it. A form that
        draws itself ends there, as in pdfium."""
        if level > MAX_NESTING:
            raise _too_deep(number)
        known = self._known.get(form)
        if known is None:
            self._known[form] = (0, 0)
            resources = self._pdf.get_object(form).get(Name.Resources, resources)
            _, drawn = self._read(number, self._pdf.get_object(form), resources, self._max_bytes)
            below = [
                (*self._measured(number, inner, resources, level + 1), times)
                for inner, times in drawn.items()
            ]
            depth = 1 + max((depth for depth, _, _ in below), default=0)
            known = self._known[form] = depth, 1 + sum(count * times for _, count, times in below)
        if level - 1 + known[0] > MAX_NESTING:
            raise _too_deep(number)
        return known

    def _read(self, number: int, stream: Object, resources: Any, most: int) -> tuple[int, Counter[Form]]:
        """How long a content stream is once decoded, and the form XObjects that it draws, how often each."""
        content = _decoded(number, stream, most)
        if len(content) > most:
            raise LimitExceeded(
                f"the content of page {number} is more than {self._max_bytes} bytes once decoded",
                limit="page content",
                setting=variable("max_content_bytes"),
                page=number,
            )
        return len(content), _forms(content, resources)


def form_can_be_drawn(source: Path, password: str | None) -> bool:
    """Whether a PDF's form fields are few enough for pdfium, which visits each once for each way to it."""
    try:
        with open_with_qpdf(source, password, inherit_page_attributes=False) as pdf:
            return _has_few_fields(pdf)
    except (*_UNREADABLE, pikepdf.PasswordError):
        return True


def _has_few_fields(pdf: pikepdf.Pdf) -> bool:
    form = pdf.Root.get(Name.AcroForm)
    fields = form.get(Name.Fields) if isinstance(form, Dictionary) else None
    if not isinstance(fields, Array):
        return True
    known: dict[tuple[tuple[int, int], int], int] = {}
    return sum(_visits(field, _FIELD_DEPTH, known) for field in fields) <= MAX_FIELDS


def _visits(field: Object, depth: int, known: dict[tuple[tuple[int, int], int], int]) -> int:
    """The fields of a tree, each counted as often as it is reached, down to a depth."""
    kids = field.get(Name.Kids) if isinstance(field, Dictionary) else None
    if not depth or not isinstance(kids, Array):
        return 1
    place = (field.objgen, depth)
    if not field.is_indirect or place not in known:
        known[place] = 1 + sum(_visits(kid, depth - 1, known) for kid in kids)
    return known[place]


def _parts(page: Object) -> Iterable[tuple[Any, int]]:
    """What a page's content consists of, and how often: a page may name one stream a thousand times."""
    contents = page.get(Name.Contents)
    listed = contents if isinstance(contents, Array) else () if contents is None else (contents,)
    parts: dict[tuple[int, int], tuple[Any, int]] = {}
    for part in listed:
        place = part.objgen if isinstance(part, Stream) else (0, 0)
        parts[place] = part, parts.get(place, (part, 0))[1] + 1
    return parts.values()


def _forms(content: bytes, resources: Any) -> Counter[Form]:
    forms = Counter[Form]()
    if b"Do" not in content or not isinstance(resources, Dictionary):
        return forms
    objects = resources.get(Name.XObject)
    if not isinstance(objects, Dictionary):
        return forms
    for name, times in Counter(_DRAWN.findall(content)).items():
        plain = _ESCAPED.sub(lambda code: bytes([int(code[1], 16)]), name)
        drawn = objects.get("/" + plain.decode("utf-8", "surrogateescape"))
        if isinstance(drawn, Stream) and drawn.get(Name.Subtype) == Name.Form:
            forms[drawn.objgen] += times
    return forms


def _decoded(number: int, stream: Object, most: int) -> bytes:
    """A stream without its filters; one byte more than `most` where it has at least that."""
    filters = stream.get(Name.Filter)
    listed = filters if isinstance(filters, Array) else [] if filters is None else [filters]
    names = [str(name) for name in listed]
    if not _FLATE.issuperset(names):
        try:
            return decoded(stream, most)
        except pikepdf.PdfError:
            raise _undecodable(number, f"filter {' '.join(names)}") from None
    data = stream.read_raw_bytes()
    for _ in names:
        data = _inflated(number, data, most)
    return data


def _inflated(number: int, data: bytes, most: int) -> bytes:
    if not data.strip(b"\r\n"):
        return b""
    # Without zlib's checksum, which no viewer asks for and some writers leave out.
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    if data[0] & 15 != zlib.DEFLATED or int.from_bytes(data[:2], "big") % 31:
        raise _undecodable(number, "incorrect header check")
    try:
        out = inflater.decompress(data[2:], most + 1)
    except zlib.error as error:
        raise _undecodable(number, str(error).rpartition(": ")[2]) from None
    # A writer that flushes its last block, and does not end it, has written all.
    if not inflater.eof and len(out) <= most and not data.rstrip(b"\r\n").endswith(b"\0\0\xff\xff"):
        raise _undecodable(number, "it is cut off")
    return out


def _too_deep(number: int) -> LimitExceeded:
    return LimitExceeded(
        f"page {number} has forms within forms more than {MAX_NESTING} deep, which are not drawn",
        limit="form nesting",
        page=number,
    )


def _undecodable(number: int, reason: str) -> CorruptDocument:
    return CorruptDocument(
        f"the content of page {number} cannot be decoded: {reason}",
        hint="the page is damaged; on error resume leaves it out",
        page=number,
    )
