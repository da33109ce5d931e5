"""Packets: header, handshake datagrams and the frames of CONTROL, to bytes and back. PROTOCOL.md "Packets", "HELLO",
"REPLY", "Cookie" and "Frames". Decoders refuse everything that the text does not allow, with `WireError`."""

import struct
from dataclasses import dataclass, field

from .limits import CLOSE_TEXT_MAX, HELLO_MAX, HELLO_MIN, RANGES_MAX, VERSIONS_MAX, WINDOW_CHUNKS, WINDOW_WORDS

VERSION = 1
HEADER = 32
DATA, CONTROL, HELLO, REPLY, COOKIE, VERSIONS = range(6)
PADDING, PING, ACK, STREAM, CREDIT, WINDOW, PATH_CHALLENGE, PATH_RESPONSE, PATH_ABANDON, CLOSE = range(10)
DONE, CANCELLED, PROTOCOL, ACK_UNSENT, FLOW, NAME, AEAD_LIMIT, IDLE, SHUTDOWN, INTERNAL = range(10)


class WireError(Exception):
    """Bytes that PROTOCOL.md does not allow; `code` is the close code."""

    def __init__(self, text, code=PROTOCOL):
        super().__init__(text)
        self.code = code


class Reader:
    """Takes little-endian fields off the front of `data`."""

    def __init__(self, data):
        self.data = bytes(data)
        self.at = 0

    def left(self):
        return len(self.data) - self.at

    def bytes(self, count):
        if self.left() < count:
            raise WireError(f"{count} bytes expected, {self.left()} there")
        self.at += count
        return self.data[self.at - count : self.at]

    def take(self, layout):
        """Fields of a struct layout: a tuple, or the value itself where it is one."""
        layout = "<" + layout
        values = struct.unpack(layout, self.bytes(struct.calcsize(layout)))
        return values if len(values) > 1 else values[0]

    def end(self, what):
        if self.left():
            raise WireError(f"{self.left()} bytes after {what}")


@dataclass
class Header:
    type: int
    connection: int
    path: int = 0
    number: int = 0
    transfer: int = 0
    stamp: int = 0
    offset: int = 0
    length: int = 0
    ask: bool = False
    attempt: int = 0
    version: int = VERSION

    def encode(self):
        flags = int(self.ask) | (self.attempt & 7) << 1
        first = 0x80 | self.type << 3 | self.version
        numbers = (first, flags, self.path, self.connection, self.number, self.transfer, self.stamp)
        front = struct.pack("<BBHIQII", *numbers)
        return front + self.offset.to_bytes(6, "little") + struct.pack("<H", self.length)

    @staticmethod
    def decode(datagram):
        """The header, or None for a datagram that is dropped: too short, of no type, or of another version."""
        if len(datagram) < HEADER or datagram[0] >> 6 != 2:
            return None
        kind, version = datagram[0] >> 3 & 7, datagram[0] & 7
        # VERSIONS carries the version of the HELLO that it answers, which this end sent.
        if kind > VERSIONS or (version != VERSION and kind != HELLO):
            return None
        flags, path, connection, number, transfer, stamp = struct.unpack_from("<BHIQII", datagram, 1)
        offset = int.from_bytes(datagram[24:30], "little")
        (length,) = struct.unpack_from("<H", datagram, 30)
        return Header(
            kind, connection, path, number, transfer, stamp, offset, length, bool(flags & 1), flags >> 1 & 7, version
        )


@dataclass
class HandshakePayload:
    versions: list
    connection: int
    datagram_max: int
    receive_buffer: int
    stream_credit: int
    stream: bytes = b""

    def encode(self):
        front = bytes([len(self.versions), *self.versions])
        numbers = (self.connection, self.datagram_max, self.receive_buffer, self.stream_credit, len(self.stream))
        return front + struct.pack("<IHIIH", *numbers) + self.stream

    @staticmethod
    def decode(data):
        read = Reader(data)
        versions = list(read.bytes(read.take("B")))
        *numbers, length = read.take("IHIIH")
        payload = HandshakePayload(versions, *numbers, read.bytes(length))
        read.end("the handshake payload")
        if not versions or payload.datagram_max < HELLO_MIN:
            raise WireError("a handshake payload without versions or with datagrams below 1,200 bytes")
        return payload


def encode_hello(ticket, message, cookie=b"", size=HELLO_MIN):
    body = ticket + bytes([len(cookie)]) + cookie + struct.pack("<H", len(message)) + message
    datagram = Header(HELLO, 0).encode() + body
    return datagram.ljust(size, b"\0")


def decode_hello(datagram):
    """(ticket id, cookie, Noise message)."""
    if not HELLO_MIN <= len(datagram) <= HELLO_MAX:
        raise WireError(f"a HELLO of {len(datagram)} bytes")
    read = Reader(datagram[HEADER:])
    ticket = read.bytes(16)
    cookie = read.bytes(read.take("B"))
    if len(cookie) not in (0, 24):
        raise WireError(f"a cookie of {len(cookie)} bytes")
    message = read.bytes(read.take("H"))
    if any(read.bytes(read.left())):
        raise WireError("a HELLO padded with something else than zeros")
    return ticket, cookie, message


def encode_reply(connection, message):
    return Header(REPLY, connection).encode() + struct.pack("<H", len(message)) + message


def decode_reply(datagram):
    read = Reader(datagram[HEADER:])
    message = read.bytes(read.take("H"))
    read.end("the REPLY")
    return message


def encode_cookie(bucket, mac):
    return Header(COOKIE, 0).encode() + struct.pack("<Q", bucket) + mac


def decode_cookie(datagram):
    """The 24 bytes that go into the next HELLO as they are."""
    read = Reader(datagram[HEADER:])
    cookie = read.bytes(24)
    read.end("the COOKIE")
    return cookie


def decode_versions(datagram):
    read = Reader(datagram[HEADER:])
    versions = list(read.bytes(read.take("B")))
    read.end("the VERSIONS")
    if len(versions) > VERSIONS_MAX:
        raise WireError(f"{len(versions)} versions")
    return versions


@dataclass
class Padding:
    length: int

    def encode(self):
        return bytes(self.length)


@dataclass
class Ping:
    def encode(self):
        return bytes([PING])


@dataclass
class Ack:
    """`ranges` are (lowest, highest), newest first."""

    path: int
    delay_us: int
    echo_stamp: int
    arrival_stamp: int
    ce_count: int
    ranges: list

    def encode(self):
        low, high = self.ranges[0]
        front = (self.path, self.delay_us, self.echo_stamp, self.arrival_stamp, self.ce_count, len(self.ranges))
        out = [bytes([ACK]), struct.pack("<HIIIIBQI", *front, high, high - low)]
        for next_low, next_high in self.ranges[1:]:
            out.append(struct.pack("<II", low - next_high - 1, next_high - next_low + 1))
            low = next_low
        return b"".join(out)

    @staticmethod
    def decode(read):
        *front, count, high, below = read.take("HIIIIBQI")
        if not 1 <= count <= RANGES_MAX or below > high:
            raise WireError(f"an ACK of {count} ranges, the first {below} below {high}")
        low = high - below
        ranges = [(low, high)]
        for _ in range(count - 1):
            gap, length = read.take("II")
            if gap == 0 or length == 0 or gap + length > low:
                raise WireError(f"an ACK range of {length} after a gap of {gap} below {low}")
            high = low - gap - 1
            low = high - length + 1
            ranges.append((low, high))
        return Ack(*front, ranges)


@dataclass
class Stream:
    offset: int
    data: bytes

    def encode(self):
        return struct.pack("<BQH", STREAM, self.offset, len(self.data)) + self.data

    @staticmethod
    def decode(read):
        offset, length = read.take("QH")
        return Stream(offset, read.bytes(length))


@dataclass
class Credit:
    end: int

    def encode(self):
        return struct.pack("<BQ", CREDIT, self.end)


@dataclass
class Window:
    """`accepted` are words of 64 bits."""

    transfer: int
    pages: int
    base: int
    limit: int
    accepted: list = field(default_factory=list)

    def encode(self):
        front = (self.transfer, self.pages, self.base, self.limit, len(self.accepted))
        return struct.pack(f"<BIIIIB{len(self.accepted)}Q", WINDOW, *front, *self.accepted)

    @staticmethod
    def decode(read):
        transfer, pages, base, limit, count = read.take("IIIIB")
        if count > WINDOW_WORDS or limit < base or limit - base > WINDOW_CHUNKS:
            raise WireError(f"a WINDOW from {base} to {limit} with {count} words")
        return Window(transfer, pages, base, limit, [read.take("Q") for _ in range(count)])


@dataclass
class PathChallenge:
    token: bytes
    connection: int

    def encode(self):
        return bytes([PATH_CHALLENGE]) + self.token + struct.pack("<I", self.connection)


@dataclass
class PathResponse:
    token: bytes
    connection: int

    def encode(self):
        return bytes([PATH_RESPONSE]) + self.token + struct.pack("<I", self.connection)


@dataclass
class PathAbandon:
    path: int

    def encode(self):
        return struct.pack("<BH", PATH_ABANDON, self.path)


@dataclass
class Close:
    code: int
    text: str

    def encode(self):
        text = self.text.encode()
        return struct.pack("<BHH", CLOSE, self.code, len(text)) + text

    @staticmethod
    def decode(read):
        code, length = read.take("HH")
        if length > CLOSE_TEXT_MAX:
            raise WireError(f"a CLOSE with {length} bytes of text")
        try:
            return Close(code, read.bytes(length).decode())
        except UnicodeDecodeError:
            raise WireError("a CLOSE whose text is not UTF-8") from None


def _padding(read):
    rest = read.bytes(read.left())
    if any(rest):
        raise WireError("a frame after PADDING")
    return Padding(1 + len(rest))


_DECODERS = {
    PADDING: _padding,
    PING: lambda read: Ping(),
    ACK: Ack.decode,
    STREAM: Stream.decode,
    CREDIT: lambda read: Credit(read.take("Q")),
    WINDOW: Window.decode,
    PATH_CHALLENGE: lambda read: PathChallenge(read.bytes(8), read.take("I")),
    PATH_RESPONSE: lambda read: PathResponse(read.bytes(8), read.take("I")),
    PATH_ABANDON: lambda read: PathAbandon(read.take("H")),
    CLOSE: Close.decode,
}


def decode_frames(payload):
    read = Reader(payload)
    frames = []
    while read.left():
        kind = read.take("B")
        if kind not in _DECODERS:
            raise WireError(f"frame type {kind}")
        frames.append(_DECODERS[kind](read))
    return frames


def is_eliciting(frame):
    return not isinstance(frame, (Ack, Padding, Close))
