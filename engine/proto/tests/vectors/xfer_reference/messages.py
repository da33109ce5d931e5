"""Messages of the control stream, to bytes and back: PROTOCOL.md "Control stream", "Errors" and "Transfers"."""

import struct
from dataclasses import dataclass, field

from . import wire
from .limits import (
    BODY_MAX, CHUNK_LOG2, COMPONENT_MAX, ERROR_TEXT_MAX, EXTRAS_MAX, INLINE_MAX, NAME_MAX, PAGE_ENTRIES_MAX, RUNS_MAX,
    SPACE_MAX, WINDOW_CHUNKS,
)
from .wire import Reader, WireError

OPEN, ACCEPT, PAGE, DECISION, CHUNK, REJECT, WITHDRAW, DONE, COMPLETE, CANCEL, END, LIMIT = range(1, 13)
FILE, DIRECTORY, SYMLINK = 1, 2, 3
NEED, SKIP, RESUME, FAIL = range(4)
COPIED, RESUMED, FAILED = range(3)
SENDER, RECEIVER = 1, 2
NO_OFFSET = (1 << 64) - 1
# The object that WITHDRAW names for something that could not be listed.
UNLISTED = (1 << 32) - 1
DIGEST = 32


def _one_of(value, allowed, what):
    if value not in allowed:
        raise WireError(f"{what} {value}")
    return value


@dataclass
class Error:
    """`kind` is the field `class`."""

    kind: int
    side: int
    errno: int = 0
    offset: int = NO_OFFSET
    name: bytes = b""
    text: str = ""

    def encode(self):
        text = self.text.encode()
        front = struct.pack("<BBHQH", self.kind, self.side, self.errno, self.offset, len(self.name))
        return front + self.name + struct.pack("<H", len(text)) + text

    @staticmethod
    def decode(read):
        kind, side, errno, offset, length = read.take("BBHQH")
        _one_of(side, (SENDER, RECEIVER), "an error of side")
        name = read.bytes(length)
        text_length = read.take("H")
        if length > NAME_MAX or text_length > ERROR_TEXT_MAX:
            raise WireError(f"an error with a name of {length} and a text of {text_length} bytes")
        try:
            text = read.bytes(text_length).decode()
        except UnicodeDecodeError:
            raise WireError("an error whose text is not UTF-8") from None
        return Error(kind, side, errno, offset, name, text)


@dataclass
class Open:
    transfer: int
    role: int
    chunk_log2: int
    digest: int

    type = OPEN

    def body(self):
        return struct.pack("<IBBBB", self.transfer, self.role, self.chunk_log2, self.digest, 0)

    @staticmethod
    def decode(read):
        transfer, role, chunk_log2, digest, _ = read.take("IBBBB")
        _one_of(role, (1, 2), "OPEN with role")
        _one_of(chunk_log2, CHUNK_LOG2, "OPEN with chunk size 2^")
        _one_of(digest, (0, 1), "OPEN with digest")
        return Open(transfer, role, chunk_log2, digest)


@dataclass
class Accept:
    transfer: int
    limit: int

    type = ACCEPT

    def body(self):
        return struct.pack("<II", self.transfer, self.limit)

    @staticmethod
    def decode(read):
        accept = Accept(*read.take("II"))
        if accept.limit > WINDOW_CHUNKS:
            raise WireError(f"ACCEPT grants {accept.limit} chunks")
        return accept


def check_name(name):
    """Raises unless a receiver may take `name`."""
    parts = name.split(b"/")
    bad = not name or len(name) > NAME_MAX or b"\0" in name
    if bad or any(part in (b"", b".", b"..") or len(part) > COMPONENT_MAX for part in parts):
        raise WireError(f"the name {name!r}", wire.NAME)


@dataclass
class Entry:
    kind: int
    name: bytes
    size: int = 0
    mode: int = 0o644
    mtime_s: int = 0
    mtime_ns: int = 0
    target: bytes = b""
    attributes: list = field(default_factory=list)
    content: bytes = None
    digest: bytes = None
    is_open: bool = False

    def encode(self, before):
        shared = 0
        while shared < min(len(before), len(self.name)) and before[shared] == self.name[shared]:
            shared += 1
        flags = int(self.content is not None) | int(self.is_open) << 1
        extras = encode_attributes(self.attributes)
        out = struct.pack("<BBHqIQ", self.kind, flags, self.mode, self.mtime_s, self.mtime_ns, self.size)
        out += struct.pack("<HH", shared, len(self.name) - shared) + self.name[shared:]
        out += struct.pack("<H", len(self.target)) + self.target + struct.pack("<H", len(extras)) + extras
        return out + self.content + self.digest if self.content is not None else out

    @staticmethod
    def decode(read, before):
        kind, flags, mode, mtime_s, mtime_ns, size, shared, rest = read.take("BBHqIQHH")
        _one_of(kind, (FILE, DIRECTORY, SYMLINK), "an entry of kind")
        if shared > len(before):
            raise WireError(f"{shared} bytes shared with a name of {len(before)}")
        entry = Entry(kind, before[:shared] + read.bytes(rest), size, mode, mtime_s, mtime_ns)
        entry.target = read.bytes(read.take("H"))
        extras = read.take("H")
        if extras > EXTRAS_MAX:
            raise WireError(f"{extras} bytes of attributes")
        entry.attributes = decode_attributes(read.bytes(extras))
        entry.is_open = bool(flags & 2)
        if flags & 1:
            if size > INLINE_MAX:
                raise WireError(f"{size} bytes INLINE")
            entry.content, entry.digest = read.bytes(size), read.bytes(DIGEST)
        entry.check(flags)
        return entry

    def check(self, flags):
        regular = self.kind == FILE
        if flags & 3 == 3 or (flags & 3 and not regular):
            raise WireError(f"flags {flags} of an entry of kind {self.kind}")
        if self.size and (not regular or self.is_open):
            raise WireError(f"a size of {self.size} where there is none")
        if self.size > SPACE_MAX or len(self.target) > NAME_MAX or b"\0" in self.target:
            raise WireError(f"a size of {self.size} or a target of {len(self.target)} bytes")
        if self.mode > 0o7777 or self.mtime_ns >= 1_000_000_000:
            raise WireError(f"mode {self.mode:o} or {self.mtime_ns} nanoseconds")
        if bool(self.target) != (self.kind == SYMLINK):
            raise WireError(f"a target of {len(self.target)} bytes in an entry of kind {self.kind}")


def decode_attributes(data):
    """Known attributes as dictionaries; unknown ones are ignored."""
    read = Reader(data)
    found = []
    while read.left():
        kind, length = read.take("BH")
        value = Reader(read.bytes(length))
        if kind == 1:
            uid, gid = value.take("II")
            found.append({"type": 1, "uid": uid, "gid": gid})
        elif kind == 2:
            name, nul, rest = value.bytes(length).partition(b"\0")
            if not nul or not name:
                raise WireError("an extended attribute without a name")
            found.append({"type": 2, "name": name, "value": rest})
        elif kind in (3, 4):
            found.append({"type": kind, "acl": value.bytes(length)})
        elif kind == 5:
            found.append({"type": 5, "object": value.take("I")})
        elif kind == 6:
            found.append({"type": 6, "root": value.bytes(DIGEST)})
        elif kind == 7:
            found.append({"type": 7, "bytes": value.take("Q")})
        else:
            continue
        value.end(f"attribute {kind}")
    return found


def encode_attributes(attributes):
    out = b""
    for item in attributes:
        kind = item["type"]
        if kind == 1:
            value = struct.pack("<II", item["uid"], item["gid"])
        elif kind == 2:
            value = item["name"] + b"\0" + item["value"]
        elif kind in (3, 4):
            value = item["acl"]
        elif kind == 5:
            value = struct.pack("<I", item["object"])
        elif kind == 6:
            value = item["root"]
        else:
            value = struct.pack("<Q", item["bytes"])
        out += struct.pack("<BH", kind, len(value)) + value
    return out


@dataclass
class Page:
    transfer: int
    page: int
    first_object: int
    last: bool
    entries: list

    type = PAGE

    def body(self):
        out = [struct.pack("<IIIBH", self.transfer, self.page, self.first_object, int(self.last), len(self.entries))]
        before = b""
        for entry in self.entries:
            out.append(entry.encode(before))
            before = entry.name
        return b"".join(out)

    @staticmethod
    def decode(read):
        transfer, page, first_object, flags, count = read.take("IIIBH")
        if count > PAGE_ENTRIES_MAX:
            raise WireError(f"a page with {count} entries")
        entries, before = [], b""
        for i in range(count):
            entry = Entry.decode(read, before)
            if not (entry.name == b"." and entry.kind == DIRECTORY and i == 0 and page == 0):
                check_name(entry.name)
            if entry.is_open and not (flags & 1 and i == count - 1):
                raise WireError("an OPEN entry that is not the last")
            entries.append(entry)
            before = entry.name
        return Page(transfer, page, first_object, bool(flags & 1), entries)


@dataclass
class Decision:
    """`decisions` are (action, None or runs or Error), one an entry."""

    transfer: int
    page: int
    first_entry: int
    decisions: list

    type = DECISION

    def body(self):
        out = [struct.pack("<IIHH", self.transfer, self.page, self.first_entry, len(self.decisions))]
        for action, detail in self.decisions:
            out.append(bytes([action]))
            if action == RESUME:
                out.append(struct.pack("<H", len(detail)))
                out.extend(struct.pack("<II", first, count) for first, count in detail)
            elif action == FAIL:
                out.append(detail.encode())
        return b"".join(out)

    @staticmethod
    def decode(read):
        transfer, page, first, count = read.take("IIHH")
        decisions = []
        for _ in range(count):
            action = _one_of(read.take("B"), (NEED, SKIP, RESUME, FAIL), "action")
            detail = Error.decode(read) if action == FAIL else _runs(read) if action == RESUME else None
            decisions.append((action, detail))
        return Decision(transfer, page, first, decisions)


def _runs(read):
    count = read.take("H")
    if count > RUNS_MAX:
        raise WireError(f"{count} runs")
    runs = [read.take("II") for _ in range(count)]
    end = -1
    for first, length in runs:
        if first <= end or length == 0:
            raise WireError(f"a run of {length} chunks at {first}")
        end = first + length
    return runs


@dataclass
class Chunk:
    transfer: int
    chunk: int
    attempt: int
    codec: int
    stored_length: int
    digests: list

    type = CHUNK

    def body(self):
        front = (self.transfer, self.chunk, self.attempt, self.codec, self.stored_length, len(self.digests))
        return struct.pack("<IIBBIH", *front) + b"".join(self.digests)

    @staticmethod
    def decode(read):
        *front, count = read.take("IIBBIH")
        _one_of(front[3], range(4), "codec")
        return Chunk(*front, [read.bytes(DIGEST) for _ in range(count)])


@dataclass
class Reject:
    transfer: int
    chunk: int
    attempt: int

    type = REJECT

    def body(self):
        return struct.pack("<IIB", self.transfer, self.chunk, self.attempt)

    @staticmethod
    def decode(read):
        return Reject(*read.take("IIB"))


@dataclass
class Withdraw:
    transfer: int
    object: int
    error: Error

    type = WITHDRAW

    def body(self):
        return struct.pack("<II", self.transfer, self.object) + self.error.encode()

    @staticmethod
    def decode(read):
        return Withdraw(*read.take("II"), Error.decode(read))


@dataclass
class Done:
    """`objects` are (object, status, None or bytes reused or Error)."""

    transfer: int
    objects: list

    type = DONE

    def body(self):
        out = [struct.pack("<IH", self.transfer, len(self.objects))]
        for number, status, detail in self.objects:
            out.append(struct.pack("<IB", number, status))
            if status == RESUMED:
                out.append(struct.pack("<Q", detail))
            elif status == FAILED:
                out.append(detail.encode())
        return b"".join(out)

    @staticmethod
    def decode(read):
        transfer, count = read.take("IH")
        objects = []
        for _ in range(count):
            number, status = read.take("IB")
            _one_of(status, (COPIED, RESUMED, FAILED), "an object that ended with status")
            detail = read.take("Q") if status == RESUMED else Error.decode(read) if status == FAILED else None
            objects.append((number, status, detail))
        return Done(transfer, objects)


@dataclass
class Complete:
    transfer: int
    status: int
    durability: int

    type = COMPLETE

    def body(self):
        return struct.pack("<IBB", self.transfer, self.status, self.durability)

    @staticmethod
    def decode(read):
        transfer, status, durability = read.take("IBB")
        _one_of(status, (0, 1), "COMPLETE with status")
        _one_of(durability, (0, 1, 2), "COMPLETE with durability")
        return Complete(transfer, status, durability)


@dataclass
class Cancel:
    transfer: int
    error: Error

    type = CANCEL

    def body(self):
        return struct.pack("<I", self.transfer) + self.error.encode()

    @staticmethod
    def decode(read):
        return Cancel(read.take("I"), Error.decode(read))


@dataclass
class End:
    transfer: int
    object: int
    size: int

    type = END

    def body(self):
        return struct.pack("<IIQ", self.transfer, self.object, self.size)

    @staticmethod
    def decode(read):
        return End(*read.take("IIQ"))


@dataclass
class Limit:
    transfer: int
    now: int
    all: int

    type = LIMIT

    def body(self):
        return struct.pack("<IBB", self.transfer, self.now, self.all)

    @staticmethod
    def decode(read):
        return Limit(*read.take("IBB"))


_TYPES = {
    kind.type: kind
    for kind in (Open, Accept, Page, Decision, Chunk, Reject, Withdraw, Done, Complete, Cancel, End, Limit)
}


def encode(message):
    body = message.body()
    if len(body) > BODY_MAX:
        raise ValueError(f"a message body of {len(body)} bytes")
    return bytes([message.type]) + len(body).to_bytes(3, "little") + body


def take(data):
    """(message, bytes used) from the front of `data`, or None as long as it is not all there."""
    if len(data) < 4:
        return None
    length = int.from_bytes(data[1:4], "little")
    if data[0] not in _TYPES or length > BODY_MAX:
        raise WireError(f"a message of type {data[0]} with {length} bytes")
    if len(data) < 4 + length:
        return None
    read = Reader(data[4 : 4 + length])
    message = _TYPES[data[0]].decode(read)
    read.end(f"a message of type {data[0]}")
    return message, 4 + length
