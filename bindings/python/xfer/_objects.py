"""Objects that moved, for the sync and the asyncio interface alike, and content that came with its offer."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Sequence, Union

from ._abi import ffi, lib
from ._core import Operation
from ._errors import XferError, error
from ._link import Link, Offered
from ._memory import Buffer, Pinned, Writable

#: Called with content bytes that moved, and how many there are (None: only the end tells). What it raises ends the connection.
Progress = Callable[[int, Union[int, None]], None]
#: Where to connect to: "192.0.2.1:4433", several of them, or pairs of a local address (or None) and a remote one. One path each.
Addresses = Union[str, Sequence[Union[str, "tuple[str | None, str]"]]]
#: BLAKE3 of content, 32 bytes; None where there is none.
Digest = Union[bytes, None]


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
