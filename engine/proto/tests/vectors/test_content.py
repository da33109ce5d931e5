"""The golden vectors of content, checked by the Python reference: address spaces, digests of chunks, codecs.

    python3 -m unittest discover -s engine/proto/tests/vectors
"""

import json
import unittest
from pathlib import Path

from xfer_reference import blake3, codec, messages, space, wire

VECTORS = json.loads(Path(__file__).with_name("v1.json").read_text())


def content(number, size):
    """Byte i of object n is (i + n) mod 251."""
    turn = bytes((i + number) % 251 for i in range(251))
    return (turn * (size // 251 + 1))[:size]


class LaidOut:
    """What the messages of a vector make of the address space."""

    def __init__(self, vector):
        self.space = space.Space(vector["chunk_log2"])
        self.resumed = []
        self.page, self.decisions = None, []
        for text in vector["messages"]:
            data = bytes.fromhex(text)
            message, used = messages.take(data)
            assert used == len(data)
            self._take(message)
        assert self.page is None and not self.decisions

    def _take(self, message):
        if isinstance(message, messages.End):
            self.space.end_open(message.object, message.size)
            return
        if isinstance(message, messages.Page):
            assert self.page is None
            self.page = message
        else:
            assert (message.page, message.first_entry) == (self.page.page, len(self.decisions))
            self.decisions += message.decisions
        if len(self.decisions) == len(self.page.entries):
            self._lay_out()

    def _lay_out(self):
        page, decisions, self.page, self.decisions = self.page, self.decisions, None, []
        self.space.add_page(page, [action for action, _ in decisions])
        for i, (action, runs) in enumerate(decisions):
            if action == messages.RESUME:
                first = self.space.objects[page.first_object + i].start // self.space.chunk_size
                self.resumed += [[first + chunk, count] for chunk, count in runs]


class Spaces(unittest.TestCase):
    def each(self):
        self.assertTrue(VECTORS["spaces"])
        for vector in VECTORS["spaces"]:
            with self.subTest(vector["what"]):
                yield vector, LaidOut(vector)

    def test_where_objects_lie(self):
        for vector, laid in self.each():
            found = [(item.number, item.start, item.size) for item in laid.space.objects.values()]
            # An object without bytes lies nowhere.
            told = [(item["object"], item["offset"], item["size"]) for item in vector["objects"] if item["size"]]
            self.assertEqual(found, told)
            self.assertEqual(laid.space.cursor, vector["chunk_count"] << vector["chunk_log2"])
            self.assertEqual(laid.resumed, vector["resumed"])

    def test_what_chunks_hold(self):
        for vector, laid in self.each():
            self.assertEqual(sorted(laid.space.chunks), [chunk["chunk"] for chunk in vector["chunks"]])
            for chunk in vector["chunks"]:
                plan = laid.space.chunks[chunk["chunk"]]
                pieces = laid.space.pieces(plan)
                found = [[item.number, *place] for item, *place in pieces]
                self.assertEqual((plan.plain_length, found), (chunk["plain_length"], chunk["pieces"]))
                plain = bytearray(plan.plain_length)
                digests = []
                for item, offset, at, length in pieces:
                    part = content(item.number, item.size)[offset : offset + length]
                    plain[at : at + length] = part
                    digests.append(laid.space.digest(item, offset, part).hex())
                self.assertEqual(digests, chunk["digests"])
                self.assertEqual(blake3.root(bytes(plain)).hex(), chunk["plain_root"])

    def test_digests_of_chunks_merge_to_the_roots_of_objects(self):
        for vector, _ in self.each():
            values = {}
            for chunk in vector["chunks"]:
                for (number, *_), digest in zip(chunk["pieces"], chunk["digests"], strict=True):
                    values.setdefault(number, []).append(bytes.fromhex(digest))
            for item in vector["objects"]:
                parts = values.get(item["object"], [blake3.root(b"")])
                root = blake3.merge(parts) if len(parts) > 1 else parts[0]
                self.assertEqual(root.hex(), item["root"])
                self.assertEqual(blake3.root(content(item["object"], item["size"])), root)

    def test_an_object_that_is_not_open_cannot_end(self):
        laid = space.Space(16)
        entry = messages.Entry(messages.FILE, b"f", is_open=True)
        laid.add_page(messages.Page(1, 0, 4, True, [entry]), [messages.NEED])
        with self.assertRaises(wire.WireError):
            laid.end_open(3, 1)
        self.assertEqual(laid.end_open(4, 1).start, 0)
        with self.assertRaises(wire.WireError):
            laid.end_open(4, 1)


class Roots(unittest.TestCase):
    def test_chaining_values(self):
        self.assertTrue(VECTORS["roots"])
        for vector in VECTORS["roots"]:
            chunk, size = 1 << vector["chunk_log2"], vector["size"]
            data = content(0, size)
            values = [blake3.chaining_value(data[at : at + chunk], at) for at in range(0, size, chunk)]
            with self.subTest(size):
                self.assertEqual([value.hex() for value in values], vector["chaining_values"])
                self.assertEqual(blake3.merge(values).hex(), vector["root"])


class Codecs(unittest.TestCase):
    def test_stored_bytes(self):
        self.assertEqual({vector["codec"] for vector in VECTORS["codecs"]}, {0, 1, 2, 3})
        for vector in VECTORS["codecs"]:
            stored, length = bytes.fromhex(vector["stored"]), vector["plain_length"]
            with self.subTest(vector["what"], codec=vector["codec"]):
                if vector["codec"] == codec.ZSTD:
                    # The standard library of this Python has no decoder: the vector is for others.
                    with self.assertRaises(codec.Unsupported):
                        codec.decode(codec.ZSTD, stored, length)
                elif vector["plain"]:
                    self.assertEqual([codec.decode(vector["codec"], stored, length).hex()], vector["plain"])
                else:
                    with self.assertRaises(codec.CodecError):
                        codec.decode(vector["codec"], stored, length)


if __name__ == "__main__":
    unittest.main()
