"""When Python collects garbage in processes of docmill's own, which load Prefect and its many modules."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def none_while_loading() -> Iterator[None]:
    """Collect nothing while modules are loaded, nor look through them later: they are there to stay.

    A quarter of the time in which Prefect's server is loaded goes by looking for garbage, of which there is
    none. For a process of one's own, or a command, since it changes the whole of it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def collect_seldom() -> None:
    """For a server: a request leaves thousands of objects, few of them in cycles."""
    gc.set_threshold(50_000, 20, 50)
