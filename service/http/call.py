"""One request, as the endpoints see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked and let through."""

    actor: str
    body: Any = None  # of a POST, as JSON
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None  # the request's own time, where the clock follows requests
