"""What of a process others on the machine can reach."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import psutil


def addresses(process: psutil.Process) -> set[str]:
    """Every address that others could reach the process at: TCP, UDP, and sockets with a name."""
    found = set()
    for held in process.net_connections(kind="all"):
        if held.family == socket.AF_UNIX:
            found |= {f"unix:{held.laddr}"} if held.laddr else set()
        elif held.status == psutil.CONN_LISTEN or (held.type == socket.SOCK_DGRAM and not held.raddr):
            found.add(f"{held.laddr.ip}:{held.laddr.port}")
    return found


def umask(pid: int) -> str:
    """The bits that its new files lack."""
    return re.findall(r"^Umask:\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0]
