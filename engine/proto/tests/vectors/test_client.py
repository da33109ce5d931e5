"""The Python client against the Python sender, over loopback UDP with packets lost, doubled, swapped and spoiled by
count. Nothing waits on a clock but the protocol's own timers; every run has a deadline."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

from xfer_reference import blake3, client, codec, keys, messages, wire
from xfer_reference.connection import Connection
from xfer_reference.loop import drive, plain_wire
from xfer_reference.messages import Entry
from xfer_reference.ranges import RangeSet
from xfer_reference.sender import Acceptor, Habits, Sender, file
from xfer_reference.tree import Tree

SECRET = bytes(range(32))
SECONDS = 30.0


def pattern(size, step=7):
    """Bytes that do not repeat within a chunk."""
    block = b"".join((i * step * 2654435761 & 0xFFFFFFFF).to_bytes(4, "little") for i in range(-(-size // 4)))
    return block[:size]


class BadWire:
    """Loses, doubles, swaps and spoils datagrams by their number, in each direction on its own. `lose_first` are
    numbers of each direction that are lost too."""

    def __init__(self, lose=0, double=0, swap=0, spoil=0, lose_first=()):
        self.every = {"lose": lose, "double": double, "swap": swap, "spoil": spoil}
        self.lose_first = lose_first
        self.count = {True: 0, False: 0}
        self.kept = {True: None, False: None}
        self.lost = 0

    def _is_turn(self, what, number):
        every = self.every[what]
        return every and number % every == every - 1

    def __call__(self, datagram, outgoing):
        number = self.count[outgoing]
        self.count[outgoing] += 1
        if number in self.lose_first or self._is_turn("lose", number):
            self.lost += 1
            return []
        if self._is_turn("spoil", number):
            datagram = datagram[:-1] + bytes([datagram[-1] ^ 1])
        passed = [datagram] * (2 if self._is_turn("double", number) else 1)
        if self._is_turn("swap", number) and self.kept[outgoing] is None:
            self.kept[outgoing] = passed
            return []
        if self.kept[outgoing] is not None:
            passed, self.kept[outgoing] = passed + self.kept[outgoing], None
        return passed


class Served:
    """A sender on a thread of its own for the time of one transfer."""

    def __init__(self, entries, suite=1, habits=None, bad_wire=plain_wire):
        self.sender = Sender(entries, habits or Habits())
        self.acceptor = Acceptor(SECRET, suite, 2, self.sender)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.error = None
        self.thread = threading.Thread(target=self._run, args=(bad_wire,), daemon=True)

    def _run(self, bad_wire):
        try:
            drive(self.socket, self.acceptor, SECONDS, bad_wire)
        except Exception as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        # After a failure the sender may wait for its peer until its deadline; its thread is a daemon.
        self.thread.join(SECONDS if kind is None else 0)
        self.socket.close()
        if kind is None and self.error is not None:
            raise self.error


class Transfers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def receive(self, entries, suite=1, habits=None, bad_wire=plain_wire, **options):
        with Served(entries, suite, habits, bad_wire) as served:
            options.setdefault("chunk_log2", 16)
            ended, files = client.receive(SECRET, suite, 2, served.address, self.folder, seconds=SECONDS, **options)
        self.assertEqual(served.sender.complete.status, 0)
        return served, ended, {name: (size, root) for name, size, root in files}

    def check(self, entries, files):
        regular = {entry.name: content for entry, content in entries if entry.kind == messages.FILE}
        self.assertEqual(set(files), set(regular))
        for name, content in regular.items():
            self.assertEqual((self.folder / os.fsdecode(name)).read_bytes(), content, name)
            self.assertEqual(files[name], (len(content), blake3.root(content)))

    def test_sizes_around_every_border_in_each_suite(self):
        chunk = 1 << 16
        borders = (1, 15, 16, 17, chunk // 4, chunk // 4 + 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk + 5)
        entries = [file(b"f%02d" % i, pattern(size, i + 1)) for i, size in enumerate(borders)]
        for suite in (1, 2, 3):
            with self.subTest(suite=suite):
                served, _, files = self.receive(entries, suite)
                self.check(entries, files)
                self.assertEqual(served.sender.done, {i: messages.COPIED for i in range(len(entries))})

    def test_a_file_of_4_mib_through_a_bad_wire(self):
        entries = [file(b"big", pattern(4 << 20))]
        bad_wire = BadWire(lose=13, double=11, swap=7, spoil=29)
        _, ended, files = self.receive(entries, bad_wire=bad_wire)
        self.check(entries, files)
        self.assertGreater(bad_wire.lost, 300)
        self.assertGreater(ended.connection.failed_opens, 100)
        self.assertEqual(ended.receiver.counts["rejected"], 0)

    def test_a_tree_in_many_pages(self):
        entries = [(Entry(messages.DIRECTORY, b"."), b""), (Entry(messages.DIRECTORY, b"d"), b"")]
        entries += [file(b"d/%04d" % i, pattern(i * 37 % 5000, i + 1)) for i in range(500)]
        few = b"few bytes"
        entries.append((Entry(messages.FILE, b"e\xff", len(few), content=few, digest=blake3.root(few)), few))
        entries.append((Entry(messages.SYMLINK, b"link", target=b"d/0001"), b""))
        entries.append(file(b"z", pattern(100_000)))
        _, ended, files = self.receive(entries, 2, Habits(page_entries=60), BadWire(lose=17, swap=5))
        self.check(entries, files)
        self.assertEqual(os.readlink(self.folder / "link"), "d/0001")
        self.assertEqual(ended.receiver.pages, 9)

    def test_an_empty_tree(self):
        _, _, files = self.receive([])
        self.assertEqual(files, {})

    def test_codecs(self):
        sparse = bytes(1 << 16) + pattern(5000) + bytes(3 << 16) + pattern(10)
        text = b"".join(b"line %d of a text that lz4 makes shorter\n" % i for i in range(9000))
        entries = [file(b"holes", sparse), file(b"text", text)]
        for kind in (codec.LZ4, codec.EXTENTS):
            served, _, files = self.receive(entries, habits=Habits(codecs=(kind,)), bad_wire=BadWire(lose=9))
            self.check(entries, files)
            self.assertLess(sum(len(item.stored) for item in served.sender.encoded.values()), len(sparse + text))
        # Chunk 2 is one hole: nothing is stored and no DATA comes.
        self.assertEqual(served.sender.encoded[2].stored, b"")

    def test_content_from_the_back_without_digests(self):
        entries = [file(b"a", pattern(300_000)), file(b"b", pattern(70_000))]
        _, _, files = self.receive(entries, habits=Habits(backwards=True), bad_wire=BadWire(swap=3), digest=0)
        self.check(entries, files)

    def test_wrong_content_is_rejected_and_comes_again(self):
        entries = [file(b"a", pattern(300_000)), file(b"b", b"small"), file(b"c", b"small too")]
        _, ended, files = self.receive(entries, habits=Habits(spoil={1: 1, 5: 1}), bad_wire=BadWire(lose=7, double=5))
        self.check(entries, files)
        self.assertEqual(ended.receiver.counts["rejected"], 2)

    def fails(self, entries, habits, **options):
        """The client's failure and the sender's view of it."""
        with Served(entries, 1, habits) as served, self.assertRaises(client.Failed) as caught:
            client.receive(SECRET, 1, 2, served.address, self.folder, chunk_log2=16, seconds=SECONDS, **options)
        return str(caught.exception), served.sender

    def test_an_object_whose_chunk_is_wrong_twice_fails_and_the_others_arrive(self):
        entries = [file(b"a", pattern(300_000)), file(b"b", b"small"), file(b"c", pattern(70_000))]
        text, sender = self.fails(entries, Habits(spoil={1: 2}))
        self.assertIn("rejected twice", text)
        self.assertEqual(sender.done, {0: messages.FAILED, 1: messages.COPIED, 2: messages.COPIED})
        self.assertEqual(sender.complete.status, 1)
        self.assertEqual((self.folder / "c").read_bytes(), entries[2][1])

    def test_withdrawn_objects_fail_alone_even_in_a_packed_chunk(self):
        entries = [file(b"f%d" % i, pattern(size, i + 1)) for i, size in enumerate((100, 200, 300, 1 << 20, 5))]
        text, sender = self.fails(entries, Habits(withdraw=(1, 3)))
        self.assertIn("2 objects failed", text)
        failed = {number for number, status in sender.done.items() if status == messages.FAILED}
        self.assertEqual((failed, len(sender.done)), ({1, 3}, 5))
        for i in (0, 2, 4):
            self.assertEqual((self.folder / f"f{i}").read_bytes(), entries[i][1])

    def test_zstd_is_refused_by_name(self):
        text, sender = self.fails([file(b"a", pattern(70_000))], Habits(codecs=(codec.ZSTD,)))
        self.assertIn("zstd", text)
        self.assertIn("zstd", sender.cancelled.text)

    def test_a_cookie_and_a_challenge_are_answered(self):
        served, ended, files = self.receive([file(b"a", b"content")], habits=Habits(demand_cookie=True, challenge=True))
        self.assertEqual((served.acceptor.cookies, ended.cookies, ended.hellos), (1, 1, 1))
        self.assertEqual(files[b"a"][0], 7)
        self.assertEqual(served.acceptor.connection.responses, [bytes(range(8))])

    def test_hello_and_reply_are_repeated(self):
        # The first HELLO, then the first REPLY.
        served, ended, _ = self.receive([file(b"a", b"content")], bad_wire=BadWire(lose_first=(0,)))
        self.assertEqual((served.acceptor.hellos, ended.hellos), (2, 3))

    def test_data_without_a_place_is_dropped(self):
        class Refusing:
            def on_data(self, header, payload):
                return False

        peer = wire.HandshakePayload([1], 2, 1200, 1 << 16, 1 << 18)
        for suite in (1, 2, 3):
            link = Connection(Refusing(), suite, bytes(32), bytes(32), 7, peer, 0)
            header = wire.Header(wire.DATA, 7, length=16).encode()
            link.handle(1, keys.DirectionKeys(bytes(32), suite).seal(wire.DATA, 0, 0, header, bytes(16)))
            self.assertEqual((link.closing, link.received.largest), (None, None), f"suite {suite}")

    def test_where_data_has_no_place(self):
        receiver = client.Receiver(Tree(self.folder), 1, 16)
        receiver.connection = self
        self.send = self.set_window = lambda _: None
        size = (1 << 16) + 100
        receiver.on_message(messages.Accept(1, 0))
        receiver.on_message(messages.Page(1, 0, 0, True, [Entry(messages.FILE, b"f", size)]))

        def held(chunk, at, length, attempt=0):
            header = wire.Header(wire.DATA, 7, transfer=1, offset=(chunk << 16) + at, length=length, attempt=attempt)
            return receiver.on_data(header, bytes(length))

        for place in ((2, 0, 16), (1, 8, 16), (1, 96, 16), (0, (1 << 16) - 16, 32), (2000, 0, 16)):
            self.assertFalse(held(*place), place)
        self.assertTrue(held(1, 0, 48))
        receiver.on_message(messages.Chunk(1, 1, 0, 1, 60, [bytes(32)]))
        for place in ((1, 48, 16), (1, 48, 8), (1, 64, 16)):
            self.assertFalse(held(*place), place)
        # It decodes to nothing: rejected, and what follows is of the next attempt.
        self.assertTrue(held(1, 48, 12))
        self.assertEqual((receiver.counts["rejected"], receiver.building[1].attempt), (1, 1))
        for chunk, length in ((2, 16), (1, 101)):
            with self.assertRaises(wire.WireError):
                receiver.on_message(messages.Chunk(1, chunk, 0, 0, length, [bytes(32)]))

    def test_an_unknown_ticket_gets_no_answer(self):
        served = Served([])
        end = client.Client(bytes(32), 1, 2, served.address, client.Receiver(None, 1, 16), 1 << 16)
        (hello,) = end.poll(0)
        served.acceptor.handle(0, hello, ("127.0.0.1", 1))
        self.assertEqual(served.acceptor.poll(0), [])
        # It gives up after its last HELLO: 250 ms, doubled each time.
        sent, now = 1, 0
        while not end.is_over(now):
            now = end.timeout()
            again = end.poll(now)
            self.assertIn(again, ([hello], []))
            sent += len(again)
        self.assertEqual((sent, now), (6, 250_000 * 63))
        served.socket.close()

    def test_versions_are_a_hint(self):
        served = Served([])
        end = client.Client(SECRET, 1, 2, served.address, client.Receiver(None, 1, 16), 1 << 16)
        (hello,) = end.poll(0)
        served.acceptor.handle(0, bytes([hello[0] ^ 1 ^ 5]) + hello[1:], ("127.0.0.1", 1))
        (answer,) = served.acceptor.poll(0)
        self.assertEqual((answer[0], answer[32:]), (0x80 | 5 << 3 | 5, b"\1\1"))
        end.handle(1, wire.Header(wire.VERSIONS, 0).encode() + b"\2\2\3", served.address)
        self.assertEqual((end.hint, end.failure), ([2, 3], None))
        served.socket.close()

    def test_the_command_line(self):
        entries = [file(b"dir/one", pattern(200_000)), file(b"two", b"")]
        with Served(entries, 2, bad_wire=BadWire(lose=10)) as served:
            command = [sys.executable, "-B", "-m", "xfer_reference.client", "--ticket", SECRET.hex(), "--suite", "2",
                       "--direction", "2", "--address", "%s:%d" % served.address, "--output", str(self.folder)]
            run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        (line,) = run.stdout.splitlines()
        result = json.loads(line)
        self.assertEqual(result["bytes"], 200_000)
        self.assertGreater(result["seconds"], 0)
        expected = [{"name": entry.name.decode(), "size": entry.size, "digest": blake3.root(content).hex()}
                    for entry, content in entries]
        self.assertEqual(result["files"], expected)
        self.assertEqual((self.folder / "dir/one").read_bytes(), entries[0][1])


class Ranges(unittest.TestCase):
    def test_like_a_set_of_numbers(self):
        ranges, model, seed = RangeSet(), set(), 1
        for _ in range(2000):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            low, size = seed >> 8 & 63, seed >> 16 & 7
            if seed >> 20 & 1:
                ranges.add(low, low + size)
                model |= set(range(low, low + size))
            else:
                ranges.remove(low, low + size)
                model -= set(range(low, low + size))
            pairs = list(ranges)
            self.assertEqual({n for a, b in pairs for n in range(a, b)}, model)
            self.assertTrue(all(a[1] < b[0] for a, b in zip(pairs, pairs[1:])))
            self.assertEqual([n in ranges for n in range(72)], [n in model for n in range(72)])


if __name__ == "__main__":
    unittest.main()
