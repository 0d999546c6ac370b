"""The media of a request's body: its content type, its encoding, and the mark that some editors put before JSON."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from typing import Final

from record.errors import InvalidJson, TooLarge, UnsupportedMedia

STEP_BYTES: Final = 1_000_000  # unpacked before others have their turn: some milliseconds
_MARK: Final = b"\xef\xbb\xbf"  # UTF-8's byte order mark
_WINDOWS: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}  # of zlib


def plain_json(headers: Mapping[bytes, bytes], body: bytes | bytearray) -> bool:
    """Whether a body can be parsed as it is. What is not said to be anything else is taken for JSON."""
    kind = headers.get(b"content-type")
    if kind is not None and not kind.startswith(b"application/json"):
        return False
    return b"content-encoding" not in headers and body[:1] != _MARK[:1]


async def read_media(headers: Mapping[bytes, bytes], body: bytes, max_bytes: int) -> bytes:
    """The JSON text in a body that is compressed, marked or of another type.

    Raises UnsupportedMedia where it is not JSON by its type and not by its looks (`curl -d` calls everything a form),
    InvalidJson where it cannot be unpacked, and TooLarge where it unpacks to more than `max_bytes`.
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b""):
        body = await _unpack(body, encoding, max_bytes)
    body = body.removeprefix(_MARK)
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    looks = body[:100].lstrip()[:1]
    if kind and looks and looks not in b"{[" and kind != b"application/json" and not kind.endswith(b"+json"):
        raise UnsupportedMedia(
            f"the body is {kind[:60].decode('latin-1')!r}; expected JSON (Content-Type: application/json)",
            field="Content-Type",
        )
    return body


async def _unpack(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    window = _WINDOWS.get(encoding)
    if window is None:
        raise UnsupportedMedia(
            f"Content-Encoding {encoding[:60].decode('latin-1')!r} is not read; expected gzip, deflate or identity",
            field="Content-Encoding",
        )
    if window == 15 and body[:1] and body[0] & 0x0F != zlib.DEFLATED:
        window = -15  # some clients send deflate without its header
    unpacker, parts, size = zlib.decompressobj(window), [], 0
    try:
        while not unpacker.eof:
            part = unpacker.decompress(body, STEP_BYTES)
            if not part and not unpacker.eof:
                raise InvalidJson(f"the body's {encoding.decode()} data ends early", field="Content-Encoding")
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise TooLarge(f"the body unpacks to more than {max_bytes} bytes (serve.max_body_mb)")
            body = unpacker.unconsumed_tail
            if body:
                await asyncio.sleep(0)
    except zlib.error:
        raise InvalidJson(f"the body is not valid {encoding.decode()} data", field="Content-Encoding") from None
    if unpacker.unused_data:
        raise InvalidJson(f"the body has more behind its {encoding.decode()} data", field="Content-Encoding")
    return b"".join(parts)
