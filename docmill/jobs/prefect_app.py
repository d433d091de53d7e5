"""Prefect's server application, as docmill's server processes load it: quickly, and patient on SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docmill.garbage import none_while_loading

if TYPE_CHECKING:
    from fastapi import FastAPI


def prefect_app() -> FastAPI:
    """The application for uvicorn, of which a process has one. Its modules take 2 s of processor time."""
    with none_while_loading():
        from prefect.server.api.server import create_app
        from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
        from sqlalchemy import Engine, event

        app = create_app(final=True)
    if PREFECT_API_DATABASE_CONNECTION_URL.value().startswith("sqlite"):
        event.listen(Engine, "before_cursor_execute", _lock_at_the_beginning, retval=True)
    return app


def _lock_at_the_beginning(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    """Have a transaction on SQLite take the lock for writing when it begins, and wait for it.

    Prefect begins most of them without, reads, and only then writes. Where another connection has written
    meanwhile SQLite refuses at once, since what was read is stale (SQLITE_BUSY_SNAPSHOT); the server answers
    503, and its client asks again after two seconds. It was two thirds of the time of jobs side by side.
    """
    return ("BEGIN IMMEDIATE" if statement == "BEGIN DEFERRED" else statement), parameters
