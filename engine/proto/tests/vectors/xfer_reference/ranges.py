"""Sets of integers as ranges: packet numbers, bytes that are here, bytes that are acknowledged."""

from bisect import bisect_left, bisect_right


class RangeSet:
    """Half-open ranges, ascending, with a gap between them."""

    def __init__(self):
        self.starts = []
        self.ends = []

    def add(self, low, high):
        if low >= high:
            return
        first = bisect_left(self.ends, low)
        last = bisect_right(self.starts, high)
        if first < last:
            low = min(low, self.starts[first])
            high = max(high, self.ends[last - 1])
        self.starts[first:last] = [low]
        self.ends[first:last] = [high]

    def remove(self, low, high):
        first = bisect_right(self.ends, low)
        last = bisect_left(self.starts, high)
        if low >= high or first >= last:
            return
        left, right = self.starts[first], self.ends[last - 1]
        kept = [part for part in ((left, low), (high, right)) if part[0] < part[1]]
        self.starts[first:last] = [part[0] for part in kept]
        self.ends[first:last] = [part[1] for part in kept]

    def covers(self, low, high):
        at = bisect_right(self.starts, low) - 1
        return low >= high or (at >= 0 and self.ends[at] >= high)

    def __contains__(self, value):
        return self.covers(value, value + 1)

    def __bool__(self):
        return bool(self.starts)

    def __iter__(self):
        return zip(self.starts, self.ends)

    def newest(self, count):
        """The highest ranges as (lowest, highest), both in the range, newest first."""
        pairs = zip(reversed(self.starts[-count:]), reversed(self.ends[-count:]))
        return [(low, high - 1) for low, high in pairs]
