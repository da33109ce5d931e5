"""A client of an xfer node: files and directories by the node's link.

A range of up to 8 MiB takes one round trip, and many may be asked for at once; a longer one comes over every network interface. Each is verified
by its digest, and none mixes two states of a file: if it changes meanwhile, that is a `DigestError`.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ._core import Core, Operation
from ._errors import BusyError, XferError, check, error, forked
from ._abi import ffi, lib
from ._ranges import Ahead, Range, Steps, Version, plain, rooms, steps_of

#: Seconds that closing waits for what it cancelled.
_PATIENCE = 10.0
#: Operations after which those that have ended are forgotten.
_SWEEP = 64


@dataclass(frozen=True)
class Entry:
    """An object on a node.

    Attributes:
        path: relative to what it was asked for by, components parted by "/".
        kind: "file", "directory" or "symlink".
        size: bytes. mtime_ns: modification time, nanoseconds since 1970. mode: permissions, 12 bits.
    """

    path: str
    kind: str
    size: int
    mtime_ns: int
    mode: int


class Listing(Operation):
    """An operation that tells entries first."""

    __slots__ = ("entries", "_seen")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.entries: list[Entry] = []

    def tell(self, completion: Any) -> bool:
        if completion.kind == lib.XFER_EVENT_DONE:
            return super().tell(completion)
        path = bytes(ffi.buffer(completion.name, completion.name_len)).decode(errors="surrogateescape") if completion.name_len else ""
        kind = "file"
        if completion.flags & lib.XFER_COMPLETION_DIRECTORY:
            kind = "directory"
        elif completion.flags & lib.XFER_COMPLETION_SYMLINK:
            kind = "symlink"
        self.entries.append(Entry(path, kind, completion.bytes, completion.mtime_ns, completion.mode))
        return False


class Reading(Operation):
    """A range that is read into memory. Once it has ended, `version` is size and modification time of the whole file."""

    __slots__ = ("memory", "version")

    def __init__(self, path: str, memory: Any) -> None:
        super().__init__(path)
        self.memory = memory
        self.version = (0, 0)

    def tell(self, completion: Any) -> bool:
        self.version = completion.object, completion.mtime_ns
        return super().tell(completion)

    def end(self) -> None:
        self.memory = None
        super().end()


class Handle:
    """The library's client with the engine that it uses."""

    def __init__(self, link: str, timeout: float) -> None:
        self.core = Core([], 0, 0, False)
        self._out = ffi.new("xfer_client **")
        self._lock = threading.Lock()
        self._outstanding: set[Operation] = set()
        self._sweep = _SWEEP
        text = ffi.new("char[]", link.encode())
        options = ffi.new("xfer_client_options *")
        options.size, options.link, options.timeout_ms = ffi.sizeof("xfer_client_options"), text, int(timeout * 1000)
        try:
            check(lib.xfer_client_open(self.core.running(), options, self._out), self.core.handle)
        except BaseException:
            self.core.close()
            raise
        self.core.adopt(self)

    def start(self, kind: int, path: str, local: str | None, recursive: bool, operation: Operation) -> None:
        """Starts an operation with a local path, which is copied at once."""
        data = ffi.from_buffer(os.fsencode(local)) if local is not None else ffi.NULL
        flags = lib.XFER_OP_FLAG_RECURSIVE if recursive else 0
        self._submit(kind, path, data, 0 if local is None else len(data), 0, flags, operation)

    def read(self, path: str, offset: int, memory: Any) -> Reading:
        """Starts to read a range into memory, which is the library's until that has ended; waits where too many are under way."""
        while True:
            operation = self.try_read(path, offset, memory)
            if isinstance(operation, Reading):
                return operation
            self.core.wait(operation)

    def try_read(self, path: str, offset: int, memory: Any) -> Reading | Callable[[], bool]:
        """As `read`; where too many are under way, what is true when there may be room."""
        operation = Reading(path, ffi.from_buffer(memory, require_writable=True))
        length = len(operation.memory)
        try:
            self._submit(lib.XFER_OP_CLIENT_READ, path, operation.memory if length else ffi.NULL, length, offset, 0, operation)
        except BusyError as busy:
            if busy.status != lib.XFER_ERR_FULL:
                raise
            waiting = self._unended()
            return lambda: not waiting or any(other.done for other in waiting)
        return operation

    def _submit(self, kind: int, path: str, data: Any, length: int, offset: int, flags: int, operation: Operation) -> None:
        name = ffi.from_buffer(path.encode(errors="surrogateescape"))
        array = ffi.new("xfer_operation[]", 1)
        to = array[0]
        to.size, to.kind, to.client = ffi.sizeof("xfer_operation"), kind, self._out[0]
        to.name, to.name_len = name, len(name)
        to.data, to.len, to.offset, to.flags = ffi.cast("void *", data), length, offset, flags
        to.user = user = self.core.enter(operation)
        with self._lock:
            if len(self._outstanding) >= self._sweep:
                self._outstanding = {other for other in self._outstanding if not other.done}
                self._sweep = _SWEEP + 2 * len(self._outstanding)
            self._outstanding.add(operation)
        try:
            self.core.submit(array, 1, self._out[0])
        except OSError:
            self.core.leave(user)
            with self._lock:
                self._outstanding.discard(operation)
            raise

    def cancel(self) -> None:
        array = ffi.new("xfer_operation[]", 1)
        array[0].size, array[0].kind, array[0].client = ffi.sizeof("xfer_operation"), lib.XFER_OP_CLIENT_CANCEL, self._out[0]
        self.core.submit(array, 1, self._out[0])

    def may_close(self) -> bool:
        return not self._unended()

    def _unended(self) -> list[Operation]:
        with self._lock:
            return [operation for operation in self._outstanding if not operation.done]

    def close_handle(self) -> None:
        if self._out[0]:
            check(lib.xfer_client_close(self._out[0]), self._out[0])
            self._out[0] = ffi.NULL
            self.core.release(self)


class Client:
    """A client of one node. It connects with its first operation, and anew when the connection was lost. Any thread may use it.

    It can be pickled: the copy connects by itself. Paths are relative to the node's root, components parted by "/".
    """

    def __init__(self, link: str, *, timeout: float = 10) -> None:
        """Opens it; `link` is the node's "xfer://...", `timeout` how many seconds no address of it may answer.

        Raises:
            ArgumentError: the link is none.
            UnsupportedError: the library was built without the client.
        """
        self._link, self._timeout = link, timeout
        self._handle: Handle | None = Handle(link, timeout)
        self._process = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._link, self._timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def link(self) -> str:
        """The node's link."""
        return self._link

    def ls(self, path: str = "", *, recursive: bool = False) -> list[Entry]:
        """What is in a directory, with `recursive` also beneath it; paths of entries are relative to it.

        Raises:
            NotFoundError: it is not there. UnreachableError: the node does not answer. DeniedError: it may not be read.
        """
        return self._listed(lib.XFER_OP_CLIENT_LIST, path, recursive)

    def stat(self, path: str) -> Entry:
        """Describes a file or directory. Errors as `ls`."""
        return self._listed(lib.XFER_OP_CLIENT_STAT, path, False)[0]

    def get(self, path: str, local: str | os.PathLike[str], *, recursive: bool = False) -> int:
        """Copies a file, or with `recursive` a directory, from the node to a local path; content bytes that moved.

        Raises:
            NotFoundError, UnreachableError, DeniedError, PartialError, DigestError: nothing half-written lies at `local`.
        """
        operation = Operation(path)
        return self._completed(lib.XFER_OP_CLIENT_GET, path, os.fspath(local), recursive, operation).bytes

    def put(self, local: str | os.PathLike[str], path: str, *, recursive: bool = False) -> int:
        """Copies a local file, or with `recursive` a directory, to a path on the node; content bytes that moved. Errors as `get`."""
        operation = Operation(path)
        return self._completed(lib.XFER_OP_CLIENT_PUT, path, os.fspath(local), recursive, operation).bytes

    def cat(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Content of a file, or its bytes from `start` up to `end`, which count from the end where they are negative; the file's end cuts
        the range. Up to 8 MiB take one round trip, or two with numbers that are negative.

        Raises:
            NotFoundError, UnreachableError, DeniedError. RefusedError: the path leads out of what the node serves.
            IsADirectoryError. DigestError: the file changed meanwhile.
        """
        return self._stepped(path, steps_of(path, start, end))

    def cat_ranges(self, ranges: Iterable[Range]) -> list[bytes | XferError]:
        """Many ranges at once, each a path, its first byte and the byte behind its last, neither of them negative: their contents in that
        order, and the error in the place of one that failed. All of them together take a few round trips."""
        handle = self._running()
        pending = [(room, handle.read(path, start, room)) for path, start, room in rooms(ranges)]
        self._awaited([operation for _, operation in pending])
        return [operation.error or bytes(memoryview(room)[: operation.bytes]) for room, operation in pending]

    def open(self, path: str, mode: str = "rb") -> File:
        """A file of the node: "rb" reads it range by range, ahead where it is read on and on, "wb" writes one that is put when it is closed. Errors as `get`."""
        if mode not in ("rb", "wb"):
            raise error(lib.XFER_ERR_ARGUMENT, f"mode {mode!r} is neither 'rb' nor 'wb'", path)
        return File(self, path, mode)

    def close(self) -> None:
        """Ends what it does and closes it. May be called again."""
        handle, self._handle = self._handle, None
        if handle is not None and os.getpid() == self._process:
            handle.core.close()

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self.close()

    def _listed(self, kind: int, path: str, recursive: bool) -> list[Entry]:
        listing = Listing(path)
        self._completed(kind, path, None, recursive, listing)
        return listing.entries

    def _completed(self, kind: int, path: str, local: str | None, recursive: bool, operation: Operation) -> Operation:
        self._running().start(kind, path, local, recursive, operation)
        self._awaited([operation])
        if operation.error is not None:
            raise operation.error
        return operation

    def _awaited(self, operations: Sequence[Operation]) -> None:
        handle = self._running()

        def ended() -> bool:
            return all(operation.done for operation in operations)

        try:
            handle.core.wait(ended)
        except BaseException:
            handle.cancel()
            handle.core.wait(ended, _PATIENCE)
            raise

    def _read_into(self, path: str, offset: int, memory: Any) -> Reading:
        """Reads a range into memory, all of it unless the file ends."""
        operation = self._running().read(path, offset, memory)
        self._awaited([operation])
        if operation.error is not None:
            raise plain(operation.error)
        return operation

    def _stepped(self, path: str, steps: Steps) -> bytes:
        """Makes the reads that steps ask for."""
        try:
            offset, length = next(steps)
            while True:
                offset, length = steps.send(self._part(path, offset, length))
        except StopIteration as done:
            return bytes(done.value)

    def _part(self, path: str, offset: int, length: int) -> tuple[bytes, Version]:
        """Reads a range: its content, and the state of the file."""
        room = bytearray(length)
        part = self._read_into(path, offset, room)
        return bytes(memoryview(room)[: part.bytes]), part.version

    def _running(self) -> Handle:
        if os.getpid() != self._process:
            raise forked()
        if self._handle is None:
            raise error(lib.XFER_ERR_HANDLE, "the client is closed")
        return self._handle


class File(io.RawIOBase):
    """A file of a node. What is read is one state of it: when it changes on the node, reading raises a `DigestError`. What is written is on the
    node once it is closed without an exception; it is not there before."""

    def __init__(self, client: Client, path: str, mode: str) -> None:
        self._client, self.name, self.mode = client, path, mode
        self._folder: str | None = None
        self._ahead: Ahead | None = None
        self._at = 0
        if mode == "rb":
            self._ahead = Ahead(path, self._read)
        else:
            self._folder = tempfile.mkdtemp(prefix="xfer-")
            self._file = io.FileIO(os.path.join(self._folder, "object"), "w+b")

    def readable(self) -> bool:
        return self._ahead is not None

    def writable(self) -> bool:
        return self._folder is not None

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer` unless the file ends, and returns how many bytes."""
        if self._ahead is None:
            raise io.UnsupportedOperation("not readable")
        got = self._ahead.read_into(memoryview(buffer).cast("B"), self._at)
        self._at += got
        return got

    def readall(self) -> bytes:
        """What is left of the file."""
        room = bytearray(max(self._size() - self._at, 0))
        got = self.readinto(room)
        return bytes(memoryview(room)[:got])

    def write(self, data: Any) -> int:
        """Writes to the copy that is put when this is closed."""
        if not self.writable():
            raise io.UnsupportedOperation("not writable")
        wrote = os.pwrite(self._file.fileno(), data, self._at)
        self._at += wrote
        return wrote

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to `offset` from the start, from here or from the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size()}[whence]
        if base + offset < 0:
            raise ValueError(f"{base + offset} lies before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Where it is, from the start."""
        return self._at

    def _read(self, at: int, view: memoryview) -> tuple[int, Version]:
        part = self._client._read_into(self.name, at, view)
        return part.bytes, part.version

    def _size(self) -> int:
        return self._ahead.size if self._ahead is not None else os.fstat(self._file.fileno()).st_size

    def discard(self) -> None:
        """Closes it without putting what was written."""
        folder, self._folder = self._folder, None
        if folder is not None:
            self._file.close()
            shutil.rmtree(folder, ignore_errors=True)
        super().close()

    def close(self) -> None:
        """Puts what was written. Errors as `Client.put`."""
        if self.closed:
            return
        try:
            if self._folder is not None:
                self._client.put(os.path.join(self._folder, "object"), self.name)
        finally:
            self.discard()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close() if kind is None else self.discard()


def _reopened(link: str, timeout: float) -> Client:
    return Client(link, timeout=timeout)


def connect(link: str, *, timeout: float = 10) -> Client:
    """A client of the node with that link; see `Client`."""
    return Client(link, timeout=timeout)
