"""Noise (revision 34), pattern NNpsk0 with 25519 and SHA-256, by hand: PROTOCOL.md "Handshake".

    -> psk, e
    <- e, ee
"""

import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .keys import CHACHA


class NoiseError(Exception):
    """A handshake message that is too short or does not open."""


def _mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def _hkdf(chaining_key, material, outputs):
    """Noise section 4.3."""
    secret = _mac(chaining_key, material)
    result, last = [], b""
    for i in range(1, outputs + 1):
        last = _mac(secret, last + bytes([i]))
        result.append(last)
    return result


def prologue(version, ticket_id, suite, direction):
    return b"xfer" + bytes([version]) + ticket_id + bytes([suite, direction])


class _Symmetric:
    """Noise section 5.2; its cipher state is `key` and `nonce`."""

    def __init__(self, suite, prologue_bytes):
        self.chacha = suite == CHACHA
        name = b"Noise_NNpsk0_25519_%s_SHA256" % (b"ChaChaPoly" if self.chacha else b"AESGCM")
        self.hash = name.ljust(32, b"\0") if len(name) <= 32 else hashlib.sha256(name).digest()
        self.chaining_key = self.hash
        self.key, self.nonce = None, 0
        self.mix_hash(prologue_bytes)

    def mix_hash(self, data):
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, material):
        self.chaining_key, self.key = _hkdf(self.chaining_key, material, 2)
        self.nonce = 0

    def mix_key_and_hash(self, material):
        self.chaining_key, temporary, self.key = _hkdf(self.chaining_key, material, 3)
        self.mix_hash(temporary)
        self.nonce = 0

    def mix_public(self, public):
        """Token `e` where a psk is used: the public key goes into the hash and the key (section 9.2)."""
        self.mix_hash(public)
        self.mix_key(public)

    def _cipher(self):
        # Section 12: AESGCM counts in big-endian, ChaChaPoly in little-endian.
        nonce = bytes(4) + struct.pack("<Q" if self.chacha else ">Q", self.nonce)
        self.nonce += 1
        return (ChaCha20Poly1305 if self.chacha else AESGCM)(self.key), nonce

    def seal(self, plain):
        aead, nonce = self._cipher()
        sealed = aead.encrypt(nonce, plain, self.hash)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed):
        aead, nonce = self._cipher()
        try:
            plain = aead.decrypt(nonce, sealed, self.hash)
        except InvalidTag:
            raise NoiseError("the handshake message does not open") from None
        self.mix_hash(sealed)
        return plain

    def split(self):
        return tuple(_hkdf(self.chaining_key, b"", 2))


def _public(private):
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _exchange(private, public):
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise NoiseError("the peer's ephemeral key has no shared secret") from None


def _cut(message):
    if len(message) < 48:
        raise NoiseError(f"a handshake message of {len(message)} bytes")
    return message[:32], message[32:]


class Opener:
    def __init__(self, secret, prologue_bytes, suite, ephemeral):
        self.state = _Symmetric(suite, prologue_bytes)
        self.private = X25519PrivateKey.from_private_bytes(ephemeral)
        self.state.mix_key_and_hash(secret)

    def write(self, payload):
        public = _public(self.private)
        self.state.mix_public(public)
        return public + self.state.seal(payload)

    def read(self, message):
        """(payload, s_open, s_accept) from message 2. A message that does not open leaves the handshake as it was."""
        public, sealed = _cut(message)
        state = self.state
        before = dict(vars(state))
        try:
            state.mix_public(public)
            state.mix_key(_exchange(self.private, public))
            payload = state.open(sealed)
        except NoiseError:
            vars(state).update(before)
            raise
        return (payload, *state.split())


class Acceptor:
    def __init__(self, secret, prologue_bytes, suite, ephemeral):
        self.state = _Symmetric(suite, prologue_bytes)
        self.private = X25519PrivateKey.from_private_bytes(ephemeral)
        self.state.mix_key_and_hash(secret)
        self.remote = None

    def read(self, message):
        self.remote, sealed = _cut(message)
        self.state.mix_public(self.remote)
        return self.state.open(sealed)

    def write(self, payload):
        """(message 2, s_open, s_accept)."""
        public = _public(self.private)
        self.state.mix_public(public)
        self.state.mix_key(_exchange(self.private, self.remote))
        message = public + self.state.seal(payload)
        return (message, *self.state.split())
