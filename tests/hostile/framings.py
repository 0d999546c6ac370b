"""Raw requests whose end two parsers could see at different places, and what this service makes of each.

Each carries a second request, `INNER`, where a careless parser would find it: in a body, behind an end that is none,
behind a connection that was said to close. No answer may ever be to it, unless it was pipelined openly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HOST = b"Host: localhost\r\n"
INNER = b"GET /inner HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
WHOLE_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)
LENGTH = b"Content-Length: %d\r\n" % len(INNER)


@dataclass(frozen=True)
class Framing:
    """One raw exchange: the parts are sent one after another, each when the ones before have been looked at."""

    name: str
    parts: tuple[bytes, ...]
    statuses: tuple[int, ...]  # of the answers, when it is sent to the service itself
    inner: bool = field(default=False)  # whether one of them is to INNER, which was sent as a request of its own

    def __str__(self) -> str:
        return self.name


def post(*headers: bytes, version: bytes = b"1.1", host: bytes = HOST) -> bytes:
    return b"POST /outer HTTP/" + version + b"\r\n" + host + b"".join(headers) + b"\r\n"


def refused(name: str, *parts: bytes, status: int = 400) -> Framing:
    return Framing(name, parts, (status,))


def served(name: str, *parts: bytes, inner: bool = False) -> Framing:
    return Framing(name, parts, (200, 200) if inner else (200,), inner)


UPGRADES = (
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQBAAAAAAUAAEAA\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n",
    b"Connection: keep-alive, Upgrade\r\nUpgrade: TLS/1.0\r\n",
    b"Upgrade: h2c\r\n",
    b"Connection: Upgrade\r\n",
)
FRAMINGS: tuple[Framing, ...] = (
    # Plain ones, which must be served.
    served("length", post(LENGTH) + INNER),
    served("length, body later", post(LENGTH), INNER),
    served("length, body in halves", post(LENGTH) + INNER[:9], INNER[9:]),
    served("head in pieces", b"POST /outer HT", b"TP/1.1\r\nHost: local", b"host\r\n", b"\r", b"\n"),
    served("chunks", post(CHUNKED) + WHOLE_CHUNK),
    served("chunks, later", post(CHUNKED), WHOLE_CHUNK),
    served("chunks, cut within their end", post(CHUNKED) + WHOLE_CHUNK[:-3], WHOLE_CHUNK[-3:-1], WHOLE_CHUNK[-1:]),
    served("chunk extensions", post(CHUNKED) + b"1;a=b\r\nx\r\n0;c\r\n\r\n"),
    served("trailers", post(CHUNKED) + b"1\r\nx\r\n0\r\nX-More: 44\r\nHost: other\r\n\r\n"),
    refused("a trailer with a length", post(CHUNKED) + b"0\r\nContent-Length: 44\r\n\r\n" + INNER),
    refused("a trailer with an encoding", post(CHUNKED) + b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + INNER),
    served("pipelined", post(b"Content-Length: 0\r\n") + INNER, inner=True),
    served("pipelined, cut within the head's end", post()[:-2], b"\r", b"\n" + INNER, inner=True),
    served("empty lines first", b"\r\n\r\n" + post(LENGTH) + INNER),
    served("a body of a GET", b"GET /outer HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + INNER),
    served("a later body of a GET", b"GET /outer HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n", INNER),
    served("zeros before the length", post(b"Content-Length: 00%d\r\n" % len(INNER)) + INNER),
    served("no length", post() + INNER, inner=True),
    # Upgrades: in one piece, with the body later, and in chunks.
    *(served(f"upgrade {n}", post(headers, LENGTH) + INNER) for n, headers in enumerate(UPGRADES)),
    *(served(f"upgrade {n}, body later", post(headers, LENGTH), INNER) for n, headers in enumerate(UPGRADES)),
    *(served(f"upgrade {n}, chunks later", post(headers, CHUNKED), WHOLE_CHUNK) for n, headers in enumerate(UPGRADES)),
    served(
        "upgrade, long body",
        post(UPGRADES[0], b"Content-Length: %d\r\n" % (262_144 + len(INNER))),
        b"\r\n" * 131_072,
        INNER,
    ),
    served(
        "upgrade of a GET, more behind", b"GET /outer HTTP/1.1\r\n" + HOST + UPGRADES[0] + b"\r\n" + INNER, inner=True
    ),
    served("upgrade and close", post(b"Connection: close\r\n", UPGRADES[0], LENGTH) + INNER + INNER),
    # Two ways of saying where the body ends.
    refused("length and chunks", post(LENGTH, CHUNKED) + b"0\r\n\r\n" + INNER),
    refused("chunks and length", post(CHUNKED, LENGTH) + b"0\r\n\r\n" + INNER),
    refused("length 0 and chunks", post(b"Content-Length: 0\r\n", CHUNKED) + WHOLE_CHUNK),
    refused("two lengths", post(b"Content-Length: 0\r\n", LENGTH) + INNER),
    refused("one length twice", post(LENGTH, LENGTH) + INNER),
    refused("a list of lengths", post(b"Content-Length: 44, 44\r\n") + INNER),
    refused("a signed length", post(b"Content-Length: +44\r\n") + INNER),
    refused("a negative length", post(b"Content-Length: -1\r\n") + INNER),
    refused("a length in hexadecimals", post(b"Content-Length: 0x2c\r\n") + INNER),
    refused("a length of many digits", post(b"Content-Length: 1" + b"0" * 30 + b"\r\n") + INNER),
    refused("an empty length", post(b"Content-Length:\r\n") + INNER),
    refused("a space before the colon", post(b"Content-Length : 44\r\n") + INNER),
    refused("a space before the name", post(b" Content-Length: 44\r\n") + INNER),
    refused("a length folded", post(b"Content-Length:\r\n 44\r\n") + INNER),
    refused("a header folded", post(b"X-More: a\r\n b\r\n", LENGTH) + INNER),
    refused("encoding folded", post(b"Transfer-Encoding:\r\n chunked\r\n") + WHOLE_CHUNK),
    refused("two encodings", post(CHUNKED, CHUNKED) + WHOLE_CHUNK),
    refused("an encoding and chunks", post(b"Transfer-Encoding: gzip, chunked\r\n") + WHOLE_CHUNK, status=501),
    refused("identity", post(b"Transfer-Encoding: identity\r\n") + INNER, status=501),
    refused("no known encoding", post(b"Transfer-Encoding: xchunked\r\n") + WHOLE_CHUNK, status=501),
    refused("a control character in the encoding", post(b"Transfer-Encoding: \x0bchunked\r\n") + WHOLE_CHUNK),
    refused("chunks, then identity", post(b"Transfer-Encoding: chunked, identity\r\n") + INNER),
    # Line ends.
    refused("bare LF in the head", post(LENGTH).replace(b"\r\n", b"\n") + INNER),
    refused("bare LF after a header", post(b"X-More: a\nContent-Length: 44\r\n") + INNER),
    refused("bare CR in a header", post(b"X-More: a\rContent-Length: 44\r\n") + INNER),
    refused("NUL in a header", post(b"X-More: a\0\r\n") + INNER),
    refused("bare LF after a chunk's size", post(CHUNKED) + WHOLE_CHUNK.replace(b"\r\n", b"\n", 1)),
    refused("a chunk longer than it says", post(CHUNKED) + b"1\r\nxy\r\n0\r\n\r\n" + INNER),
    refused("a chunk's size in 0x", post(CHUNKED) + b"0x1\r\nx\r\n0\r\n\r\n" + INNER),
    refused("a chunk's size with a sign", post(CHUNKED) + b"+1\r\nx\r\n0\r\n\r\n" + INNER),
    refused("a chunk's size beyond 64 bits", post(CHUNKED) + b"1" + b"0" * 16 + b"\r\nx\r\n0\r\n\r\n" + INNER),
    refused("bare LF in a chunk's extension", post(CHUNKED) + b"1;a\nb\r\nx\r\n0\r\n\r\n" + INNER),
    # Versions and hosts.
    refused("HTTP/1.0 in chunks", post(CHUNKED, version=b"1.0") + WHOLE_CHUNK),
    served("HTTP/1.0, more behind", post(LENGTH, version=b"1.0") + INNER + INNER),
    served("HTTP/1.0 kept alive", post(b"Connection: keep-alive\r\n", LENGTH, version=b"1.0") + INNER),
    refused("HTTP/2.0", post(LENGTH, version=b"2.0") + INNER, status=505),
    refused("HTTP/0.9", post(LENGTH, version=b"0.9") + INNER, status=505),
    refused("HTTP/1.2", post(LENGTH, version=b"1.2") + INNER),
    refused("no version", b"GET /outer\r\n\r\n" + INNER, status=505),
    refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + INNER),
    refused("no Host", post(LENGTH, host=b"") + INNER),
    refused("two Hosts", post(HOST, LENGTH) + INNER),
    refused("a Host with a path", post(LENGTH, host=b"Host: localhost/inner\r\n") + INNER),
    refused("a Host with a space", post(LENGTH, host=b"Host: local host\r\n") + INNER),
    refused("another host in the target", b"POST http://other/outer HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + INNER),
    refused("CONNECT", b"CONNECT localhost:1 HTTP/1.1\r\n" + HOST + b"\r\n" + INNER, status=405),
    # Expectations and early ends.
    served("expects to go on", post(b"Expect: 100-continue\r\n", LENGTH), INNER),
    refused("expects something else", post(b"Expect: more\r\n", LENGTH) + INNER, status=417),
    served("close, more behind", post(b"Connection: close\r\n", LENGTH) + INNER + INNER),
    served("proxy-connection, more behind", post(b"Proxy-Connection: close\r\n", LENGTH) + INNER + INNER),
    Framing("a body that ends early", (post(b"Content-Length: 1000\r\n") + INNER,), ()),
    Framing("a head that ends early", (post(LENGTH)[:-2],), ()),
)
