"""`docmill up`: the Prefect server, its UI and workers on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from docmill.errors import InvalidJobData
from docmill.settings import Settings, expanded
from docmill.up.machine import Database, UpOptions, up


def run(arguments: argparse.Namespace) -> int:
    """Run everything until a signal asks to stop."""
    for name in ("workers", "limit", "port"):
        value = getattr(arguments, name)
        if value is not None and value < (1 if name == "limit" else 0):
            raise InvalidJobData(f"--{name} {value} is too small")
    if arguments.port is not None and arguments.port > 65535:
        raise InvalidJobData(f"--port {arguments.port} is beyond 65535, the last there is")
    settings = Settings.from_env()
    if arguments.data:
        settings = replace(settings, data_dir=expanded(arguments.data).absolute())
    options = UpOptions(
        port=arguments.port,
        workers=arguments.workers,
        limit=arguments.limit,
        database=Database(arguments.database),
    )
    up(settings, options, lambda line: print(f"docmill: {line}", file=sys.stderr, flush=True))
    return 0
