"""The receiver of a transfer's content: pages to decisions, chunks to verified files, WINDOW, DONE and COMPLETE.
PROTOCOL.md "Transfers" and "Window". Every file is needed whole; objects of unknown length are refused."""

from dataclasses import dataclass

from . import blake3, codec, messages, wire
from .limits import BODY_MAX, PAGES_AHEAD, WINDOW_BYTES, WINDOW_CHUNKS
from .messages import Error
from .ranges import RangeSet
from .space import Space
from .wire import WireError

# Exit codes of the product that errors carry as their class: other, I/O, wrong digest.
CLASS_UNSUPPORTED, CLASS_IO, CLASS_DIGEST = 1, 7, 15


class Refused(Exception):
    """The transfer cannot go on; the text says why. `told`: the sender knows, because it said so."""

    def __init__(self, text, told=False):
        super().__init__(text)
        self.told = told


@dataclass
class Assembly:
    """What is here of one chunk's current attempt."""

    attempt: int = 0
    entry: messages.Chunk = None
    data: bytearray = None
    here: RangeSet = None

    def restart(self, attempt):
        self.attempt, self.entry = attempt, None
        self.data, self.here = bytearray(), RangeSet()


class Object:
    """An object with space: what its chunks' digests were, until it ends."""

    def __init__(self, placed, chunks):
        self.placed = placed
        self.missing = set(chunks)
        self.values = {}


class Receiver:
    """The application of a `Connection` that receives content. `tree` writes; whoever makes the
    connection sets `connection`."""

    def __init__(self, tree, transfer, chunk_log2, digest=1):
        self.tree = tree
        self.transfer = transfer
        self.digest = digest
        self.space = Space(chunk_log2)
        self.size = 1 << chunk_log2
        self.chunks_ahead = max(2, min(WINDOW_CHUNKS, WINDOW_BYTES >> chunk_log2))
        self.connection = None
        self.accepted_open = False
        self.pages = 0
        self.listed = []
        self.last_page = False
        self.base = 0
        self.accepted = set()
        self.building = {}
        self.objects = {}
        self.files = []
        self.failures = []
        self.open_objects = set()
        self.links = []
        self.ended = []
        self.completed = False
        self.codecs = dict.fromkeys(codec.NAMES, 0)
        self.counts = {"data": 0, "duplicate": 0, "rejected": 0, "refused": 0}

    def open_message(self):
        return messages.Open(self.transfer, messages.RECEIVER, self.size.bit_length() - 1, self.digest)

    # Connection's application

    def on_window(self, frame):
        raise WireError("a WINDOW from the sender of content")

    def next_data(self):
        return None

    def on_data_acked(self, token):
        raise AssertionError("this end sends no DATA")

    on_data_lost = on_data_acked

    def on_message(self, message):
        if message.transfer != self.transfer:
            raise WireError(f"transfer {message.transfer} is unknown")
        handlers = {
            messages.Accept: self._on_accept, messages.Page: self._on_page, messages.Chunk: self._on_chunk,
            messages.Withdraw: self._on_withdraw, messages.Cancel: self._on_cancel,
        }
        handler = handlers.get(type(message))
        if handler is None:
            raise WireError(f"{type(message).__name__} from the sender of content")
        if not self.accepted_open and handler not in (self._on_accept, self._on_cancel):
            raise WireError(f"{type(message).__name__} before ACCEPT")
        handler(message)
        self._report()

    def on_data(self, header, payload):
        self.counts["data"] += 1
        held = self._hold(header, payload)
        self._report()
        return held

    # Messages

    def _on_accept(self, message):
        if self.accepted_open:
            raise WireError("a second ACCEPT")
        self.accepted_open = True
        self._announce()

    def _on_cancel(self, message):
        raise Refused(f"the sender cancelled: {message.error.text}", told=True)

    def _on_page(self, page):
        if page.page != self.pages or page.first_object != len(self.listed) or self.last_page:
            raise WireError(f"page {page.page} from object {page.first_object} after {self.pages} pages")
        decisions = [self._decide(entry) for entry in page.entries]
        self._send_decisions(page, decisions)
        placed = self.space.add_page(page, [action for action, _ in decisions])
        self.listed += page.entries
        self.pages += 1
        self.last_page = page.last
        for item in placed:
            self.objects[item.number] = Object(item, self.space.chunks_of(item))
        for i, (entry, (action, detail)) in enumerate(zip(page.entries, decisions)):
            number = page.first_object + i
            if action == messages.FAIL:
                self.failures.append((entry.name, detail.text))
                continue
            self.open_objects.add(number)
            if number not in self.objects:
                self._write_whole(number, entry)
        self._announce()

    def _decide(self, entry):
        if entry.is_open:
            text = "the reference takes no objects of unknown length"
            return messages.FAIL, Error(CLASS_UNSUPPORTED, messages.RECEIVER, name=entry.name, text=text)
        if entry.content is not None and self.digest and blake3.root(entry.content) != entry.digest:
            return messages.FAIL, Error(CLASS_DIGEST, messages.RECEIVER, name=entry.name, text="its digest is wrong")
        return messages.NEED, None

    def _send_decisions(self, page, decisions):
        """In as many messages as their bodies need."""
        first, part = 0, []
        for decision in decisions:
            part.append(decision)
            if len(messages.Decision(self.transfer, page.page, first, part).body()) > BODY_MAX:
                part.pop()
                self.connection.send(messages.Decision(self.transfer, page.page, first, part))
                first, part = first + len(part), [decision]
        self.connection.send(messages.Decision(self.transfer, page.page, first, part))

    def _write_whole(self, number, entry):
        """An object without chunks: directory, empty or INLINE; a symlink waits until all else is written."""
        if entry.kind == messages.SYMLINK and number not in self.links:
            self.links.append(number)
            return
        content = entry.content or b""
        if self._write(number, lambda: self.tree.make(entry, content)) and entry.kind == messages.FILE:
            self.files.append((entry.name, entry.size, blake3.root(content)))
        self._end(number, messages.COPIED, None)

    def _on_chunk(self, entry):
        plan = self.space.chunks.get(entry.chunk)
        if plan is None or entry.chunk >= self._limit() or entry.stored_length > plan.plain_length:
            raise WireError(f"an entry of chunk {entry.chunk} with {entry.stored_length} bytes")
        if self._is_accepted(entry.chunk):
            return
        build = self._assembly(entry.chunk)
        step = (entry.attempt - build.attempt) & 0xFF
        if step >= 0x80 or (step == 0 and build.entry is not None):
            return
        if step:
            build.restart(entry.attempt)
        build.entry = entry
        self._try_chunk(entry.chunk)

    def _on_withdraw(self, message):
        if message.object == messages.UNLISTED:
            self.failures.append((message.error.name, message.error.text))
            return
        if message.object >= len(self.listed):
            raise WireError(f"object {message.object} withdrawn before it was listed")
        if message.object not in self.open_objects or message.object in self.links:
            return
        self.failures.append((self.listed[message.object].name, message.error.text))
        self._end(message.object, messages.FAILED, message.error)
        # Its chunks are not waited for any more, but a packed one is while another of its objects is.
        if message.object in self.objects:
            for chunk in sorted(self.objects[message.object].missing):
                self._try_chunk(chunk)

    # Chunks

    def _limit(self):
        return self.base + self.chunks_ahead

    def _is_accepted(self, chunk):
        return chunk < self.base or chunk in self.accepted

    def _assembly(self, chunk):
        if chunk not in self.building:
            self.building[chunk] = Assembly()
            self.building[chunk].restart(0)
        return self.building[chunk]

    def _hold(self, header, payload):
        """Whether the packet's bytes are here now, or are not needed."""
        chunk, at = divmod(header.offset, self.size)
        end = at + len(payload)
        plan = self.space.chunks.get(chunk)
        if header.transfer != self.transfer or plan is None or chunk >= self._limit() or at % 16 or not payload:
            self.counts["refused"] += 1
            return False
        if self._is_accepted(chunk):
            self.counts["duplicate"] += 1
            return True
        build = self._assembly(chunk)
        step = (header.attempt - build.attempt) & 7
        if step >= 4:
            self.counts["duplicate"] += 1
            return True
        if step:
            build.restart((build.attempt + step) & 0xFF)
        limit = build.entry.stored_length if build.entry else plan.plain_length
        if end > limit or (len(payload) % 16 and build.entry and end != limit):
            self.counts["refused"] += 1
            return False
        if build.here.covers(at, end):
            self.counts["duplicate"] += 1
        if len(build.data) < end:
            build.data.extend(bytes(end - len(build.data)))
        build.data[at:end] = payload
        build.here.add(at, end)
        self._try_chunk(chunk)
        return True

    def _try_chunk(self, chunk):
        """Accepts or rejects a chunk that is all here, or accepts one that nobody waits for."""
        objects = self.space.chunks[chunk].objects
        if not any(item.number in self.open_objects for item in objects):
            self._accept_chunk(chunk)
            return
        build = self._assembly(chunk)
        entry = build.entry
        if entry is None or not build.here.covers(0, entry.stored_length):
            return
        values = self._verify(chunk, build, entry)
        if values is None:
            self.counts["rejected"] += 1
            self.connection.send(messages.Reject(self.transfer, chunk, build.attempt))
            build.restart((build.attempt + 1) & 0xFF)
            return
        self._accept_chunk(chunk)
        self.codecs[codec.NAMES[entry.codec]] += 1
        for item, part, value in values:
            self._take(chunk, item, part, value)

    def _verify(self, chunk, build, entry):
        """(object, its bytes here, their chaining value or root) for each object that is waited for; None if wrong."""
        plan = self.space.chunks[chunk]
        if len(entry.digests) != (len(plan.objects) if self.digest else 0):
            return None
        if entry.codec == codec.PLAIN and entry.stored_length != plan.plain_length:
            return None
        try:
            plain = memoryview(codec.decode(entry.codec, bytes(build.data[: entry.stored_length]), plan.plain_length))
        except codec.CodecError:
            return None
        except codec.Unsupported as error:
            raise Refused(str(error)) from None
        values = []
        for i, (item, offset, at, length) in enumerate(self.space.pieces(plan)):
            if item.number not in self.open_objects:
                continue
            part = plain[at : at + length]
            value = self.space.digest(item, offset, part)
            if self.digest and value != entry.digests[i]:
                return None
            values.append((item, part, value))
        return values

    def _accept_chunk(self, chunk):
        self.building.pop(chunk, None)
        self.accepted.add(chunk)
        while self.base in self.accepted:
            self.accepted.discard(self.base)
            self.base += 1
        self._announce()

    def _take(self, chunk, item, part, value):
        state, entry = self.objects[item.number], item.entry
        offset = max(chunk * self.size - item.start, 0)
        if not self._write(item.number, lambda: self.tree.write(entry, offset, part)):
            return
        state.missing.discard(chunk)
        state.values[chunk] = value
        if state.missing:
            return
        values = [state.values[number] for number in sorted(state.values)]
        root = blake3.merge(values) if len(values) > 1 else values[0]
        self.files.append((entry.name, entry.size, root))
        self._end(item.number, messages.COPIED, None)

    # What this end says

    def _write(self, number, action):
        try:
            action()
        except OSError as error:
            name, text = self.listed[number].name, f"cannot write: {error.strerror or error}"
            self.failures.append((name, text))
            failed = Error(CLASS_IO, messages.RECEIVER, error.errno or 0, name=name, text=text)
            self._end(number, messages.FAILED, failed)
            return False
        return True

    def _end(self, number, status, detail):
        """Every object ends once."""
        if number in self.open_objects:
            self.open_objects.discard(number)
            self.ended.append((number, status, detail))

    def _announce(self):
        limit = self._limit()
        # Chunks of a withdrawn object may be accepted before they are granted: a later WINDOW says so.
        known = [chunk - self.base for chunk in self.accepted if chunk < limit]
        words = [0] * (max(known) // 64 + 1 if known else 0)
        for bit in known:
            words[bit // 64] |= 1 << bit % 64
        self.connection.set_window(wire.Window(self.transfer, self.pages + PAGES_AHEAD, self.base, limit, words))

    def _report(self):
        """DONE for what ended, in bodies that fit, and COMPLETE when that was all."""
        if self.last_page and len(self.open_objects) == len(self.links):
            for number in self.links:
                self._write_whole(number, self.listed[number])
            self.links.clear()
        while self.ended:
            part = []
            while self.ended and len(messages.Done(self.transfer, part).body()) < BODY_MAX - 6_000 and len(part) < 256:
                part.append(self.ended.pop(0))
            self.connection.send(messages.Done(self.transfer, part))
        if self.last_page and not self.open_objects and not self.completed:
            self.completed = True
            self.connection.send(messages.Complete(self.transfer, 1 if self.failures else 0, 0))
