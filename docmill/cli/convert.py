"""`docmill convert`: one document or several, as flow runs or directly."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from docmill import pipeline, targets
from docmill.cleanup import clean_daily
from docmill.cli.display import display_for
from docmill.cli.main import report
from docmill.cli.parser import convert_options, password_reference
from docmill.errors import EXIT_WITH_ERRORS, DocmillError, InvalidJobData
from docmill.formats import PDF
from docmill.request import ConvertOutcome, ConvertRequest
from docmill.settings import Settings

STANDARD_STREAM = "-"


def run(arguments: argparse.Namespace) -> int:
    """Convert each source into a folder, where one that fails does not stop the others; or merge them into a
    PDF."""
    settings = Settings.from_env()
    if arguments.target == STANDARD_STREAM and len(arguments.sources) > 1:
        raise InvalidJobData("several sources cannot go to standard output", hint="name a file or folder")
    with _streams(arguments) as request:
        format = targets.target_of(request).format
        if targets.is_folder(arguments.target):
            requests = [replace(request, sources=(source,)) for source in request.sources]
        elif len(request.sources) == 1 or format is PDF:
            requests = [request]
        else:
            raise InvalidJobData(
                f"several sources need a target folder or a PDF, and '{arguments.target}' is neither",
                hint="end its name with a slash",
            )
        if arguments.direct:
            results = _direct(arguments, requests, settings)
        else:
            from docmill.cli.flowrun import convert_with_prefect

            results = convert_with_prefect(arguments, requests, settings)
        code = _report_all(arguments, results)
    clean_daily(settings)
    return code


def _direct(
    arguments: argparse.Namespace, requests: list[ConvertRequest], settings: Settings
) -> Iterator[ConvertOutcome | DocmillError]:
    for request in requests:
        with display_for(arguments) as display:
            try:
                yield pipeline.convert_document(request, settings, observer=display)
            except DocmillError as error:
                yield error


def _report_all(arguments: argparse.Namespace, results: Iterator[ConvertOutcome | DocmillError]) -> int:
    codes = []
    for result in results:
        if isinstance(result, DocmillError):
            codes.append(report(result, arguments))
            continue
        codes.append(EXIT_WITH_ERRORS if result.failures else 0)
        if arguments.json:
            print(json.dumps(result.to_dict(), ensure_ascii=False), flush=True)
        if arguments.json:
            continue
        for failure in result.failures:
            print(f"docmill: page {failure['page']} failed: {failure['message']}", file=sys.stderr)
        for note in () if arguments.quiet else result.notes:
            print(f"docmill: note: {note}", file=sys.stderr)
    if len(codes) == 1 or not any(codes):
        return codes[0]
    return EXIT_WITH_ERRORS


def _absolute(name: str) -> str:
    """A local path from the root, as the Prefect UI should show it; a URI or `-` as it is."""
    if name == STANDARD_STREAM or ":/" in name:
        return name
    return os.path.abspath(Path(name).expanduser()) + ("/" if name.endswith("/") else "")  # noqa: PTH100 (keeps links)


@contextmanager
def _streams(arguments: argparse.Namespace) -> Iterator[ConvertRequest]:
    """The request of the command line, standard input and output being files in it."""
    request = ConvertRequest(
        sources=tuple(_absolute(source) for source in arguments.sources),
        target=_absolute(arguments.target),
        to=arguments.to,
        options=convert_options(arguments),
        overwrite=arguments.overwrite,
        password=password_reference(arguments),
    )
    if STANDARD_STREAM not in (*request.sources, request.target):
        yield request
        return
    with tempfile.TemporaryDirectory(prefix="docmill-") as folder:
        if STANDARD_STREAM in request.sources:
            spool = Path(folder) / "stdin"
            with spool.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
            request = replace(
                request, sources=tuple(str(spool) if s == STANDARD_STREAM else s for s in request.sources)
            )
        if request.target != STANDARD_STREAM:
            yield request
            return
        if not request.to:
            raise InvalidJobData("standard output has no ending to tell the format", hint="name it: --to pdf")
        if arguments.json:
            raise InvalidJobData("--json and the document cannot both go to standard output")
        output = Path(folder) / f"stdout.{targets.target_of(request).format.extension}"
        yield replace(request, target=str(output))
        if output.exists():
            with output.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
