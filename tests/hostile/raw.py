"""Raw bytes over a connection, and the answers in what comes back."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One answer of a connection."""

    status: int
    headers: dict[str, str]
    body: bytes


def split_answers(data: bytes) -> list[Answer]:
    """The answers that stand one behind another in `data`; 100 Continue is none. A cut one counts as it is."""
    answers = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        status = int(first.split()[1])
        if status == 100:
            continue
        if headers.get("transfer-encoding") == "chunked":
            body, data = _unchunk(data)
        else:
            length = int(headers.get("content-length", 0))
            body, data = data[:length], data[length:]
        answers.append(Answer(status, headers, body))
    return answers


def _unchunk(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body, data = body + data[:length], data[length + 2 :]
        if length == 0:
            break
    return body, data


def read_to_end(client: socket.socket) -> bytes:
    """All that comes until the other side closes, or resets the connection."""
    data = b""
    try:
        while chunk := client.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data
