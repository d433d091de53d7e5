"""Processes forked by a worker, to use several cores where a library cannot do so in threads.

pdfium is not thread-safe, and Pillow's CCITT Group 4 encoder holds the GIL.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import struct
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NoReturn, TypeVar, overload

from docmill.errors import DocmillError
from docmill.processes import linux
from docmill.processes.failures import as_docmill_error, death
from docmill.processes.limits import allow_reserve, applied

T = TypeVar("T")
R = TypeVar("R")

_INDEX = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
# Items that a sibling is given at a time, so that it has work while the caller is busy with a result.
_AHEAD = 2


# fmt: off
@overload
def map_in_children(
    function: Callable[[T], R], items: Sequence[T], *, workers: int,
    page: Callable[[T], int] | None = None, errors: Literal["raise"] = "raise",
) -> Iterator[R]: ...
@overload
def map_in_children(
    function: Callable[[T], R], items: Sequence[T], *, workers: int,
    page: Callable[[T], int] | None = None, errors: Literal["yield"],
) -> Iterator[R | DocmillError]: ...
# fmt: on
def map_in_children(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    workers: int,
    page: Callable[[T], int] | None = None,
    errors: Literal["raise", "yield"] = "raise",
) -> Iterator[R | DocmillError]:
    """Yield `function(item)` in the order of `items`, worked out in up to `workers` forked processes.

    Forked from where the caller stands: `function` and `items` need not be picklable (a closure over an open
    document is fine, if each process may go on reading it), results must be; let large ones travel as files.
    Only a few results are held at a time, so memory stays flat. The processes inherit the worker's limits,
    each for itself, and die with it. Call it before starting threads; close the iterator to end it early.

    An exception of `function`, and the death of its process (`EngineCrashed`, `LimitExceeded`), comes out in
    its item's place as a `DocmillError` with the page that `page(item)` names: raised, or with
    `errors="yield"` as a value, after which the other items go on. With one worker, or one item, and
    `errors="raise"` nothing is forked.
    """
    if errors == "raise" and (workers <= 1 or len(items) <= 1):
        outcomes = (_outcome(function, item, page) for item in items)
    else:
        outcomes = _Pool(function, items, max(1, min(workers, len(items))), page).outcomes()
    with contextlib.closing(outcomes):
        for outcome in outcomes:
            if not isinstance(outcome, _Failed):
                yield outcome
            elif errors == "yield":
                yield outcome.error
            else:
                raise outcome.error


def _outcome(function: Callable[[T], R], item: T, page: Callable[[T], int] | None) -> R | _Failed:
    try:
        return function(item)
    except Exception as error:
        allow_reserve()
        number = page(item) if page else None
        failure = as_docmill_error(error, applied(), page=number)
        failure.page = failure.page or number
        return _Failed(failure)


@dataclass(frozen=True, slots=True)
class _Failed:
    error: DocmillError


class _Pool(Generic[T, R]):
    """The siblings at work on one list of items, and who has which."""

    def __init__(
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        workers: int,
        page: Callable[[T], int] | None,
    ) -> None:
        self.function = function
        self.items = items
        self.workers = workers
        self.page = page
        self.todo = deque(range(len(items)))
        self.done: dict[int, R | _Failed] = {}
        self.siblings: list[_Sibling] = []

    def outcomes(self) -> Generator[R | _Failed]:
        try:
            for wanted in range(len(self.items)):
                while wanted not in self.done:
                    self._hand_out(wanted)
                    self._collect()
                self._hand_out(wanted + 1)
                yield self.done.pop(wanted)
        finally:
            # All at once: each takes milliseconds to give its memory back.
            for sibling in self.siblings:
                sibling.kill()
            for sibling in self.siblings:
                sibling.end()

    def _hand_out(self, wanted: int) -> None:
        """Keep every sibling busy, but not too far ahead of the result that the caller waits for."""
        while self.todo and self.todo[0] < wanted + 2 * _AHEAD * self.workers:
            laziest = min(self.siblings, key=lambda sibling: len(sibling.assigned), default=None)
            if len(self.siblings) < self.workers and (laziest is None or laziest.assigned):
                laziest = _Sibling(self._work, self.siblings)
                self.siblings.append(laziest)
            if laziest is None or len(laziest.assigned) >= _AHEAD:
                return
            laziest.give(self.todo.popleft())

    def _work(self, index: int) -> R | _Failed:
        return _outcome(self.function, self.items[index], self.page)

    def _collect(self) -> None:
        """Wait for results; a sibling that died is the failure of the item that it was at."""
        poll = select.poll()
        for sibling in self.siblings:
            poll.register(sibling.results, select.POLLIN)
        ready = {fd for fd, _ in poll.poll()}
        for sibling in [sibling for sibling in self.siblings if sibling.results in ready]:
            answer = sibling.receive()
            if answer is None:
                self._bury(sibling)
            else:
                self.done[sibling.assigned.popleft()] = pickle.loads(answer)

    def _bury(self, sibling: _Sibling) -> None:
        self.siblings.remove(sibling)
        code = sibling.end()
        if sibling.assigned:
            index = sibling.assigned.popleft()
            number = self.page(self.items[index]) if self.page else None
            self.done[index] = _Failed(death(code, applied(), "converting", number))
        self.todo.extendleft(reversed(sibling.assigned))


class _Sibling:
    """A forked process that works on the items that it is given, one after the other."""

    def __init__(self, work: Callable[[int], object], others: Sequence[_Sibling]) -> None:
        self.assigned: deque[int] = deque()
        orders, self.orders = os.pipe()
        self.results, results = os.pipe()
        parent = os.getpid()
        # A SIGTERM that came within the fork would be lost: Python ignores what its hooks there raise.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self.pid = os.fork()
        if self.pid == 0:
            for fd in (
                self.orders,
                self.results,
                *(fd for other in others for fd in (other.orders, other.results)),
            ):
                os.close(fd)
            _serve(parent, orders, results, work)
        os.close(orders)
        os.close(results)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def give(self, index: int) -> None:
        self.assigned.append(index)
        try:
            os.write(self.orders, _INDEX.pack(index))
        except BrokenPipeError:
            # It has died; the end of its results tells.
            pass

    def receive(self) -> bytes | None:
        """The pickled outcome of the first item assigned; None where the process died over it."""
        header = _read_exactly(self.results, _LENGTH.size)
        return _read_exactly(self.results, *_LENGTH.unpack(header)) if header else None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Kill the process, unless it is dying already; its exit code, negative for a signal."""
        os.close(self.orders)
        os.close(self.results)
        self.kill()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _serve(parent: int, orders: int, results: int, work: Callable[[int], object]) -> NoReturn:
    code = os.EX_SOFTWARE
    try:
        linux.die_with_parent(parent)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        while order := _read_exactly(orders, _INDEX.size):
            body = _pickle(work(*_INDEX.unpack(order)))
            _write(results, _LENGTH.pack(len(body)))
            _write(results, body)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _pickle(outcome: object) -> bytes:
    try:
        return pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return pickle.dumps(_Failed(as_docmill_error(error, applied())))


def _read_exactly(fd: int, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        chunk = os.read(fd, min(size - len(data), 1 << 20))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
