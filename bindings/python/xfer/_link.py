"""A connection, for the sync and the asyncio interface alike: what it was told, and operations that do not wait."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Sequence

from ._core import Core, Operation, fields, told_error
from ._errors import XferError, check, error
from ._memory import Pinned, Readable, Writable
from ._abi import ffi, lib

_SUITES = {
    "aes-128-gcm": lib.XFER_SUITE_AES_128_GCM,
    "chacha20-poly1305": lib.XFER_SUITE_CHACHA20_POLY1305,
    "plain": lib.XFER_SUITE_PLAIN,
}
_CONGESTION = {
    "bbr": lib.XFER_CONGESTION_BBR,
    "cubic": lib.XFER_CONGESTION_CUBIC,
    "ledbat": lib.XFER_CONGESTION_LEDBAT,
    "fixed": lib.XFER_CONGESTION_FIXED,
}
_OPERATION_BYTES = ffi.sizeof("xfer_operation")
#: The events that only say something about the way.
_NEWS = {lib.XFER_EVENT_PATH_UP: "path up", lib.XFER_EVENT_PATH_DOWN: "path down", lib.XFER_EVENT_WARNING: "warning"}
#: News that are kept.
_NEWS_MAX = 256


@dataclass(frozen=True)
class Options:
    """How a connection is made; both ends name the same secret, suite, direction, digests and chunk size.

    Attributes:
        suite: "aes-128-gcm", "chacha20-poly1305", or "plain": control is sealed, content is not.
        digests: content is verified by BLAKE3.
        compress: chunks are compressed where that is faster.
        congestion: "bbr", "cubic", "ledbat" or "fixed".
        rate_max: cap in bits a second; 0 for none.
        chunk_log2: log2 of the chunk size in bytes, 16 to 26.
        timeout: seconds: how long no path may answer before connecting fails, or how long a secret waits, at most 60; 0 for 10 and 60.
        depth: operations that may be outstanding at once, at most 65,536.
    """

    suite: str = "aes-128-gcm"
    digests: bool = True
    compress: bool = False
    congestion: str = "bbr"
    rate_max: int = 0
    chunk_log2: int = 20
    timeout: float = 0
    depth: int = 4096


@dataclass(frozen=True)
class Path:
    """A path of a connection.

    Attributes:
        local, remote: its addresses. up: it carries. mtu: largest datagram in bytes. bytes: content bytes that arrived on it.
        rtt: smoothed round trip in seconds. window: congestion window in bytes. packets_sent, packets_received: packets.
        loss: part of the packets that was lost, 0 to 1.
    """

    local: str
    remote: str
    up: bool
    mtu: int
    bytes: int
    rtt: float
    window: int
    packets_sent: int
    packets_received: int
    loss: float


@dataclass
class Offered:
    """An object that arrives: its number, its name, its size in bytes (None: only its end tells) and its content where that is here already."""

    number: int
    name: str
    size: int | None
    content: bytes | None


class Link:
    """One connection, by its handle."""

    def __init__(self, core: Core, secret: bytes, sends: bool, paths: Sequence[tuple[str | None, str]] | None, options: Options) -> None:
        self.core, self.depth = core, options.depth
        self.connected = self.finished = False
        self.error: XferError | None = None
        self.offers: deque[Offered] = deque()
        self.news: deque[tuple[str, str]] = deque(maxlen=_NEWS_MAX)
        self.callback: Callable[[], None] | None = None
        self._next_offer = 0
        self._out = ffi.new("xfer_connection **")
        given, kept = _given(secret, sends, paths, options)
        self._user = given.user = core.enter(self)
        try:
            call = lib.xfer_admit if paths is None else lib.xfer_connect
            handle = core.running()
            check(call(handle, given, self._out), handle)
        except BaseException:
            if not self._out[0]:
                core.leave(self._user)
            raise
        del kept
        core.adopt(self)

    @property
    def handle(self) -> Any:
        self.core.running()
        if not self._out[0]:
            raise error(lib.XFER_ERR_HANDLE, "the connection is closed")
        return self._out[0]

    # What it is told

    def tell(self, completion: Any) -> bool:
        kind = completion.kind
        if kind == lib.XFER_EVENT_OFFERED:
            self._offered(completion)
        elif kind == lib.XFER_EVENT_CONNECTED:
            self.connected = True
        elif kind == lib.XFER_EVENT_FINISHED:
            if completion.status:
                self.error = told_error(completion, None)
            self.finished = True
        elif kind in _NEWS:
            text = ffi.string(completion.text).decode(errors="replace") if completion.text else ""
            self.news.append((_NEWS[kind], text))
        if self.callback is not None:
            self.callback()
        return self.finished

    def _offered(self, completion: Any) -> None:
        if completion.object < self._next_offer:
            return
        name = bytes(ffi.buffer(completion.name, completion.name_len)).decode(errors="surrogateescape")
        size = None if completion.bytes == lib.XFER_SIZE_OPEN else completion.bytes
        content = None
        if completion.flags & lib.XFER_COMPLETION_WHOLE:
            content = bytes(ffi.buffer(completion.data, completion.bytes)) if completion.bytes else b""
        self.offers.append(Offered(completion.object, name, size, content))
        self._next_offer = completion.object + 1

    # Operations

    def send(self, data: Readable, name: str, more: bool = False) -> Operation:
        """Begins to send memory."""
        return self.send_batch([(name, data)], more)[0]

    def send_batch(self, objects: Iterable[tuple[str, Readable]], more: bool = False) -> list[Operation]:
        """Begins to send objects with one call. Those that were taken are returned; when the first was not, it raises."""
        operations, kept = [], []
        for name, data in objects:
            encoded = name.encode(errors="surrogateescape")
            operations.append(Operation(name, Pinned(data, writable=False)))
            kept.append(ffi.from_buffer(encoded))
        array = ffi.new("xfer_operation[]", len(operations))
        flags = lib.XFER_OP_FLAG_MORE if more else 0
        for at, operation in enumerate(operations):
            assert operation.pinned is not None
            to = array[at]
            to.kind, to.flags = lib.XFER_OP_SEND, flags
            to.name, to.name_len = kept[at], len(kept[at])
            to.data, to.len = operation.pinned.address, operation.pinned.length
        return self._submit(array, operations)

    def send_file(self, fd: int, name: str, offset: int, length: int) -> Operation:
        """Begins to send a range of a regular file."""
        return self._file(lib.XFER_OP_SEND_FILE, fd, name, 0, offset, length)

    def send_stream(self, fd: int, name: str) -> Operation:
        """Begins to send what comes from a pipe or socket; nothing can follow."""
        return self._file(lib.XFER_OP_SEND_STREAM, fd, name, 0, 0, 0)

    def accept(self, offer: Offered, data: Writable) -> Operation:
        """Begins to receive into memory."""
        self._check_alive()
        operation = Operation(offer.name, Pinned(data, writable=True))
        assert operation.pinned is not None
        array = ffi.new("xfer_operation[]", 1)
        array[0].kind, array[0].object = lib.XFER_OP_ACCEPT, offer.number
        array[0].data, array[0].len = operation.pinned.address, operation.pinned.length
        return self._submit(array, [operation])[0]

    def accept_file(self, offer: Offered, fd: int, offset: int) -> Operation:
        """Begins to receive into a file, pipe or socket."""
        self._check_alive()
        return self._file(lib.XFER_OP_ACCEPT_FILE, fd, offer.name, offer.number, offset, 0)

    def _check_alive(self) -> None:
        if self.finished:
            raise self.error or error(lib.XFER_ERR_ENDED, "the connection has ended")

    def refuse(self, offer: Offered, why: str) -> None:
        """Refuses an object. What became of it is told to nobody here."""
        text = ffi.from_buffer(why.encode())
        array = ffi.new("xfer_operation[]", 1)
        array[0].kind, array[0].object = lib.XFER_OP_REFUSE, offer.number
        array[0].name, array[0].name_len = text, len(text)
        self._submit(array, [Operation(offer.name)])

    def finish(self) -> None:
        """No object follows."""
        self._plain(lib.XFER_OP_FINISH, "")

    def cancel(self, why: str = "") -> None:
        """Ends the connection; what is outstanding fails."""
        if not self.finished and self._out[0]:
            self._plain(lib.XFER_OP_CANCEL, why)

    def _plain(self, kind: int, why: str) -> None:
        text = ffi.from_buffer(why.encode())
        array = ffi.new("xfer_operation[]", 1)
        array[0].kind, array[0].size, array[0].connection = kind, _OPERATION_BYTES, self.handle
        array[0].name, array[0].name_len = (text, len(text)) if why else (ffi.NULL, 0)
        self.core.submit(array, 1, self.handle)

    def _file(self, kind: int, fd: int, name: str, number: int, offset: int, length: int) -> Operation:
        text = ffi.from_buffer(name.encode(errors="surrogateescape"))
        array = ffi.new("xfer_operation[]", 1)
        to = array[0]
        to.kind, to.object, to.fd, to.offset, to.len = kind, number, fd, offset, length
        if kind != lib.XFER_OP_ACCEPT_FILE:
            to.name, to.name_len = text, len(text)
        return self._submit(array, [Operation(name)])[0]

    def _submit(self, array: Any, operations: list[Operation]) -> list[Operation]:
        users = []
        taken = 0
        handle = self.handle
        try:
            for at, operation in enumerate(operations):
                users.append(self.core.enter(operation))
                array[at].size, array[at].connection, array[at].user = _OPERATION_BYTES, handle, users[at]
            taken = self.core.submit(array, len(operations), handle)
        except XferError:
            self._forget(users, operations)
            raise
        self._forget(users[taken:], operations[taken:])
        return operations[:taken]

    def _forget(self, users: list[int], operations: list[Operation]) -> None:
        for user, operation in zip(users, operations):
            self.core.leave(user)
            if operation.pinned is not None:
                operation.pinned.release()

    # What is known of it

    def statistics(self) -> dict[str, int]:
        """Counters by the names of `xfer_connection_counters`."""
        counters = ffi.new("xfer_connection_counters *")
        counters.size = ffi.sizeof("xfer_connection_counters")
        check(lib.xfer_connection_statistics(self.handle, counters), self.handle)
        return fields(counters)

    def paths(self) -> list[Path]:
        """What is known of each path."""
        count = 1
        while True:
            room = ffi.new("xfer_path_report[]", count)
            had = count
            count = check(lib.xfer_connection_paths(self.handle, room, ffi.sizeof("xfer_path_report"), had), self.handle)
            if count <= had:
                return [_path(room[at]) for at in range(count)]

    # The end

    def may_close(self) -> bool:
        return self.finished

    def close_handle(self) -> None:
        """Closes the handle after its last completion; may be called again."""
        if self._out[0]:
            check(lib.xfer_connection_close(self._out[0]), self._out[0])
            self._out[0] = ffi.NULL
            self.core.release(self)


def _path(report: Any) -> Path:
    local, remote = (ffi.string(text).decode() for text in (report.local, report.remote))
    return Path(
        local, remote, bool(report.up), report.mtu, report.bytes, report.rtt_ns / 1e9, report.window,
        report.packets_sent, report.packets_received, report.loss_ppm / 1e6,
    )  # fmt: skip


def _given(secret: bytes, sends: bool, paths: Sequence[tuple[str | None, str]] | None, options: Options) -> tuple[Any, Any]:
    """The options as the library takes them, and what they point to."""
    if len(secret) != lib.XFER_SECRET_BYTES:
        raise error(lib.XFER_ERR_ARGUMENT, f"a secret has {lib.XFER_SECRET_BYTES} bytes, not {len(secret)}")
    for value, known in ((options.suite, _SUITES), (options.congestion, _CONGESTION)):
        if value not in known:
            raise error(lib.XFER_ERR_ARGUMENT, f"{value!r} is none of {', '.join(known)}")
    given = ffi.new("xfer_connection_options *")
    given.size = ffi.sizeof("xfer_connection_options")
    given.suite, given.congestion = _SUITES[options.suite], _CONGESTION[options.congestion]
    opens = paths is not None
    given.direction = lib.XFER_DIRECTION_OPENER_SENDS if opens == sends else lib.XFER_DIRECTION_OPENER_RECEIVES
    given.flags = 0 if options.digests else lib.XFER_CONNECTION_NO_DIGESTS
    given.flags |= lib.XFER_CONNECTION_COMPRESS if options.compress else 0
    given.chunk_log2, given.timeout_ms = options.chunk_log2, int(options.timeout * 1000)
    given.depth, given.rate_max = options.depth, options.rate_max
    bytes_of = ffi.new("uint8_t[]", bytes(secret))
    texts = [[ffi.new("char[]", end.encode()) if end else ffi.NULL for end in pair] for pair in paths or ()]
    pairs = ffi.new("xfer_path_pair[]", len(texts))
    for at, (local, remote) in enumerate(texts):
        pairs[at].local, pairs[at].remote = local, remote
    given.secret, given.paths, given.path_count = bytes_of, pairs, len(texts)
    return given, (bytes_of, texts, pairs)
