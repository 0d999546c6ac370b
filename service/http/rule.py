"""One row of the route table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from record.configuration.sections import TokenRole
from service.http.call import Call
from service.http.replies import Reply

if TYPE_CHECKING:
    from service.worker import Worker

Handler = Callable[["Worker", Call], Reply]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. `handler` None: the guard answers it itself. `role` None: anybody may, always."""

    method: str
    path: str
    role: TokenRole | None
    handler: Handler | None
    summary: str
    answers: int = 200
    refuses: tuple[int, ...] = ()
    urgent: bool = False  # answered also when too many requests are under way
    threads: int | None = None  # of its own, so that it takes none from others; None: the common ones
    most_waiting: float = math.inf  # for one of those threads; further ones are refused at once
    most_bytes: int | None = None  # of its body; None: serve.max_body_mb
    _route: Route = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_route", Route(self.path, _nothing, methods=[self.method]))

    def matches(self, scope: Mapping[str, Any]) -> Match:
        return self._route.matches(dict(scope))[0]


async def _nothing(request: Request) -> Response:
    raise AssertionError("the route is used for matching only")
