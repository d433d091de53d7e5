"""The table that a finished job shows in the Prefect UI."""

from __future__ import annotations

from collections.abc import Sequence

from docmill import wording
from docmill.documents.model import LoadedDocument
from docmill.request import ConvertOutcome
from docmill.workspace import Converted

#: Rows of the page table; an artifact of thousands of rows makes the UI slow.
MOST_PAGES = 200


def summary_line(outcome: ConvertOutcome) -> str:
    """What came of a job, as the artifact's description: `4 pages, tiff -> pdf by raster-to-pdf, 79.7 kB`."""
    pages = wording.plural(outcome.page_count, "page")
    failed = f" and {len(outcome.failures)} failed" if outcome.failures else ""
    return f"{pages}{failed}, {outcome.route}, {wording.size_text(outcome.output_bytes)}"


def summary_table(outcome: ConvertOutcome, documents: Sequence[LoadedDocument], converted: Converted) -> str:
    """Markdown: source, output, route, times, and a row a page with its size and how it came about."""
    sources = ", ".join(f"`{_cell(document.uri)}`" for document in documents)
    lines = [
        f"| output | `{_cell(outcome.output_uri)}` ({wording.size_text(outcome.output_bytes)}) |",
        "|---|---|",
        f"| source | {sources} ({wording.size_text(sum(document.size for document in documents))}) |",
        f"| pages | {outcome.page_count} |",
        f"| route | {_cell(outcome.route)} |",
        f"| time | {outcome.seconds:.2f} s, of which converting {converted.seconds:.2f} s |",
    ]
    lines += [f"| note | {_cell(note)} |" for note in outcome.notes]
    lines += [
        f"| failed | page {failure.get('page')}: {_cell(str(failure.get('message')))} |"
        for failure in outcome.failures
    ]
    lines += ["", "| page | size (pt) | pixels | how |", "|---:|---|---|---|"]
    for page in converted.result.pages[:MOST_PAGES]:
        pixels = f"{page.width_px} x {page.height_px}" if page.width_px else ""
        size = f"{page.width_pt:.1f} x {page.height_pt:.1f}"
        lines.append(f"| {page.source_page} | {size} | {pixels} | {_cell(page.how)} |")
    if len(converted.result.pages) > MOST_PAGES:
        lines.append(f"| ... | {len(converted.result.pages) - MOST_PAGES} more pages | | |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").replace("\n", " ")
