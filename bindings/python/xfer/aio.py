"""The same for asyncio: engines and connections whose calls are awaited. The event loop watches the engine's eventfd.

    import asyncio, xfer, xfer.aio

    async def main():
        secret = xfer.secret()
        async with xfer.aio.Engine(listen="127.0.0.1:0") as here, xfer.aio.Engine() as there:
            receiver = here.admit(secret)
            async with there.connect(here.addresses, secret) as sender:
                sending = asyncio.create_task(sender.send(b"content" * 1000, "name"))
                received = await receiver.recv()
                await sending

    asyncio.run(main())

    async with xfer.aio.connect(link) as client:
        first, second = await asyncio.gather(client.cat("a", 0, 100), client.cat("b", -100))

An engine belongs to the loop that it was opened in, and to that loop's thread. Cancelling a call that moves an object ends its connection,
since an object cannot be taken back alone; cancelling one that only waits for the next object ends nothing.
"""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import AsyncIterator, Callable, Iterable, Sequence, TypeVar

from ._abi import lib
from ._core import Core, Operation
from ._errors import BusyError, XferError
from ._link import Link
from ._memory import Readable, Writable
from ._objects import (
    PATIENCE, PROGRESS, ConnectionBase, EngineBase, Moved, OfferBase, Progress, Received, ended, opened, outcome, part_of,
)  # fmt: skip
from ._ranges import Range, plain, rooms, steps_of
from .client import Entry, Handle, Listing, Reading

T = TypeVar("T")


class _Loop:
    """An engine in its event loop: whoever waits is woken when something was told."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._fd = core.eventfd()
        self.loop.add_reader(self._fd, self._read)

    def _read(self) -> None:
        self.core.take(0)
        self._wake()

    def _wake(self) -> None:
        for future in [future for future, is_over in self._waiting.items() if is_over()]:
            del self._waiting[future]
            if not future.done():
                future.set_result(None)

    async def until(self, is_over: Callable[[], bool], timeout: float | None = None) -> bool:
        """Waits until something is so, at most `timeout` seconds; whether it is."""
        if is_over():
            return True
        future = self.loop.create_future()
        self._waiting[future] = is_over
        try:
            await asyncio.wait_for(future, timeout)
        except asyncio.TimeoutError:
            return is_over()
        finally:
            self._waiting.pop(future, None)
        return True

    async def close(self) -> None:
        """Closes the engine, and wakes those who wait."""
        self.loop.remove_reader(self._fd)
        closing = self.loop.run_in_executor(None, self.core.close)
        while not closing.done():
            await asyncio.wait([closing], timeout=0.05)
            self._wake()
        closing.result()


class _Connection(ConnectionBase):
    """What both directions have."""

    def __init__(self, loop: _Loop, link: Link) -> None:
        super().__init__(link)
        self._loop = loop

    async def wait_connected(self, timeout: float | None = None) -> None:
        """Waits for the other end. Raises TimeoutError after `timeout` seconds, UnreachableError where no path answered or nobody came."""
        link = self._link
        if not await self._loop.until(lambda: link.connected or link.finished, timeout):
            raise TimeoutError(f"the other end was not there after {timeout} s")
        if not link.connected:
            raise ended(link)

    async def close(self) -> None:
        """Ends the connection if it has not, and gives its handle back. May be called again."""
        self._link.cancel()
        await self._loop.until(self._link.may_close, PATIENCE)
        self._link.close_handle()

    async def _completed(self, operation: Operation, total: int | None, progress: Progress | None) -> Moved:
        """Waits for an operation; where waiting ends early, the connection is ended so that its memory is free again."""
        try:
            before = self._link.statistics()["bytes"] if progress else 0
            step = None if progress is None else PROGRESS
            while not await self._loop.until(lambda: operation.done, step):
                if progress is not None:
                    progress(self._link.statistics()["bytes"] - before, total)
            if progress is not None and operation.error is None:
                progress(operation.bytes, total)
        except BaseException:
            self._link.cancel("the wait for it was ended")
            await self._loop.until(lambda: operation.done, PATIENCE)
            raise
        return outcome(operation)


class Sender(_Connection):
    """A connection that objects are sent over. Leaving its `async with` block finishes it and waits until all has arrived; an exception ends it."""

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                await self.finish()
        finally:
            await self.close()

    async def send(self, data: Readable, name: str = "object", *, progress: Progress | None = None) -> Moved:
        """Sends memory as one object; as `xfer.Sender.send`. Several may be awaited at once."""
        operation = await self._started(lambda: self._link.send(data, name))
        total = operation.pinned.length if operation.pinned else None
        return await self._completed(operation, total, progress)

    async def send_file(
        self, file: str | os.PathLike[str] | int, name: str | None = None, *, offset: int = 0, length: int | None = None,
        progress: Progress | None = None,
    ) -> Moved:  # fmt: skip
        """Sends a range of a regular file; as `xfer.Sender.send_file`."""
        with opened(file, os.O_RDONLY) as fd:
            called, size = part_of(file, fd, name, offset, length)
            operation = await self._started(lambda: self._link.send_file(fd, called, offset, size))
        return await self._completed(operation, size, progress)

    async def send_stream(self, fd: int, name: str = "object", *, progress: Progress | None = None) -> Moved:
        """Sends what comes from a pipe or socket until its end. Nothing can follow on this connection."""
        operation = await self._started(lambda: self._link.send_stream(fd, name))
        return await self._completed(operation, None, progress)

    async def finish(self) -> None:
        """Says that no object follows, and waits until all have ended. Raises XferError where the connection failed."""
        if not self._link.finished:
            self._link.finish()
        await self._loop.until(self._link.may_close)
        if self._link.error is not None:
            raise self._link.error

    async def _started(self, start: Callable[[], T]) -> T:
        """Starts something; while too many are outstanding, waits until one of them has ended."""
        while True:
            if self._link.finished:
                raise ended(self._link)
            try:
                return start()
            except BusyError as busy:
                if busy.status != lib.XFER_ERR_FULL:
                    raise
            outstanding = self._link.statistics()["outstanding"]
            await self._loop.until(lambda: self._link.finished or self._link.statistics()["outstanding"] < outstanding)


class Offer(OfferBase["Receiver"]):
    """An object that arrives and waits for an answer; as `xfer.Offer`."""

    async def recv(self, *, progress: Progress | None = None) -> Received:
        """Receives it into memory of its own; as `xfer.Offer.recv`."""
        data = self._room()
        moved = await self.recv_into(data, progress=progress)
        return Received(self.name, data, moved.digest)

    async def recv_into(self, data: Writable, *, progress: Progress | None = None) -> Moved:
        """Receives it into `data`; as `xfer.Offer.recv_into`."""
        begun = self._into(data)
        return begun if isinstance(begun, Moved) else await self._receiver._completed(begun, self.size, progress)

    async def recv_file(self, file: str | os.PathLike[str] | int, *, offset: int = 0, progress: Progress | None = None) -> Moved:
        """Receives it into a file, pipe or socket; as `xfer.Offer.recv_file`."""
        begun = self._into_file(file, offset)
        return begun if isinstance(begun, Moved) else await self._receiver._completed(begun, self.size, progress)


class Receiver(_Connection):
    """A connection that objects arrive on; as `xfer.Receiver`, with `async for`."""

    async def __aenter__(self) -> Receiver:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Offer]:
        while (offer := await self.next_offer()) is not None:
            yield offer
            if not offer.answered and not self._link.finished:
                offer.refuse()

    async def next_offer(self) -> Offer | None:
        """The next object; None when the sender finished. Raises XferError where the connection failed."""
        link = self._link
        await self._loop.until(lambda: bool(link.offers) or link.finished)
        if link.offers:
            return Offer(self, link.offers.popleft())
        if link.error is not None:
            raise link.error
        return None

    async def recv(self, *, progress: Progress | None = None) -> Received:
        """Receives the next object into memory of its own. Raises EOFError when the sender finished."""
        return await (await self._next()).recv(progress=progress)

    async def recv_into(self, data: Writable, *, progress: Progress | None = None) -> Moved:
        """Receives the next object into `data`. Raises EOFError when the sender finished."""
        offer = await self._next()
        try:
            return await offer.recv_into(data, progress=progress)
        finally:
            if not offer.answered:
                self._link.offers.appendleft(offer._offered)

    async def _next(self) -> Offer:
        offer = await self.next_offer()
        if offer is None:
            raise EOFError("the sender finished")
        return offer


class Engine(EngineBase[Sender, Receiver]):
    """As `xfer.Engine`, in an event loop: open it with `async with`."""

    def __init__(self, listen: str | Sequence[str] = (), *, workers: int = 0, memory_max: int = 0, busy: bool = False) -> None:
        """Opens it; arguments and errors as of `xfer.Engine`. To be called while the loop runs."""
        super().__init__(listen, workers, memory_max, busy)
        self._loop = _Loop(self._core)

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def _sender(self, link: Link) -> Sender:
        return Sender(self._loop, link)

    def _receiver(self, link: Link) -> Receiver:
        return Receiver(self._loop, link)

    async def close(self) -> None:
        """Ends what is open and closes it, which takes up to some seconds. May be called again."""
        await self._loop.close()


class Client:
    """As `xfer.Client`, in an event loop: open it with `async with`. Calls may be awaited at once; ranges are read at once, the rest is done one
    after the other. Cancelling `ls`, `stat`, `get` or `put` ends all that the client does."""

    def __init__(self, link: str, *, timeout: float = 10) -> None:
        """Opens it; arguments and errors as of `xfer.Client`. To be called while the loop runs."""
        self._handle = Handle(link, timeout)
        self._loop = _Loop(self._handle.core)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def ls(self, path: str = "", *, recursive: bool = False) -> list[Entry]:
        """What is in a directory; as `xfer.Client.ls`."""
        return await self._listed(lib.XFER_OP_CLIENT_LIST, path, recursive)

    async def stat(self, path: str) -> Entry:
        """Describes a file or directory; as `xfer.Client.stat`."""
        return (await self._listed(lib.XFER_OP_CLIENT_STAT, path, False))[0]

    async def get(self, path: str, local: str | os.PathLike[str], *, recursive: bool = False) -> int:
        """Copies from the node to a local path; as `xfer.Client.get`."""
        operation = Operation(path)
        await self._completed(lib.XFER_OP_CLIENT_GET, path, os.fspath(local), recursive, operation)
        return operation.bytes

    async def put(self, local: str | os.PathLike[str], path: str, *, recursive: bool = False) -> int:
        """Copies from a local path to the node; as `xfer.Client.put`."""
        operation = Operation(path)
        await self._completed(lib.XFER_OP_CLIENT_PUT, path, os.fspath(local), recursive, operation)
        return operation.bytes

    async def cat(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Content of a file, or a range of it; as `xfer.Client.cat`. Cancelling it ends nothing else."""
        steps = steps_of(path, start, end)
        try:
            offset, length = next(steps)
            while True:
                room = bytearray(length)
                part = await self._reading(path, offset, room)
                await self._loop.until(lambda: part.done)
                if part.error is not None:
                    raise plain(part.error)
                offset, length = steps.send((bytes(memoryview(room)[: part.bytes]), part.version))
        except StopIteration as done:
            return bytes(done.value)

    async def cat_ranges(self, ranges: Iterable[Range]) -> list[bytes | XferError]:
        """Many ranges at once; as `xfer.Client.cat_ranges`. Cancelling it ends nothing else."""
        pending = [(room, await self._reading(path, start, room)) for path, start, room in rooms(ranges)]
        await self._loop.until(lambda: all(operation.done for _, operation in pending))
        return [operation.error or bytes(memoryview(room)[: operation.bytes]) for room, operation in pending]

    async def close(self) -> None:
        """Ends what it does and closes it. May be called again."""
        await self._loop.close()

    async def _reading(self, path: str, offset: int, room: bytearray) -> Reading:
        while True:
            operation = self._handle.try_read(path, offset, room)
            if isinstance(operation, Reading):
                return operation
            await self._loop.until(operation)

    async def _listed(self, kind: int, path: str, recursive: bool) -> list[Entry]:
        listing = Listing(path)
        await self._completed(kind, path, None, recursive, listing)
        return listing.entries

    async def _completed(self, kind: int, path: str, local: str | None, recursive: bool, operation: Operation) -> None:
        self._handle.start(kind, path, local, recursive, operation)
        try:
            await self._loop.until(lambda: operation.done)
        except BaseException:
            self._handle.cancel()
            await self._loop.until(lambda: operation.done, PATIENCE)
            raise
        if operation.error is not None:
            raise operation.error


def connect(link: str, *, timeout: float = 10) -> Client:
    """A client of the node with that link; see `Client`."""
    return Client(link, timeout=timeout)
