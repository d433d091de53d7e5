"""A line to a Prefect server on which requests fail as a test says; WebSockets pass."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from servers import PrefectServer


@dataclass
class Failure:
    """What is to fail: the next `times` requests of this method and path with this in their body.

    The server never hears of them, and the answer is 500.
    """

    method: str
    path: str
    body: str = ""
    times: int = 1

    def takes(self, method: str, path: str, body: bytes) -> bool:
        if not self.times or method != self.method:
            return False
        if not re.search(self.path, path) or self.body.encode() not in body:
            return False
        self.times -= 1
        return True


class FailingLine:
    """Carries requests to `port`, but for those that `failures` tells of."""

    def __init__(self, port: int) -> None:
        self.failures: list[Failure] = []
        self.port = 0
        self._target = port
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, daemon=True).start()
        self._ready.wait()

    def fail(self, failure: Failure) -> Failure:
        self.failures.append(failure)
        return failure

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        rest = asyncio.all_tasks(self._loop)
        for task in rest:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._carry_one(reader, writer):
                pass
        writer.close()

    async def _carry_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether another may follow on this connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        if any(failure.takes(method, path, body) for failure in self.failures):
            writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
            return True
        upgrade = re.search(rb"(?i)\r\nupgrade:", head)
        if not upgrade:
            head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
            head = head[:-2] + b"Connection: close\r\n\r\n"
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        far_writer.write(head + body)
        ways = [_pipe(far_reader, writer)] + ([_pipe(reader, far_writer)] if upgrade else [])
        await asyncio.gather(*ways, return_exceptions=True)
        far_writer.close()
        return False


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()
    sink.close()


@contextmanager
def failing_line(server: PrefectServer) -> Iterator[tuple[FailingLine, PrefectServer]]:
    """The line, and the server as it is seen through it."""
    line = FailingLine(urlsplit(server.url).port or 0)
    try:
        yield line, replace(server, url=f"http://127.0.0.1:{line.port}/api")
    finally:
        line.close()
