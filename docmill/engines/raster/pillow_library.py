"""The libraries that Pillow has loaded, for what they can do and Pillow does not pass on."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# A function: its name, what it returns, what it takes.
Prototype = tuple[str, Any, tuple[Any, ...]]


def loaded_library(stem: str, prototypes: Iterable[Prototype]) -> Any:
    """The library of this process whose file is called `stem` and more, with these functions; None where
    there is none, as in a build of Pillow that it is a part of, or where it is too old for one of them."""
    maps = Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines()
    names = {line.split(maxsplit=5)[-1] for line in maps}
    found = next((name for name in sorted(names) if Path(name).name.startswith(stem)), None)
    try:
        library: Any = ctypes.CDLL(found) if found else None
        for name, result, arguments in prototypes if library else ():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return library
