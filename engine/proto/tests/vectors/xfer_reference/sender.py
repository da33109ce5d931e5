"""The other end for the client's tests: an acceptor that sends content it holds in memory.

Absent, as it serves tests on loopback: congestion control, reading of files, more than one ticket. What it can do wrong
or unusually on purpose is in `Habits`.
"""

import os
from collections import deque
from dataclasses import dataclass, field

from . import blake3, codec, keys, messages, noise, wire
from .connection import Connection
from .limits import COOKIE_BUCKET_US, DATAGRAM_MAX, PAGES_FIRST, STREAM_AHEAD
from .messages import Entry, Error
from .space import Space
from .wire import HandshakePayload, WireError

CLASS_CHANGED = 1
RECEIVE_BUFFER = 208 << 10


@dataclass
class Habits:
    """`codecs`: of each chunk, in turn. `spoil`: chunk to the number of attempts whose content is wrong. `withdraw`:
    objects. `payload`: bytes of DATA, a multiple of 16. `challenge`: PATH_CHALLENGE once established."""

    codecs: tuple = (codec.PLAIN,)
    spoil: dict = field(default_factory=dict)
    withdraw: tuple = ()
    demand_cookie: bool = False
    page_entries: int = 2_000
    payload: int = 1_136
    digests_late: bool = False
    backwards: bool = False
    challenge: bool = False
    wrong_tag: bool = False


class Content:
    """Entries and their bytes, cut into pages."""

    def __init__(self, entries, habits):
        """`entries` are (Entry, bytes)."""
        self.bytes = [content for _, content in entries]
        self.pages = []
        size = habits.page_entries
        listed = [entry for entry, _ in entries]
        for first in range(0, max(len(listed), 1), size):
            last = first + size >= len(listed)
            self.pages.append(messages.Page(0, len(self.pages), first, last, listed[first : first + size]))


@dataclass
class Encoded:
    attempt: int
    stored: bytes


class Sender:
    """The application of a `Connection` that sends content."""

    def __init__(self, entries, habits):
        self.habits = habits
        self.content = Content(entries, habits)
        self.connection = None
        self.open = None
        self.space = None
        self.pages_sent, self.pages_granted = 0, PAGES_FIRST
        self.decided = []
        self.partial = []
        self.base = self.limit = 0
        self.accepted = set()
        self.encoded = {}
        self.waiting = []
        self.pieces = deque()
        self.rejects = {}
        self.done = {}
        self.complete = None
        self.cancelled = None

    # Connection's application

    def on_message(self, message):
        handlers = {
            messages.Open: self._on_open, messages.Decision: self._on_decision, messages.Reject: self._on_reject,
            messages.Done: self._on_done, messages.Complete: self._on_complete, messages.Cancel: self._on_cancel,
        }
        if type(message) not in handlers:
            raise WireError(f"{type(message).__name__} from the receiver of content")
        handlers[type(message)](message)
        self._go_on()

    def on_window(self, frame):
        for i, word in enumerate(frame.accepted):
            self.accepted.update(frame.base + 64 * i + bit for bit in range(64) if word >> bit & 1)
        if frame.base >= self.base and frame.limit >= self.limit:
            self.base, self.limit = frame.base, frame.limit
        self.pages_granted = max(self.pages_granted, frame.pages)
        self._go_on()

    def on_data(self, header, payload):
        return False

    def next_data(self):
        while self.pieces:
            chunk, attempt, at, size = self.pieces.popleft()
            if self._is_current(chunk, attempt):
                payload = self.encoded[chunk].stored[at : at + size]
                offset = chunk * self.space.chunk_size + at
                return self.open.transfer, offset, attempt, payload, (chunk, attempt, at, size)
        return None

    def on_data_acked(self, token):
        pass

    def on_data_lost(self, token):
        self.pieces.appendleft(token)

    def _is_current(self, chunk, attempt):
        accepted = chunk < self.base or chunk in self.accepted
        return not accepted and self.encoded[chunk].attempt == attempt

    # Messages

    def _on_open(self, message):
        if self.open is not None or message.role != messages.RECEIVER:
            raise WireError("an OPEN that this sender does not serve")
        self.open = message
        self.space = Space(message.chunk_log2)
        self.connection.send(messages.Accept(message.transfer, 0))

    def _on_decision(self, message):
        page = self.content.pages[len(self.decided)]
        if message.page != page.page or message.first_entry != len(self.partial) or self.pages_sent <= page.page:
            raise WireError(f"a decision of page {message.page} from entry {message.first_entry}")
        self.partial += [action for action, _ in message.decisions]
        if len(self.partial) < len(page.entries):
            return
        first = len(self.space.chunks)
        self.space.add_page(page, self.partial)
        self.decided.append(self.partial)
        self.partial = []
        self.waiting += range(first, len(self.space.chunks))
        for number in self.habits.withdraw:
            if page.first_object <= number < page.first_object + len(page.entries):
                self._withdraw(number, "it changed while it was read")

    def _on_reject(self, message):
        chunk = message.chunk
        if chunk not in self.encoded or self.encoded[chunk].attempt != message.attempt:
            return
        self.rejects[chunk] = self.rejects.get(chunk, 0) + 1
        if self.rejects[chunk] >= 2:
            for item in self.space.chunks[chunk].objects:
                self._withdraw(item.number, "a chunk was rejected twice")
            return
        self._send_chunk(chunk, message.attempt + 1)

    def _withdraw(self, number, text):
        name = self._entry(number).name
        error = Error(CLASS_CHANGED, messages.SENDER, name=name, text=text)
        self.connection.send(messages.Withdraw(self.open.transfer, number, error))

    def _entry(self, number):
        page = next(page for page in reversed(self.content.pages) if page.first_object <= number)
        return page.entries[number - page.first_object]

    def _on_done(self, message):
        for number, status, _ in message.objects:
            if number in self.done:
                raise WireError(f"object {number} ended twice")
            self.done[number] = status

    def _on_complete(self, message):
        self.complete = message

    def _on_cancel(self, message):
        self.cancelled = message.error

    # Pages and chunks

    def _go_on(self):
        if self.open is None:
            return
        while self.pages_sent < min(self.pages_granted, len(self.content.pages)):
            page = self.content.pages[self.pages_sent]
            page.transfer = self.open.transfer
            self.connection.send(page)
            self.pages_sent += 1
        ready = [chunk for chunk in self.waiting if chunk < self.limit]
        self.waiting = self.waiting[len(ready) :]
        for chunk in reversed(ready) if self.habits.backwards else ready:
            self._send_chunk(chunk, 0)

    def _plain(self, plan):
        start = plan.number * self.space.chunk_size
        out = bytearray(plan.plain_length)
        digests = []
        for item in plan.objects:
            low, high = max(item.start, start), min(item.end, start + self.space.chunk_size)
            part = self.content.bytes[item.number][low - item.start : high - item.start]
            out[low - start : high - start] = part
            split = self.space.is_split(item)
            digests.append(blake3.chaining_value(part, low - item.start) if split else blake3.root(part))
        return bytes(out), digests if self.open.digest else []

    def _encode(self, chunk, plain):
        kind = self.habits.codecs[chunk % len(self.habits.codecs)]
        encode = {codec.LZ4: codec.lz4_encode, codec.EXTENTS: codec.extents_encode, codec.ZSTD: lambda data: data[:-1]}
        stored = encode[kind](plain) if kind in encode else plain
        return (kind, stored) if len(stored) < len(plain) else (codec.PLAIN, plain)

    def _send_chunk(self, chunk, attempt):
        plain, digests = self._plain(self.space.chunks[chunk])
        if attempt < self.habits.spoil.get(chunk, 0):
            plain = plain[:-1] + bytes([plain[-1] ^ 1])
        kind, stored = self._encode(chunk, plain)
        self.encoded[chunk] = Encoded(attempt, stored)
        self.connection.send(messages.Chunk(self.open.transfer, chunk, attempt, kind, len(stored), digests))
        size = self.habits.payload
        cuts = [(chunk, attempt, at, size) for at in range(0, len(stored), size)]
        self.pieces.extend(reversed(cuts) if self.habits.backwards else cuts)


class Acceptor:
    """The end that `loop.drive` runs: handshake with one ticket, then a connection with a `Sender` on it."""

    def __init__(self, secret, suite, direction, sender):
        self.secret, self.suite, self.direction, self.sender = secret, suite, direction, sender
        self.ticket = keys.ticket_id(secret)
        self.cookie_key = os.urandom(32)
        self.own_id = int.from_bytes(os.urandom(4), "little") or 1
        self.peer = None
        self.message = self.reply = None
        self.connection = None
        self.established = False
        self.cookies = self.hellos = 0
        self.out = []

    def progress(self):
        state = self.sender
        return f"{self.hellos} HELLOs, {state.pages_sent} pages sent, {len(state.encoded)} chunks, base {state.base}"

    def poll(self, now):
        out, self.out = self.out, []
        if self.established:
            if self.sender.complete is not None and self.connection.stream_out.is_flushed():
                self.connection.close(now, wire.DONE, "")
            out += self.connection.poll(now)
        return out

    def timeout(self):
        return self.connection.timeout() if self.established else 1 << 62

    def is_over(self, now):
        return self.established and self.connection.is_over(now)

    def handle(self, now, datagram, address):
        header = wire.Header.decode(datagram)
        if header is None:
            return
        if header.type == wire.HELLO:
            self._on_hello(now, header, datagram, address)
        elif self.connection is not None and address == self.peer:
            before = self.connection.received.next
            self.connection.handle(now, datagram)
            if not self.established and self.connection.received.next > before:
                self.established = True
                if self.sender.habits.challenge:
                    self.connection.urgent.append(wire.PathChallenge(bytes(range(8)), self.own_id))

    def _on_hello(self, now, header, datagram, address):
        try:
            ticket, cookie, message = wire.decode_hello(datagram)
        except WireError:
            return
        if ticket != self.ticket or self.established:
            return
        if header.version != wire.VERSION:
            self.peer = address
            answer = wire.Header(wire.VERSIONS, 0, version=header.version).encode() + bytes([1, wire.VERSION])
            self.out.append(answer)
            return
        self.hellos += 1
        if self.message is not None:
            if message == self.message and address == self.peer:
                self.out.append(self.reply)
            return
        if self.sender.habits.demand_cookie and not self._check_cookie(now, cookie, address):
            return
        self._answer(now, message, address)

    def _check_cookie(self, now, cookie, address):
        bucket = now // COOKIE_BUCKET_US
        port, packed = address[1], address[0].encode().ljust(16, b"\0")
        for age in (0, 1):
            mac = keys.cookie_mac(self.cookie_key, packed, port, self.ticket, bucket - age)
            if cookie == (bucket - age).to_bytes(8, "little") + mac:
                return True
        self.peer = address
        self.cookies += 1
        mac = keys.cookie_mac(self.cookie_key, packed, port, self.ticket, bucket)
        self.out.append(wire.encode_cookie(bucket, mac))
        return False

    def _answer(self, now, message, address):
        prologue = noise.prologue(wire.VERSION, self.ticket, self.suite, self.direction)
        acceptor = noise.Acceptor(self.secret, prologue, self.suite, os.urandom(32))
        try:
            peer = HandshakePayload.decode(acceptor.read(message))
        except (noise.NoiseError, WireError):
            return
        self.peer, self.message = address, message
        payload = HandshakePayload([wire.VERSION], self.own_id, DATAGRAM_MAX, RECEIVE_BUFFER, STREAM_AHEAD)
        reply, s_open, s_accept = acceptor.write(payload.encode())
        self.reply = wire.encode_reply(peer.connection, reply)
        self.out.append(self.reply)
        self.connection = Connection(self.sender, self.suite, s_accept, s_open, self.own_id, peer, now)
        self.sender.connection = self.connection
        self.connection.start(peer.stream)


def file(name, content, **fields):
    """An entry of a regular file and its bytes."""
    return Entry(messages.FILE, name, len(content), **fields), content
