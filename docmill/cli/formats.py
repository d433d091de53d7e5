"""`docmill formats`: the registry's table of conversions."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict

from docmill.engines.registry import conversions, missing


def run(arguments: argparse.Namespace) -> int:
    """Print what converts to what."""
    rows: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"to": [], "missing": []})
    titles = {}
    for source, target, spec in conversions():
        titles[source.name] = source.title
        absent = [f"{module} (extra {extra})" if extra else module for module, extra in missing(spec)]
        row = rows[source.name]
        if absent:
            row["missing"].extend(f"{target.name}: {name}" for name in absent)
        elif target.name not in row["to"]:
            row["to"].append(target.name)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    width = max(map(len, rows))
    for name, row in rows.items():
        print(f"{name:<{width}}  {titles[name]}")
        print(f"{'':<{width}}    to {', '.join(row['to']) or '-'}")
        for line in row["missing"]:
            print(f"{'':<{width}}    not installed: {line}")
    return 0
