"""What `docmill up` does before its parts start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from docmill.errors import DocmillError
from docmill.jobs.local import NOTE, Running
from docmill.settings import Settings
from docmill.up import machine
from docmill.up.machine import Database, UpOptions, up


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "data" / "prefect").mkdir(parents=True)
    return replace(Settings.from_env(), data_dir=tmp_path / "data")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What to do in the moment in which the parts start, in place of starting them."""
    then: list[Callable[[], None]] = []

    class Supervisor:
        def __init__(self, *arguments: object) -> None: ...

        def run(self, when_ready: object) -> None:
            for each in then:
                each()

    monkeypatch.setattr(machine, "Supervisor", Supervisor)
    return then


def test_a_note_of_one_that_was_killed_is_not_believed_while_the_next_one_starts(
    settings: Settings, started: list[Callable[[], None]]
) -> None:
    left = Running(pid=1, api_url="http://127.0.0.1:1/api", ui_url="u", database="", logs="", started="")
    left.write(settings.data_dir)
    told: list[str] = []

    def start_a_second() -> None:
        assert not (settings.data_dir / NOTE).exists()
        with pytest.raises(DocmillError) as refused:
            up(settings, UpOptions(port=0, database=Database.SQLITE), told.append)
        told.append(refused.value.message)

    started.append(start_a_second)
    up(settings, UpOptions(port=0, database=Database.SQLITE), told.append)
    assert f"docmill up is running on {settings.data_dir} already, and is just starting" in told


@pytest.mark.parametrize(
    ("database", "left", "told"),
    [
        (Database.SQLITE, "postgres", "from when PostgreSQL was used here"),
        (Database.POSTGRES, "prefect/prefect.db", "from when SQLite was used here"),
    ],
)
def test_jobs_of_the_other_database_are_not_lost_without_a_word(
    settings: Settings, started: list[Callable[[], None]], database: Database, left: str, told: str
) -> None:
    (settings.data_dir / left).mkdir()
    said: list[str] = []
    up(settings, UpOptions(port=0, database=database), said.append)
    assert any(told in line and str(settings.data_dir / left) in line for line in said)


def test_what_the_data_folder_holds_of_jobs_is_its_users_alone(
    settings: Settings, started: list[Callable[[], None]]
) -> None:
    (settings.data_dir / "logs").mkdir(mode=0o755)
    up(settings, UpOptions(port=0, database=Database.SQLITE), lambda line: None)
    for name in ("logs", "prefect"):
        assert (settings.data_dir / name).stat().st_mode & 0o777 == 0o700


def test_a_data_folder_that_is_a_file(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DocmillError, match="it is no folder"):
        up(replace(settings, data_dir=tmp_path / "file"), UpOptions(), lambda line: None)
