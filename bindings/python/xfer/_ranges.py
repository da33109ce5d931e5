"""Which ranges of a file are read, one after the other or ahead; what reads them is told from outside, for threads and asyncio alike."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator

from ._abi import lib
from ._errors import XferError, error

#: Bytes that are asked for first where the size of a file is not known.
_CALL = 1 << 20
#: Bytes that a file is read ahead by, at first and where it is read here and there ...
_AHEAD = 64 << 10
#: ... and where it is read on and on.
_AHEAD_MAX = 8 << 20
#: Linux: is a directory.
_EISDIR = 21

#: A path, its first byte, and the byte behind the last.
Range = tuple[str, int, int]
#: Size of a file, and when it had been modified.
Version = tuple[int, int]
#: Asks for reads, each an offset and how many bytes; is told content and version; returns the content of all.
Steps = Generator["tuple[int, int]", "tuple[bytes, Version]", bytes]


def steps_of(path: str, start: int | None, end: int | None) -> Steps:
    """The reads that the bytes of a file from `start` up to `end` take, as few as may be."""
    version = None
    if (start or 0) < 0 or (end or 0) < 0:
        _, version = yield 0, 0
        start, end, _ = slice(start, end).indices(version[0])
    start = start or 0
    length = _CALL if end is None else max(end - start, 0)
    content, known = yield start, length if length <= _AHEAD_MAX else _CALL
    same(path, version or known, known)
    at = start + len(content)
    stop = known[0] if end is None else min(end, known[0])
    if at < stop:
        rest, now = yield at, stop - at
        same(path, known, now)
        content += rest
    return content


def same(path: str, version: Version, now: Version) -> None:
    """Raises where a file is not as it was."""
    if version != now:
        raise error(lib.XFER_ERR_DIGEST, "the file changed on the node while it was read", path)


def rooms(ranges: Iterable[Range]) -> Iterator[tuple[str, int, bytearray]]:
    """Memory for each range."""
    for path, start, end in ranges:
        if start < 0 or end < 0:
            raise error(lib.XFER_ERR_ARGUMENT, f"a range from {start} to {end}", path)
        yield path, start, bytearray(max(end - start, 0))


def plain(failed: XferError) -> OSError:
    """The built-in exception, where only that fits."""
    if failed.errno == _EISDIR:
        return IsADirectoryError(_EISDIR, "is a directory on the node", failed.object)
    return failed


class Ahead:
    """Reads one state of a file, ahead where it is read on and on."""

    def __init__(self, path: str, read: Callable[[int, memoryview], tuple[int, Version]]) -> None:
        """Reads the first bytes; `read` fills memory from an offset on and tells how many bytes came, and of which state."""
        self._path, self._read_into = path, read
        self._block = b""
        self._start = 0
        self._window = _AHEAD
        self._version: Version | None = None
        self._fetch(0, _AHEAD)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._version[0] if self._version else 0

    def read_into(self, view: memoryview, at: int) -> int:
        """Fills `view` from `at`, unless the file ends."""
        done = self._take(view, at)
        while done < len(view) and at + done < self.size:
            follows = at + done == self._start + len(self._block)
            self._window = min(self._window * 2, _AHEAD_MAX) if follows else _AHEAD
            if len(view) - done >= self._window:
                part = self._read(at + done, view[done:])
                self._start, self._block = at + done + part, b""
                done += part
            else:
                self._fetch(at + done, min(self._window, self.size - at - done))
                done += self._take(view[done:], at + done)
        return done

    def _take(self, view: memoryview, at: int) -> int:
        """Copies what is here."""
        if not self._start <= at < self._start + len(self._block):
            return 0
        here = memoryview(self._block)[at - self._start :][: len(view)]
        view[: len(here)] = here
        return len(here)

    def _fetch(self, at: int, length: int) -> None:
        room = bytearray(length)
        got = self._read(at, memoryview(room))
        self._start, self._block = at, bytes(memoryview(room)[:got])

    def _read(self, at: int, view: memoryview) -> int:
        got, version = self._read_into(at, view)
        if self._version is None:
            self._version = version
        same(self._path, self._version, version)
        return got
