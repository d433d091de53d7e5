"""Publish to stores that are not local."""

from __future__ import annotations

from collections.abc import Callable

from docmill.documents.publish import Order, Staged
from docmill.documents.uris import Location
from docmill.errors import InvalidJobData, Phase


def stage_remote(order: Order, location: Location, *, allow_non_atomic: bool) -> Staged:
    """Stage for a store; refused where a reader could see half a file."""
    raise InvalidJobData(
        f"docmill cannot publish to '{location.shown}'", hint="name a local file", phase=Phase.PUBLISH
    )


def sweep_remote(location: Location, is_alive: Callable[[str], bool]) -> int:
    """Remove what died runs left; see `publish.sweep_stale`."""
    return 0
