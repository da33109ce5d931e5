"""The live client: opens a connection to a node's data port with a ticket and receives all that it offers.

    python3 -m xfer_reference.client --ticket HEX --suite N --direction 2 --address IP:PORT --output DIR

Prints one JSON line: {"files": [{"name", "size", "digest"}], "bytes", "codecs", "dropped", "seconds"}; `codecs` counts the
chunks of each. Exit code 0 when everything arrived verified; else 1 and the reason on stderr. With `--drop-every N` each
N-th datagram that comes is thrown away.
"""

import argparse
import ipaddress
import json
import os
import socket
import sys
import time

from . import keys, noise, wire
from .connection import Connection
from .limits import COOKIES_MAX, DATAGRAM_MAX, HELLO_FIRST_US, HELLO_TRIES, STREAM_AHEAD
from .loop import Losses, TimedOut, drive, plain_wire
from .messages import Cancel, Error, RECEIVER, encode
from .receiver import CLASS_UNSUPPORTED, Receiver, Refused
from .tree import Tree
from .wire import HandshakePayload, WireError

RECEIVE_BUFFER = 4 << 20


class Failed(Exception):
    """The transfer did not succeed; the text says why."""


class Client:
    """The opener: handshake, then a connection with a `Receiver` on it."""

    def __init__(self, secret, suite, direction, peer, receiver, receive_buffer):
        self.suite, self.peer, self.receiver = suite, peer, receiver
        self.ticket = keys.ticket_id(secret)
        self.own_id = int.from_bytes(os.urandom(4), "little") or 1
        self.first = encode(receiver.open_message())
        prologue = noise.prologue(wire.VERSION, self.ticket, suite, direction)
        self.noise = noise.Opener(secret, prologue, suite, os.urandom(32))
        payload = HandshakePayload(
            [wire.VERSION], self.own_id, DATAGRAM_MAX, receive_buffer, STREAM_AHEAD, self.first
        )
        self.message = self.noise.write(payload.encode())
        self.cookie = b""
        self.cookies = self.hellos = 0
        self.hello_at = self.first_hello = None
        self.hint = None
        self.connection = None
        self.failure = None

    def progress(self):
        if self.connection is None:
            return f"{self.hellos} HELLOs sent, no REPLY"
        state = self.receiver
        return f"{state.pages} pages, chunks below {state.base} accepted, {state.counts}"

    # The end that `loop.drive` runs

    def poll(self, now):
        if self.connection is not None:
            self._close_when_done(now)
            return self.connection.poll(now)
        if self.hello_at is None:
            self.hello_at = self.first_hello = now
        if self.failure is not None or now < self.hello_at:
            return []
        if self.hellos >= HELLO_TRIES:
            hint = f"; the node speaks versions {self.hint}" if self.hint else ""
            self.failure = f"no REPLY to {self.hellos} HELLOs{hint}"
            return []
        self.hello_at = now + (HELLO_FIRST_US << self.hellos)
        return [self._hello()]

    def _hello(self):
        self.hellos += 1
        return wire.encode_hello(self.ticket, self.message, self.cookie)

    def timeout(self):
        return self.connection.timeout() if self.connection is not None else self.hello_at

    def is_over(self, now):
        if self.connection is None:
            return self.failure is not None
        return self.connection.is_over(now)

    def handle(self, now, datagram, address):
        if address[:2] != self.peer[:2]:
            return
        if self.connection is None:
            self._on_handshake(now, datagram)
            return
        try:
            self.connection.handle(now, datagram)
        except Refused as error:
            self._refuse(error)

    # Handshake

    def _on_handshake(self, now, datagram):
        header = wire.Header.decode(datagram)
        try:
            if header is None:
                return
            if header.type == wire.COOKIE and self.cookies < COOKIES_MAX:
                self.cookie = wire.decode_cookie(datagram)
                self.cookies += 1
                self.hello_at = now
                # This HELLO answers the COOKIE: it is no step of the back-off.
                self.hellos -= 1
            elif header.type == wire.VERSIONS:
                self.hint = wire.decode_versions(datagram)
            elif header.type == wire.REPLY and header.connection == self.own_id:
                self._on_reply(now, *self.noise.read(wire.decode_reply(datagram)))
        except (WireError, noise.NoiseError):
            # Not authentic, or cut: dropped.
            return

    def _on_reply(self, now, payload, s_open, s_accept):
        peer = HandshakePayload.decode(payload)
        if peer.versions != [wire.VERSION]:
            self.failure = f"the node chose versions {peer.versions}"
            return
        rtt = now - self.first_hello if self.hellos == 1 and not self.cookies else None
        self.connection = Connection(self.receiver, self.suite, s_open, s_accept, self.own_id, peer, now, rtt)
        self.receiver.connection = self.connection
        # What the HELLO carried is held by whoever answers it.
        self.connection.send(self.receiver.open_message())
        self.connection.stream_out.on_acked(0, len(self.first))
        self.connection.ping = True
        try:
            self.connection.start(peer.stream)
        except WireError as error:
            self.connection.close(now, error.code, str(error))
        except Refused as error:
            self._refuse(error)

    # The end

    def _refuse(self, refused):
        if self.failure is not None:
            return
        self.failure = str(refused)
        if not refused.told:
            error = Error(CLASS_UNSUPPORTED, RECEIVER, text=self.failure)
            self.connection.send(Cancel(self.receiver.transfer, error))

    def _close_when_done(self, now):
        """CLOSE once the peer has all that this end said."""
        if not self.connection.stream_out.is_flushed():
            return
        if self.failure is not None:
            self.connection.close(now, wire.CANCELLED, self.failure)
        elif self.receiver.completed:
            self.connection.close(now, wire.DONE, "")

    def result(self):
        """Files as (name, size, root). Raises `Failed`."""
        link, state = self.connection, self.receiver
        failure = self.failure
        if failure is None and link.closing is not None and link.closing.code != wire.DONE:
            failure = f"closed with code {link.closing.code}: {link.closing.text}"
        if failure is None and link.closed_by_peer is not None and not state.completed:
            code, text = link.closed_by_peer
            failure = f"the node closed with code {code}: {text}"
        if failure is None and link.closed_by_peer is not None and link.closed_by_peer[0] not in (wire.DONE, wire.IDLE):
            failure = f"the node closed with code {link.closed_by_peer[0]} after the last file"
        if failure is None and state.failures:
            name, text = state.failures[0]
            failure = f"{len(state.failures)} objects failed, the first {os.fsdecode(name)}: {text}"
        if failure is not None:
            raise Failed(failure)
        return state.files


def parse_address(text):
    host, _, port = text.rpartition(":")
    return str(ipaddress.ip_address(host.strip("[]"))), int(port)


def receive(secret, suite, direction, address, output, digest=1, chunk_log2=18, seconds=60.0, wire=plain_wire):
    """(client, files) of a transfer that succeeded; `wire` as for `loop.drive`. Raises `Failed` or `TimedOut`."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        buffer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        tree = Tree(output)
        client = Client(secret, suite, direction, address, Receiver(tree, 1, chunk_log2, digest), buffer)
        drive(sock, client, seconds, wire)
        files = client.result()
        return client, files


def arguments():
    parser = argparse.ArgumentParser(prog="xfer_reference.client", description="Receive files from an xfer data port.")
    parser.add_argument("--ticket", required=True, type=bytes.fromhex, help="the ticket's secret, 64 hex digits")
    parser.add_argument("--suite", required=True, type=int, choices=(1, 2, 3))
    parser.add_argument("--direction", type=int, choices=(2, 3), default=2)
    parser.add_argument("--address", required=True, type=parse_address, help="IP:PORT of the node's data port")
    parser.add_argument("--output", required=True, help="the folder that files are written to")
    parser.add_argument("--digest", choices=("blake3", "none"), default="blake3")
    parser.add_argument("--chunk-log2", type=int, choices=range(16, 27), default=18)
    parser.add_argument("--drop-every", type=int, default=0, metavar="N", help="lose each N-th datagram; 0: none")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for all of it")
    chosen = parser.parse_args()
    if len(chosen.ticket) != 32:
        parser.error("a ticket has 32 bytes")
    return chosen


def main():
    chosen = arguments()
    start = time.monotonic()
    losses = Losses(chosen.drop_every)
    try:
        client, files = receive(
            chosen.ticket, chosen.suite, chosen.direction, chosen.address, chosen.output,
            int(chosen.digest == "blake3"), chosen.chunk_log2, chosen.timeout, losses,
        )
    except (Failed, TimedOut, OSError) as error:
        print(f"xfer_reference.client: {error}", file=sys.stderr)
        return 1
    listed = [{"name": os.fsdecode(name), "size": size, "digest": root.hex()} for name, size, root in sorted(files)]
    seconds = round(time.monotonic() - start, 3)
    printed = {
        "files": listed, "bytes": sum(size for _, size, _ in files), "codecs": client.receiver.codecs,
        "dropped": losses.dropped, "seconds": seconds,
    }
    print(json.dumps(printed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
