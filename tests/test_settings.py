"""Settings come from DOCMILL_... variables, with units, and a wrong one is refused by name."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from docmill.errors import InvalidJobData
from docmill.settings import Settings, variable


def test_defaults_need_no_environment():
    settings = Settings.from_env({})
    assert settings.cache_location == str(settings.data_dir / "cache")
    assert settings.default_dpi == 300


@pytest.mark.parametrize(
    ("text", "value"),
    [("1000", 1000), ("2 GiB", 2 << 30), ("1.5MB", 1_500_000), ("64k", 64 << 10), ("1_000", 1000)],
)
def test_sizes_take_units(text, value):
    assert Settings.from_env({"DOCMILL_MAX_SOURCE_BYTES": text}).max_source_bytes == value


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("12 h", 43200), ("7d", 604800), ("250ms", 0.25)])
def test_times_take_units(text, value):
    assert Settings.from_env({"DOCMILL_DOCUMENT_TTL": text}).document_ttl == value


def test_paths_are_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Settings.from_env({"DOCMILL_SCRATCH_DIR": "here"}).scratch_dir == tmp_path / "here"
    assert Settings.from_env({"DOCMILL_SCRATCH_DIR": "~/x"}).scratch_dir == Path.home() / "x"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MAX_SOURCE_BYTES", "many"),
        ("MAX_SOURCE_BYTES", "5 parsec"),
        ("ENGINE_WALL_SECONDS", "-1"),
        ("ALLOW_NON_ATOMIC_PUBLISH", "perhaps"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(name, text):
    with pytest.raises(InvalidJobData, match=f"DOCMILL_{name}={re.escape(text)}"):
        Settings.from_env({f"DOCMILL_{name}": text})


def test_every_setting_says_what_it_is_for():
    for field in fields(Settings):
        assert field.metadata["doc"], variable(field.name)
