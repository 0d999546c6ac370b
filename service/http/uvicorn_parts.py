"""The parts of uvicorn that are not its public interface, and the only import of uvicorn.

BentoML makes uvicorn's configuration itself, so that a protocol and a loop of our own can only be named in uvicorn's
tables. `pyproject.toml` bounds the version; `tests/service/http/test_uvicorn_parts.py` says of each name what is
relied on.
"""

from __future__ import annotations

from typing import Any

import uvicorn.config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

__all__ = [
    "HIGH_WATER_LIMIT",
    "STATUS_LINE",
    "FlowControl",
    "HttpToolsProtocol",
    "RequestResponseCycle",
    "ServerState",
    "use_loop",
    "use_protocol",
]


def use_protocol(protocol: type[HttpToolsProtocol]) -> None:
    """Make every uvicorn server of this process that has not begun yet speak this protocol."""
    table: dict[str, Any] = uvicorn.config.HTTP_PROTOCOLS
    table["auto"] = protocol


def use_loop(factory: str) -> None:
    """Make every uvicorn server of this process that has not begun yet run in the loops of this factory.

    `factory` is an import string, "module:function"; the function takes `use_subprocess` and returns a loop's class.
    """
    uvicorn.config.LOOP_FACTORIES["auto"] = factory
