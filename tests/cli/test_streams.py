"""Standard input, output and error as files of a command: limits, no room, no reader, closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docmill.errors import (
    EXIT_CODES,
    EXIT_PIPE,
    DestinationFull,
    LimitExceeded,
    SourceNotFound,
)
from tests.support import check_pdf


def test_standard_input_and_output(docmill, scan):
    done = docmill.raw("convert", "-", "-", "--to", "pdf", "--direct", "-q", stdin=scan.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"%PDF-")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_defect(docmill, scan, closed):
    command = f'"{sys.executable}" -P -m docmill convert scan.tif out.pdf --direct {closed}'

    done = subprocess.run(command, shell=True, cwd=docmill.folder, env=docmill.environment, check=False)

    assert done.returncode == 0
    check_pdf(docmill.folder / "out.pdf")


def test_standard_input_has_a_limit(docmill, scan):
    done = docmill.raw(
        "convert", "-", "out.pdf", "--direct", stdin=scan.read_bytes(), DOCMILL_MAX_SOURCE_BYTES="100"
    )
    assert done.returncode == EXIT_CODES[LimitExceeded]
    assert docmill.leftovers() == []


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["formats"], ["convert", "--help"]])
def test_text_that_finds_no_room_or_no_reader_is_a_failure(docmill, arguments):
    with Path("/dev/full").open("wb") as full:
        done = docmill.start(*arguments, stdout=full, stderr=subprocess.PIPE)
        told = done.communicate(timeout=60)[1]
    assert done.returncode == EXIT_CODES[DestinationFull]
    assert told == b"docmill: cannot write standard output: no space is left (free some space)\n"

    read, write = os.pipe()
    os.close(read)
    done = docmill.start(*arguments, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.communicate(timeout=60)[1], done.returncode) == (b"", EXIT_PIPE)


def test_a_log_that_finds_no_room_fails_no_job(docmill, scan):
    codes = []
    for arguments in (["convert", scan, "out.pdf", "--direct", "-v"], ["info", "missing"], ["nonsense"]):
        with Path("/dev/full").open("wb") as full:
            codes.append(docmill.start(*arguments, stderr=full).wait(60))
    assert codes == [0, EXIT_CODES[SourceNotFound], 2]
    check_pdf(docmill.folder / "out.pdf")


def test_standard_output_without_room_is_no_defect(docmill, scan):
    for arguments in (["info", scan], ["convert", scan, "-", "--to", "pdf", "--direct", "-q"]):
        with Path("/dev/full").open("wb") as full:
            done = docmill.start(*arguments, stdout=full, stderr=subprocess.PIPE)
            err = done.communicate(timeout=60)[1]
        assert done.returncode == EXIT_CODES[DestinationFull]
        assert b"standard output" in err


@pytest.mark.parametrize("options", [["--to", "png"], ["--to", "pdf", "--split", "1"],
                                     ["--to", "tiff", "--page-names", "p##page##"]])  # fmt: skip
def test_standard_output_takes_one_file(docmill, scan, options):
    done = docmill.raw("convert", "scan.tif", "-", *options, "--direct")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"3 files and not one" in done.stderr
    assert b"publish" not in done.stderr
    one = docmill.raw("convert", "scan.tif", "-", *options, "--pages", "2", "--direct")
    assert (one.returncode, len(one.stdout) > 100) == (0, True), one.stderr


def test_the_file_that_standard_input_is(docmill, scan):
    for name in ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "-"):
        with scan.open("rb") as file:
            shown = subprocess.run(
                [sys.executable, "-P", "-m", "docmill", "info", name],
                stdin=file,
                env=docmill.environment,
                capture_output=True,
                check=False,
            )
        assert (shown.returncode, shown.stderr) == (0, b"")
        assert b"TIFF (image/tiff), 3 pages" in shown.stdout
    assert docmill.raw("info", "-", stdin=scan.read_bytes()).stdout.startswith(b"stdin: TIFF")
    done = docmill.raw("convert", "/dev/stdin", "out.pdf", "--direct", stdin=scan.read_bytes())
    assert done.returncode == 0, done.stderr


def test_json_that_finds_no_room_is_told(docmill, scan):
    with Path("/dev/full").open("wb") as full:
        run = docmill.start(
            "convert", scan, "out.pdf", "--direct", "--json", stdout=full, stderr=subprocess.PIPE
        )
        error = run.communicate()[1]
    assert (run.returncode, error.count(b"\n")) == (52, 1)
    assert b"standard output: no space is left" in error


def test_a_reader_that_goes_away_is_no_defect(docmill, scan):
    run = docmill.start("info", *[scan] * 3, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdout.close()
    assert (run.stderr.read(), run.wait(60)) == (b"", EXIT_PIPE)
