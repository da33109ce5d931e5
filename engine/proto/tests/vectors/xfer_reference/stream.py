"""The two halves of the control stream: PROTOCOL.md "Control stream", STREAM and CREDIT in "Frames"."""

from . import messages, wire
from .limits import STREAM_AHEAD
from .ranges import RangeSet
from .wire import WireError


class SendStream:
    """Messages to pieces. `pending` are the bytes to send, again or for the first time."""

    def __init__(self, credit):
        self.credit = credit
        self.data = bytearray()
        self.pending = RangeSet()
        self.acked = RangeSet()

    def send(self, message):
        start = len(self.data)
        self.data += messages.encode(message)
        self.pending.add(start, len(self.data))

    def take(self, size):
        """The next piece as a frame, at most `size` bytes, or None."""
        for low, high in self.pending:
            high = min(high, low + size, self.credit)
            if low >= high:
                return None
            self.pending.remove(low, high)
            return wire.Stream(low, bytes(self.data[low:high]))
        return None

    def on_acked(self, low, high):
        self.acked.add(low, high)
        self.pending.remove(low, high)

    def on_lost(self, low, high):
        self.pending.add(low, high)
        for acked in list(self.acked):
            self.pending.remove(*acked)

    def is_flushed(self):
        return self.acked.covers(0, len(self.data))


class ReceiveStream:
    """Pieces to messages, within the credit that this end gave."""

    def __init__(self):
        self.credit = STREAM_AHEAD
        self.base = 0
        self.data = bytearray()
        self.here = RangeSet()

    def receive(self, offset, data):
        end = offset + len(data)
        if end > self.credit:
            raise WireError(f"control stream up to {end}, {self.credit} granted", wire.FLOW)
        if offset < self.base:
            data, offset = data[self.base - offset :], self.base
        if offset >= end:
            return
        at = offset - self.base
        if len(self.data) < at + len(data):
            self.data.extend(bytes(at + len(data) - len(self.data)))
        for low, high in self.here:
            low, high = max(low, offset), min(high, end)
            if low < high and self.data[low - self.base : high - self.base] != data[low - offset : high - offset]:
                raise WireError(f"the control stream's bytes {low} to {high} changed", wire.FLOW)
        self.data[at : at + len(data)] = data
        self.here.add(offset, end)

    def take(self):
        """The next message that is all here, or None."""
        if self.base not in self.here:
            return None
        ready = next(high for low, high in self.here if low <= self.base < high) - self.base
        found = messages.take(self.data[:ready])
        if found is None:
            return None
        message, used = found
        del self.data[:used]
        self.base += used
        self.here.remove(0, self.base)
        return message

    def new_credit(self):
        """The end to announce when a quarter of what was granted is used up, else None."""
        if self.base + STREAM_AHEAD - self.credit < STREAM_AHEAD // 4:
            return None
        self.credit = self.base + STREAM_AHEAD
        return self.credit
