"""`docmill formats`: the registry's table of conversions."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from docmill.engines.registry import conversions, variants
from docmill.formats import BY_NAME, Format, missing_extra


@dataclass(slots=True)
class Row:
    """What one source format converts to, and what is to be installed first."""

    to: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def run(arguments: argparse.Namespace) -> int:
    """Print what converts to what."""
    rows: dict[str, Row] = defaultdict(Row)
    for source, target in conversions():
        row = rows[source.name]
        if missing := missing_extra(source):
            row.missing = [str(missing)]
        elif target.name not in row.to:
            row.to.append(target.name)
    if arguments.json:
        print(json.dumps({name: asdict(row) for name, row in rows.items()}, indent=2))
    else:
        _show(rows)
    return 0


def _show(rows: dict[str, Row]) -> None:
    """Sources that convert to the same in one paragraph, then what can be said of each target."""
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for name, row in rows.items():
        alike[tuple(row.to), tuple(row.missing)].append(name)
    for (to, absent), names in alike.items():
        print(_paragraph(BY_NAME[name].title for name in names))
        print(_paragraph(to or ["-"], "    to "))
        for line in absent:
            print(f"    {line}")
    targets = [BY_NAME[name] for name in dict.fromkeys(name for row in rows.values() for name in row.to)]
    print("\n--to takes, and a target's ending means:")
    for target in targets:
        print(_paragraph([target.name, *variants(target)], f"    {_endings(target):<14}"))
    print("    .zip          any of these with one file a page, and +zip: png+zip")


def _paragraph(names: Iterable[str], lead: str = "") -> str:
    # Names stay whole: a dash in one is no place to break a line.
    return textwrap.fill(
        ", ".join(names), 100, initial_indent=lead, subsequent_indent=" " * len(lead), break_on_hyphens=False
    )


def _endings(target: Format) -> str:
    return " ".join(f".{extension}" for extension in target.extensions[:2])
