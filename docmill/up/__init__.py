"""`docmill up`: the Prefect server with its UI, a database, the deployments and workers, on this machine."""

from __future__ import annotations

from docmill.up.machine import Database, UpOptions, up

__all__ = ["Database", "UpOptions", "up"]
