"""One engine and its completion queue, for the sync and the asyncio interface alike: operations go in, what they wait for is told.

Whichever thread waits polls for all of them; the others sleep until it has told. cffi lets go of the GIL while the library waits.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
import weakref
from typing import Any, Callable, Protocol

from ._errors import XferError, check, error, forked
from ._memory import Pinned
from ._abi import ffi, lib

#: Completions that are taken at once.
_ROOM = 256
#: Bytes of all of them.
_ROOM_BYTES = _ROOM * ffi.sizeof("xfer_completion")
#: How long a waiting thread sleeps at most, so that an interrupt that another thread of the process took is seen.
_SLICE = 0.5
#: How long closing waits for what it cancelled, in seconds.
_CLOSING = 10.0


class Target(Protocol):
    """Something that completions are for."""

    def tell(self, completion: Any) -> bool:
        """Takes a completion in; true when it was the last one. May be called again with the same one."""


class Operation:
    """An operation on its way. The memory that it names stays in place until it has ended.

    Attributes:
        done: it has ended.
        bytes: content bytes that moved.
        digest: BLAKE3 of the object, 32 bytes; None where there is none.
        error: what it failed by; None while it has not.
    """

    __slots__ = ("name", "done", "bytes", "digest", "error", "pinned", "callback", "__weakref__")

    def __init__(self, name: str | None, pinned: Pinned | None = None) -> None:
        self.name = name
        self.pinned = pinned
        self.done = False
        self.bytes = 0
        self.digest: bytes | None = None
        self.error: XferError | None = None
        self.callback: Callable[[], None] | None = None

    def tell(self, completion: Any) -> bool:
        self.bytes = completion.bytes
        if completion.flags & lib.XFER_COMPLETION_DIGEST:
            self.digest = bytes(ffi.buffer(completion.digest))
        if completion.status:
            self.error = told_error(completion, self.name)
        self.end()
        return True

    def end(self) -> None:
        """Nothing of the library reaches its memory any more."""
        if self.pinned is not None:
            self.pinned.release()
        self.done = True
        if self.callback is not None:
            self.callback()


def told_error(completion: Any, name: str | None) -> XferError:
    """What a completion says that it failed by."""
    text = ffi.string(completion.text).decode(errors="replace") if completion.text else ""
    return error(completion.status, text, name, completion.os_error)


class Core:
    """An engine, closed when nobody has it any more or the interpreter ends."""

    def __init__(self, listen: list[str], workers: int, memory_max: int, busy: bool) -> None:
        self._process = os.getpid()
        self._condition = threading.Condition()
        self._leading = False
        self._submitting = threading.Lock()
        self._closing = threading.Lock()
        self._targets: dict[int, Target] = {}
        self._children: list[Child] = []
        self._last_user = 0
        self._room = ffi.new(f"xfer_completion[{_ROOM}]")
        self._at = 0
        self.handle = ffi.NULL
        texts = [ffi.new("char[]", address.encode()) for address in listen]
        addresses = ffi.new("char *[]", texts)
        why = ffi.new("char[512]")
        options = ffi.new("xfer_engine_options *")
        options.size = ffi.sizeof("xfer_engine_options")
        options.workers, options.memory_max = workers, memory_max
        options.listen, options.listen_count = addresses, len(texts)
        options.flags = lib.XFER_ENGINE_BUSY if busy else 0
        options.error, options.error_size = why, len(why)
        out = ffi.new("xfer_engine **")
        status = lib.xfer_engine_open(options, out)
        if status < 0:
            raise error(status, ffi.string(why).decode(errors="replace"))
        self.handle = out[0]
        _open.add(self)

    # Calls

    def running(self) -> Any:
        """The handle, where the engine's threads are."""
        if os.getpid() != self._process:
            raise forked()
        if not self.handle:
            raise error(lib.XFER_ERR_HANDLE, "the engine is closed")
        return self.handle

    def addresses(self) -> list[str]:
        """Addresses that it receives on."""
        text = ffi.new("char[64]")
        found: list[str] = []
        while lib.xfer_engine_address(self.running(), len(found), text, len(text)) == lib.XFER_OK:
            found.append(ffi.string(text).decode())
        return found

    def statistics(self) -> dict[str, int]:
        """The engine's counters by the names of `xfer_engine_counters`."""
        counters = ffi.new("xfer_engine_counters *")
        counters.size = ffi.sizeof("xfer_engine_counters")
        handle = self.running()
        check(lib.xfer_engine_statistics(handle, counters), handle)
        return fields(counters)

    def eventfd(self) -> int:
        """Readable while there is something to take."""
        return check(lib.xfer_engine_eventfd(self.running()))

    def enter(self, target: Target) -> int:
        """Notes who the completions of a new number are for."""
        with self._submitting:
            self._last_user += 1
            self._targets[self._last_user] = target
            return self._last_user

    def leave(self, user: int) -> None:
        """Nothing comes for that number any more."""
        self._targets.pop(user, None)

    def submit(self, operations: Any, count: int, detail: Any) -> int:
        """Hands an array of operations over, and returns how many were taken."""
        return check(lib.xfer_submit(self.running(), operations, count), detail)

    # Waiting

    def wait(self, ended: Callable[[], bool], timeout: float | None = None) -> bool:
        """Polls, or lets another thread poll, until `ended()` or until `timeout` seconds have passed; whether it has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not ended():
            self.running()
            left = _SLICE if deadline is None else min(_SLICE, deadline - time.monotonic())
            if left <= 0:
                return False
            with self._condition:
                if self._leading:
                    if not ended():
                        self._condition.wait(left)
                    continue
            self._lead(ended, left)
        return True

    def step(self, timeout: float) -> None:
        """Takes what has happened, or lets another thread take it, waiting at most `timeout` seconds for the first."""
        with self._condition:
            if self._leading:
                self._condition.wait(timeout)
                return
        self._lead(lambda: False, timeout)

    def _lead(self, ended: Callable[[], bool], seconds: float) -> None:
        mine = False
        try:
            with self._condition:
                if self._leading:
                    return
                mine = self._leading = True
            if not ended():
                self.take(int(seconds * 1e9))
        finally:
            if mine:
                with self._condition:
                    self._leading = False
                    self._condition.notify_all()

    def take(self, timeout_ns: int) -> int:
        """Takes what has happened, waiting for the first at most so long, and tells it. One thread's at a time."""
        self._drain()
        check(lib.xfer_poll(self.running(), self._room, _ROOM, timeout_ns), self.handle)
        return self._drain()

    def _drain(self) -> int:
        """Tells what is in the room. An interrupt may end it anywhere: the next call goes on with the same completion."""
        room, targets = self._room, self._targets
        while self._at < _ROOM and room[self._at].kind:
            completion = room[self._at]
            target = targets.get(completion.user)
            if target is not None and target.tell(completion):
                targets.pop(completion.user, None)
            self._at += 1
        told = self._at
        if told:
            ffi.memmove(room, _BLANK, told * ffi.sizeof("xfer_completion"))
            self._at = 0
        return told

    # Children and the end

    def adopt(self, child: Child) -> None:
        """Closes it before the engine."""
        self._children.append(child)

    def release(self, child: Child) -> None:
        """It is closed."""
        if child in self._children:
            self._children.remove(child)

    def close(self) -> None:
        """Ends what is open, waits until nothing of the library reaches the application's memory, and closes the engine."""
        with self._closing:
            if not self.handle or os.getpid() != self._process:
                return
            for child in list(self._children):
                child.cancel()
            for child in list(self._children):
                self.wait(child.may_close, _CLOSING)
                child.close_handle()
            check(lib.xfer_engine_close(self.handle), self.handle)
            self.handle = ffi.NULL
            self._targets.clear()
            _open.discard(self)

    def __del__(self) -> None:
        if getattr(self, "handle", None) and os.getpid() == self._process:
            warnings.warn("an xfer engine was not closed", ResourceWarning, source=self, stacklevel=2)
            self.close()


class Child(Protocol):
    """A handle that an engine has."""

    def cancel(self) -> None:
        """Ends what it does."""

    def may_close(self) -> bool:
        """Nothing more is told of it."""

    def close_handle(self) -> None:
        """Gives the handle back; may be called again."""


_BLANK = bytes(_ROOM_BYTES)
_open: weakref.WeakSet[Core] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for core in list(_open):
        core.close()


def fields(struct: Any) -> dict[str, int]:
    """The counters of a struct by name."""
    names = [name for name, _ in ffi.typeof(struct).item.fields if name not in ("size", "reserved")]
    return {name: getattr(struct, name) for name in names}
