"""The `docmill` command. Each command's module is imported only when it runs, so that `--help` is quick."""

from __future__ import annotations

from docmill.cli.main import main

__all__ = ["main"]
