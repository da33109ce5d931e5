"""xfer moves objects between two processes over every network interface at once, and verifies every byte.

An `Engine` has threads, sockets and a completion queue. A connection goes in one direction: a `Sender` on the one end, a `Receiver`
on the other. Both know a `secret()` of 32 bytes, which the one admits and the other connects with. `connect(link)` is a client of an
xfer node, which needs no secret but the node's link. `xfer.aio` has the same for asyncio; `xfer.fsspec` is a file system by the name "xfer".

    import xfer

    secret = xfer.secret()
    with xfer.Engine(listen="127.0.0.1:0") as here, xfer.Engine() as there:
        receiver = here.admit(secret)
        with there.connect(here.addresses, secret) as sender:
            pending = sender.submit(b"content" * 1000, "name")
            received = receiver.recv()
            assert received.data == b"content" * 1000
            pending.result()

Sizes are in bytes, times in seconds, rates in bits a second. What fails raises an `XferError`, which is an `OSError`.
"""

from ._errors import (
    ArgumentError,
    BusyError,
    ClosedError,
    DeniedError,
    DigestError,
    ForkedError,
    InterruptedTransferError,
    NotFoundError,
    PartialError,
    RefusedError,
    UnreachableError,
    UnsupportedError,
    XferError,
)
from ._link import Options, Path
from ._memory import Buffer
from ._abi import ffi as _ffi
from ._abi import lib as _lib
from ._objects import Moved, Received
from ._sync import Engine, Offer, Pending, Receiver, Sender, secret
from .client import Client, Entry, File, connect

#: The version of the library that this package carries.
__version__: str = _ffi.string(_lib.xfer_version()).decode()

__all__ = [
    "ArgumentError", "Buffer", "BusyError", "Client", "ClosedError", "DeniedError", "DigestError", "Engine", "Entry", "File",
    "ForkedError", "InterruptedTransferError", "Moved", "NotFoundError", "Offer", "Options", "PartialError", "Path", "Pending", "Received",
    "Receiver", "RefusedError", "Sender", "UnreachableError", "UnsupportedError", "XferError", "connect", "secret",
]  # fmt: skip
