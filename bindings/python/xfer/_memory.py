"""Memory of the application, as the library sees it: where it begins, how long it is, and what keeps it in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from . import _dlpack
from ._errors import ArgumentError
from ._abi import ffi, lib

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer
    from typing_extensions import TypeAlias

#: What can be sent: anything with the buffer protocol (bytes, memoryview, array, mmap, numpy), or with DLPack in host memory (torch).
Readable: TypeAlias = "ReadableBuffer | SupportsDlpack"
#: What can be received into: the same, writable.
Writable: TypeAlias = "WriteableBuffer | SupportsDlpack"


class SupportsDlpack(Protocol):
    """A tensor that offers its memory by DLPack."""

    def __dlpack__(self) -> Any:
        """A capsule by the name of "dltensor"."""


class Buffer(bytearray):
    """Received content. It is a bytearray, so that numpy and others read it without a copy, and offers DLPack (one dimension of uint8) besides."""

    def __dlpack__(self, stream: Any = None, **_: Any) -> Any:
        """A DLPack capsule around this memory, which stays in place while it lives."""
        held = ffi.from_buffer(self)
        return _dlpack.export(held, int(ffi.cast("uintptr_t", held)), len(self))

    def __dlpack_device__(self) -> tuple[int, int]:
        """The processor: (kDLCPU, 0)."""
        return 1, 0


class Pinned:
    """Memory that stays where it is until it is released."""

    __slots__ = ("address", "length", "_held")

    def __init__(self, data: Readable, writable: bool) -> None:
        try:
            self._held = ffi.from_buffer(data, require_writable=writable)
        except TypeError as error:
            if not hasattr(data, "__dlpack__"):
                raise TypeError(f"a {type(data).__name__} has neither the buffer protocol nor DLPack") from error
            self._import(data)
            return
        except (BufferError, ValueError) as error:
            raise _unusable(error) from error
        self.address, self.length = ffi.cast("void *", self._held), len(self._held)

    def _import(self, data: Any) -> None:
        try:
            self._held, address, self.length = _dlpack.imported(data)
        except ValueError as error:
            raise _unusable(error) from error
        self.address = ffi.cast("void *", address)

    def release(self) -> None:
        """Lets go of it; may be called again."""
        held, self._held = self._held, None
        if isinstance(held, ffi.CData):
            ffi.release(held)


def _unusable(error: Exception) -> ArgumentError:
    return ArgumentError(lib.XFER_ERR_ARGUMENT, f"memory that cannot be used: {error}")
