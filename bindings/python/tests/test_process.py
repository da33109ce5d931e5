"""Signals, forks and pickles."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from conftest import Node, Pair

import xfer


@pytest.fixture(autouse=True)
def _interrupts() -> Iterator[None]:
    """Interrupts are heard even by tests in the background of a shell, which ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_a_wait(pair: Pair) -> None:
    memory = bytearray(5_000_000)
    pair.sender.submit(b"the first")
    pair.receiver.recv()
    interrupt = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        pair.sender.send(memory)
    memory.append(0)  # The memory is free again.
    with pytest.raises(xfer.XferError):
        pair.sender.send(b"after")


def test_an_interrupt_while_nothing_comes(pair: Pair) -> None:
    interrupt = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        pair.receiver.next_offer()
    pending = pair.sender.submit(b"content")
    assert pair.receiver.recv().data == b"content"
    pending.result()


@pytest.mark.parametrize("what", [lambda pair: pair.sender.send(b"content"), lambda pair: pair.receiver.next_offer()])
def test_a_fork_is_refused(pair: Pair, what: Callable[[Pair], object]) -> None:
    # Another thread waits when it forks: the child has its lock, and not the thread.
    waiting = threading.Thread(target=lambda: pair.receiver.wait_connected())
    waiting.start()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            what(pair)
        except xfer.ForkedError as error:
            code = 0 if "spawn" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    waiting.join()
    pending = pair.sender.submit(b"content")
    assert pair.receiver.recv().data == b"content"
    pending.result()


def _read(client: xfer.Client, path: str) -> bytes:
    return client.cat(path)


def test_a_client_goes_to_spawned_processes(node: Node) -> None:
    (node.root / "spawned").write_bytes(b"content")
    with xfer.connect(node.link) as client, multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_read, (client, "spawned")) == b"content"


def test_exceptions_are_pickled() -> None:
    error = pickle.loads(pickle.dumps(xfer.DeniedError(-113, "dst node: write a: Permission denied", "a", 13)))
    assert isinstance(error, PermissionError)
    assert (error.errno, error.side, error.object) == (13, "dst", "a")


def test_two_threads_on_one_connection(pair: Pair) -> None:
    received: list[xfer.Received] = []
    thread = threading.Thread(target=lambda: received.extend(offer.recv() for offer in pair.receiver))
    thread.start()
    with pair.sender as sender:
        senders = [threading.Thread(target=lambda: [sender.send(bytes(2000)) for _ in range(50)]) for _ in range(4)]
        for one in senders:
            one.start()
        for one in senders:
            one.join()
    thread.join()
    assert len(received) == 200


def test_engines_open_and_close() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with xfer.Engine(listen="127.0.0.1:0", workers=1) as engine:
            engine.admit(xfer.secret())
    assert len(os.listdir("/proc/self/fd")) == before
