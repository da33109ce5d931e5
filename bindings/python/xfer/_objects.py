"""Objects and connections, for the sync and the asyncio interface alike: values, and what its classes do without waiting."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Generic, Iterator, Literal, Sequence, TypeVar, Union, overload

from ._abi import ffi, lib
from ._core import Core, Operation
from ._errors import XferError, error
from ._link import Link, Offered, Options, Path
from ._memory import Buffer, Pinned, Writable

#: Called with content bytes that moved, and how many there are (None: only the end tells). What it raises ends the connection.
Progress = Callable[[int, Union[int, None]], None]
#: Where to connect to: "192.0.2.1:4433", several of them, or pairs of a local address (or None) and a remote one. One path each.
Addresses = Union[str, Sequence[Union[str, "tuple[str | None, str]"]]]
#: BLAKE3 of content, 32 bytes; None where there is none.
Digest = Union[bytes, None]
#: Seconds between two calls of a progress callback.
PROGRESS = 0.1
#: Seconds that an operation whose wait was ended may take to give its memory back.
PATIENCE = 10.0

S = TypeVar("S", bound="ConnectionBase")
R = TypeVar("R", bound="ConnectionBase")


@dataclass(frozen=True)
class Moved:
    """An object that moved: its name, its content bytes, and its digest, which content of up to 1 KiB has none of."""

    name: str
    bytes: int
    digest: Digest


@dataclass(frozen=True)
class Received:
    """An object that was received: as `Moved`, with its content."""

    name: str
    data: Buffer
    digest: Digest


def pairs_of(addresses: Addresses) -> list[tuple[str | None, str]]:
    """Pairs of a local and a remote address."""
    given: Sequence[Any] = [addresses] if isinstance(addresses, str) else addresses
    return [(None, pair) if isinstance(pair, str) else pair for pair in given]


def outcome(operation: Operation) -> Moved:
    """What became of an operation that has ended; raises what it failed by."""
    if operation.error is not None:
        raise operation.error
    return Moved(operation.name or "", operation.bytes, operation.digest)


def ended(link: Link) -> XferError:
    """Why a connection that has ended takes nothing more."""
    return link.error or error(lib.XFER_ERR_ENDED, "the connection has ended")


class ConnectionBase:
    """What connections of both directions have."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def connected(self) -> bool:
        """The other end was there."""
        return self._link.connected

    def statistics(self) -> dict[str, int]:
        """Counters by the names of `xfer_connection_counters` in xfer.h, as of at most 50 ms ago."""
        return self._link.statistics()

    def paths(self) -> list[Path]:
        """What is known of each path, as of at most 50 ms ago."""
        return self._link.paths()

    def cancel(self, why: str = "") -> None:
        """Ends the connection: what is outstanding fails with InterruptedTransferError, here and there."""
        self._link.cancel(why)


class OfferBase(Generic[R]):
    """An object that arrives at a receiver and waits for an answer."""

    def __init__(self, receiver: R, offered: Offered) -> None:
        self._receiver, self._offered = receiver, offered
        self.name, self.size, self.whole = offered.name, offered.size, offered.content is not None
        self.answered = False

    def refuse(self, why: str = "refused by the application") -> None:
        """Refuses it: it fails at the sender. What came with its offer is there already, and only forgotten."""
        if self._offered.content is None:
            self._receiver._link.refuse(self._offered, why)
        self.answered = True

    def _room(self) -> Buffer:
        """Memory for it."""
        if self.size is None:
            raise error(lib.XFER_ERR_ARGUMENT, "an object without a size cannot be received into memory", self.name)
        return Buffer(self.size)

    def _into(self, data: Writable) -> Moved | Operation:
        """Begins to receive it into memory; what came with its offer is there at once."""
        link, offered = self._receiver._link, self._offered
        begun: Moved | Operation = copied(offered, data) if offered.content is not None else link.accept(offered, data)
        self.answered = True
        return begun

    def _into_file(self, file: str | os.PathLike[str] | int, offset: int) -> Moved | Operation:
        """Begins to receive it into a file; what came with its offer is there at once."""
        link, offered = self._receiver._link, self._offered
        begun: Moved | Operation
        with opened(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as fd:
            begun = written(offered, fd, offset) if offered.content is not None else link.accept_file(offered, fd, offset)
        self.answered = True
        return begun


class EngineBase(Generic[S, R]):
    """An engine whose connections are an `S` where they send and an `R` where they receive."""

    def __init__(self, listen: str | Sequence[str], workers: int, memory_max: int, busy: bool) -> None:
        self._core = Core([listen] if isinstance(listen, str) else list(listen), workers, memory_max, busy)

    def _sender(self, link: Link) -> S:
        raise NotImplementedError

    def _receiver(self, link: Link) -> R:
        raise NotImplementedError

    @property
    def addresses(self) -> list[str]:
        """Addresses that it receives on, with their ports."""
        return self._core.addresses()

    def statistics(self) -> dict[str, int]:
        """Counters by the names of `xfer_engine_counters` in xfer.h."""
        return self._core.statistics()

    @overload
    def connect(self, addresses: Addresses, secret: bytes, *, receive: Literal[False] = False, options: Options = ...) -> S: ...
    @overload
    def connect(self, addresses: Addresses, secret: bytes, *, receive: Literal[True], options: Options = ...) -> R: ...
    def connect(self, addresses: Addresses, secret: bytes, *, receive: bool = False, options: Options = Options()) -> S | R:
        """Connects to an end that admits `secret` (32 bytes, for one connection), to send or with `receive` to receive. Does not wait.

        Raises:
            ArgumentError: an address, the secret or an option is wrong. That nobody answers is raised by the first call that waits.
        """
        link = Link(self._core, secret, not receive, pairs_of(addresses), options)
        return self._receiver(link) if receive else self._sender(link)

    @overload
    def admit(self, secret: bytes, *, send: Literal[False] = False, options: Options = ...) -> R: ...
    @overload
    def admit(self, secret: bytes, *, send: Literal[True], options: Options = ...) -> S: ...
    def admit(self, secret: bytes, *, send: bool = False, options: Options = Options()) -> S | R:
        """Admits one connection that knows `secret` (32 bytes), to receive or with `send` to send. Does not wait. Errors as `connect`."""
        link = Link(self._core, secret, send, None, options)
        return self._sender(link) if send else self._receiver(link)


def part_of(
    file: str | os.PathLike[str] | int, fd: int, name: str | None, offset: int, length: int | None
) -> tuple[str, int]:  # fmt: skip
    """Name and bytes of the part of a file that is sent as an object: those that were given, or the file's own."""
    size = os.fstat(fd).st_size - offset if length is None else length
    return name or ("object" if isinstance(file, int) else os.path.basename(os.fspath(file))), size


@contextmanager
def opened(file: str | os.PathLike[str] | int, flags: int) -> Iterator[int]:
    """A descriptor of a path, closed at the end, or one that was given, which is not."""
    if isinstance(file, int):
        yield file
        return
    fd = os.open(file, flags | os.O_CLOEXEC, 0o666)
    try:
        yield fd
    finally:
        os.close(fd)


def copied(offered: Offered, data: Writable) -> Moved:
    """Copies content that came with its offer to memory."""
    content = offered.content or b""
    pinned = Pinned(data, writable=True)
    try:
        if pinned.length < len(content):
            text = f"{pinned.length} bytes of memory for an object of {len(content)}"
            raise error(lib.XFER_ERR_ARGUMENT, text, offered.name)
        ffi.memmove(pinned.address, content, len(content))
    finally:
        pinned.release()
    return Moved(offered.name, len(content), None)


def written(offered: Offered, fd: int, offset: int) -> Moved:
    """Writes content that came with its offer to a file, or to a pipe or socket."""
    left = memoryview(offered.content or b"")
    total = len(left)
    seekable = _is_seekable(fd)
    while left:
        wrote = os.pwrite(fd, left, offset + total - len(left)) if seekable else os.write(fd, left)
        left = left[wrote:]
    return Moved(offered.name, total, None)


def _is_seekable(fd: int) -> bool:
    try:
        os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        return False
    return True
