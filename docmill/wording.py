"""How documents, conversions and sizes are called in logs, run names and on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from docmill.documents.model import LoadedDocument
from docmill.errors import InvalidJobData
from docmill.formats import BY_MIME_TYPE
from docmill.request import ConvertRequest
from docmill.targets import last_name, target_of

if TYPE_CHECKING:
    from docmill.workspace import Converted


def describe_source(document: LoadedDocument) -> str:
    """A loaded document in a line, e.g. `scan.tif (TIFF, 12 pages, 1.2 MB)`."""
    facts = document.facts
    title = BY_MIME_TYPE[facts.mime_type].title if facts.mime_type in BY_MIME_TYPE else facts.mime_type
    return f"{utf8(document.name)} ({title}, {plural(facts.page_count, 'page')}, {size_text(document.size)})"


def describe_conversion(converted: Converted) -> str:
    """A conversion in a line, e.g. `12 pages, tiff -> pdf by raster-to-pdf, 0.3 s`."""
    result = converted.result
    failed = f", {plural(len(result.failures), 'page')} failed" if result.failures else ""
    pages = plural(len(result.pages), "page")
    return f"{pages}{failed}, {converted.route}, {converted.seconds:.1f} s"


def describe_end(page_count: int, failed: int) -> str:
    """What a job came to, in a line: `done, 12 pages`, or `done, 2 of 12 pages failed`."""
    pages = plural(page_count, "page")
    return f"done, {failed:,} of {pages} failed" if failed else f"done, {pages}"


def describe_failure(failure: Mapping[str, Any]) -> str:
    """A page that was left out, in a line: `page 3: its data end early`."""
    page, message = failure.get("page"), str(failure.get("message") or "failed")
    return message if not page or f"page {page}" in message else f"page {page}: {message}"


def label(request: ConvertRequest) -> str:
    """A request in a few words, e.g. `scan.tif -> pdf`."""
    first = short_name(request.sources[0])
    more = f" and {len(request.sources) - 1} more" if len(request.sources) > 1 else ""
    try:
        to = target_of(request).name
    except InvalidJobData:
        to = short_name(request.target or "?")
    return f"{first}{more} -> {to}"


def short_name(uri: str) -> str:
    """The last part of a URI or path, at most 60 characters."""
    name = utf8(last_name(uri) or uri)
    return name if len(name) <= 60 else f"{name[:40]}...{name[-17:]}"


def utf8(name: str) -> str:
    """The name of a file that need not be UTF-8, as text that Prefect takes: `b\\udce4d.tif`."""
    return name.encode(errors="backslashreplace").decode()


def plural(count: int, noun: str) -> str:
    """`1 page`, `2 pages`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def size_text(size: float) -> str:
    """Bytes as a person reads them, in powers of 1000 as file managers show them: `1.2 MB`."""
    if size < 1000:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
