"""Bodies of many connections at once: what is held of them is bounded; small ones get through."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.body import Buffer, BusyError, DisconnectError, read_body

JSON = {"content-type": "application/json"}


class Client:
    """Sends pieces when it is told to."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self) -> dict[str, Any]:
        return await self.messages.get()

    def send(self, body: bytes, more: bool) -> None:
        self.messages.put_nowait({"type": "http.request", "body": body, "more_body": more})


async def reading(buffer: Buffer) -> tuple[Client, asyncio.Task[bytes]]:
    """A client that has sent 400 bytes, and more are to come."""
    client = Client()
    task = asyncio.create_task(read_body(JSON, client.receive, 1000, buffer))
    client.send(b"a" * 400, more=True)
    await asyncio.sleep(0.01)
    return client, task


def test_what_is_on_its_way_is_bounded_for_all_connections_together() -> None:
    async def main() -> None:
        buffer = Buffer(1000)
        first, second, third = [await reading(buffer) for _ in range(3)]
        with pytest.raises(BusyError, match="1200 bytes of bodies are on their way; at most 1000"):
            await third[1]
        assert buffer.held_bytes == 800
        small = Client()
        small.send(b"b" * 900, more=False)
        assert await read_body(JSON, small.receive, 1000, buffer) == b"b" * 900
        for client, task in (first, second):
            client.send(b"c", more=False)
            assert await task == b"a" * 400 + b"c"
        assert buffer.held_bytes == 0

    asyncio.run(main())


def test_who_leaves_holds_nothing() -> None:
    async def main() -> None:
        buffer = Buffer(1000)
        client, task = await reading(buffer)
        client.messages.put_nowait({"type": "http.disconnect"})
        with pytest.raises(DisconnectError):
            await task
        _, cancelled = await reading(buffer)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert buffer.held_bytes == 0

    asyncio.run(main())


def test_it_says_when_to_come_back() -> None:
    with pytest.raises(BusyError) as caught:
        Buffer(10).hold(11)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (
        429,
        "overloaded",
        1,
    )
