"""One row of the route table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from record.configuration.sections import TokenRole
from record.errors import Faults, InvalidRecord
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
    query: tuple[str, ...] = ()  # names of parameters; of those that end in "*" there may be several
    _route: Route = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_route", Route(self.path, _nothing, methods=[self.method]))

    @property
    def parameters(self) -> list[str]:
        """The names of the path's variable parts."""
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def predicts(self) -> bool:
        """Whether the guard answers it itself, with the champion."""
        return self.handler is None

    def matches(self, scope: Mapping[str, Any]) -> Match:
        return self._route.matches(dict(scope))[0]


def read_query(rule: Rule, text: bytes) -> dict[str, str]:
    """The parameters of a query, of which each is one that the route knows.

    Several values of one name are joined with commas where that is what the route reads. Raises InvalidRecord.
    """
    values: dict[str, str] = {}
    if not text:
        return values
    faults = Faults[InvalidRecord]()
    for name, value in parse_qsl(text.decode("latin-1"), keep_blank_values=True):
        if name in values and f"{name}*" in rule.query:
            values[name] += f",{value}"
        elif name in values:
            faults.add(InvalidRecord(f"{name}: given more than once; expected one value", field=name))
        elif name in rule.query or f"{name}*" in rule.query:
            values[name] = value
        else:
            known = " or ".join(known.rstrip("*") for known in rule.query) or "no parameter"
            faults.add(InvalidRecord(f"{name[:60]!r}: unknown; expected {known}", field=name[:60]))
    faults.expect_none()
    return values


async def _nothing(request: Request) -> Response:
    raise AssertionError("the route is used for matching only")
