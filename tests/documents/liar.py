"""A store that lies about the size of what it holds."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class LiarFileSystem(fsspec.AbstractFileSystem):
    """The memory store, with sizes of 10 bytes, or of a million too many if the name ends in `?larger`."""

    protocol = "liar"

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        memory = MemoryFileSystem()
        size = memory.info(path.removesuffix("?larger"))["size"]
        return {"name": path, "type": "file", "size": size + 1_000_000 if path.endswith("?larger") else 10}

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        return MemoryFileSystem().open(path.removesuffix("?larger"), mode)
