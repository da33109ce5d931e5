"""The address space that both ends lay out from pages and decisions: PROTOCOL.md "Address space"."""

from dataclasses import dataclass, field

from . import messages
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

    def _up(self, offset, step):
        return -(-offset // step) * step

    def add_page(self, page, actions):
        """Lays out the objects of a page whose action is NEED or RESUME; returns those that took space."""
        placed = []
        for i, (entry, action) in enumerate(zip(page.entries, actions, strict=True)):
            wanted = entry.kind == messages.FILE and action in (messages.NEED, messages.RESUME)
            if wanted and entry.is_open:
                raise ValueError("objects of unknown length are not for this reference")
            if wanted and entry.size and entry.content is None:
                placed.append(self._place(page.first_object + i, entry))
        self.cursor = self._up(self.cursor, self.chunk_size)
        return placed

    def _place(self, number, entry):
        size, chunk = entry.size, self.chunk_size
        aligned = size > chunk // 4
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
