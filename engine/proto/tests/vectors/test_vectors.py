"""The golden vectors, checked by the Python reference that was written from PROTOCOL.md alone.

    python3 -m unittest discover -s engine/proto/tests/vectors
"""

import json
import unittest
from pathlib import Path

from xfer_reference import blake3, codec, keys, messages, noise, space, wire

VECTORS = json.loads(Path(__file__).with_name("v1.json").read_text())


def unhex(text):
    return bytes.fromhex(text)


def flip(data, at, bit=1):
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


class Tickets(unittest.TestCase):
    def test_ids(self):
        self.assertTrue(VECTORS["tickets"])
        for vector in VECTORS["tickets"]:
            self.assertEqual(keys.ticket_id(unhex(vector["secret"])).hex(), vector["id"])


class Keys(unittest.TestCase):
    def test_keys(self):
        self.assertTrue(VECTORS["keys"])
        for vector in VECTORS["keys"]:
            secret = unhex(vector["secret"])
            key, iv = keys.packet_key(secret, vector["suite"], vector["path"], vector["epoch"])
            self.assertEqual((key.hex(), iv.hex()), (vector["key"], vector["iv"]))


class Handshakes(unittest.TestCase):
    def payload(self, fields):
        names = ("connection", "datagram_max", "receive_buffer", "stream_credit")
        numbers = (fields[name] for name in names)
        return wire.HandshakePayload(list(unhex(fields["versions"])), *numbers, unhex(fields["stream"]))

    def prologue(self, vector):
        ticket = unhex(vector["ticket_id"])
        return noise.prologue(wire.VERSION, ticket, vector["suite"], vector["direction"])

    def opener(self, vector):
        ephemeral = unhex(vector["opener_ephemeral"])
        return noise.Opener(unhex(vector["ticket_secret"]), self.prologue(vector), vector["suite"], ephemeral)

    def acceptor(self, vector):
        ephemeral = unhex(vector["acceptor_ephemeral"])
        return noise.Acceptor(unhex(vector["ticket_secret"]), self.prologue(vector), vector["suite"], ephemeral)

    def test_both_ends_write_and_read_the_vectors(self):
        self.assertTrue(VECTORS["handshakes"])
        for vector in VECTORS["handshakes"]:
            with self.subTest(suite=vector["suite"]):
                self.assertEqual(keys.ticket_id(unhex(vector["ticket_secret"])).hex(), vector["ticket_id"])
                hello, reply = unhex(vector["hello"]), unhex(vector["reply"])
                ticket, cookie, first = wire.decode_hello(hello)
                self.assertEqual(ticket.hex(), vector["ticket_id"])
                acceptor, opener = self.acceptor(vector), self.opener(vector)

                sent = self.payload(vector["opener_payload"])
                self.assertEqual(wire.HandshakePayload.decode(acceptor.read(first)), sent)
                message = opener.write(sent.encode())
                self.assertEqual(wire.encode_hello(ticket, message, cookie, len(hello)), hello)

                sent = self.payload(vector["acceptor_payload"])
                header = wire.Header.decode(reply)
                self.assertEqual((header.type, header.connection), (wire.REPLY, vector["opener_payload"]["connection"]))
                read = opener.read(wire.decode_reply(reply))
                self.assertEqual(wire.HandshakePayload.decode(read[0]), sent)
                message, *secrets = acceptor.write(sent.encode())
                self.assertEqual(wire.encode_reply(header.connection, message), reply)
                for found in (read[1:], secrets):
                    self.assertEqual([secret.hex() for secret in found], [vector["s_open"], vector["s_accept"]])

    def test_a_changed_bit_or_prologue_is_refused(self):
        for vector in VECTORS["handshakes"]:
            _, _, message = wire.decode_hello(unhex(vector["hello"]))
            for at in (0, 32, len(message) - 1):
                with self.assertRaises(noise.NoiseError):
                    self.acceptor(vector).read(flip(message, at))
            other = dict(vector, direction=vector["direction"] ^ 3 or 1)
            with self.assertRaises(noise.NoiseError):
                self.acceptor(other).read(message)
            for short in (b"", message[:47]):
                with self.assertRaises(noise.NoiseError):
                    self.acceptor(vector).read(short)
            opener = self.opener(vector)
            opener.write(self.payload(vector["opener_payload"]).encode())
            reply = wire.decode_reply(unhex(vector["reply"]))
            with self.assertRaises(noise.NoiseError):
                opener.read(flip(reply, len(reply) - 1))
            # A forged REPLY must not spoil the one that is still on its way.
            self.assertEqual(opener.read(reply)[1].hex(), vector["s_open"])


class Packets(unittest.TestCase):
    NAMES = ("type", "path", "connection", "number", "transfer", "stamp", "offset", "attempt")

    def test_packets_open_and_seal(self):
        self.assertTrue(VECTORS["packets"])
        for vector in VECTORS["packets"]:
            datagram, plain = unhex(vector["datagram"]), unhex(vector["plain"])
            direction = keys.DirectionKeys(unhex(vector["secret"]), vector["suite"])
            header = wire.Header.decode(datagram)
            self.assertEqual([getattr(header, name) for name in self.NAMES], [vector[name] for name in self.NAMES])
            self.assertEqual((header.ask, header.length), (bool(vector["ask"]), len(plain)))
            at = (header.type, header.path, header.number)
            self.assertEqual(direction.open(*at, datagram[:32], datagram[32:]), plain)
            self.assertEqual(header.encode(), datagram[:32])
            self.assertEqual(direction.seal(*at, header.encode(), plain), datagram)
            sealed = not direction.is_plain(header.type)
            self.assertEqual(len(datagram), 32 + len(plain) + 16 * sealed)

    def test_changed_packets_do_not_open(self):
        for vector in VECTORS["packets"]:
            datagram = unhex(vector["datagram"])
            direction = keys.DirectionKeys(unhex(vector["secret"]), vector["suite"])
            header = wire.Header.decode(datagram)
            if direction.is_plain(header.type):
                continue
            at = (header.type, header.path, header.number)
            for place in (1, 2, 4, 16, 20, 24, 30, 32, len(datagram) - 16, len(datagram) - 1):
                bad = flip(datagram, place, 0x10)
                self.assertIsNone(direction.open(*at, bad[:32], bad[32:]), f"byte {place}")
            # The wrong number, path and epoch: another nonce or key.
            for wrong in ((header.type, header.path, header.number ^ 1), (header.type, header.path ^ 1, header.number),
                          (header.type, header.path, header.number ^ 1 << 22)):
                self.assertIsNone(direction.open(*wrong, datagram[:32], datagram[32:]))

    def test_headers_that_are_dropped(self):
        good = wire.Header(wire.DATA, 7).encode()
        self.assertIsNotNone(wire.Header.decode(good))
        self.assertIsNone(wire.Header.decode(good[:31]))
        for first in (0x01, 0xC1, 0x82, 0x80 | 6 << 3 | 1, 0x80 | 7 << 3 | 1):
            self.assertIsNone(wire.Header.decode(bytes([first]) + good[1:]))
        self.assertEqual(wire.Header.decode(bytes([0x80 | 2 << 3 | 5]) + good[1:]).version, 5)


FRAMES = {
    "PADDING": lambda f: wire.Padding(f["length"]),
    "PING": lambda f: wire.Ping(),
    "ACK": lambda f: wire.Ack(
        f["path"], f["delay_us"], f["echo_stamp"], f["arrival_stamp"], f["ce_count"], [tuple(r) for r in f["ranges"]]
    ),
    "STREAM": lambda f: wire.Stream(f["offset"], unhex(f["data"])),
    "CREDIT": lambda f: wire.Credit(f["end"]),
    "WINDOW": lambda f: wire.Window(f["transfer"], f["pages"], f["base"], f["limit"], f["accepted"]),
    "PATH_CHALLENGE": lambda f: wire.PathChallenge(unhex(f["token"]), f["connection"]),
    "PATH_RESPONSE": lambda f: wire.PathResponse(unhex(f["token"]), f["connection"]),
    "PATH_ABANDON": lambda f: wire.PathAbandon(f["path"]),
    "CLOSE": lambda f: wire.Close(f["code"], f["text"]),
}


class Frames(unittest.TestCase):
    def test_frames(self):
        self.assertEqual({vector["frame"] for vector in VECTORS["frames"]}, set(FRAMES))
        for vector in VECTORS["frames"]:
            with self.subTest(vector["frame"]):
                expected = FRAMES[vector["frame"]](vector["fields"])
                payload = unhex(vector["bytes"])
                self.assertEqual(wire.decode_frames(payload), [expected])
                self.assertEqual(expected.encode(), payload)
                self.assertEqual(wire.decode_frames(b"\1" + payload), [wire.Ping(), expected])

    def test_cut_frames_are_refused(self):
        for vector in VECTORS["frames"]:
            payload = unhex(vector["bytes"])
            if vector["frame"] == "PADDING":
                continue
            for length in range(1, len(payload)):
                with self.assertRaises(wire.WireError):
                    wire.decode_frames(payload[:length])

    def test_frames_that_are_refused(self):
        ack = "02" + "0000" + "00000000" * 4
        bad = {
            "unknown type": "0a", "frame after padding": "000100",
            "no range": ack + "00" + "05" + "00" * 7 + "00000000",
            "129 ranges": ack + "81" + "ff" * 2 + "00" * 6 + "00000000" + "0100000001000000" * 128,
            "range below 0": ack + "01" + "05" + "00" * 7 + "06000000",
            "gap of 0": ack + "02" + "05" + "00" * 7 + "00000000" + "0000000001000000",
            "range of 0": ack + "02" + "05" + "00" * 7 + "00000000" + "0100000000000000",
            "second range below 0": ack + "02" + "05" + "00" * 7 + "00000000" + "0100000005000000",
            "window of 1025": "05" + "00000000" * 2 + "01000000" + "02040000" + "00",
            "17 words": "05" + "00000000" * 4 + "11" + "00" * 136,
            "257 bytes of text": "09" + "0000" + "0101" + "61" * 257,
            "text that is not UTF-8": "09" + "0000" + "0100" + "ff",
        }
        for name, text in bad.items():
            with self.subTest(name), self.assertRaises(wire.WireError):
                wire.decode_frames(unhex(text))
        lowest = wire.decode_frames(unhex(ack + "02" + "05" + "00" * 7 + "00000000" + "0100000004000000"))
        self.assertEqual(lowest[0].ranges, [(5, 5), (0, 3)])


def error(fields):
    numbers = (fields[name] for name in ("class", "side", "errno", "offset"))
    return messages.Error(*numbers, unhex(fields["name"]), fields["text"])


def entry(fields):
    def attribute(item):
        return {name: unhex(value) if isinstance(value, str) else value for name, value in item.items()}

    return messages.Entry(
        fields["kind"], unhex(fields["name"]), fields["size"], fields["mode"], fields["mtime_s"], fields["mtime_ns"],
        unhex(fields["target"]), [attribute(item) for item in fields["attributes"]],
        unhex(fields["content"][0]) if fields["inline"] else None,
        unhex(fields["digest"][0]) if fields["inline"] else None, bool(fields["open"]),
    )


def decision(item):
    if "runs" in item:
        return item["action"], [tuple(run) for run in item["runs"]]
    return item["action"], error(item["error"]) if "error" in item else None


def done(item):
    return item["object"], item["status"], error(item["error"]) if "error" in item else item.get("reused")


MESSAGES = {
    "OPEN": lambda t, f: messages.Open(t, f["role"], f["chunk_log2"], f["digest"]),
    "ACCEPT": lambda t, f: messages.Accept(t, f["limit"]),
    "PAGE": lambda t, f: messages.Page(
        t, f["page"], f["first_object"], bool(f["last"]), [entry(item) for item in f["entries"]]
    ),
    "DECISION": lambda t, f: messages.Decision(
        t, f["page"], f["first_entry"], [decision(item) for item in f["decisions"]]
    ),
    "CHUNK": lambda t, f: messages.Chunk(
        t, f["chunk"], f["attempt"], f["codec"], f["stored_length"], [unhex(text) for text in f["digests"]]
    ),
    "REJECT": lambda t, f: messages.Reject(t, f["chunk"], f["attempt"]),
    "WITHDRAW": lambda t, f: messages.Withdraw(t, f["object"], error(f["error"])),
    "DONE": lambda t, f: messages.Done(t, [done(item) for item in f["objects"]]),
    "COMPLETE": lambda t, f: messages.Complete(t, f["status"], f["durability"]),
    "CANCEL": lambda t, f: messages.Cancel(t, error(f["error"])),
    "END": lambda t, f: messages.End(t, f["object"], f["size"]),
    "LIMIT": lambda t, f: messages.Limit(t, f["now"], f["all"]),
}


class Messages(unittest.TestCase):
    def test_messages(self):
        self.assertEqual({vector["message"] for vector in VECTORS["messages"]}, set(MESSAGES))
        for vector in VECTORS["messages"]:
            with self.subTest(vector["message"]):
                expected = MESSAGES[vector["message"]](vector["transfer"], vector["fields"])
                data = unhex(vector["bytes"])
                self.assertEqual(messages.take(data + b"next"), (expected, len(data)))
                self.assertEqual(messages.encode(expected), data)

    def test_a_cut_message_waits_and_a_wrong_length_is_refused(self):
        for vector in VECTORS["messages"]:
            data = unhex(vector["bytes"])
            for length in range(len(data)):
                self.assertIsNone(messages.take(data[:length]))
            longer = data[:1] + (len(data) - 3).to_bytes(3, "little") + data[4:] + b"\0"
            shorter = data[:1] + (len(data) - 5).to_bytes(3, "little") + data[4:-1]
            for bad in (longer, shorter):
                with self.subTest(vector["message"]), self.assertRaises(wire.WireError):
                    messages.take(bad)

    def test_names_that_no_receiver_takes(self):
        bad = (b"", b"/a", b"a/", b"a//b", b".", b"..", b"a/../b", b"a/./b", b"a\0b", b"a" * 256, b"a/" * 2047 + b"aa")
        for name in bad:
            page = messages.encode(messages.Page(1, 0, 0, True, [messages.Entry(messages.FILE, name)]))
            with self.subTest(name[:8]), self.assertRaises(wire.WireError) as caught:
                messages.take(page)
            self.assertEqual(caught.exception.code, wire.NAME)
        for name in (b"a", b"a" * 255, b"a/..b/...", b"a/" * 2047 + b"a", b"\xff\xfe"):
            page = messages.encode(messages.Page(1, 0, 0, True, [messages.Entry(messages.FILE, name)]))
            self.assertEqual(messages.take(page)[0].entries[0].name, name)


class Blake3(unittest.TestCase):
    # The first 32 bytes of the answers that BLAKE3's authors publish; byte i of the input is i modulo 251.
    ANSWERS = {
        0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
        1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
        1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
        1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
        2048: "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
        2049: "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030",
        3072: "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2",
        3073: "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3",
        5121: "628bd2cb2004694adaab7bbd778a25df25c47b9d4155a55f8fbd79f2fe154cff",
        7169: "a003fc7a51754a9b3c7fae0367ab3d782dccf28855a03d435f8cfe74605e7817",
        8193: "bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b",
        16384: "f875d6646de28985646f34ee13be9a576fd515f76b5b0a26bb324735041ddde4",
        31744: "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47",
        102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
    }
    INPUT = bytes(i % 251 for i in range(1 << 20))

    def test_known_answers(self):
        for length, answer in self.ANSWERS.items():
            self.assertEqual(blake3.root(self.INPUT[:length]).hex(), answer, f"{length} bytes")

    def test_chaining_values_of_subtrees_merge_to_the_known_answers(self):
        for length, answer in self.ANSWERS.items():
            for size in (1024, 2048, 4096, 16384, 65536):
                if length <= size:
                    continue
                parts = [self.INPUT[at : min(at + size, length)] for at in range(0, length, size)]
                values = [blake3.chaining_value(part, i * size) for i, part in enumerate(parts)]
                self.assertEqual(blake3.merge(values).hex(), answer, f"{length} bytes in subtrees of {size}")

    def test_more_bytes_than_one_compression_has_lanes(self):
        for length in (blake3.LANES * 1024 - 1, blake3.LANES * 1024, blake3.LANES * 1024 + 1, 1 << 20):
            data, half = self.INPUT[:length], 1 << 18
            values = [blake3.chaining_value(data[at : at + half], at) for at in range(0, length, half)]
            self.assertEqual(blake3.merge(values), blake3.root(data))

    def test_a_chaining_value_depends_on_its_offset_and_is_no_root(self):
        data = self.INPUT[:4096]
        values = {blake3.chaining_value(data, at) for at in (0, 4096, 8192)} | {blake3.root(data)}
        self.assertEqual(len(values), 4)
        high = blake3.chaining_value(data, 1 << 42)
        self.assertNotEqual(high, blake3.chaining_value(data, 0))
        with self.assertRaises(ValueError):
            blake3.chaining_value(data, 1000)


class Codecs(unittest.TestCase):
    def test_lz4_blocks_by_hand(self):
        # Literals alone; a match that overlaps itself; lengths of more than one byte.
        self.assertEqual(codec.decode(codec.LZ4, unhex("12 61 0100 50 6263646566"), 1 + 6 + 5), b"a" * 7 + b"bcdef")
        long = unhex("1f 61 0100 ff 00 50 6263646566")
        self.assertEqual(codec.decode(codec.LZ4, long, 1 + 4 + 15 + 255 + 5), b"a" * 275 + b"bcdef")

    def test_lz4_and_extents_come_back(self):
        for plain in (bytes(5000), b"abcdefgh" * 999 + b"tail", bytes(range(256)) * 40 + bytes(70_000) + b"end of it"):
            self.assertEqual(codec.decode(codec.LZ4, codec.lz4_encode(plain), len(plain)), plain)
            holes = plain + bytes(20_000)
            self.assertEqual(codec.decode(codec.EXTENTS, codec.extents_encode(holes), len(holes)), holes)
        self.assertEqual(codec.decode(codec.EXTENTS, b"", 3), bytes(3))

    def test_what_does_not_decode_is_refused(self):
        block = codec.lz4_encode(bytes(5000))
        extents = codec.extents_encode(bytes(4096) + b"x" * 4096)
        bad = [(codec.PLAIN, b"12", 3), (codec.LZ4, block, 4999), (codec.LZ4, block, 5001),
               (codec.LZ4, block[:-1], 5000),
               (codec.LZ4, unhex("12 61 0200 50 6263646566"), 20), (codec.EXTENTS, extents[:-1], 8192),
               (codec.EXTENTS, extents + b"1", 8292), (codec.EXTENTS, extents, 8000), (codec.LZ4, block, len(block)),
               (codec.EXTENTS, b"\1\0\0", 8), (codec.EXTENTS, b"\2\0\0\0", 8)]
        for kind, stored, length in bad:
            with self.subTest(kind=kind, length=length), self.assertRaises(codec.CodecError):
                codec.decode(kind, stored, length)
        with self.assertRaises(codec.Unsupported):
            codec.decode(codec.ZSTD, b"x", 100)


class AddressSpace(unittest.TestCase):
    CHUNK = 1 << 16

    def lay_out(self, *pages):
        laid, first = space.Space(16), 0
        for number, sizes in enumerate(pages):
            entries = [messages.Entry(messages.FILE, b"f%d" % i, size) for i, size in enumerate(sizes)]
            laid.add_page(messages.Page(1, number, first, False, entries), [messages.NEED] * len(sizes))
            first += len(sizes)
        return laid

    def starts(self, *pages):
        return {number: item.start for number, item in self.lay_out(*pages).objects.items()}

    def test_small_objects_pack_and_large_ones_align(self):
        chunk, quarter = self.CHUNK, self.CHUNK // 4
        self.assertEqual(self.starts([1, 15, 16, 17, 1]), {0: 0, 1: 16, 2: 32, 3: 48, 4: 80})
        self.assertEqual(self.starts([1, quarter, quarter + 1, 1]), {0: 0, 1: 16, 2: chunk, 3: 2 * chunk})
        self.assertEqual(self.starts([quarter] * 5), {i: i * quarter for i in range(5)})
        # The fifth would cross a chunk boundary.
        self.assertEqual(self.starts([16] + [quarter] * 4)[4], chunk)
        self.assertEqual(self.starts([chunk, chunk + 1, 1]), {0: 0, 1: chunk, 2: 3 * chunk})
        self.assertEqual(self.starts([0, 5, 0, 5]), {1: 0, 3: 16})
        self.assertEqual(self.starts([5], [], [5]), {0: 0, 1: chunk})

    def test_plain_lengths_and_objects_of_chunks(self):
        laid = self.lay_out([3, 5, self.CHUNK + 7])
        self.assertEqual({n: (c.plain_length, [o.number for o in c.objects]) for n, c in laid.chunks.items()},
                         {0: (21, [0, 1]), 1: (self.CHUNK, [2]), 2: (7, [2])})
        self.assertEqual([laid.is_split(item) for item in laid.objects.values()], [False, False, True])

    def test_what_takes_no_space(self):
        kinds = [messages.Entry(messages.DIRECTORY, b"d"), messages.Entry(messages.SYMLINK, b"l", target=b"t"),
                 messages.Entry(messages.FILE, b"i", 2, content=b"ab", digest=bytes(32)),
                 messages.Entry(messages.FILE, b"skip", 9), messages.Entry(messages.FILE, b"fail", 9),
                 messages.Entry(messages.FILE, b"resume", 9)]
        actions = [messages.NEED] * 3 + [messages.SKIP, messages.FAIL, messages.RESUME]
        laid = space.Space(16)
        laid.add_page(messages.Page(1, 0, 10, True, kinds), actions)
        self.assertEqual({number: item.start for number, item in laid.objects.items()}, {15: 0})


if __name__ == "__main__":
    unittest.main()
