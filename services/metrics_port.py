"""`GET /metrics` on a port of its own, for networks that keep it from the service's users."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from services.errors import UsageError

READ_S = 5.0
NO_REQUEST = (asyncio.IncompleteReadError, asyncio.LimitOverrunError)  # 64 KiB without a line


async def serve_metrics(port: int, exposition: Callable[[], bytes], kind: str) -> asyncio.Server:
    """Answer until the server that is returned is closed; raises UsageError when it cannot."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, *NO_REQUEST):
            async with asyncio.timeout(READ_S):
                request = await reader.readuntil(b"\r\n")
                while await reader.readuntil(b"\r\n") != b"\r\n":
                    pass
            known = request.split(b" ")[:2] == [b"GET", b"/metrics"]
            body = exposition() if known else b"There is only GET /metrics.\n"
            status = b"200 OK" if known else b"404 Not Found"
            writer.write(
                b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n"
                b"Connection: close\r\n\r\n" % (status, kind.encode(), len(body))
            )
            writer.write(body)
            await writer.drain()
        writer.close()

    try:
        return await asyncio.start_server(answer, "0.0.0.0", port)  # nosec B104
    except OSError as error:
        raise UsageError(
            f"TRANSFER_METRICS is {port}, a port that cannot be opened: {error.strerror}.",
            "Name another port.",
        ) from error
