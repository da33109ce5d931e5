"""What goes wrong, as exceptions: each derives from `XferError`, which is an `OSError`, and from the built-in that fits."""

from __future__ import annotations

import errno
from typing import Any

from ._abi import ffi, lib

#: How the library names the ends of a transfer at the start of a text.
_SIDES = ("src", "dst")


class XferError(OSError):
    """An operation of xfer failed.

    Attributes:
        status: the library's negative code, `XFER_ERR_...` of `xfer.h`.
        errno: the error number of the operating system, or the one that fits best.
        side: the end that failed, "src" or "dst"; None where it was neither or is not known.
        object: name of the object that failed; None where it was the connection or the call.
        cause: why, in words.
    """

    _errno = errno.EIO

    def __init__(self, status: int, cause: str, object: str | None = None, os_error: int = 0) -> None:
        super().__init__(os_error or self._errno, cause)
        self.status = status
        self.cause = cause
        self.object = object
        side = cause.partition(":")[0].partition(" ")[0]
        self.side = side if side in _SIDES else None
        self._os_error = os_error

    def __str__(self) -> str:
        named = f"{self.object}: " if self.object and self.object not in self.cause else ""
        return f"{named}{self.cause}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.cause, self.object, self._os_error)


class ArgumentError(XferError, ValueError):
    """An argument is wrong: an address, a name, memory that cannot be used."""

    _errno = errno.EINVAL


class ClosedError(XferError, BrokenPipeError):
    """The handle is closed, or its connection has ended or takes nothing more."""

    _errno = errno.EPIPE


class BusyError(XferError, BlockingIOError):
    """It is in use, or as many operations as it takes are outstanding."""

    _errno = errno.EAGAIN


class UnsupportedError(XferError):
    """This library does not know it, or was built without it."""

    _errno = errno.EOPNOTSUPP


class ForkedError(XferError, RuntimeError):
    """The process was forked after the engine was opened."""

    _errno = errno.EPERM


class NotFoundError(XferError, FileNotFoundError):
    """The source or the destination is not there."""

    _errno = errno.ENOENT


class UnreachableError(XferError, ConnectionError):
    """It may work later: the other end is unreachable, vanished, or shuts down."""

    _errno = errno.EHOSTUNREACH


class RefusedError(XferError, ConnectionRefusedError):
    """The other end refused it."""

    _errno = errno.ECONNREFUSED


class DeniedError(XferError, PermissionError):
    """A wrong credential, or a permission of the file system."""

    _errno = errno.EACCES


class DigestError(XferError):
    """What arrived is not what was sent: the source changed meanwhile. It was not delivered."""


class PartialError(XferError):
    """Some objects succeeded and some failed."""


class InterruptedTransferError(XferError, ConnectionAbortedError):
    """Either application ended it."""

    _errno = errno.ECONNABORTED


_KINDS: dict[int, type[XferError]] = {
    lib.XFER_ERR_ARGUMENT: ArgumentError,
    lib.XFER_ERR_HANDLE: ClosedError,
    lib.XFER_ERR_BUSY: BusyError,
    lib.XFER_ERR_FULL: BusyError,
    lib.XFER_ERR_ENDED: ClosedError,
    lib.XFER_ERR_UNSUPPORTED: UnsupportedError,
    lib.XFER_ERR_FORKED: ForkedError,
    lib.XFER_ERR_USAGE: ArgumentError,
    lib.XFER_ERR_NO_DESTINATION: NotFoundError,
    lib.XFER_ERR_NO_SOURCE: NotFoundError,
    lib.XFER_ERR_TEMPORARY: UnreachableError,
    lib.XFER_ERR_REFUSED: RefusedError,
    lib.XFER_ERR_DENIED: DeniedError,
    lib.XFER_ERR_DIGEST: DigestError,
    lib.XFER_ERR_PARTIAL: PartialError,
    lib.XFER_ERR_INTERRUPTED: InterruptedTransferError,
}


def error(status: int, text: str = "", object: str | None = None, os_error: int = 0) -> XferError:
    """The exception for a status of the library."""
    meaning = ffi.string(lib.xfer_strerror(status)).decode()
    return _KINDS.get(status, XferError)(status, text or meaning, object, os_error)


def forked() -> ForkedError:
    """The refusal of a forked process."""
    return ForkedError(
        lib.XFER_ERR_FORKED,
        "this process was forked after the xfer engine was opened, and the engine's threads are not here: open an engine "
        "of its own after the fork, or start processes with multiprocessing's 'spawn' or 'forkserver'",
    )


def check(status: int, handle: Any = None) -> int:
    """Returns a count that is not negative; else raises what the last call on `handle` failed by."""
    if status >= 0:
        return status
    text = ""
    if handle is not None and status not in (lib.XFER_ERR_HANDLE, lib.XFER_ERR_FORKED):
        room = ffi.new("char[512]")
        if lib.xfer_detail(handle, room, len(room)) == lib.XFER_OK:
            text = ffi.string(room).decode(errors="replace")
    if status == lib.XFER_ERR_FORKED:
        raise forked()
    raise error(status, text)
