"""The README names what there is: every setting, and commands and options that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from docmill import __version__
from docmill.cli.parser import build_parser
from docmill.settings import Settings, variable

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FOLDERS_READMES = ["benchmarks/README.md", "tests/corpus/README.md", "tests/data/README.md"]
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


def test_no_command_writes_over_what_one_before_it_wrote():
    # Who runs them in order is refused by the second one.
    parsed = [build_parser(__version__).parse_args(shlex.split(line)[1:]) for line in COMMANDS
              if line.startswith("docmill convert")]  # fmt: skip
    targets = [each.target for each in parsed if each.target not in {"-", "scan.pdf"}]
    assert len(targets) == len(set(targets))


def test_setup_installs_the_extras_and_takes_no_other_word():
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    usage = f"usage: scripts/setup [--test] {' '.join(f'[{extra}]' for extra in extras)}\n"
    for word in ("--help", "postgress"):
        ran = subprocess.run([ROOT / "scripts/setup", word], capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (2, usage)
    told = set(re.findall(r"`scripts/setup (\w+)`", README))
    assert told == set(extras)


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", *FOLDERS_READMES])
def test_links_lead_somewhere(document):
    path = ROOT / document
    for link in re.findall(r"\]\((?!http)([^)]+)\)", path.read_text()):
        name, _, heading = link.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), link
        assert not heading or heading in headings(linked), link


def headings(document):
    """The names that GitHub gives the headings of a document."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
