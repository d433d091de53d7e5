"""The README names what there is: every setting, and commands and options that exist."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from docmill import __version__
from docmill.cli.parser import build_parser
from docmill.settings import Settings, variable

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].split("<")[0].strip().removeprefix("scripts/setup && .venv/bin/")
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]


def test_every_setting_is_told_and_no_other():
    told = set(re.findall(r"`(DOCMILL_[A-Z_]+)`", README))
    assert told == {variable(field.name) for field in fields(Settings)}


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("docmill ")])
def test_the_command_line_takes_what_the_readme_shows(line):
    arguments = shlex.split(line)[1:]
    assert build_parser(__version__).parse_args(arguments).command == arguments[0]


def test_the_two_commands_are_there():
    assert any(line.startswith("docmill convert tests/data/scan.tif") for line in COMMANDS)
    assert "scripts/test" in COMMANDS
    for script in ("scripts/setup", "scripts/test", "tests/data/scan.tif"):
        assert (ROOT / script).exists()


def test_links_lead_somewhere():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
