"""The port of the metrics: what it answers, and that nonsense on it is no defect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.errors import UsageError
from services.metrics_port import serve_metrics
from tests.services.server import free_port

EXPOSED = b"transfer_in_flight 0.0\n"


def answers(*requests: bytes) -> tuple[list[bytes], list[Any]]:
    """What comes back for each, on a connection of its own, and what the loop complains of."""
    complaints: list[Any] = []

    async def ask(port: int, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        writer.write_eof()
        try:
            return await reader.read()
        except ConnectionResetError:  # closed before all of it was read
            return b""
        finally:
            writer.close()

    async def main() -> list[bytes]:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context)
        )
        port = free_port()
        server = await serve_metrics(port, lambda: EXPOSED, "text/plain")
        found = [await ask(port, request) for request in requests]
        server.close()
        await server.wait_closed()
        return found

    return asyncio.run(main()), complaints


def test_there_is_one_page() -> None:
    (page, other), complaints = answers(
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /other HTTP/1.1\r\n\r\n"
    )
    assert page.startswith(b"HTTP/1.1 200 OK") and page.endswith(EXPOSED)
    assert other.startswith(b"HTTP/1.1 404 Not Found")
    assert complaints == []


@pytest.mark.parametrize("nonsense", [b"", b"GET", b"a" * 200_000, b"GET /\r\n" + b"b" * 200_000])
def test_what_is_no_request_is_closed_without_a_complaint(nonsense: bytes) -> None:
    """asyncio keeps 64 KiB of a line that does not end."""
    assert answers(nonsense) == ([b""], [])


def test_a_port_that_is_taken_is_told_in_a_line() -> None:
    async def twice() -> None:
        port = free_port()
        async with await serve_metrics(port, lambda: b"", "text/plain"):
            await serve_metrics(port, lambda: b"", "text/plain")

    with pytest.raises(UsageError, match=r"TRANSFER_METRICS is \d+, a port that cannot be opened"):
        asyncio.run(twice())
