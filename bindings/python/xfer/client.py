"""A client of an xfer node: files and directories by the node's link.

The library copies whole files. A range is read from a copy that is fetched once and kept while size and modification time on the node stay
as they were: for ranges of one file that is one transfer, and for one small range of a large file it is a large one.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ._core import Core, Operation
from ._errors import check, error, forked
from ._abi import ffi, lib

#: Seconds that closing waits for what it cancelled.
_PATIENCE = 10.0
#: Copies of files that are kept for reading ranges.
_COPIES_MAX = 16


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


class _Listing(Operation):
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


class _Handle:
    """The library's client with the engine that it uses."""

    def __init__(self, link: str, timeout: float) -> None:
        self.core = Core([], 0, 0, False)
        self._out = ffi.new("xfer_client **")
        self._lock = threading.Lock()
        self._outstanding: set[Operation] = set()
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
        name = ffi.from_buffer(path.encode(errors="surrogateescape"))
        data = ffi.from_buffer(os.fsencode(local)) if local is not None else None
        array = ffi.new("xfer_operation[]", 1)
        to = array[0]
        to.size, to.kind, to.client = ffi.sizeof("xfer_operation"), kind, self._out[0]
        to.name, to.name_len = name, len(name)
        if data is not None:
            to.data, to.len = data, len(data)
        to.flags = lib.XFER_OP_FLAG_RECURSIVE if recursive else 0
        to.user = user = self.core.enter(operation)
        self._outstanding = {other for other in self._outstanding if not other.done} | {operation}
        try:
            self.core.submit(array, 1, self._out[0])
        except OSError:
            self.core.leave(user)
            self._outstanding.discard(operation)
            raise

    def cancel(self) -> None:
        array = ffi.new("xfer_operation[]", 1)
        array[0].size, array[0].kind, array[0].client = ffi.sizeof("xfer_operation"), lib.XFER_OP_CLIENT_CANCEL, self._out[0]
        self.core.submit(array, 1, self._out[0])

    def may_close(self) -> bool:
        return all(operation.done for operation in self._outstanding)

    def close_handle(self) -> None:
        if self._out[0]:
            check(lib.xfer_client_close(self._out[0]), self._out[0])
            self._out[0] = ffi.NULL
            self.core.release(self)


@dataclass
class _Copy:
    """A whole file of the node, here."""

    version: tuple[int, int]
    file: io.FileIO


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
        self._handle: _Handle | None = _Handle(link, timeout)
        self._process = os.getpid()
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._fetching = threading.Lock()

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
        """Content of a file, or its bytes from `start` up to `end`, which count from the end where they are negative. Errors as `get`.

        The whole file is fetched for it, once while it stays as it is.
        """
        with self._fetched(path) as file:
            start, end, _ = slice(start, end).indices(os.fstat(file.fileno()).st_size)
            return _read(file.fileno(), start, max(end - start, 0))

    def open(self, path: str, mode: str = "rb") -> File:
        """A file of the node: "rb" reads a copy that is fetched at once, "wb" writes one that is put when it is closed. Errors as `get`."""
        if mode not in ("rb", "wb"):
            raise error(lib.XFER_ERR_ARGUMENT, f"mode {mode!r} is neither 'rb' nor 'wb'", path)
        return File(self, path, mode)

    def close(self) -> None:
        """Ends what it does and closes it. May be called again."""
        handle, self._handle = self._handle, None
        if handle is not None and os.getpid() == self._process:
            handle.core.close()
        while self._copies:
            self._copies.popitem()[1].file.close()

    def __del__(self) -> None:
        if hasattr(self, "_copies"):
            self.close()

    def _listed(self, kind: int, path: str, recursive: bool) -> list[Entry]:
        listing = _Listing(path)
        self._completed(kind, path, None, recursive, listing)
        return listing.entries

    def _completed(self, kind: int, path: str, local: str | None, recursive: bool, operation: Operation) -> Operation:
        handle = self._running()
        handle.start(kind, path, local, recursive, operation)
        try:
            handle.core.wait(lambda: operation.done)
        except BaseException:
            handle.cancel()
            handle.core.wait(lambda: operation.done, _PATIENCE)
            raise
        if operation.error is not None:
            raise operation.error
        return operation

    def _running(self) -> _Handle:
        if os.getpid() != self._process:
            raise forked()
        if self._handle is None:
            raise error(lib.XFER_ERR_HANDLE, "the client is closed")
        return self._handle

    def _fetched(self, path: str) -> io.FileIO:
        """A copy of the file, as it is on the node now. Its name is gone already."""
        with self._fetching:
            entry = self.stat(path)
            if entry.kind == "directory":
                raise IsADirectoryError(21, "is a directory on the node", path)
            version = entry.size, entry.mtime_ns
            kept = self._copies.get(path)
            if kept is None or kept.version != version:
                kept = _Copy(version, self._fetch(path))
                replaced = self._copies.pop(path, None)
                if replaced is not None:
                    replaced.file.close()
                self._copies[path] = kept
                if len(self._copies) > _COPIES_MAX:
                    self._copies.popitem(last=False)[1].file.close()
            self._copies.move_to_end(path)
            return io.FileIO(os.dup(kept.file.fileno()), "rb")

    def _fetch(self, path: str) -> io.FileIO:
        with tempfile.TemporaryDirectory(prefix="xfer-") as folder:
            local = os.path.join(folder, "object")
            self.get(path, local)
            return io.FileIO(local, "rb")


class File(io.RawIOBase):
    """A file of a node. What is written is on the node once it is closed without an exception; it is not there before."""

    def __init__(self, client: Client, path: str, mode: str) -> None:
        self._client, self.name, self.mode = client, path, mode
        self._folder: str | None = None
        self._at = 0
        if mode == "rb":
            self._file = client._fetched(path)
        else:
            self._folder = tempfile.mkdtemp(prefix="xfer-")
            self._file = io.FileIO(os.path.join(self._folder, "object"), "w+b")

    def readable(self) -> bool:
        return self._folder is None

    def writable(self) -> bool:
        return self._folder is not None

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads into `buffer`, and returns how many bytes; 0 at the end."""
        if not self.readable():
            raise io.UnsupportedOperation("not readable")
        view = memoryview(buffer).cast("B")
        got = os.preadv(self._file.fileno(), [view], self._at)
        self._at += got
        return got

    def write(self, data: Any) -> int:
        """Writes to the copy that is put when this is closed."""
        if not self.writable():
            raise io.UnsupportedOperation("not writable")
        wrote = os.pwrite(self._file.fileno(), data, self._at)
        self._at += wrote
        return wrote

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to `offset` from the start, from here or from the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._file.fileno()).st_size}[whence]
        if base + offset < 0:
            raise ValueError(f"{base + offset} lies before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Where it is, from the start."""
        return self._at

    def discard(self) -> None:
        """Closes it without putting what was written."""
        folder, self._folder = self._folder, None
        self._file.close()
        if folder is not None:
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


def _read(fd: int, offset: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.pread(fd, length, offset)
        if not part:
            break
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)


def _reopened(link: str, timeout: float) -> Client:
    return Client(link, timeout=timeout)


def connect(link: str, *, timeout: float = 10) -> Client:
    """A client of the node with that link; see `Client`."""
    return Client(link, timeout=timeout)
