"""What travels over the pipe from a worker to its parent: frames of a kind, a length and a JSON value."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from typing import Any

MESSAGE, RESULT, ERROR, LOG, IMPORTED = b"M", b"R", b"E", b"L", b"I"

_HEADER = struct.Struct("<cI")
# 100,000 pages are about 20 MB of result; more is a worker gone wrong.
_LARGEST = 1 << 28


def write_frame(fd: int, kind: bytes, value: Any) -> None:
    """Write one frame; frames under PIPE_BUF (4 KiB) do not mix with those of other processes."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    data = memoryview(_HEADER.pack(kind, len(body)) + body)
    while data:
        data = data[os.write(fd, data) :]


class FrameReader:
    """Collects bytes as they come and hands out the frames that are whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (kind, JSON text) of each frame that `data` completes; raises `ValueError` on nonsense."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer)
            if kind not in (MESSAGE, RESULT, ERROR, LOG, IMPORTED) or length > _LARGEST:
                raise ValueError("no frame")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield kind, body
