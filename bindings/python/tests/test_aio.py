"""The asyncio interface."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Awaitable, Callable

import pytest
from conftest import Node

import xfer
import xfer.aio

Test = Callable[[xfer.aio.Sender, xfer.aio.Receiver], Awaitable[None]]


def in_loop(test: Test) -> None:
    async def run() -> None:
        secret = xfer.secret()
        async with xfer.aio.Engine(listen="127.0.0.1:0") as here, xfer.aio.Engine() as there:
            await test(there.connect(here.addresses, secret), here.admit(secret))

    asyncio.run(run(), debug=True)


def test_objects_move() -> None:
    async def test(sender: xfer.aio.Sender, receiver: xfer.aio.Receiver) -> None:
        contents = [bytes([at]) * size for at, size in enumerate((0, 1, 1024, 1025, 3_000_000))]

        async def receive() -> list[bytes]:
            return [bytes((await offer.recv()).data) async for offer in receiver]

        receiving = asyncio.create_task(receive())
        async with sender:
            moved = await asyncio.gather(*(sender.send(content) for content in contents))
        assert [one.bytes for one in moved] == [len(content) for content in contents]
        assert await receiving == contents
        with pytest.raises(EOFError):
            await receiver.recv()

    in_loop(test)


def test_more_than_fits_at_once() -> None:
    async def run() -> None:
        secret, options = xfer.secret(), xfer.Options(depth=8)
        async with xfer.aio.Engine(listen="127.0.0.1:0") as here, xfer.aio.Engine() as there:
            receiver = here.admit(secret, options=options)
            async with there.connect(here.addresses, secret, options=options) as sender:

                async def receive() -> int:
                    return len([await offer.recv() async for offer in receiver])

                receiving = asyncio.create_task(receive())
                await asyncio.gather(*(sender.send(bytes(100)) for _ in range(100)))
            assert await receiving == 100

    asyncio.run(run())


def test_cancelling_a_send_gives_the_memory_back() -> None:
    async def test(sender: xfer.aio.Sender, receiver: xfer.aio.Receiver) -> None:
        memory = bytearray(5_000_000)
        sending = asyncio.create_task(sender.send(memory))
        await receiver.next_offer()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        memory.append(0)
        with pytest.raises(xfer.InterruptedTransferError):
            await sender.send(b"after")
        with pytest.raises(xfer.InterruptedTransferError):
            await receiver.next_offer()

    in_loop(test)


def test_cancelling_a_wait_ends_nothing() -> None:
    async def test(sender: xfer.aio.Sender, receiver: xfer.aio.Receiver) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(receiver.next_offer(), 0.01)
        sending = asyncio.create_task(sender.send(bytes(5000)))
        assert (await receiver.recv()).data == bytes(5000)
        await sending

    in_loop(test)


def test_a_client_reads_and_copies(node: Node, tmp_path: pathlib.Path) -> None:
    content = bytes(range(256)) * 10_000
    local = tmp_path / "local"
    local.write_bytes(content)

    async def run() -> None:
        async with xfer.aio.connect(node.link) as client:
            assert await client.put(local, "awaited") == len(content)
            assert (await client.stat("awaited")).size == len(content)
            assert "awaited" in [entry.path for entry in await client.ls()]
            parts = await asyncio.gather(*(client.cat("awaited", at, at + 50) for at in range(300)))
            assert list(parts) == [content[at : at + 50] for at in range(300)]
            assert await client.cat("awaited") == content
            assert await client.cat("awaited", -7) == content[-7:]
            found = await client.cat_ranges([("awaited", at, at + 3) for at in range(5_000)] + [("none", 0, 1)])
            assert found[:-1] == [content[at : at + 3] for at in range(5_000)]
            assert isinstance(found[-1], xfer.NotFoundError)
            with pytest.raises(xfer.NotFoundError):
                await client.cat("none")
            reading = asyncio.create_task(client.cat("awaited", 0, 2_000_000))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert await client.cat("awaited", 0, 9) == content[:9]
            assert await client.get("awaited", tmp_path / "back") == len(content)
        with pytest.raises(xfer.ClosedError):
            await client.cat("awaited")

    asyncio.run(run(), debug=True)
