"""`docmill convert`: one document or several, as flow runs or directly."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from docmill import pipeline, targets, wording
from docmill.cleanup import clean_daily
from docmill.cli.arguments import STANDARD_STREAM, convert_options, password_reference
from docmill.cli.display import display_for
from docmill.cli.interrupts import Interrupts
from docmill.cli.main import error_line, overall_code, report
from docmill.cli.printable import printable
from docmill.cli.sidebyside import Result, Results, Threads, at_once, side_by_side
from docmill.cli.streams import wakeful
from docmill.documents.load import spool_stream
from docmill.documents.model import LoadLimits
from docmill.documents.uris import document_id_of, from_root, is_hidden, parse_location
from docmill.errors import EXIT_WITH_ERRORS, DocmillError, InvalidJobData
from docmill.formats import PDF
from docmill.pipeline import Observer
from docmill.processes import Abort
from docmill.request import ConvertRequest
from docmill.settings import Settings
from docmill.workspace import Workspace, make_folder


def run(arguments: argparse.Namespace) -> int:
    """Convert each source into a folder, several at once, where one that fails does not stop the others; or
    merge them into a PDF."""
    settings = Settings.from_env()
    if arguments.target == STANDARD_STREAM and len(arguments.sources) > 1:
        raise InvalidJobData("several sources cannot go to standard output", hint="name a file or folder")
    interrupts = Interrupts()
    with _streams(arguments, settings) as request:
        requests = _split(request, arguments.target, settings)
        if arguments.direct:
            results = _direct(arguments, requests, settings, interrupts)
        else:
            from docmill.cli.flowrun import convert_with_prefect

            results = convert_with_prefect(arguments, requests, settings, interrupts)
        with closing(results):
            code = _report_all(arguments, results, _names(arguments, requests))
    interrupts.release()
    with suppress(KeyboardInterrupt):  # all is done
        clean_daily(settings)
    return code


def _split(request: ConvertRequest, target: str, settings: Settings) -> list[ConvertRequest]:
    """The jobs that the command line asks for."""
    targets.refuse_misleading_name(request)
    if targets.is_folder(target):
        names = [_file_name(source, settings) for source in request.sources]
        return [
            replace(request, sources=(source,), document_name=name)
            for source, name in zip(request.sources, _output_names(names, target), strict=True)
        ]
    if len(request.sources) == 1:
        return [request]
    # A folder's name that was mistyped must not become a file of them all.
    if targets.target_of(request).format is not PDF or not target.lower().endswith(".pdf"):
        raise InvalidJobData(
            f"several sources need a target folder or a PDF, and '{target}' is neither",
            hint="end a folder's name with /, that of a PDF of them all with .pdf",
        )
    return [request]


def _file_name(source: str, settings: Settings) -> str:
    """What a source is called, as far as that can be told before it is loaded."""
    if is_hidden(source):
        return source
    document_id = document_id_of(source)
    if document_id is None:
        return parse_location(source).name
    try:
        return Workspace(settings).cache().get(document_id).name
    except DocmillError:  # to be told as its job's failure
        return document_id


def _output_names(names: Sequence[str], target: str) -> list[str | None]:
    """The documents' names where sources go into one folder: their own (None), with the ending where sources
    differ only in that. Raises `InvalidJobData` where two would have the same output."""
    stems = Counter(Path(name).stem for name in names)
    wanted = [name if stems[Path(name).stem] > 1 else None for name in names]
    uses = Counter(name or Path(own).stem for name, own in zip(wanted, names, strict=True))
    for name, own in zip(wanted, names, strict=True):
        if uses[name or Path(own).stem] > 1:
            raise InvalidJobData(
                f"two sources named '{own}' would have the same output in '{target}'",
                hint="convert them into different folders",
            )
    return wanted


def _direct(
    arguments: argparse.Namespace,
    requests: list[ConvertRequest],
    settings: Settings,
    interrupts: Interrupts,
) -> Results:
    if len(requests) == 1:
        # In this thread, where an interrupt ends at once whatever it waits for.
        yield requests[0], _alone(arguments, requests[0], settings, interrupts)
        return
    abort = Abort()
    threads = Threads(at_once(settings))

    def convert(request: ConvertRequest, observer: Observer) -> Result:
        try:
            pipeline.refuse_aborted(abort)
            return pipeline.convert_document(request, settings, observer=observer, abort=abort)
        except DocmillError as error:
            return error

    yield from side_by_side(
        arguments,
        requests,
        start=lambda request, observer: threads.call(lambda: convert(request, observer)),
        stop=abort.set,
        interrupts=interrupts,
    )


def _alone(
    arguments: argparse.Namespace, request: ConvertRequest, settings: Settings, interrupts: Interrupts
) -> Result:
    # What goes to standard output is still to be copied there, which may take as long as its reader likes.
    hold = (lambda: None) if arguments.target == STANDARD_STREAM else interrupts.hold
    with display_for(arguments) as display:
        try:
            return pipeline.convert_document(request, settings, observer=display, before_commit=hold)
        except DocmillError as error:
            return error


def _names(arguments: argparse.Namespace, requests: Sequence[ConvertRequest]) -> dict[str, str]:
    """What each of several sources is called: standard input is a file in scratch by now."""
    if len(requests) < 2:
        return {}
    sources = [request.sources[0] for request in requests]
    given = zip(sources, arguments.sources, strict=True)
    return {source: STANDARD_STREAM if word == STANDARD_STREAM else source for source, word in given}


def _report_all(arguments: argparse.Namespace, results: Results, named: Mapping[str, str]) -> int:
    """`named` says what each of several sources is called."""
    codes = []
    for request, result in results:
        source = named.get(request.sources[0], "")
        if isinstance(result, DocmillError):
            codes.append(report(result, arguments, source))
            continue
        codes.append(EXIT_WITH_ERRORS if result.failures else 0)
        if arguments.json:
            values = {"source": source} if source else {}
            print(json.dumps(values | result.to_dict(), ensure_ascii=False), flush=True)
            continue
        for failure in result.failures:
            print(error_line(wording.describe_failure(failure), source), file=sys.stderr)
        for note in () if arguments.quiet else result.notes:
            print(printable(f"docmill: note: {note}"), file=sys.stderr)
    return overall_code(codes)


def _place(name: str) -> str:
    return name if name == STANDARD_STREAM else from_root(name)


@contextmanager
def _streams(arguments: argparse.Namespace, settings: Settings) -> Iterator[ConvertRequest]:
    """The request of the command line, standard input and output being files in it."""
    request = ConvertRequest(
        sources=tuple(map(_place, arguments.sources)),
        target=_place(arguments.target),
        to=arguments.to,
        options=convert_options(arguments),
        overwrite=arguments.overwrite,
        password=password_reference(arguments),
    )
    if STANDARD_STREAM not in (*request.sources, request.target):
        yield request
        return
    if request.target == STANDARD_STREAM:
        if not request.to:
            raise InvalidJobData("standard output has no ending to tell the format", hint="name it: --to pdf")
        if arguments.json:
            raise InvalidJobData("--json and the document cannot both go to standard output")
    work = Workspace(settings)
    try:
        folder = make_folder(work, work.root)
        if STANDARD_STREAM in request.sources:
            spool = folder / "stdin"
            limits = LoadLimits.from_settings(settings)
            with wakeful(sys.stdin) as stream:
                spool_stream(stream, spool, limits, shown="standard input")
            request = replace(
                request, sources=tuple(str(spool) if s == STANDARD_STREAM else s for s in request.sources)
            )
        if request.target != STANDARD_STREAM:
            yield request
            return
        output = make_folder(work, folder / "stdout")
        name = f"stdout.{targets.target_of(request).format.extension}"
        yield replace(request, target=str(output / name), one_file=True)
        for path in output.iterdir():  # one, which the job may have another name for
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
    finally:
        work.remove()
