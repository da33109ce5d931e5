"""BLAKE3, hash mode, with the chaining values of subtrees.

Plain Python is quick enough for files of a few MiB because the compression function runs over many inputs at once: a
state word of n inputs is one integer with a 64-bit lane for each, of which the lower 32 bits count. What is absent:
keyed mode, key derivation, extended output.
"""

import sys
from array import array
from functools import lru_cache

CHUNK = 1024
BLOCK = 64
# Lanes of one compression: enough to hide the interpreter, few enough to stay in the cache.
LANES = 512

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MIX = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)


def _schedules():
    order = list(range(16))
    rounds = []
    for _ in range(7):
        rounds.append(tuple(order))
        order = [order[i] for i in PERMUTATION]
    return rounds


SCHEDULES = _schedules()


@lru_cache(maxsize=64)
def _ones(lanes):
    """An integer with 1 in each lane: times a 32-bit value it is that value in every lane."""
    return int.from_bytes(b"\1\0\0\0\0\0\0\0" * lanes, "little")


def _join(words):
    """Lanes from an array('Q') of 32-bit values."""
    if sys.byteorder == "big":
        words = array("Q", words)
        words.byteswap()
    return int.from_bytes(words.tobytes(), "little")


def _split(lanes, count):
    words = array("Q")
    words.frombytes(lanes.to_bytes(8 * count, "little"))
    if sys.byteorder == "big":
        words.byteswap()
    return words


def _compress(chaining, message, counter, length, flags, lanes):
    """Eight words of output for each lane. `chaining`, `message` and `counter` (low, high) are lanes already."""
    ones = _ones(lanes)
    mask = ones * 0xFFFFFFFF
    v = [*chaining, *(ones * word for word in IV[:4]), *counter, ones * length, ones * flags]
    for schedule in SCHEDULES:
        for i, (ia, ib, ic, id_) in enumerate(MIX):
            a, b, c, d = v[ia], v[ib], v[ic], v[id_]
            # Sums of a and c are cut only where they meet an XOR: a lane has 32 bits to spare.
            a += b + message[schedule[2 * i]]
            d = (d ^ a) & mask
            d = ((d | d << 32) >> 16) & mask
            c += d
            b = (b ^ c) & mask
            b = ((b | b << 32) >> 12) & mask
            a = (a + b + message[schedule[2 * i + 1]]) & mask
            d ^= a
            d = ((d | d << 32) >> 8) & mask
            c = (c + d) & mask
            b ^= c
            v[ib] = ((b | b << 32) >> 7) & mask
            v[ia], v[ic], v[id_] = a, c, d
    return [v[i] ^ v[i + 8] for i in range(8)]


def _leaf(data, counter, root):
    """The chaining value of one BLAKE3 chunk of at most 1,024 bytes, as eight words."""
    chaining = list(IV)
    blocks = max(1, -(-len(data) // BLOCK))
    for block in range(blocks):
        piece = data[block * BLOCK : (block + 1) * BLOCK]
        padded = bytes(piece) + bytes(BLOCK - len(piece))
        message = [int.from_bytes(padded[i : i + 4], "little") for i in range(0, BLOCK, 4)]
        flags = (CHUNK_START if block == 0 else 0) | (CHUNK_END if block == blocks - 1 else 0)
        if root and block == blocks - 1:
            flags |= ROOT
        at = (counter & 0xFFFFFFFF, counter >> 32)
        chaining = _compress(chaining, message, at, len(piece), flags, 1)
    return chaining


def _full_leaves(data, counter):
    """Chaining values of whole BLAKE3 chunks, a lane each: eight arrays of one word per chunk."""
    count = len(data) // CHUNK
    words = array("I")
    words.frombytes(data)
    if sys.byteorder == "big":
        words.byteswap()
    numbers = range(counter, counter + count)
    low = _join(array("Q", (n & 0xFFFFFFFF for n in numbers)))
    high = _join(array("Q", (n >> 32 for n in numbers)))
    chaining = [_ones(count) * word for word in IV]
    for block in range(CHUNK // BLOCK):
        first = block * 16
        message = [_join(array("Q", words[first + i :: CHUNK // 4])) for i in range(16)]
        flags = (CHUNK_START if block == 0 else 0) | (CHUNK_END if block == CHUNK // BLOCK - 1 else 0)
        chaining = _compress(chaining, message, (low, high), BLOCK, flags, count)
    return [_split(word, count) for word in chaining]


def _parents(values, root):
    """One level up: pairs from the left, an odd last one carried. That is the tree of BLAKE3."""
    count = len(values[0])
    pairs = count // 2
    result = [array("Q") for _ in range(8)]
    for start in range(0, pairs, LANES):
        lanes = min(LANES, pairs - start)
        at, end = 2 * start, 2 * (start + lanes)
        message = [_join(word[at:end:2]) for word in values] + [_join(word[at + 1 : end : 2]) for word in values]
        chaining = [_ones(lanes) * word for word in IV]
        flags = PARENT | (ROOT if root and count == 2 else 0)
        for word, out in zip(result, _compress(chaining, message, (0, 0), BLOCK, flags, lanes)):
            word.extend(_split(out, lanes))
    if count % 2:
        for word, value in zip(result, values):
            word.append(value[-1])
    return result


def _climb(values, root):
    while len(values[0]) > 1:
        values = _parents(values, root)
    return b"".join(int(word[0]).to_bytes(4, "little") for word in values)


def _tree(data, offset, root):
    if offset % CHUNK:
        raise ValueError(f"a subtree starts at byte {offset}, within a BLAKE3 chunk")
    data = memoryview(data)
    counter = offset // CHUNK
    if len(data) <= CHUNK:
        return b"".join(word.to_bytes(4, "little") for word in _leaf(data, counter, root))
    whole = len(data) // CHUNK
    values = [array("Q") for _ in range(8)]
    for first in range(0, whole, LANES):
        count = min(LANES, whole - first)
        piece = data[first * CHUNK : (first + count) * CHUNK]
        for word, out in zip(values, _full_leaves(piece, counter + first)):
            word.extend(out)
    if len(data) % CHUNK:
        for word, out in zip(values, _leaf(data[whole * CHUNK :], counter + whole, False)):
            word.append(out)
    return _climb(values, root)


def root(data):
    """The 32-byte BLAKE3 hash of `data`."""
    return _tree(data, 0, True)


def chaining_value(data, offset):
    """The chaining value (never a root) of `data` as the subtree that starts at byte `offset` of its input."""
    if not len(data):
        raise ValueError("an empty subtree has no chaining value")
    return _tree(data, offset, False)


def merge(values):
    """The root from the chaining values of several subtrees of one size, a power of two; the last may be shorter."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} chaining values have no parent")
    words = [
        array("Q", (int.from_bytes(value[4 * i : 4 * i + 4], "little") for value in values)) for i in range(8)
    ]
    return _climb(words, True)
