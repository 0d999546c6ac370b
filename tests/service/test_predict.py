"""What a predict request is read as, whichever way it came."""

from __future__ import annotations

from typing import Any

import pytest

from service import predict
from service.predict import read_asked

COUNT = 10_000


class CountedText(str):
    """A text that counts how often it is held against another."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        type(self).compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_an_id_that_stands_twice_is_found_without_comparing_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop reads it: ten thousand ids, of which the last two are one, must not stop it for seconds."""
    ids = [CountedText(f"order-{n}") for n in range(COUNT - 1)]
    body: dict[str, Any] = {"records": [{}] * COUNT, "ids": [*ids, CountedText(f"order-{COUNT - 2}")]}
    monkeypatch.setattr(predict, "parse_body", lambda _: body)
    (fault,) = read_asked(b"", COUNT).faults
    assert '"order-9998" stands twice' in fault.message
    assert CountedText.compared < COUNT
