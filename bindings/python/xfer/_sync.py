"""Engines and connections that wait: the interface for threads. `xfer.aio` is its twin for asyncio."""

from __future__ import annotations

import os
import time
from collections import deque
from types import TracebackType
from typing import Callable, Iterable, Iterator, Sequence, TypeVar

from ._core import Core, Operation
from ._errors import BusyError, check
from ._link import Link
from ._memory import Readable, Writable
from ._objects import (
    PATIENCE, PROGRESS, ConnectionBase, EngineBase, Moved, OfferBase, Progress, Received, ended, opened, outcome, part_of,
)  # fmt: skip
from ._abi import ffi, lib

T = TypeVar("T")

#: Seconds after which it is tried again whether a full connection takes more.
_FULL = 0.01
#: Objects that `Sender.send_many` submits with one call.
_BATCH = 256


class Pending:
    """An object on its way, of `Sender.submit`. Its memory is not to be changed until it has ended."""

    def __init__(self, core: Core, operation: Operation) -> None:
        self._core, self._operation = core, operation

    @property
    def done(self) -> bool:
        """Whether it has ended. It ends only while some thread waits for something of the engine, or calls `Engine.poll`."""
        return self._operation.done

    def result(self, timeout: float | None = None) -> Moved:
        """Waits for its end, at most `timeout` seconds.

        Raises:
            TimeoutError: it has not ended by then; it goes on.
            XferError: it failed.
        """
        if not self._core.wait(lambda: self._operation.done, timeout):
            raise TimeoutError(f"{self._operation.name} has not ended after {timeout} s")
        return outcome(self._operation)


class _Connection(ConnectionBase):
    """What both directions have."""

    def wait_connected(self, timeout: float | None = None) -> None:
        """Waits for the other end.

        Raises:
            TimeoutError: it was not there after `timeout` seconds.
            UnreachableError: no path answered, or nobody came; a wrong secret looks like that too.
        """
        link = self._link
        if not link.core.wait(lambda: link.connected or link.finished, timeout):
            raise TimeoutError(f"the other end was not there after {timeout} s")
        if not link.connected:
            raise ended(link)

    def news(self) -> list[tuple[str, str]]:
        """What happened on the way since the last call, as pairs: "path up", "path down" or "warning", and a text."""
        told = list(self._link.news)
        self._link.news.clear()
        return told

    def close(self) -> None:
        """Ends the connection if it has not, and gives its handle back. May be called again."""
        link = self._link
        link.cancel()
        link.core.wait(link.may_close, PATIENCE)
        link.close_handle()

    def _completed(self, operation: Operation, total: int | None, progress: Progress | None, timeout: float | None) -> Moved:
        """Waits for an operation; where waiting fails, the connection is ended so that its memory is free again."""
        link = self._link
        try:
            self._watched(operation, total, progress, timeout)
        except BaseException:
            link.cancel("the wait for it was ended")
            link.core.wait(lambda: operation.done, PATIENCE)
            raise
        return outcome(operation)

    def _watched(self, operation: Operation, total: int | None, progress: Progress | None, timeout: float | None) -> None:
        core, deadline = self._link.core, None if timeout is None else time.monotonic() + timeout
        before = self._link.statistics()["bytes"] if progress else 0
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            step = left if progress is None else min(PROGRESS, PROGRESS if left is None else left)
            if core.wait(lambda: operation.done, step):
                break
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{operation.name} has not ended after {timeout} s; the connection was ended")
            if progress is not None:
                progress(self._link.statistics()["bytes"] - before, total)
        if progress is not None and operation.error is None:
            progress(operation.bytes, total)


class Sender(_Connection):
    """A connection that objects are sent over. Leaving its `with` block finishes it and waits until all has arrived; an exception ends it."""

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.close()

    def send(
        self, data: Readable, name: str = "object", *, progress: Progress | None = None, timeout: float | None = None
    ) -> Moved:
        """Sends memory as one object, without a copy, and waits until the other application has it.

        Args:
            data: anything with the buffer protocol or DLPack, contiguous, of any shape and type: its bytes are sent. Not to be changed meanwhile.
            name: relative, components parted by "/", at most 4,095 bytes.
            progress: called every 0.1 s with content bytes that the connection moved since, and the object's.
            timeout: seconds.

        Raises:
            DigestError: the memory changed while it was sent; it was not delivered.
            RefusedError: the other application refused it.
            UnreachableError: the other end vanished.
            TimeoutError, KeyboardInterrupt, what `progress` raises: the connection is ended, since an object cannot be taken back alone.
        """
        operation = self._started(lambda: self._link.send(data, name))
        total = operation.pinned.length if operation.pinned else None
        return self._completed(operation, total, progress, timeout)

    def submit(self, data: Readable, name: str = "object") -> Pending:
        """Begins to send memory as one object, as `send` does, and returns at once; waits only while too many are outstanding."""
        return Pending(self._link.core, self._started(lambda: self._link.send(data, name)))

    def send_many(self, objects: Iterable[Readable | tuple[str, Readable]], *, more: bool = True) -> Iterator[Moved]:
        """Sends many objects in batches; yields each, in order, once it has arrived. Elements are contents, or pairs of name and content.

        With `more` objects of a few KiB may be named together, which is faster; the receiver answers for them together then.
        """
        waiting: deque[Operation] = deque()
        batch: list[tuple[str, Readable]] = []
        for item in objects:
            batch.append(item if isinstance(item, tuple) else ("object", item))
            while len(batch) + len(waiting) > self._link.depth:
                yield self._first(waiting)
            if len(batch) == min(_BATCH, self._link.depth):
                yield from self._batch(batch, waiting, more)
        while batch:
            yield from self._batch(batch, waiting, more)
        while waiting:
            yield self._first(waiting)

    def _batch(self, batch: list[tuple[str, Readable]], waiting: deque[Operation], more: bool) -> Iterator[Moved]:
        """Submits what is taken of a batch; the rest stays in it."""
        started = self._started(lambda: self._link.send_batch(batch, more))
        waiting.extend(started)
        del batch[: len(started)]
        while waiting and waiting[0].done:
            yield self._first(waiting)

    def _first(self, waiting: deque[Operation]) -> Moved:
        operation = waiting.popleft()
        return self._completed(operation, None, None, None)

    def send_file(
        self, file: str | os.PathLike[str] | int, name: str | None = None, *, offset: int = 0, length: int | None = None,
        progress: Progress | None = None, timeout: float | None = None,
    ) -> Moved:  # fmt: skip
        """Sends `length` bytes (None: all) of a regular file, by path or descriptor, from `offset` on. Errors as `send`, and OSError of the file."""
        with opened(file, os.O_RDONLY) as fd:
            called, size = part_of(file, fd, name, offset, length)
            operation = self._started(lambda: self._link.send_file(fd, called, offset, size))
        return self._completed(operation, size, progress, timeout)

    def send_stream(self, fd: int, name: str = "object", *, progress: Progress | None = None) -> Moved:
        """Sends what comes from a pipe or socket until its end. Nothing can follow on this connection."""
        operation = self._started(lambda: self._link.send_stream(fd, name))
        return self._completed(operation, None, progress, None)

    def finish(self, timeout: float | None = None) -> None:
        """Says that no object follows, and waits until all have ended.

        Raises:
            XferError: the connection failed.
        """
        link = self._link
        if not link.finished:
            link.finish()
        if not link.core.wait(link.may_close, timeout):
            raise TimeoutError(f"the connection has not ended after {timeout} s")
        if link.error is not None:
            raise link.error

    def _started(self, start: Callable[[], T]) -> T:
        """Starts something; while too many are outstanding, takes completions."""
        link = self._link
        while True:
            if link.finished:
                raise ended(link)
            try:
                return start()
            except BusyError as busy:
                if busy.status != lib.XFER_ERR_FULL:
                    raise
            link.core.step(_FULL)


class Offer(OfferBase["Receiver"]):
    """An object that arrives and waits for an answer: receive it, or refuse it. Those behind it wait too.

    Attributes:
        name: its name as the sender gave it. It is not to be trusted as a path.
        size: bytes; None where only its end tells.
        whole: its content, up to 1 KiB, is here already.
    """

    def recv(self, *, progress: Progress | None = None, timeout: float | None = None) -> Received:
        """Receives it into memory of its own; what has no size is received by `recv_file` only. Errors as `recv_into`."""
        data = self._room()
        moved = self.recv_into(data, progress=progress, timeout=timeout)
        return Received(self.name, data, moved.digest)

    def recv_into(self, data: Writable, *, progress: Progress | None = None, timeout: float | None = None) -> Moved:
        """Receives it into `data`, from its first byte on, without a copy, and waits until all of it is there and verified.

        Args:
            data: anything with the buffer protocol or DLPack, writable, contiguous, of at least `size` bytes.
            progress, timeout: as for `Sender.send`.

        Raises:
            ArgumentError: the memory is read-only, too small, not contiguous or in use. The offer still waits then.
            DigestError, UnreachableError, InterruptedTransferError: it is not all there, and nobody said that it is.
        """
        begun = self._into(data)
        return begun if isinstance(begun, Moved) else self._receiver._completed(begun, self.size, progress, timeout)

    def recv_file(
        self, file: str | os.PathLike[str] | int, *, offset: int = 0, progress: Progress | None = None, timeout: float | None = None
    ) -> Moved:
        """Receives it into a file, by path (made, or cut to nothing) or descriptor, from `offset` on; into a pipe or socket in order."""
        begun = self._into_file(file, offset)
        return begun if isinstance(begun, Moved) else self._receiver._completed(begun, self.size, progress, timeout)


class Receiver(_Connection):
    """A connection that objects arrive on. Iterating gives each as an `Offer`, which is to be answered before the next, until the sender finished."""

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Offer]:
        while True:
            offer = self.next_offer()
            if offer is None:
                return
            yield offer
            if not offer.answered and not self._link.finished:
                offer.refuse()

    def next_offer(self, timeout: float | None = None) -> Offer | None:
        """The next object; None when the sender finished.

        Raises:
            TimeoutError: none came within `timeout` seconds.
            XferError: the connection failed.
        """
        link = self._link
        if not link.core.wait(lambda: bool(link.offers) or link.finished, timeout):
            raise TimeoutError(f"no object came within {timeout} s")
        if link.offers:
            return Offer(self, link.offers.popleft())
        if link.error is not None:
            raise link.error
        return None

    def recv(self, *, progress: Progress | None = None, timeout: float | None = None) -> Received:
        """Receives the next object into memory of its own. Raises EOFError when the sender finished; else as `Offer.recv`."""
        return self._next(timeout).recv(progress=progress, timeout=timeout)

    def recv_into(self, data: Writable, *, progress: Progress | None = None, timeout: float | None = None) -> Moved:
        """Receives the next object into `data`. Raises EOFError when the sender finished; else as `Offer.recv_into`."""
        offer = self._next(timeout)
        try:
            return offer.recv_into(data, progress=progress, timeout=timeout)
        finally:
            if not offer.answered:
                self._link.offers.appendleft(offer._offered)

    def _next(self, timeout: float | None) -> Offer:
        offer = self.next_offer(timeout)
        if offer is None:
            raise EOFError("the sender finished")
        return offer


class Engine(EngineBase[Sender, Receiver]):
    """Threads, sockets and one completion queue. A process may have many. Leaving its `with` block closes it and what it has open.

    Any thread may use it. It does not live through a fork: in the child each call raises ForkedError.
    """

    def __init__(self, listen: str | Sequence[str] = (), *, workers: int = 0, memory_max: int = 0, busy: bool = False) -> None:
        """Opens it.

        Args:
            listen: addresses to receive on: "192.0.2.1:4433", "[::]:0". None for an engine that only connects.
            workers: threads, at most 8; 0 for one a core.
            memory_max: bytes of chunk buffers of each connection; 0 for 64 MiB.
            busy: workers spin while a connection lives, instead of sleeping.

        Raises:
            ArgumentError, XferError: an address is none, or cannot be bound.
        """
        super().__init__(listen, workers, memory_max, busy)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _sender(self, link: Link) -> Sender:
        return Sender(link)

    def _receiver(self, link: Link) -> Receiver:
        return Receiver(link)

    def poll(self, timeout: float = 0) -> None:
        """Takes what has happened, waiting at most `timeout` seconds: for `Pending.done` in a loop of one's own."""
        self._core.step(timeout)

    def close(self) -> None:
        """Ends what is open and closes it, which takes up to some seconds. May be called again."""
        self._core.close()


def secret() -> bytes:
    """32 random bytes of the kernel that admit one connection."""
    room = ffi.new(f"uint8_t[{lib.XFER_SECRET_BYTES}]")
    check(lib.xfer_secret(room))
    return bytes(ffi.buffer(room))
