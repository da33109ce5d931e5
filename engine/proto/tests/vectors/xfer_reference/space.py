"""The address space that both ends lay out from pages and decisions: PROTOCOL.md "Address space" and "Chunk entries"."""

from dataclasses import dataclass, field

from . import blake3, messages
from .limits import CHUNKS_MAX, SPACE_MAX
from .wire import WireError


@dataclass
class Placed:
    """An object in the space; `start` is its virtual offset, a multiple of the chunk size unless it is packed."""

    number: int
    entry: messages.Entry
    start: int
    size: int

    @property
    def end(self):
        return self.start + self.size


@dataclass
class ChunkPlan:
    """Objects that have bytes in a chunk, and the end of the last one's bytes in it."""

    number: int
    plain_length: int = 0
    objects: list = field(default_factory=list)


class Space:
    """Grows by one decided page at a time. `chunks` maps chunk numbers to plans; there are no numbers between."""

    def __init__(self, chunk_log2):
        self.chunk_size = 1 << chunk_log2
        self.cursor = 0
        self.chunks = {}
        self.objects = {}
        # Number, entry and start of the object whose length is not known.
        self.open_object = None

    def _up(self, offset, step):
        return -(-offset // step) * step

    def add_page(self, page, actions):
        """Lays out the objects of a page whose action is NEED or RESUME; returns those that took space."""
        placed = []
        for i, (entry, action) in enumerate(zip(page.entries, actions, strict=True)):
            if entry.kind != messages.FILE or action not in (messages.NEED, messages.RESUME):
                continue
            if entry.is_open:
                self.open_object = (page.first_object + i, entry, self._up(self.cursor, self.chunk_size))
            elif entry.size and entry.content is None:
                placed.append(self._place(page.first_object + i, entry, entry.size))
        self.cursor = self._up(self.cursor, self.chunk_size)
        return placed

    def end_open(self, number, size):
        """The open object's length is known: it takes its space, if it has any bytes."""
        if self.open_object is None or self.open_object[0] != number:
            raise WireError(f"object {number} ended and is not open")
        _, entry, self.cursor = self.open_object
        self.open_object = None
        return self._place(number, entry, size) if size else None

    def _place(self, number, entry, size):
        chunk = self.chunk_size
        # An open object starts at a chunk's boundary, so that it makes no difference how long it is.
        aligned = entry.is_open or size > chunk // 4
        start = self._up(self.cursor, chunk if aligned else 16)
        if not aligned and start // chunk != (start + size - 1) // chunk:
            start = self._up(start, chunk)
        item = Placed(number, entry, start, size)
        if item.end > SPACE_MAX or (item.end - 1) // chunk >= CHUNKS_MAX:
            raise WireError(f"object {number} ends at {item.end}, past the address space")
        self.cursor = self._up(item.end, chunk) if aligned else item.end
        for index in range(start // chunk, (item.end - 1) // chunk + 1):
            plan = self.chunks.setdefault(index, ChunkPlan(index))
            plan.objects.append(item)
            plan.plain_length = min(item.end, (index + 1) * chunk) - index * chunk
        self.objects[number] = item
        return item

    def chunks_of(self, item):
        return range(item.start // self.chunk_size, (item.end - 1) // self.chunk_size + 1)

    def is_split(self, item):
        """Whether an object has more than one chunk, so that its digests are chaining values."""
        return len(self.chunks_of(item)) > 1

    def pieces(self, plan):
        """(object, offset in the object, offset in the chunk, bytes) of each object that a chunk has bytes of."""
        start = plan.number * self.chunk_size
        found = []
        for item in plan.objects:
            low, high = max(item.start, start), min(item.end, start + self.chunk_size)
            found.append((item, low - item.start, low - start, high - low))
        return found

    def digest(self, item, offset, data):
        """What a chunk entry says of `data`, an object's bytes in one chunk, from `offset` of the object on."""
        return blake3.chaining_value(data, offset) if self.is_split(item) else blake3.root(data)
