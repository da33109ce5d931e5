"""The event loop around one end: a UDP socket, a monotonic clock, and in tests a wire that spoils things."""

import select
import time

BURST = 64


class TimedOut(Exception):
    """The end was not over within its time."""


def now_us():
    return time.monotonic_ns() // 1_000


def plain_wire(datagram, outgoing):
    return [datagram]


class Losses:
    """Loses each `every`-th datagram that comes in; 0 loses none."""

    def __init__(self, every):
        self.every = every
        self.came = self.dropped = 0

    def __call__(self, datagram, outgoing):
        self.came += not outgoing
        if outgoing or not self.every or self.came % self.every:
            return [datagram]
        self.dropped += 1
        return []


def drive(sock, end, seconds, wire=plain_wire):
    """Runs `end` until it is over. `wire` gets every datagram and returns those that pass."""
    deadline = now_us() + int(seconds * 1e6)
    sock.setblocking(False)
    while True:
        now = now_us()
        for datagram in end.poll(now):
            for passed in wire(datagram, True):
                _send(sock, end.peer, passed)
        if end.is_over(now):
            return
        if now >= deadline:
            raise TimedOut(f"not over after {seconds} s: {end.progress()}")
        wait = max(0, min(end.timeout(), deadline) - now)
        if select.select([sock], [], [], wait / 1e6)[0]:
            _receive(sock, end, wire)


def _send(sock, peer, datagram):
    try:
        sock.sendto(datagram, peer)
    except (BlockingIOError, ConnectionRefusedError):
        # As good as lost on the way: it is sent again, or the peer counts as silent.
        pass


def _receive(sock, end, wire):
    for _ in range(BURST):
        try:
            datagram, address = sock.recvfrom(65_535)
        except (BlockingIOError, ConnectionRefusedError):
            return
        for passed in wire(datagram, False):
            end.handle(now_us(), passed, address)
