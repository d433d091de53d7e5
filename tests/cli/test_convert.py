"""`docmill convert --direct`: what comes out, what is said, and the exit code of every kind of failure."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from docmill.errors import (
    EXIT_CODES,
    DestinationExists,
    DestinationForbidden,
    LimitExceeded,
    PrefectUnavailable,
    SourceNotFound,
)
from tests.support import check_pdf, page_count, pdfinfo, write_damaged_tiff


def test_a_scan_becomes_a_pdf_of_the_same_size(docmill, scan):
    result = docmill("convert", "scan.tif", "scan.pdf", "--direct")
    assert (result.code, result.out) == (0, "")
    assert "convert: 3 pages, tiff -> pdf" in result.err
    info = pdfinfo(docmill.folder / "scan.pdf")
    assert "Pages:           3" in info
    assert "Page size:       306 x 396 pts" in info
    check_pdf(docmill.folder / "scan.pdf")
    assert docmill.leftovers() == []


def test_json_is_for_programs(docmill, scan):
    result = docmill("convert", scan, "out.pdf", "--direct", "--json")
    outcome = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert outcome["page_count"] == 3
    assert outcome["output_bytes"] == (docmill.folder / "out.pdf").stat().st_size


def test_pages_and_title(docmill, scan):
    assert docmill("convert", scan, "out.pdf", "--direct", "--pages", "3,1", "--title", "Größe").code == 0
    assert "Title:           Größe" in pdfinfo(docmill.folder / "out.pdf")
    assert page_count(docmill.folder / "out.pdf") == 2


def test_what_exists_in_a_target_folder_is_named_before_the_work(docmill, scan):
    (docmill.folder / "out").mkdir()
    (docmill.folder / "out" / "scan.pdf").write_text("kept")

    result = docmill("convert", "scan.tif", "out/", "--to", "pdf", "--direct")

    assert result.code == EXIT_CODES[DestinationExists]
    assert "out/scan.pdf' exists already (choose another name, or give the option --overwrite)" in result.err
    assert "convert:" not in result.err


@pytest.mark.parametrize("name", ["page.pdf", "page.png"])
def test_a_source_in_its_target_folder_is_not_replaced(docmill, name):
    Image.new("L", (60, 60)).save(docmill.folder / name)
    before = (docmill.folder / name).read_bytes()

    result = docmill("convert", name, "./", "--to", name[-3:], "--direct", "--overwrite")

    assert result.code == 2
    assert "source and target are the same" in result.err
    assert (docmill.folder / name).read_bytes() == before


def test_a_source_may_be_given_as_a_reference(docmill, scan):
    result = docmill("convert", "env:SOURCE", "out.pdf", "--direct", SOURCE=scan.as_uri())
    assert result.code == 0, result.err


@pytest.mark.parametrize(
    "name", ["~nobody-has-this-name.tif", "-dash.tif", "100%25 #1?.tif", "new\nline\x1b[31m.tif"]
)
def test_a_file_may_have_any_name(docmill, scan, name):
    scan.rename(docmill.folder / name)

    for arguments in (["info", "--", name], ["convert", "--direct", "--", name, "./out.pdf"]):
        result = docmill(*arguments)
        assert result.code == 0, result.err
        assert "\x1b" not in result.out + result.err
        assert len(result.out.splitlines()) == (2 if arguments[0] == "info" else 0)
    assert (docmill.folder / "out.pdf").exists()


@pytest.mark.parametrize("arguments", [["info"], ["info", "--json"]])
def test_a_name_that_no_terminal_can_show_is_no_defect(docmill, scan, arguments):
    name = os.fsdecode(b"scan\xff.tif")
    scan.rename(docmill.folder / name)

    result = docmill(*arguments, name, "missing", PYTHONIOENCODING="utf-8:strict")

    assert result.code == 3
    assert "scan\\udcff.tif" in result.out


def test_a_data_folder_that_cannot_be_made_is_told_in_a_line(docmill, scan):
    (docmill.folder / "data").write_text("no folder")

    result = docmill(
        "convert", scan, "out.pdf", "--direct", "-q", DOCMILL_DATA_DIR=str(docmill.folder / "data")
    )

    assert result.code == EXIT_CODES[DestinationForbidden]
    assert len(result.err.splitlines()) == 1
    assert not (docmill.folder / "out.pdf").exists()


def test_a_user_without_a_home_is_told_what_to_set(docmill, scan):
    environment = {k: v for k, v in docmill.environment.items() if k not in ("HOME", "DOCMILL_DATA_DIR")}
    code = (
        "import os, pwd, sys\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "from docmill.cli.main import main\n"
        "sys.exit(main())"
    )

    def info(**more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-c", code, "info", "scan.tif"]
        return subprocess.run(
            command, cwd=docmill.folder, env=environment | more, capture_output=True, text=True, check=False
        )

    assert info().returncode == 2
    assert "set DOCMILL_DATA_DIR" in info().stderr
    assert info(DOCMILL_DATA_DIR=str(docmill.folder / "data")).returncode == 0


def test_a_tiff_under_another_name_is_still_a_tiff(docmill, scan):
    scan.rename(docmill.folder / "picture.png")
    result = docmill("convert", "picture.png", "out.pdf", "--direct")
    assert result.code == 0
    assert "TIFF, 3 pages" in result.err


def failing(docmill, *arguments: str | Path, **environment: str) -> tuple[str, str]:
    """The error's class and its line; checks what holds for every failure."""
    result = docmill("convert", *arguments, "--direct", "-q", **environment)
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("docmill: ")
    assert "Traceback" not in result.err
    assert result.out == ""
    assert docmill.leftovers() == []
    names = {code: cls.__name__ for cls, code in EXIT_CODES.items()}
    return names[result.code], lines[0]


def untouched(docmill, name: str = "out.pdf") -> bool:
    names = (name, f".{name}", ".docmill")
    return not any(path.name.startswith(names) for path in docmill.folder.iterdir())


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "CorruptDocument"),
        (b"This is a letter, not a picture.\n" * 20, "UnknownFormat"),
        (b"\x00\x01\x02\x03" * 100, "UnknownFormat"),
        (b"II*\x00\x08\x00\x00\x00\xff\xff", "CorruptDocument"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, "CorruptDocument"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "CorruptDocument"),
    ],
    ids=["empty", "text", "noise", "tiff-cut", "png-cut", "jpeg-cut"],
)
def test_what_is_no_picture_is_refused(docmill, content, error):
    (docmill.folder / "in.png").write_bytes(content)
    assert failing(docmill, "in.png", "out.pdf")[0] in {error, "UnknownFormat"}
    assert untouched(docmill)


def test_a_missing_source(docmill):
    assert failing(docmill, "nothing.tif", "out.pdf")[0] == "SourceNotFound"


def test_a_folder_is_no_source(docmill):
    (docmill.folder / "folder").mkdir()
    kind, line = failing(docmill, "folder", "out.pdf")
    assert kind in {"SourceNotFound", "InvalidJobData"}
    assert "folder" in line


def test_an_unreachable_host(docmill):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    kind, line = failing(docmill, f"http://127.0.0.1:{port}/scan.tif", "out.pdf")
    assert kind == "SourceUnavailable"
    assert f"127.0.0.1:{port}" in line


def test_an_unknown_target(docmill, scan):
    assert failing(docmill, scan, "out.xyz")[0] == "InvalidJobData"
    assert failing(docmill, scan, "out.pdf", "--to", "floppy")[0] == "InvalidJobData"


def test_a_pair_that_does_not_convert(docmill, scan):
    (docmill.folder / "letter.txt").write_text("hello\n" * 50)
    assert failing(docmill, "letter.txt", "out.pdf")[0] in {"UnknownFormat", "UnsupportedConversion"}


def test_a_destination_that_exists_is_kept(docmill, scan):
    target = docmill.folder / "out.pdf"
    target.write_text("mine")
    kind, line = failing(docmill, scan, "out.pdf")
    assert kind == "DestinationExists"
    assert "overwrit" in line
    assert target.read_text() == "mine"
    assert docmill("convert", scan, "out.pdf", "--direct", "-q", "--overwrite").code == 0
    assert page_count(target) == 3


def test_source_and_target_the_same(docmill, scan):
    before = scan.read_bytes()
    os.link(scan, docmill.folder / "link.pdf")
    for target in ("scan.tif", "./scan.tif", "link.pdf"):
        assert failing(docmill, "scan.tif", target, "--to", "pdf", "--overwrite")[0] == "InvalidJobData"
    assert scan.read_bytes() == before


@pytest.mark.parametrize(
    ("target", "words"), [("nowhere/out.pdf", "no folder"), ("/proc/out.pdf", "takes no files")]
)
def test_a_destination_that_cannot_be_written_is_told_before_the_work(docmill, scan, target, words):
    kind, line = failing(docmill, scan, target)
    assert kind == "DestinationForbidden"
    assert words in line
    # Not even the source was looked at.
    assert "nowhere.tif" not in failing(docmill, "nowhere.tif", target)[1]


def test_a_destination_that_exists_is_told_before_the_work(docmill, scan):
    (docmill.folder / "out.pdf").write_text("mine")
    assert failing(docmill, "nowhere.tif", "out.pdf")[0] == "DestinationExists"
    assert failing(docmill, "nowhere.tif", "out.pdf", "--overwrite")[0] == "SourceNotFound"
    # A file a page goes beside a file of that name, and may leave it alone.
    assert docmill("convert", scan, "out.pdf", "--overwrite", "--direct").code == 0
    (docmill.folder / "out.png").write_text("mine")
    assert docmill("convert", "out.pdf", "out.png", "--dpi", "10", "--direct").code == 0
    assert (docmill.folder / "out.png").read_text() == "mine"


def test_a_variable_that_is_not_set_is_no_folder(docmill, scan):
    # docmill convert scan.tif "$TARGET" --to pdf
    for arguments in ((scan, ""), ("", "out.pdf")):
        result = docmill("convert", *arguments, "--to", "pdf", "--direct")
        assert (result.code, "empty" in result.err) == (2, True), result.err
    assert not list(docmill.folder.glob("*.pdf"))


def test_an_ending_of_another_format_is_refused(docmill, scan):
    kind, line = failing(docmill, scan, "out.png", "--to", "pdf")
    assert kind == "InvalidJobData"
    assert "PNG" in line and "--to" in line


def test_a_folder_that_was_mistyped_becomes_no_file(docmill, scan):
    (docmill.folder / "b.tif").write_bytes(scan.read_bytes())
    assert failing(docmill, scan, "b.tif", "pdsf", "--to", "pdf")[0] == "InvalidJobData"
    assert not (docmill.folder / "pdsf").exists()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/null"])
def test_a_device_or_what_is_open_is_no_target(docmill, scan, name):
    kind, line = failing(docmill, scan, name, "--to", "pdf", "--overwrite")
    assert kind == "DestinationForbidden"
    assert line.endswith(
        f"'{name}' is a device or a pipe, which cannot be written at once "
        "(choose a file's name, or - for standard output)"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bad-page", "blank"], "--on-error"),
        (["--page-names", "##page##"], "--page-names has no meaning for one PDF"),
        (["--dither"], "there are --alpha, --author"),
    ],
)
def test_an_option_without_a_meaning_is_refused_by_its_name(docmill, scan, options, words):
    kind, line = failing(docmill, scan, "out.pdf", *options)
    assert kind == "InvalidJobData"
    assert words in line
    assert not list(docmill.cache.glob("documents/*"))


@pytest.mark.parametrize(
    ("which", "size", "option", "told"),
    [
        (resource.RLIMIT_FSIZE, 64 << 10, "-f", "the output is larger than the 64 KiB that it may be"),
        (resource.RLIMIT_AS, 400 << 20, "-v", "the engine needs more than the 400 MiB of memory that it may"),
    ],
)
def test_a_limit_that_docmill_was_started_under_is_told_as_that(docmill, which, size, option, told):
    Image.effect_noise((9000, 9000), 60).save(docmill.folder / "a.tif", compression="tiff_lzw")
    run = docmill.start(
        *("convert", "a.tif", "a.png", "--direct", "-q"),
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(which, (size, size)),
    )
    line = run.communicate(timeout=120)[1].decode()
    assert run.returncode == EXIT_CODES[LimitExceeded]
    assert line.startswith(f"docmill: {told}")
    assert line.endswith(f"(docmill was started under this limit, see `ulimit {option}`)\n")


def test_a_prefect_server_that_is_not_there_is_told_in_a_line(docmill, scan):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api"
        result = docmill("convert", scan, "out.pdf", PREFECT_API_URL=url)
    assert result.code == EXIT_CODES[PrefectUnavailable]
    assert len(result.err.splitlines()) == 1
    assert url in result.err and "PREFECT_API_URL" in result.err
    assert untouched(docmill)


def test_a_document_of_the_cache_becomes_a_file_again(docmill, scan):
    assert docmill("convert", scan, "out.pdf", "--direct").code == 0
    (record,) = docmill.cache.glob("documents/*/meta.json")
    document = f"docmill://{json.loads(record.read_text())['document_id']}"
    assert docmill("get", document).code == EXIT_CODES[DestinationExists]
    result = docmill("get", document, "copy.tif")
    assert (result.code, result.out.strip()) == (0, (docmill.folder / "copy.tif").as_uri())
    assert (docmill.folder / "copy.tif").read_bytes() == scan.read_bytes()
    assert (docmill.folder / "copy.tif").stat().st_nlink == 1
    assert docmill.raw("get", document.removeprefix("docmill://"), "-").stdout == scan.read_bytes()
    assert docmill("get", "docmill://nothing").code == EXIT_CODES[SourceNotFound]


def test_a_setting_that_was_mistyped_is_told(docmill, scan):
    result = docmill("info", scan, DOCMILL_MAX_SORCE_BYTES="1")
    assert result.code == 0
    assert "DOCMILL_MAX_SORCE_BYTES" in result.err and "DOCMILL_MAX_SOURCE_BYTES" in result.err


def test_a_page_too_large_names_the_setting(docmill, scan):
    kind, line = failing(docmill, scan, "out.pdf", DOCMILL_MAX_PAGE_PIXELS="1000")
    assert kind == "LimitExceeded"
    assert "DOCMILL_MAX_PAGE_PIXELS" in line
    assert untouched(docmill)


def test_a_source_too_large_names_the_setting(docmill, scan):
    kind, line = failing(docmill, scan, "out.pdf", DOCMILL_MAX_SOURCE_BYTES="100")
    assert kind == "LimitExceeded"
    assert "DOCMILL_MAX_SOURCE_BYTES" in line


def test_a_page_range_beyond_the_end(docmill, scan):
    kind, line = failing(docmill, scan, "out.pdf", "--pages", "2-9")
    assert kind == "InvalidJobData"
    assert "3 pages" in line


@pytest.fixture
def damaged(docmill) -> Path:
    """A TIFF of three pages of which the second cannot be decoded."""
    path = docmill.folder / "damaged.tif"
    write_damaged_tiff(path)
    return path


def test_a_page_that_cannot_be_decoded_fails_the_job(docmill, damaged):
    kind, line = failing(docmill, damaged, "out.pdf")
    assert kind == "CorruptDocument"
    assert "page 2" in line
    assert untouched(docmill)


def test_resume_converts_the_rest_and_says_so(docmill, damaged):
    result = docmill("convert", damaged, "out.pdf", "--direct", "--on-error", "resume")
    assert result.code == 3
    assert result.err.count("page 2") == 1
    assert page_count(docmill.folder / "out.pdf") == 2


def test_a_password_in_a_uri_is_refused_and_not_told(docmill):
    kind, line = failing(docmill, "http://me:hunter2@127.0.0.1/a.tif", "out.pdf")
    assert kind == "InvalidJobData"
    assert "hunter2" not in line


def test_names_that_are_no_text_go_into_folders_and_archives(docmill, scan):
    scan.rename(docmill.folder / os.fsdecode(b"b\xe4d.tif"))
    pngs = docmill("convert", os.fsdecode(b"b\xe4d.tif"), "pngs/", "--to", "png", "--direct")
    assert pngs.code == 0, pngs.err
    names = {os.fsencode(path.name) for path in (docmill.folder / "pngs").iterdir()}
    assert names == {b"b\xe4d.manifest.json", *(b"b\xe4d_Page(%d).png" % page for page in (1, 2, 3))}
    manifest = json.loads((docmill.folder / "pngs" / os.fsdecode(b"b\xe4d.manifest.json")).read_text())
    assert {os.fsencode(file["name"]) for file in manifest["files"]} < names
    packed = docmill("convert", os.fsdecode(b"b\xe4d.tif"), "out.zip", "--to", "png", "--direct")
    assert packed.code == 0, packed.err
    docmill("convert", os.fsdecode(b"b\xe4d.tif"), os.fsdecode(b"\xe4.zip"), "--to", "png", "--direct")
    with zipfile.ZipFile(docmill.folder / os.fsdecode(b"\xe4.zip")) as archive:
        assert archive.namelist() == ["__Page(1).png", "__Page(2).png", "__Page(3).png"]


def test_the_pages_of_a_percent_encoded_target_have_its_name(docmill, scan):
    target = (docmill.folder / "a b.png").as_uri()
    result = docmill("convert", "scan.tif", target, "--pages", "1-2", "--direct")
    assert result.code == 0, result.err
    assert {path.name for path in docmill.folder.glob("a*")} == {
        "a b_Page(1).png", "a b_Page(2).png", "a b.manifest.json"
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [("x.pdf", "--dpi", "abc"), (), ("x.pdf", "--on-error", "maybe")])
def test_wrong_usage_is_json_too_where_that_is_asked_for(docmill, scan, wrong):
    result = docmill("convert", scan, *wrong, "--json")
    answer = json.loads(result.out)
    assert (result.code, result.err, answer["exit_code"]) == (2, "", 2)
    assert answer["error"]["code"] == "InvalidJobData"
    plain = docmill("convert", scan, *wrong)
    assert (plain.code, plain.out) == (2, "")
    assert plain.err.startswith("usage: docmill convert [OPTION ...] SOURCE [SOURCE ...] TARGET\n")
    assert f"docmill convert: error: {answer['error']['message']}" in plain.err


@pytest.mark.parametrize(
    ("setting", "code"), [({"DOCMILL_CACHE_URL": "foo://bar"}, 2), ({"DOCMILL_DOCUMENT_TTL": "99999999d"}, 0)]
)
def test_strange_settings_are_no_defect(docmill, scan, setting, code):
    result = docmill("convert", scan, "out.pdf", "--direct", **setting)
    assert result.code == code, result.err
    assert ("foo://bar" in result.err) == (code == 2)


def test_what_libraries_warn_of_is_not_told(docmill, scan, http_server):
    source = http_server.serve("/a", scan.read_bytes(), **{"Content-Disposition": "filename=b.tif"})
    result = docmill("convert", source, "out/", "--to", "pdf", "--direct", "-q")
    assert (result.code, result.err) == (0, "")


def test_a_current_folder_that_is_gone(docmill, scan):
    command = f"mkdir gone; cd gone; rmdir ../gone; exec {sys.executable} -P -m docmill"
    for arguments, code in (
        (f"info {scan}", 0), ("info a.tif", 10), ("convert --direct a.tif b.pdf", 2),
        (f"convert --direct {scan} b.pdf", 2), (f"convert --direct {scan} {docmill.folder}/b.pdf", 0),
    ):  # fmt: skip
        done = subprocess.run(
            ["sh", "-c", f"{command} {arguments}"],
            cwd=docmill.folder, env=docmill.environment, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, (arguments, done.stderr)


@pytest.mark.parametrize("option", ["--password-env", "--password-file"])
def test_an_empty_reference_to_a_password_is_refused(docmill, scan, option):
    for command in (("info", scan), ("convert", scan, "out.pdf", "--direct")):
        result = docmill(*command, option, "")
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert "password" in result.err


def test_standard_input_among_several_sources_is_told_as_such(docmill, scan):
    run = docmill.start(
        *("convert", "-", scan, "out/", "--to", "pdf", "--direct", "--json"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    lines = run.communicate(b"This is a letter, not a picture.\n", timeout=60)[0].splitlines()
    assert [Path(json.loads(line)["source"]).name for line in lines] == ["-", Path(scan).name]
