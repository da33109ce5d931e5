"""An established connection on path 0, either end: PROTOCOL.md "Packets", "ACK", "Loss" and "Idle and close".

Datagrams and times (us of a monotonic clock) come in, datagrams go out; sockets are elsewhere. The user of the
connection, `app`, has the methods `on_message`, `on_window`, `on_data` (whether its bytes are held or not needed),
`on_data_acked`, `on_data_lost` and `next_data`. Absent: more paths than one, congestion control, MTU search, ECN.
"""

import os
from dataclasses import dataclass, field

from . import keys, wire
from .limits import (
    ACK_DELAY_MAX_US, ACK_DELAY_MIN_US, ACK_EVERY, CLOSE_TEXT_MAX, CONTROL_PAYLOAD, HELLO_MIN, IDLE_US, NUMBERS_KEPT,
    PING_US, PROBE_MIN_US, RANGES_MAX, SKIP_EVERY, STREAM_PIECE,
)
from .ranges import RangeSet
from .stream import ReceiveStream, SendStream
from .wire import WireError

STAMP = 0xFFFFFFFF
# Packets that may be acknowledged before an older one counts as lost.
REORDER = 3
PACKETS_PER_POLL = 64
IN_FLIGHT = 64
BACKOFF_MAX = 6
# Failed opens at which a connection closes, RFC 9001 section 6.6.
OPEN_LIMIT = {keys.AES: 1 << 52, keys.CHACHA: 1 << 36, keys.PLAIN_DATA: 1 << 52}


@dataclass
class Sent:
    at: int
    eliciting: bool
    frames: list = field(default_factory=list)
    data: object = None


class Received:
    """What came on the path, and when it is to be acknowledged."""

    def __init__(self):
        self.seen = RangeSet()
        self.next = 0
        self.largest = None
        self.due = None
        self.count = 0

    def is_fresh(self, number):
        return number + NUMBERS_KEPT >= self.next and number not in self.seen

    def on_packet(self, now, header, eliciting, delay):
        skipped = header.number > self.next
        self.seen.add(header.number, header.number + 1)
        self.next = max(self.next, header.number + 1)
        self.seen.remove(0, self.next - NUMBERS_KEPT)
        if self.largest is None or header.number > self.largest[0]:
            self.largest = (header.number, header.stamp, now)
        if not eliciting:
            return
        self.count += 1
        if skipped or header.ask or self.count >= ACK_EVERY:
            self.due = now
        elif self.due is None:
            self.due = now + delay

    def take_ack(self, now):
        if self.largest is None:
            self.due = None
            return None
        self.due, self.count = None, 0
        _, stamp, at = self.largest
        return wire.Ack(0, min(now - at, STAMP), stamp, at & STAMP, 0, self.seen.newest(RANGES_MAX))


class Connection:
    def __init__(self, app, suite, send_secret, receive_secret, own_id, peer, now, rtt=None):
        """`peer` is the other end's handshake payload."""
        self.app = app
        self.suite = suite
        self.sealer = keys.DirectionKeys(send_secret, suite)
        self.opener = keys.DirectionKeys(receive_secret, suite)
        self.own_id, self.peer_id = own_id, peer.connection
        self.stream_out = SendStream(peer.stream_credit)
        self.stream_in = ReceiveStream()
        self.received = Received()
        self.epoch = 0
        self.failed_opens = 0
        self.next_number = 0
        self.skipped = set()
        self.skip_at = 1 + int.from_bytes(os.urandom(2), "little") % SKIP_EVERY
        self.sent = {}
        self.largest_acked = -1
        self.srtt, self.rttvar = (rtt, rtt // 2) if rtt else (100_000, 50_000)
        self.has_rtt = rtt is not None
        self.backoff = 0
        self.urgent = []
        self.responses = []
        self.window = None
        self.window_dirty = self.ping = False
        self.credit = None
        self.last_heard = self.last_eliciting = now
        self.closing = None
        self.closed_by_peer = None
        self.farewell = None
        self.close_until = None
        self.close_answers = 1
        self.close_received = 0

    # Timers

    def probe_timeout(self):
        return max(PROBE_MIN_US, self.srtt + max(4 * self.rttvar, 1_000) + ACK_DELAY_MAX_US)

    def _ack_delay(self):
        return min(max(self.srtt // 4, ACK_DELAY_MIN_US), ACK_DELAY_MAX_US)

    def _probe_at(self):
        if not any(sent.eliciting for sent in self.sent.values()):
            return None
        return self.last_eliciting + (self.probe_timeout() << self.backoff)

    def timeout(self):
        """When `poll` is to be called next, at the latest."""
        if self.close_until is not None:
            return self.close_until
        times = [self.last_heard + IDLE_US, self.last_eliciting + PING_US, self.received.due, self._probe_at()]
        return min(at for at in times if at is not None)

    def is_over(self, now):
        """Nothing more to send or to answer."""
        if self.closed_by_peer is not None:
            return self.farewell is None
        return self.close_until is not None and now >= self.close_until

    # In

    def handle(self, now, datagram):
        header = wire.Header.decode(datagram)
        if header is None or header.type not in (wire.DATA, wire.CONTROL) or header.connection != self.own_id:
            return
        tag = 0 if self.opener.is_plain(header.type) else keys.TAG
        epoch = header.number >> keys.EPOCH_SHIFT
        if header.path != 0 or len(datagram) != wire.HEADER + header.length + tag or header.number >= keys.NUMBER_LIMIT:
            return
        if abs(epoch - self.epoch) > 1 or not self.received.is_fresh(header.number):
            return
        place = (header.type, header.path, header.number)
        payload = self.opener.open(*place, datagram[: wire.HEADER], datagram[wire.HEADER :])
        if payload is None:
            self.failed_opens += 1
            if self.failed_opens >= OPEN_LIMIT[self.suite]:
                self.close(now, wire.AEAD_LIMIT, "too many packets did not open")
            return
        if tag:
            self.epoch = max(self.epoch, epoch)
            self.last_heard = now
        try:
            if self.close_until is None:
                self._accept(now, header, payload)
            else:
                self._accept_closing(header, payload)
        except WireError as error:
            self.close(now, error.code, str(error))

    def _accept(self, now, header, payload):
        if header.type == wire.DATA:
            # What has no place is dropped: another packet may have the number yet.
            if self.app.on_data(header, payload):
                self.received.on_packet(now, header, True, self._ack_delay())
            return
        frames = wire.decode_frames(payload)
        eliciting = any(wire.is_eliciting(frame) for frame in frames)
        self.received.on_packet(now, header, eliciting, self._ack_delay())
        for frame in frames:
            self._on_frame(now, frame)
            if self.closed_by_peer is not None:
                # What the packet brought of the stream counts.
                self._on_stream()
                return
        self._on_stream()

    def _accept_closing(self, header, payload):
        self.close_received += 1
        if header.type == wire.CONTROL:
            closes = [frame for frame in wire.decode_frames(payload) if isinstance(frame, wire.Close)]
            self.closed_by_peer = (closes[0].code, closes[0].text) if closes else None

    def start(self, stream):
        """Takes what the handshake carried of the peer's control stream."""
        self.stream_in.receive(0, stream)
        self._on_stream()

    def _on_stream(self):
        while (message := self.stream_in.take()) is not None:
            self.app.on_message(message)
        self.credit = self.stream_in.new_credit() or self.credit

    def _on_frame(self, now, frame):
        if isinstance(frame, wire.Ack):
            self._on_ack(now, frame)
        elif isinstance(frame, wire.Stream):
            self.stream_in.receive(frame.offset, frame.data)
        elif isinstance(frame, wire.Credit):
            self.stream_out.credit = max(self.stream_out.credit, frame.end)
        elif isinstance(frame, wire.Window):
            self.app.on_window(frame)
        elif isinstance(frame, wire.PathChallenge):
            self.urgent.append(wire.PathResponse(frame.token, self.own_id))
        elif isinstance(frame, wire.PathResponse):
            self.responses.append(frame.token)
        elif isinstance(frame, wire.Close):
            self.closed_by_peer = (frame.code, frame.text)
            # One CLOSE in return, so that the peer need not wait for packets that do not come.
            self.farewell = wire.Close(frame.code, "")

    def _on_ack(self, now, ack):
        if ack.path != 0:
            return
        for low, high in ack.ranges:
            if high >= self.next_number or any(low <= number <= high for number in self.skipped):
                raise WireError(f"an ACK of packets {low} to {high}, not all of which were sent", wire.ACK_UNSENT)
        largest = ack.ranges[0][1]
        if largest > self.largest_acked and largest in self.sent:
            self._on_rtt(((now - ack.echo_stamp) & STAMP) - ack.delay_us)
        self.largest_acked = max(self.largest_acked, largest)
        acked = [number for number in self.sent if any(low <= number <= high for low, high in ack.ranges)]
        for number in acked:
            sent = self.sent.pop(number)
            self.backoff = 0
            for frame in sent.frames:
                if isinstance(frame, wire.Stream):
                    self.stream_out.on_acked(frame.offset, frame.offset + len(frame.data))
            if sent.data is not None:
                self.app.on_data_acked(sent.data)
        late = now - self.srtt - self.srtt // 4
        for number in list(self.sent):
            old = number < self.largest_acked and self.sent[number].at < late
            if number + REORDER <= self.largest_acked or old:
                self._lose(number)

    def _on_rtt(self, sample):
        if not 0 < sample < IDLE_US:
            return
        if not self.has_rtt:
            self.srtt, self.rttvar, self.has_rtt = sample, sample // 2, True
            return
        self.rttvar = (3 * self.rttvar + abs(self.srtt - sample)) // 4
        self.srtt = (7 * self.srtt + sample) // 8

    def _lose(self, number):
        sent = self.sent.pop(number)
        for frame in sent.frames:
            if isinstance(frame, wire.Stream):
                self.stream_out.on_lost(frame.offset, frame.offset + len(frame.data))
            elif isinstance(frame, wire.Credit):
                self.credit = self.stream_in.credit
            elif isinstance(frame, wire.Window):
                self.window_dirty = True
        if sent.data is not None:
            self.app.on_data_lost(sent.data)

    # Out

    def send(self, message):
        self.stream_out.send(message)

    def set_window(self, window):
        self.window = window
        self.window_dirty = True

    def close(self, now, code, text):
        if self.closing is None:
            cut = text.encode()[:CLOSE_TEXT_MAX].decode(errors="ignore")
            self.closing = wire.Close(code, cut)
            self.close_until = now + 3 * self.probe_timeout()
            self.close_received = 1

    def poll(self, now):
        """Datagrams to send now."""
        if self.closed_by_peer is not None:
            frame, self.farewell = self.farewell, None
            return [self._control(now, [frame])] if frame is not None else []
        if self.close_until is not None:
            return self._poll_closing(now)
        if now - self.last_heard >= IDLE_US:
            self.closed_by_peer = (wire.IDLE, "the peer was silent for 10 s")
            return []
        probe = self._probe_at()
        if probe is not None and now >= probe:
            for number in list(self.sent):
                self._lose(number)
            self.backoff = min(self.backoff + 1, BACKOFF_MAX)
            self.ping = True
        if now - self.last_eliciting >= PING_US:
            self.ping = True
        out = []
        while len(out) < PACKETS_PER_POLL and (packet := self._next_packet(now)) is not None:
            out.append(packet)
        return out

    def _poll_closing(self, now):
        """CLOSE for the first, second, fourth ... packet, and the newest ACK with it."""
        if self.close_received < self.close_answers or now >= self.close_until:
            return []
        self.close_answers *= 2
        ack = self.received.take_ack(now)
        return [self._control(now, [frame for frame in (ack, self.closing) if frame is not None])]

    def _next_packet(self, now):
        frames, room = [], CONTROL_PAYLOAD
        if self.received.due is not None and now >= self.received.due:
            ack = self.received.take_ack(now)
            frames += [ack] if ack is not None else []
        if self.urgent:
            # Challenges are answered with as many bytes as they came with.
            frames += [self.urgent.pop(0), wire.Padding(HELLO_MIN - wire.HEADER - keys.TAG)]
            size = sum(len(frame.encode()) for frame in frames[:-1])
            frames[-1] = wire.Padding(frames[-1].length - size)
            return self._control(now, frames)
        if self.ping:
            self.ping = False
            frames.append(wire.Ping())
        if self.credit is not None:
            frames.append(wire.Credit(self.credit))
            self.credit = None
        if self.window_dirty:
            frames.append(self.window)
            self.window_dirty = False
        room -= sum(len(frame.encode()) for frame in frames) + 11
        if len(self.sent) < IN_FLIGHT and (piece := self.stream_out.take(min(room, STREAM_PIECE))) is not None:
            frames.append(piece)
        if frames:
            return self._control(now, frames)
        if len(self.sent) < IN_FLIGHT and (data := self.app.next_data()) is not None:
            return self._data(now, *data)
        return None

    def _number(self):
        if self.next_number == self.skip_at:
            self.skipped.add(self.next_number)
            self.next_number += 1
            self.skip_at += 1 + int.from_bytes(os.urandom(2), "little") % (2 * SKIP_EVERY)
        self.next_number += 1
        return self.next_number - 1

    def _control(self, now, frames):
        payload = b"".join(frame.encode() for frame in frames)
        number = self._number()
        header = wire.Header(wire.CONTROL, self.peer_id, number=number, stamp=now & STAMP, length=len(payload))
        if any(wire.is_eliciting(frame) for frame in frames):
            self.sent[number] = Sent(now, True, frames)
            self.last_eliciting = now
        return self.sealer.seal(wire.CONTROL, 0, number, header.encode(), payload)

    def _data(self, now, transfer, offset, attempt, payload, token):
        number = self._number()
        header = wire.Header(
            wire.DATA, self.peer_id, 0, number, transfer, now & STAMP, offset, len(payload), attempt=attempt & 7
        )
        self.sent[number] = Sent(now, True, data=token)
        self.last_eliciting = now
        return self.sealer.seal(wire.DATA, 0, number, header.encode(), payload)
