"""Stored bytes of a chunk to plain ones: PROTOCOL.md "Chunk entries". The encoders serve the tests' sender."""

import struct

from .limits import EXTENTS_MAX

PLAIN, LZ4, ZSTD, EXTENTS = range(4)
NAMES = ("plain", "lz4", "zstd", "extents")


class CodecError(Exception):
    """Stored bytes that do not decode to the plain length: the chunk is rejected."""


class Unsupported(Exception):
    """A codec that this reference has no decoder for."""


def decode(codec, stored, plain_length):
    """The plain bytes. Raises `CodecError`, or `Unsupported` for zstd."""
    if codec == PLAIN:
        plain = stored
    elif len(stored) >= plain_length:
        raise CodecError(f"{len(stored)} stored bytes for {plain_length} plain ones")
    elif codec == LZ4:
        plain = lz4_decode(stored, plain_length)
    elif codec == ZSTD:
        raise Unsupported("a chunk is stored as zstd, which Python's standard library lacks: ask for uncompressed")
    elif codec == EXTENTS:
        plain = extents_decode(stored, plain_length)
    else:
        raise CodecError(f"codec {codec}")
    if len(plain) != plain_length:
        raise CodecError(f"{len(plain)} bytes decoded, {plain_length} expected")
    return plain


def _lz4_length(data, at, nibble):
    length = nibble
    if nibble == 15:
        while True:
            more = data[at]
            at += 1
            length += more
            if more != 255:
                break
    return length, at


def lz4_decode(data, limit):
    """One LZ4 block of at most `limit` plain bytes."""
    out = bytearray()
    at = 0
    try:
        while True:
            token = data[at]
            literals, at = _lz4_length(data, at + 1, token >> 4)
            if at + literals > len(data) or len(out) + literals > limit:
                raise CodecError("an LZ4 block with literals past its end")
            out += data[at : at + literals]
            at += literals
            if at == len(data):
                return bytes(out)
            back = data[at] | data[at + 1] << 8
            length, at = _lz4_length(data, at + 2, token & 15)
            length += 4
            if not 1 <= back <= len(out) or len(out) + length > limit:
                raise CodecError("an LZ4 block with a match out of bounds")
            start = len(out) - back
            seen = bytes(out[start : start + length])
            out += (seen * (length // len(seen) + 1))[:length]
    except IndexError:
        raise CodecError("an LZ4 block that ends early") from None


def _lz4_sequence(literals, back, length):
    def extra(value):
        return b"" if value < 15 else b"\xff" * ((value - 15) // 255) + bytes([(value - 15) % 255])

    rest = length - 4 if length else 0
    token = min(len(literals), 15) << 4 | min(rest, 15)
    out = bytes([token]) + extra(len(literals)) + literals
    return out + struct.pack("<H", back) + extra(rest) if length else out


def lz4_encode(data):
    """One LZ4 block, greedily: the last five bytes are literals and no match starts in the last twelve."""
    out, table = [], {}
    at = start = 0
    while at + 12 < len(data):
        key = data[at : at + 4]
        found = table.get(key)
        table[key] = at
        if found is None or at - found > 0xFFFF:
            at += 1
            continue
        length = 4
        while at + length < len(data) - 5 and data[found + length] == data[at + length]:
            length += 1
        out.append(_lz4_sequence(data[start:at], at - found, length))
        at += length
        start = at
    out.append(_lz4_sequence(data[start:], 0, 0))
    return b"".join(out)


def extents_decode(stored, plain_length):
    """Extents and holes. No stored bytes at all is one hole."""
    out = bytearray(plain_length)
    if not stored:
        return bytes(out)
    if len(stored) < 4:
        raise CodecError("extents without a count")
    (count,) = struct.unpack_from("<I", stored)
    if not 1 <= count <= EXTENTS_MAX:
        raise CodecError(f"{count} extents")
    at = 4 + 8 * count
    if at > len(stored):
        raise CodecError(f"{count} extents in {len(stored)} stored bytes")
    end = 0
    for offset, length in struct.iter_unpack("<II", stored[4:at]):
        if offset < end or length == 0 or offset + length > plain_length or at + length > len(stored):
            raise CodecError(f"an extent of {length} bytes at {offset}")
        end = offset + length
        out[offset:end] = stored[at : at + length]
        at += length
    if at != len(stored):
        raise CodecError(f"{len(stored) - at} bytes after the last extent")
    return bytes(out)


def extents_encode(plain, grain=4096):
    """The grains of `plain` that are not zeros; nothing for one hole."""
    runs = []
    for start in range(0, len(plain), grain):
        piece = plain[start : start + grain]
        if not any(piece):
            continue
        if runs and runs[-1][0] + len(runs[-1][1]) == start:
            runs[-1] = (runs[-1][0], runs[-1][1] + piece)
        else:
            runs.append((start, piece))
    if not runs:
        return b""
    table = b"".join(struct.pack("<II", offset, len(piece)) for offset, piece in runs)
    return struct.pack("<I", len(runs)) + table + b"".join(piece for _, piece in runs)
