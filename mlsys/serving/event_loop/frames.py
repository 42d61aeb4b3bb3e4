"""A WebSocket by hand: the request that opens it, and what reads a frame.

Lesson 12 checks the handshake's proof and makes the frames that are sent; `read_frame` is the way
back. Messages in several frames are not put together.
"""

from __future__ import annotations

import asyncio

LIMIT = 1_000_000  # bytes; a longer frame is refused by its announcement
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455, section 1.3; an honest client draws one at random
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: room\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"
)


def masked(payload: bytes, mask: bytes) -> bytes:
    """The payload under a mask of four bytes, or from under it (RFC 6455, section 5.3)."""
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


async def read_frame(reader: asyncio.StreamReader, *, limit: int = LIMIT) -> tuple[int, bytes]:
    """The opcode and the payload of the next frame; ValueError for more than `limit` bytes."""
    first, second = await reader.readexactly(2)
    size = second & 127
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    if size > limit:
        raise ValueError(f"a frame of {size:,} bytes is refused; at most {limit:,} are taken")
    mask = await reader.readexactly(4) if second & 128 else b""
    payload = await reader.readexactly(size)
    return first & 15, masked(payload, mask) if mask else payload
