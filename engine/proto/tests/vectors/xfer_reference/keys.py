"""Tickets, packet keys and the sealing of packets: PROTOCOL.md "Tickets", "Keys" and "Packets"."""

import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

AES, CHACHA, PLAIN_DATA = 1, 2, 3
TAG = 16
EPOCH_SHIFT = 22
NUMBER_LIMIT = 1 << 62


def ticket_id(secret):
    return HKDF(hashes.SHA256(), 16, salt=b"", info=b"xfer ticket id").derive(secret)


def cookie_mac(key, address, port, ticket, bucket):
    """The acceptor's cookie as PROTOCOL.md describes it; how it is made is each acceptor's business."""
    text = address + struct.pack("<H", port) + ticket + struct.pack("<Q", bucket)
    return hmac.new(key, text, hashlib.sha256).digest()[:16]


def packet_key(secret, suite, path, epoch):
    """(key, iv) of one direction, path and epoch."""
    length = 32 if suite == CHACHA else 16
    info = b"xfer v1 key" + struct.pack("<HQ", path, epoch)
    okm = HKDFExpand(hashes.SHA256(), length + 12, info).derive(secret)
    return okm[:length], okm[length:]


class DirectionKeys:
    """Seals or opens the packets of one direction; keys of each (path, epoch) are derived when they are needed."""

    def __init__(self, secret, suite):
        self.secret = secret
        self.suite = suite
        self._ciphers = {}

    def _cipher(self, path, epoch):
        found = self._ciphers.get((path, epoch))
        if found is None:
            if len(self._ciphers) >= 64:
                self._ciphers.clear()
            key, iv = packet_key(self.secret, self.suite, path, epoch)
            aead = ChaCha20Poly1305(key) if self.suite == CHACHA else AESGCM(key)
            found = self._ciphers[path, epoch] = (aead, int.from_bytes(iv, "big"))
        return found

    def is_plain(self, packet_type):
        return self.suite == PLAIN_DATA and packet_type == 0

    def seal(self, packet_type, path, number, header, payload):
        """The datagram: header and payload, sealed unless it is DATA of suite 3."""
        if self.is_plain(packet_type):
            return header + payload
        aead, iv = self._cipher(path, number >> EPOCH_SHIFT)
        # The number in network order is the low end of the 12-byte nonce, so the XOR works on integers.
        nonce = (iv ^ number).to_bytes(12, "big")
        return header + aead.encrypt(nonce, payload, header)

    def open(self, packet_type, path, number, header, body):
        """The payload, or None when the tag is wrong."""
        if self.is_plain(packet_type):
            return body
        aead, iv = self._cipher(path, number >> EPOCH_SHIFT)
        nonce = (iv ^ number).to_bytes(12, "big")
        try:
            return aead.decrypt(nonce, body, header)
        except InvalidTag:
            return None
