"""Read from a coroutine of fsspec's event loop as from an ordinary iterator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from docmill.documents.local_files import CHUNK


def read_chunks(loop: Any, read: Callable[[int], Awaitable[bytes]]) -> Iterator[bytes]:
    """What `read(size)` gives, until it gives nothing, in pieces of about `CHUNK` bytes.

    The network hands out small pieces; they are put together in the loop, since each step into it and back
    costs a tenth of a millisecond.
    """
    from fsspec.asyn import sync

    async def fill() -> bytes:
        pieces, left = [], CHUNK
        while left > 0 and (piece := await read(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    while chunk := sync(loop, fill):
        yield chunk
