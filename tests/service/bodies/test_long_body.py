"""Long bodies read in pieces: the same values, and the same refusals, as read at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from record.errors import InputError, InvalidJson
from service.bodies import body_outline, long_body
from service.bodies.json_body import parse_body
from service.bodies.long_body import BodyLimits, ListLimit, LongBody

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=25,
)
OBJECTS = st.dictionaries(st.text(max_size=6), JSON, max_size=5)
LIMITS = BodyLimits({}, longest_text=1000)


@pytest.fixture(scope="module", autouse=True)
def small_windows() -> Iterator[None]:
    """Windows of seven bytes: every boundary comes to lie everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_outline, "WINDOW", 7)
        patch.setattr(long_body, "PIECE_BYTES", 10)
        yield


@given(OBJECTS, st.booleans(), st.sampled_from([None, 1]))
def test_a_body_read_in_pieces_is_what_it_is_read_at_once(value: dict[str, Any], ascii: bool, indent: int) -> None:
    body = json.dumps(value, ensure_ascii=ascii, indent=indent).encode()
    assert LongBody(body, LIMITS).value() == json.loads(body)


@given(OBJECTS, st.data())
@settings(max_examples=400)
def test_what_is_not_json_at_once_is_not_json_in_pieces(value: dict[str, Any], data: st.DataObject) -> None:
    """A byte is taken out, put in, or replaced: either both readings agree, or the body is refused."""
    body = bytearray(json.dumps(value, ensure_ascii=False).encode())
    place = data.draw(st.integers(0, len(body) - 1))
    byte = data.draw(st.sampled_from(b'{}[],:"\\ 1x\xff'))
    match data.draw(st.sampled_from(["out", "in", "instead"])):
        case "out":
            del body[place]
        case "in":
            body.insert(place, byte)
        case _:
            body[place] = byte
    try:
        at_once = parse_body(bytes(body))
    except InvalidJson:
        with pytest.raises(InputError):
            LongBody(bytes(body), LIMITS).value()
        return
    try:
        in_pieces = LongBody(bytes(body), LIMITS).value()
    except InputError:
        assert not isinstance(at_once, dict)
    else:
        assert in_pieces == at_once


@pytest.mark.parametrize("length", [0, 1, 2, 6, 7, 8, 13, 14, 15])
@pytest.mark.parametrize("before", [0, 1, 2, 3, 4, 5, 6])
def test_runs_of_backslashes_are_read_right_at_every_boundary(length: int, before: int) -> None:
    value = {"x" * before: ["\\" * length, '"' * length, "]," * length, "end"]}
    assert LongBody(json.dumps(value).encode(), LIMITS).value() == value


def test_elements_are_counted_before_any_is_made() -> None:
    limits = BodyLimits({"records": ListLimit(3, "serve.max_batch")}, longest_text=10)
    assert len(LongBody(b'{"records":[{},{},{}]}', limits).elements("records")) == 3
    with pytest.raises(InputError, match=r"records: 5 in one request; expected at most 3 \(serve.max_batch\)"):
        LongBody(b'{"records":[{},{},{},{},{}]}', limits)


def test_a_place_is_named_by_its_byte_in_the_whole_body() -> None:
    body = b'{"records":[' + b'{"a":1},' * 40 + b'{"a":x}]}'
    with pytest.raises(InvalidJson) as refused:
        LongBody(body, LIMITS).value()
    place = re.search(r"byte (\d+)", refused.value.message)
    assert place is not None
    assert int(place[1]) == body.index(b"x")
