"""What the command says of itself comes from the tables that it obeys."""

from __future__ import annotations

import argparse
import importlib.util
import json
from dataclasses import fields

import pytest

from docmill.cli import formats
from docmill.cli.parser import UsageError, build_parser
from docmill.engines.registry import plan_route
from docmill.errors import EXIT_CODES, MissingExtra
from docmill.formats import PDF, Target
from docmill.options import ConvertOptions

HEAVY = ("prefect", "pydantic", "fsspec", "PIL", "asyncio", "rich", "numpy")


def test_help_lists_every_exit_code(docmill):
    result = docmill("--help")
    assert result.code == 0
    for error, code in EXIT_CODES.items():
        assert code == 2 or f"{code:>3}  {error.__name__}: " in result.out


def test_every_option_of_a_conversion_is_an_argument(docmill):
    text = docmill("convert", "--help").out
    for option in fields(ConvertOptions):
        assert f"--{option.name.replace('_', '-')}" in text


def test_the_options_of_a_conversion_are_listed_by_what_they_are_about(docmill):
    text = docmill("convert", "--help").out
    sections = text.split("\n\n")
    for option in fields(ConvertOptions):
        (section,) = [part for part in sections if part.startswith(f"{option.metadata['group']}:\n")]
        assert f"  --{option.name.replace('_', '-')}" in section


def test_wrong_usage_exits_with_2(docmill):
    assert docmill("convert", "only-one").code == 2
    assert docmill("fly").code == 2


@pytest.mark.parametrize(
    ("words", "sources", "target"),
    [
        ("convert a b --to pdf out/", ["a", "b"], "out/"),
        ("convert a --to pdf b --direct out/", ["a", "b"], "out/"),
        ("convert --direct -- -dash --to", ["-dash"], "--to"),
        ("convert a --to pdf -- -b out", ["a", "-b"], "out"),
        ("run a --to pdf out", "a", "out"),
        ("run a --to pdf", "a", None),
        ("get a --overwrite out", "a", "out"),
        ("info a --json b", ["a", "b"], None),
    ],
)
def test_options_may_stand_between_sources_and_target(words, sources, target):
    options = vars(build_parser("").parse_args(words.split()))
    assert next(options[name] for name in ("sources", "source", "document") if name in options) == sources
    assert options.get("target") == target


def test_a_word_too_many_is_told_with_the_usage_of_its_command():
    for words in ("run a b -- -c", "status a --user b --nonsense"):
        with pytest.raises(UsageError, match=r"unrecognized arguments: (-c|--nonsense)$") as told:
            build_parser("").parse_args(words.split())
        assert told.value.usage.startswith(f"usage: docmill {words.split()[0]} ")


def test_no_command_shows_the_help(docmill):
    result = docmill()
    assert result.code == 0
    assert "convert" in result.out


def test_formats_come_from_the_registry(docmill):
    assert "pdf" in json.loads(docmill("formats", "--json").out)["tiff"]["to"]
    assert "TIFF" in docmill("formats").out


def test_formats_say_what_is_to_be_installed_first(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pi_heif" else found(name))

    formats.run(argparse.Namespace(json=False))
    text = capsys.readouterr().out
    formats.run(argparse.Namespace(json=True))
    rows = json.loads(capsys.readouterr().out)

    wanted = f"reading HEIC needs pi-heif, which is not installed ({MissingExtra.how('heif')})"
    assert f"HEIC\n    to -\n    {wanted}\n" in text
    assert rows["heic"] == {"to": [], "missing": [wanted]}
    assert "pdf" in rows["avif"]["to"]
    with pytest.raises(MissingExtra, match="heif"):
        plan_route("image/heic", Target(PDF))


def test_the_light_commands_import_nothing_heavy(docmill, tmp_path):
    for arguments in (["--help"], ["formats"]):
        trace = docmill(*arguments, PYTHONPROFILEIMPORTTIME="1").err
        imported = {line.rsplit("|", 1)[-1].strip() for line in trace.splitlines()}
        assert not imported & set(HEAVY), arguments
