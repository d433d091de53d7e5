"""`docmill info`: what a file is, page by page."""

from __future__ import annotations

import argparse
import itertools
import json

from docmill import pipeline, wording
from docmill.cli.arguments import STANDARD_STREAM, password_reference
from docmill.cli.main import overall_code, report
from docmill.cli.printable import printable
from docmill.documents.model import LoadedDocument
from docmill.errors import DocmillError
from docmill.facts import PageFacts
from docmill.formats import BY_MIME_TYPE
from docmill.request import ConvertRequest
from docmill.settings import Settings
from docmill.workspace import Workspace


def run(arguments: argparse.Namespace) -> int:
    """Print the facts of each file; a file that fails does not stop the others."""
    settings = Settings.from_env()
    codes = []
    for source in arguments.sources:
        work = Workspace(settings)
        place = "/dev/stdin" if source == STANDARD_STREAM else source
        request = ConvertRequest(sources=(place,), password=password_reference(arguments))
        try:
            document = pipeline.begin_load(work, request)
            document.digest.stop()
            print(_json(document) if arguments.json else "\n".join(map(printable, _lines(document))))
            codes.append(0)
        except DocmillError as error:
            codes.append(report(error, arguments, source))
        finally:
            work.remove()
    return overall_code(codes)


def _json(document: LoadedDocument) -> str:
    facts = document.facts.to_dict()
    return json.dumps({"uri": document.uri, "name": document.name, "size": document.size, **facts})


def _lines(document: LoadedDocument) -> list[str]:
    facts = document.facts
    format = BY_MIME_TYPE.get(facts.mime_type)
    lines = [
        f"{document.name}: {format.title if format else facts.mime_type} ({facts.mime_type}), "
        f"{wording.plural(facts.page_count, 'page')}, {wording.size_text(document.size)}"
        + (", encrypted" if facts.encrypted else "")
    ]
    if facts.title:
        lines.append(f"  title: {facts.title}")
    first = 1
    for description, group in itertools.groupby(_page(page) for page in facts.pages):
        last = first + len(list(group)) - 1
        pages = f"page {first}" if first == last else f"pages {first}-{last}"
        lines.append(f"  {pages}: {description}")
        first = last + 1
    lines.extend(f"  problem: {problem}" for problem in facts.problems)
    return lines


def _page(page: PageFacts) -> str:
    parts = []
    if page.width_px:
        parts.append(f"{page.width_px} x {page.height_px} pixels")
    parts.append(f"{page.width_pt:.1f} x {page.height_pt:.1f} pt")
    if page.dpi_x:
        same = abs(page.dpi_x - page.dpi_y) < 0.01
        parts.append(f"{page.dpi_x:g} dpi" if same else f"{page.dpi_x:g} x {page.dpi_y:g} dpi")
    if page.bits_per_pixel:
        parts.append(f"{page.bits_per_pixel} bit{' ' + page.color if page.color else ''}")
    if page.encoding:
        parts.append(page.encoding)
    return ", ".join(parts)
