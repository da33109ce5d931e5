"""Objects between two engines over loopback: memory, files, streams, many of them, and what goes wrong."""

from __future__ import annotations

import array
import mmap
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Pair

import xfer

SIZES = [0, 1, 1023, 1024, 1025, 65_536, 1 << 20, (1 << 20) + 1, 5_000_000]


def content(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_memory_arrives_in_memory(pair: Pair, size: int) -> None:
    pending = pair.sender.submit(content(size), "dir/name")
    memory = bytearray(size + 1)
    moved = pair.receiver.recv_into(memory)
    assert (moved.name, moved.bytes) == ("dir/name", size)
    assert memory == content(size) + b"\0"
    assert pending.result().bytes == size


def test_objects_arrive_in_order_until_the_end(pair: Pair) -> None:
    with pair.sender as sender:
        pending = [sender.submit(content(size), str(size)) for size in SIZES]
        received = []

        def receive() -> None:
            received.extend(offer.recv() for offer in pair.receiver)

        thread = threading.Thread(target=receive)
        thread.start()
        digests = [one.result().digest for one in pending]
    thread.join()
    assert [(one.name, bytes(one.data)) for one in received] == [(str(size), content(size)) for size in SIZES]
    assert [one.digest for one in received if len(one.data) > 1024] == digests[4:]
    with pytest.raises(EOFError):
        pair.receiver.recv()
    with pytest.raises(xfer.ClosedError):
        pair.sender.send(b"late")


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda b: array.array("B", b)])
def test_anything_with_a_buffer_is_sent(pair: Pair, make: Callable[[bytes], Any]) -> None:
    pending = pair.sender.submit(make(content(5000)))
    assert pair.receiver.recv().data == content(5000)
    pending.result()


def test_many_objects_in_batches(pair: Pair) -> None:
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.extend(bytes(offer.recv().data) for offer in pair.receiver))
    thread.start()
    with pair.sender as sender:
        names = [moved.name for moved in sender.send_many((str(at), str(at).encode()) for at in range(10_000))]
    thread.join()
    assert names == [str(at) for at in range(10_000)]
    assert received == [name.encode() for name in names]


def test_the_other_direction() -> None:
    secret = xfer.secret()
    with xfer.Engine(listen="127.0.0.1:0") as here, xfer.Engine() as there:
        sender, receiver = here.admit(secret, send=True), there.connect(here.addresses, secret, receive=True)
        pending = sender.submit(content(100_000))
        assert receiver.recv().data == content(100_000)
        pending.result()
        assert receiver.connected
        while not sender.paths() or sender.statistics()["bytes"] < 100_000:
            there.poll(0.01)
        assert sender.paths()[0].up


def test_arrays_without_a_copy(pair: Pair) -> None:
    numpy = pytest.importorskip("numpy")
    there = numpy.arange(300_000, dtype=numpy.float64).reshape(3, -1)
    here = numpy.zeros_like(there)
    pending = pair.sender.submit(there)
    pair.receiver.recv_into(here)
    assert (there == here).all()
    assert pair.here.statistics()["bytes_in_place"] == there.nbytes
    pending.result()
    pending = pair.sender.submit(there)
    received = pair.receiver.recv()
    pending.result()
    by_buffer, by_dlpack = numpy.frombuffer(received.data, numpy.uint8), numpy.from_dlpack(received.data)
    assert by_buffer.ctypes.data == by_dlpack.ctypes.data
    assert (by_dlpack.view(numpy.float64).reshape(3, -1) == there).all()
    with pytest.raises(xfer.ArgumentError, match="contiguous"):
        pair.sender.send(there[:, ::2])


def test_a_tensor_with_dlpack_only(pair: Pair) -> None:
    numpy = pytest.importorskip("numpy")

    class Tensor:
        def __init__(self, size: int) -> None:
            self.array = numpy.zeros(size, numpy.int32)

        def __dlpack__(self) -> Any:
            return self.array.__dlpack__()

    there, here = Tensor(5000), Tensor(5000)
    there.array[:] = range(5000)
    pending = pair.sender.submit(there)
    pair.receiver.recv_into(here)
    pending.result()
    assert (here.array == there.array).all()


def test_files_and_maps(pair: Pair, tmp_path: pathlib.Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for size in (1, 1024, 3_000_000):
        source.write_bytes(content(size))
        thread = threading.Thread(target=lambda: pair.sender.send_file(source))
        thread.start()
        offer = pair.receiver.next_offer()
        assert offer is not None and (offer.name, offer.size) == ("source", size)
        offer.recv_file(target)
        thread.join()
        assert target.read_bytes() == content(size)
    with target.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        pending = pair.sender.submit(mapped)
        assert pair.receiver.recv().data == content(3_000_000)
        pending.result()


def test_a_stream_is_piped(pair: Pair) -> None:
    (out, into), (last, end) = os.pipe(), os.pipe()

    def generate() -> None:
        with os.fdopen(into, "wb") as file:
            file.write(content(2_000_000))

    def send() -> None:
        pair.sender.send_stream(out, "stream")
        os.close(out)

    threads = [threading.Thread(target=generate), threading.Thread(target=send)]

    def receive() -> None:
        offer = pair.receiver.next_offer()
        assert offer is not None and offer.size is None
        offer.recv_file(end)
        os.close(end)

    threads.append(threading.Thread(target=receive))
    for thread in threads:
        thread.start()
    with os.fdopen(last, "rb") as file:
        assert file.read() == content(2_000_000)
    for thread in threads:
        thread.join()


def test_progress_is_told_and_may_end_it(pair: Pair) -> None:
    told: list[tuple[int, int | None]] = []
    thread = threading.Thread(target=pair.receiver.recv)
    thread.start()
    pair.sender.send(content(100_000), progress=lambda moved, total: told.append((moved, total)))
    thread.join()
    assert told[-1] == (100_000, 100_000)

    def refuse(moved: int, total: int | None) -> None:
        raise KeyError("enough")

    memory = bytearray(100_000)
    with pytest.raises(KeyError):
        pair.sender.send(memory, progress=refuse)
    memory.append(0)  # The memory is free again.
    with pytest.raises(xfer.InterruptedTransferError):
        while pair.receiver.next_offer() is not None:
            pass


def test_memory_that_cannot_be_received_into(pair: Pair) -> None:
    pending = pair.sender.submit(content(5000))
    offer = pair.receiver.next_offer()
    assert offer is not None
    for wrong in (bytes(5000), bytearray(4999)):
        with pytest.raises(xfer.ArgumentError) as raised:
            offer.recv_into(wrong)
        assert isinstance(raised.value, (OSError, ValueError))
    with pytest.raises(TypeError):
        offer.recv_into("text")  # type: ignore[arg-type]
    assert offer.recv().data == content(5000)
    pending.result()


def test_a_refusal_names_the_object(pair: Pair, tmp_path: pathlib.Path) -> None:
    (tmp_path / "unwanted").write_bytes(content(5000))
    raised: list[xfer.XferError] = []

    def send() -> None:
        with pytest.raises(xfer.RefusedError, match="no room") as refused:
            pair.sender.send_file(tmp_path / "unwanted")
        raised.append(refused.value)

    thread = threading.Thread(target=send)
    thread.start()
    offer = pair.receiver.next_offer()
    assert offer is not None
    offer.refuse("no room")
    thread.join()
    assert isinstance(raised[0], ConnectionRefusedError)
    assert (raised[0].object, raised[0].status) == ("unwanted", -106)
    pending = pair.sender.submit(content(5000))
    assert pair.receiver.recv().data == content(5000)
    pending.result()


def test_nobody_there() -> None:
    with xfer.Engine(listen="127.0.0.1:0") as here, xfer.Engine() as there:
        here.admit(xfer.secret())
        sender = there.connect(here.addresses, xfer.secret(), options=xfer.Options(timeout=0.2))
        with pytest.raises(xfer.UnreachableError) as raised:
            sender.send(b"content")
        assert isinstance(raised.value, ConnectionError)
        with pytest.raises(TimeoutError):
            here.admit(xfer.secret()).wait_connected(0.01)


@pytest.mark.parametrize("what", ["nonsense", "192.0.2.1:0:0"])
def test_wrong_arguments(what: str) -> None:
    with pytest.raises(ValueError, match=what):
        xfer.Engine(listen=what)
    with xfer.Engine() as engine:
        with pytest.raises(xfer.ArgumentError, match=what):
            engine.connect(what, xfer.secret())
        with pytest.raises(xfer.ArgumentError, match="32 bytes"):
            engine.admit(b"short")
        with pytest.raises(xfer.ArgumentError, match="rot13"):
            engine.admit(xfer.secret(), options=xfer.Options(suite="rot13"))
    with pytest.raises(xfer.ClosedError):
        engine.admit(xfer.secret())


PEER = """
import sys, xfer
engine = xfer.Engine(workers=1)
sender = engine.connect(sys.argv[1], bytes.fromhex(sys.argv[2]))
sender.send(b"x" * 5000)
sender.submit(bytes(1 << 20))
sender.wait_connected()
print("there", flush=True)
input()
"""


def test_a_peer_that_ends_in_the_middle() -> None:
    # The interpreter ends with a transfer outstanding: the other end is told, and this one gets no object.
    secret = xfer.secret()
    with xfer.Engine(listen="127.0.0.1:0") as engine:
        receiver = engine.admit(secret)
        words = [sys.executable, "-c", PEER, engine.addresses[0], secret.hex()]
        with subprocess.Popen(words, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer:
            assert receiver.recv().data == b"x" * 5000
            assert peer.stdout is not None and peer.stdout.readline() == b"there\n"
            offer = receiver.next_offer()
            assert peer.stdin is not None
            peer.stdin.close()
            assert peer.wait(30) != 0
            assert offer is not None
            with pytest.raises((xfer.InterruptedTransferError, xfer.ArgumentError)):
                while True:
                    receiver.next_offer()
