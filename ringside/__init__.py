"""What applications import: the clients of the service, loaded at first use.

Importing this package loads nothing else of Ringside; the command line is `ringside.commands`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringside.client import AsyncClient, Client, LabelsTaken, Prediction, RequestRefused, Unreachable

__all__ = ["AsyncClient", "Client", "LabelsTaken", "Prediction", "RequestRefused", "Unreachable"]


def __getattr__(name: str) -> object:
    """Load the client's classes at first use: the command line does without them."""
    if name in __all__:
        from ringside import client

        return getattr(client, name)
    raise AttributeError(f"module 'ringside' has no attribute {name!r}")
