"""Origins: whose pages may call the service from a browser (`serve.cors_origins`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.middleware.cors import CORSMiddleware

_REQUEST_HEADERS: Final = ("Authorization", "Content-Type", "Idempotency-Key", "Ringside-Time")
_ANSWER_HEADERS: Final = ("Retry-After", "Ringside-Logged")


def shared_with(origins: Sequence[str], app: Any) -> Any:
    """The application, which tells browsers that pages of these origins may read its answers."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_ANSWER_HEADERS,
    )
